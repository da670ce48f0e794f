"""The engine ``dask``: worker processes of its own, or those of a Dask scheduler that runs already.

What goes out is a call of a function that each worker imports, with a few hundred bytes of JSON;
what comes back are counts. A worker that dies is replaced by Dask, and the batch given to another.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any

import belaypin
from belaypin.clock import unique_id
from belaypin.pipeline.engines import Call, WorkerDied, count_of
from belaypin.pipeline.seats import Seats
from belaypin.pipeline.stopping import Stop
from belaypin.pipeline.worker import HEEDED, STOP, close_crews

try:
    import dask.config
    import distributed
except ModuleNotFoundError as error:
    if error.name not in ("dask", "distributed"):
        raise
    raise belaypin.MissingDriver(
        "The engine 'dask' needs the package distributed: pip install 'belaypin[dask]'."
    ) from error

__all__ = ["Dask", "make"]

_CONNECT_S = 10
_CLOSE_S = 10
_LOOK_S = 10


def make(argument: str) -> Dask:
    """The engine of ``dask:ARGUMENT``: a number of workers, or the address of a scheduler."""
    if not argument or argument.isdecimal():
        return Dask.local(count_of(f"dask:{argument}", argument))
    return Dask.at(argument)


class Dask:
    """The workers of a Dask cluster, a thread of each of them a slot.

    They are counted once, at the beginning: the limits of sources are shared out among them.
    """

    is_local = False

    def __init__(self, client: Any, own: _Own | None = None) -> None:
        threads = client.nthreads().values()
        self.slots = sum(threads)
        self.processes = len(threads)
        self._client = client
        self._own = own
        self._run = unique_id()
        self._seats = Seats("dask", [_Seat(client, self._run, own) for _ in range(self.slots)])

    @classmethod
    def local(cls, workers: int) -> Dask:
        """That of a cluster of so many processes, which ends with the engine."""
        own = _Own(workers)
        return cls(distributed.Client(own.cluster, set_as_default=False), own)

    @classmethod
    def at(cls, address: str) -> Dask:
        """That of a cluster that runs already, and goes on when the engine is closed."""
        client: Any = None
        try:
            client = distributed.Client(address, set_as_default=False, timeout=_CONNECT_S)
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            found = "can't be reached" if client is None else "has no worker"
            if client is not None:
                client.close()
            raise belaypin.UsageError(
                f"The Dask scheduler at {address} {found}: {error}. Start it (`dask scheduler`) "
                f"with workers (`dask worker {address}`), or use the engine 'dask:4'."
            ) from error
        return cls(client)

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Have the call made by the next worker that is free."""
        return self._seats.submit(call, text)

    def stop(self) -> None:
        """Tell all workers to stop this run after the page in hand; others' runs go on."""
        self._seats.stop()
        threading.Thread(target=self._tell, args=(_stop,), daemon=True).start()

    def close(self, *, at_once: bool) -> None:
        """End the workers that are ours, ``at_once`` by SIGKILL; leave no store open in others."""
        if not at_once:
            self._tell(_forget)
        elif self._own is not None:
            self._own.kill()
        self._seats.close(at_once=at_once)
        self._client.close(timeout=_CLOSE_S)
        if self._own is not None:
            self._own.close()

    def _tell(self, what: Any) -> None:
        # Whoever does not hear it, hears of it when his slice of time is over.
        with suppress(OSError, TimeoutError, RuntimeError):
            self._client.run(what, self._run, on_error="ignore")


class _Own:
    """A cluster of so many processes of this machine, heard on its loopback interface alone."""

    def __init__(self, workers: int) -> None:
        with ExitStack() as stack:
            # Dask gives a worker up that happens to be absent so long after it has died once: one that
            # died again, say, and is being started. Its nanny starts it as often as it takes.
            stack.enter_context(
                dask.config.set({"distributed.deploy.lost-worker-timeout": "1000d"})
            )
            self.cluster: Any = stack.enter_context(_begun(workers))
            self._until_closed = stack.pop_all()

    @property
    def is_alive(self) -> bool:
        """Whether there are workers, or will be again."""
        return any(nanny.status.name == "running" for nanny in self.cluster.workers.values())

    def close(self) -> None:
        self._until_closed.close()

    def kill(self) -> None:
        for nanny in list(self.cluster.workers.values()):
            nanny.close_gracefully()  # that is: it does not start another one
            if nanny.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(nanny.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _begun(workers: int) -> Any:
    try:
        return distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            # The port of Dask's health checks: any that is free, as several may run.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            # belaypin keeps nothing in Dask's memory that it could move elsewhere.
            memory_limit=None,
            preload=[__name__],
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise belaypin.UsageError(
            "The workers of Dask do not start. Each of them imports the program that runs: put "
            'what it does under `if __name__ == "__main__":`, or run `belaypin run`.'
        ) from error


class _Seat:
    """A slot anywhere in the cluster: Dask knows best where."""

    def __init__(self, client: Any, run: str, own: _Own | None) -> None:
        self._client = client
        self._run = run
        self._own = own

    def begin(self) -> None:
        """Dask looks after its workers."""

    def ask(self, call: Call, text: bytes) -> bytes:
        try:
            # Dask gives it to another worker if one dies at it, and gives up at the fourth.
            future = self._client.submit(_work, self._run, call, text, pure=False)
            return self._result(future)
        except distributed.KilledWorker as death:
            raise WorkerDied(str(death)) from death
        except (OSError, distributed.CancelledError) as error:
            raise ConnectionError(f"The Dask scheduler went away: {error}") from error

    def end(self) -> None:
        """Dask looks after its workers."""

    def _result(self, future: Any) -> bytes:
        while True:
            try:
                result: bytes = future.result(timeout=_LOOK_S)
            except TimeoutError:
                if self._own is not None and not self._own.is_alive:
                    raise ConnectionError("the workers ended, and can't be started again") from None
            else:
                return result


# --- in the workers -----------------------------------------------------------------------------

_stops: dict[str, Stop] = {}
"""What the tasks of each run heed in this process, which may be at work for several."""


def dask_setup(_worker: Any) -> None:
    """Ctrl-C reaches every process of a terminal: only the runner acts on it. Dask calls this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(run: str, call: Call, text: bytes) -> bytes:
    token = HEEDED.set(_stop_of(run))
    try:
        return call(text)
    finally:
        HEEDED.reset(token)


def _stop_of(run: str) -> Stop:
    return _stops.setdefault(run, Stop(parent=STOP))


def _stop(run: str) -> None:
    _stop_of(run).set()


def _forget(run: str) -> None:
    close_crews(_stop_of(run))
    _stops.pop(run, None)
