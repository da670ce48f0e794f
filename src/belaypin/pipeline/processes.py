"""The engine ``processes:N``: so many processes of this machine, each with its own store.

A worker that dies is replaced, and its batch given to another; the others go on. What a worker is
told and answers are a few hundred bytes of JSON; nothing is pickled, and no state is inherited.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import NamedTuple

from belaypin.pipeline.engines import Call, WorkerDied, count_of
from belaypin.pipeline.frames import STOP_FRAME, receive, send
from belaypin.pipeline.worker import work_on

__all__ = ["Processes", "make"]

_EXIT_S = 10.0


def make(argument: str) -> Processes:
    """The engine of ``processes:ARGUMENT``."""
    return Processes(count_of(f"processes:{argument}", argument))


class _Job(NamedTuple):
    future: Future[bytes]
    text: bytes


class Processes:
    """So many worker processes, each looked after by a thread."""

    is_local = False

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.processes = slots
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._threads = [
            threading.Thread(target=self._look_after_one, name=f"belaypin-child-{n}", daemon=True)
            for n in range(1, slots + 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are there now."""
        with self._lock:
            return sorted(worker.pid for worker in self._workers)

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Queue the call, which can only be that of ``work_on``, for the next free worker."""
        assert call is work_on, "the workers make this call and no other"
        future: Future[bytes] = Future()
        self._jobs.put(_Job(future, text))
        return future

    def stop(self) -> None:
        """Tell all workers to stop after the page in hand; what waits in the queue is called off."""
        with self._lock:
            self._is_stopping = True
            workers = list(self._workers)
        for worker in workers:
            worker.tell(STOP_FRAME)

    def close(self, *, at_once: bool) -> None:
        """End the workers: with the batch in hand, or, ``at_once``, by SIGKILL."""
        for _ in self._threads:
            self._jobs.put(None)
        if at_once:
            with self._lock:
                self._is_stopping = True
                workers = list(self._workers)
            for worker in workers:
                worker.kill()
        for thread in self._threads:
            thread.join(_EXIT_S)

    def _look_after_one(self) -> None:
        worker: _Worker | None = None
        while (job := self._jobs.get()) is not None:
            if self._is_stopping:
                job.future.cancel()
                continue
            try:
                worker = worker or self._begun()
                job.future.set_result(worker.ask(job.text))
            except Exception as death:  # noqa: BLE001 -- whoever waits for the future gets it
                if worker is not None:
                    self._ended(worker)
                    worker = None
                job.future.set_exception(death)
        if worker is not None:
            self._ended(worker)

    def _begun(self) -> _Worker:
        worker = _Worker()
        with self._lock:
            self._workers.add(worker)
        return worker

    def _ended(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)


class _Worker:
    """One worker process. Its standard input is a socket; it ends when our end of that closes."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "belaypin.pipeline.child"], stdin=theirs.fileno()
            )
        self.pid = self._process.pid
        self._sending = threading.Lock()
        self.tell(json.dumps({"path": sys.path}).encode())

    def ask(self, text: bytes) -> bytes:
        """Have a batch worked on. Raises WorkerDied."""
        self.tell(text)
        answer = receive(self._channel)
        if answer is None:
            status = self._process.wait(_EXIT_S)
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise WorkerDied(f"The worker process {self.pid} ended by {how}.")
        return answer

    def tell(self, text: bytes) -> None:
        """Send a frame; that nobody hears it, ``ask`` will find out."""
        try:
            with self._sending:
                send(self._channel, text)
        except OSError:
            return

    def kill(self) -> None:
        """SIGKILL: nothing that was committed is lost."""
        self._process.kill()

    def end(self) -> None:
        """Let it end, and wait for that."""
        self._channel.close()
        try:
            self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
