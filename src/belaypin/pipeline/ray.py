"""The engine ``ray``: worker processes of its own, or actors in a Ray cluster that runs already.

Each worker is an actor, so that it keeps its store open, can be told to stop, and ends with the
run. What goes out are a few hundred bytes of JSON; what comes back are counts.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import belaypin
from belaypin.pipeline.engines import Call, WorkerDied, count_of
from belaypin.pipeline.seats import Seats
from belaypin.pipeline.worker import STOP

try:
    import ray
except ModuleNotFoundError as error:
    if error.name != "ray":
        raise
    raise belaypin.MissingDriver(
        "The engine 'ray' needs the package ray: pip install 'belaypin[ray]'."
    ) from error

__all__ = ["Ray", "make"]

_OBJECTS_BYTES = 80 * 2**20  # the least that Ray takes: belaypin keeps nothing there
_CONNECT_S = 10
_QUIET = {"log_to_driver": False, "configure_logging": False}


def make(argument: str) -> Ray:
    """The engine of ``ray:ARGUMENT``: a number of workers, or the address of a cluster."""
    if ray.is_initialized():
        return Ray(count_of(f"ray:{argument}", argument) if argument.isdecimal() else _cpus())
    if not argument or argument.isdecimal():
        return Ray.local(count_of(f"ray:{argument}", argument))
    return Ray.at(argument)


class Ray:
    """Actors of Ray, each of them a slot with a CPU of its own."""

    is_local = False

    def __init__(self, slots: int, *, is_ours: bool = False) -> None:
        self.slots = self.processes = slots
        self._is_ours = is_ours
        self._actors = [_Seat() for _ in range(slots)]
        self._seats = Seats("ray", self._actors)

    @classmethod
    def local(cls, workers: int) -> Ray:
        """On this machine, heard on its loopback interface alone; it ends with the engine."""
        try:
            with _hushed(), _on_loopback():
                ray.init(
                    address="local",
                    num_cpus=workers,
                    include_dashboard=False,
                    object_store_memory=_OBJECTS_BYTES,
                    **_QUIET,
                )
        except Exception as error:
            ray.shutdown()
            raise belaypin.UsageError(
                f"Ray does not start on this machine: {error}. Try again when it has less to do, or "
                f"use the engine 'processes:{workers}'."
            ) from error
        return cls(workers, is_ours=True)

    @classmethod
    def at(cls, address: str) -> Ray:
        """In a cluster that runs already, and goes on when the engine is closed."""
        try:
            _knock(address)
            with _hushed():
                ray.init(address=address, **_QUIET)
        except Exception as error:  # Ray's own are of many classes
            raise belaypin.UsageError(
                f"The Ray cluster at {address} can't be reached: {error}. Start it (`ray start "
                f"--head`), or use the engine 'ray:4'."
            ) from error
        return cls(_cpus(), is_ours=True)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are there now, on whatever machine."""
        return sorted(actor.pid for actor in self._actors if actor.pid)

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Have the call made by the next worker that is free."""
        return self._seats.submit(call, text)

    def stop(self) -> None:
        """Tell all workers to stop after the page in hand."""
        self._seats.stop()
        for actor in self._actors:
            actor.stop()

    def close(self, *, at_once: bool) -> None:
        """End the workers, ``at_once`` by SIGKILL, and the connection that is ours."""
        if at_once:
            for actor in self._actors:
                actor.end()
        self._seats.close(at_once=at_once)
        if self._is_ours:
            with _hushed():
                ray.shutdown()


class _Seat:
    """An actor, and after its death another one."""

    def __init__(self) -> None:
        self.pid = 0
        self._actor: Any = None

    def begin(self) -> None:
        self.end()
        self._actor = _Actor.remote()
        self.pid = ray.get(self._actor.pid.remote())

    def ask(self, call: Call, text: bytes) -> bytes:
        try:
            result: bytes = ray.get(self._actor.work.remote(call, text))
        except ray.exceptions.RayActorError as death:
            raise WorkerDied(f"The Ray worker {self.pid} died: {death}") from death
        except (ray.exceptions.RaySystemError, ray.exceptions.LocalRayletDiedError) as error:
            raise ConnectionError(f"Ray went away: {error}") from error
        return result

    def stop(self) -> None:
        if self._actor is not None:
            self._actor.stop.remote()

    def end(self) -> None:
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None
            self.pid = 0


class _Worker:
    """What lives in a worker process: two calls at once, so that it hears ``stop`` while at work."""

    def pid(self) -> int:
        return os.getpid()

    def work(self, call: Call, text: bytes) -> bytes:
        return call(text)

    def stop(self) -> None:
        STOP.set()


# A dead one is replaced by its seat, which knows at which batch it died.
_Actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2)(_Worker)


def _knock(address: str) -> None:
    """Raise OSError if nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _CONNECT_S).close()


def _cpus() -> int:
    return max(1, int(ray.available_resources().get("CPU", 1)))


@contextmanager
def _hushed() -> Iterator[None]:
    """What Ray has to tell about itself is for those who run it."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have a new cluster listen on the loopback interface, as it does on macOS and Windows.

    Ray has no parameter for that: an address of loopback that it is given it replaces by another.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
