"""The cache of item checks: what is committed, remembered in this process and in Redis.

Only positive facts are kept, and each names the segment of the ledger that proves it; the database
is asked whether that segment still counts (see ``programs.facts``). So a cache that is flushed,
stale, full, slow, gone or evil costs time at worst, and that time is bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from importlib.util import find_spec
from itertools import islice
from queue import Full, Queue
from struct import Struct
from threading import Lock, Thread
from typing import Any

from belaypin.clock import monotonic_s
from belaypin.errors import MissingDriver, UsageError
from belaypin.forks import ForkGuard
from belaypin.ids import ItemId
from belaypin.programs.facts import Proof, Standing
from belaypin.segments import order_key

__all__ = ["Cache", "Facts", "RedisTier", "Seal"]

FACTS = 100_000
"""Facts that a store keeps in this process: about 30 MB."""

TTL_S = 24 * 3600
"""How long Redis keeps a fact."""

WAIT_S, WAIT_S_PER_ID = 0.05, 20e-6
"""How long one call waits for Redis at most."""

PAUSE_S = 5.0
"""How long Redis is left alone once it has failed, or has kept callers waiting."""

_PATIENCE_S = 0.01  # a call that waits longer counts against Redis: see RedisTier.waited
_CHUNK = 1_000
_JOBS = 64
_CLOSE_S = 1.0

_STANDING, _PROOF = Struct(">qq"), Struct(">qqq")
_MAC_BYTES = 16


class Seal:
    """Names facts and seals them with a secret of the store: Redis can lose one, but not make one.

    A name tells the store's epoch, the stream and its generation; a seal covers the proof as well.
    """

    def __init__(self, epoch: str, secret: str) -> None:
        key = bytes.fromhex(secret)
        self._name = blake2b(epoch.encode(), key=key, digest_size=16, person=b"belaypin name")
        self._seal = blake2b(
            epoch.encode(), key=key, digest_size=_MAC_BYTES, person=b"belaypin seal"
        )

    def names(self, standing: Standing, ids: Iterable[ItemId]) -> list[bytes]:
        """The names of these facts in Redis; they don't tell the ids."""
        base = self._name.copy()
        base.update(_STANDING.pack(*standing))
        return [b"belaypin:" + _digest(base, order_key(item_id)) for item_id in ids]

    def seal(self, standing: Standing, item_id: ItemId, proof: Proof) -> bytes:
        """The fact that this id is committed, as it is kept in Redis."""
        body = _PROOF.pack(*proof)
        return body + self._mac(standing, item_id, body)

    def unseal(self, standing: Standing, item_id: ItemId, sealed: object) -> Proof | None:
        """The proof in what Redis answered; None if it is nothing that we have sealed."""
        if not isinstance(sealed, bytes) or len(sealed) != _PROOF.size + _MAC_BYTES:
            return None
        body, mac = sealed[: _PROOF.size], sealed[_PROOF.size :]
        if not compare_digest(mac, self._mac(standing, item_id, body)):
            return None
        return Proof(*_PROOF.unpack(body))

    def _mac(self, standing: Standing, item_id: ItemId, body: bytes) -> bytes:
        return _digest(self._seal, _STANDING.pack(*standing) + body + order_key(item_id))


class Facts:
    """The facts of this process that were used last, at most ``limit``; safe among threads."""

    def __init__(self, limit: int = FACTS) -> None:
        self._limit = limit
        self._proofs: OrderedDict[tuple[Standing, ItemId], Proof] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._proofs)

    def get(self, standing: Standing, ids: Iterable[ItemId]) -> dict[ItemId, Proof]:
        """What is remembered of these ids."""
        found = {}
        with self._lock:
            for item_id in ids:
                proof = self._proofs.get((standing, item_id))
                if proof is not None:
                    found[item_id] = proof
                    self._proofs.move_to_end((standing, item_id))
        return found

    def put(self, standing: Standing, proofs: Mapping[ItemId, Proof]) -> None:
        """Remember these, and forget the ones not used for longest."""
        with self._lock:
            for item_id, proof in islice(proofs.items(), self._limit):
                self._proofs[standing, item_id] = proof
                self._proofs.move_to_end((standing, item_id))
            while len(self._proofs) > self._limit:
                self._proofs.popitem(last=False)


class RedisTier:
    """Facts in Redis, asked by a thread of its own: nothing that Redis does can hold a caller up.

    Once it fails or keeps callers waiting it is left alone for a while, then tried in the
    background until it answers at once.
    """

    def __init__(self, url: str) -> None:
        self._client = _client(url)
        self._jobs: Queue[Callable[[], None] | None] = Queue(_JOBS)
        self._thread: Thread | None = None
        self._lock = Lock()
        self._forks = ForkGuard()
        self._is_closed = False
        self._is_trusted = True
        self._try_again_s = 0.0
        self._write_again_s = 0.0
        self._debt_s = 0.0

    def get(self, names: Sequence[bytes]) -> Future[list[Any]] | None:
        """Ask for these; None if Redis is left alone for now. An empty answer means: it failed."""
        if not self._is_trusted:
            self._probe_if_due()
            return None
        asked: Future[list[Any]] = Future()
        return asked if self._submit(lambda: self._get(names, asked)) else None

    def put(self, facts: Mapping[bytes, bytes]) -> None:
        """Keep these, sooner or later or not at all; nobody waits for it."""
        if self._is_trusted and facts and monotonic_s() >= self._write_again_s:
            self._submit(lambda: self._put(facts))

    def waited(self, asked: Future[list[Any]], ids: int, waited_s: float) -> None:
        """Note how long a call has waited: its answer may never come, or always come late.

        What goes beyond patience adds up and calls in time pay it off, so that a slow Redis costs
        as much as one that hangs, once.
        """
        self._debt_s = max(0.0, self._debt_s + waited_s - _PATIENCE_S - ids * WAIT_S_PER_ID)
        if not asked.done():
            asked.cancel()
            self._fail()
            self._cut()
        elif self._debt_s >= WAIT_S - _PATIENCE_S:
            self._fail()

    def close(self) -> None:
        """End the thread and its connection."""
        if self._forks.is_child:
            return  # they are the parent's
        self._is_closed, self._is_trusted = True, False
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._cut()
            self._jobs.put(None)
            thread.join(_CLOSE_S)
        self._cut()

    def _submit(self, job: Callable[[], None]) -> bool:
        if self._forks.is_child or self._is_closed:
            return False
        try:
            self._jobs.put_nowait(job)
        except Full:
            return False
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="belaypin-cache", daemon=True)
                    self._thread.start()
        return True

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if not self._is_closed:
                    job()
            except Exception:  # noqa: BLE001 -- whatever a broken server makes the driver raise
                self._fail()
                self._cut()

    def _get(self, names: Sequence[bytes], asked: Future[list[Any]]) -> None:
        if not asked.set_running_or_notify_cancel():
            return
        values: list[Any] = []
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for start in range(0, len(names), _CHUNK):
                    pipe.mget(names[start : start + _CHUNK])
                values = [value for chunk in pipe.execute() for value in chunk]
            if len(values) != len(names):
                raise ValueError("Redis answered for other names than it was asked for")
        finally:
            asked.set_result(values if len(values) == len(names) else [])

    def _put(self, facts: Mapping[bytes, bytes]) -> None:
        left = iter(facts.items())
        while chunk := list(islice(left, _CHUNK)):
            with self._client.pipeline(transaction=False) as pipe:
                for name, value in chunk:
                    pipe.set(name, value, ex=TTL_S)
                answers = pipe.execute(raise_on_error=False)
            if any(isinstance(answer, Exception) for answer in answers):
                self._write_again_s = monotonic_s() + PAUSE_S  # full, or read only: go on reading
                return

    def _probe_if_due(self) -> None:
        with self._lock:
            if monotonic_s() < self._try_again_s:
                return
            self._try_again_s = monotonic_s() + PAUSE_S
        self._submit(self._probe)

    def _probe(self) -> None:
        self._client.ping()
        began_s = monotonic_s()
        self._client.ping()  # the first one may have had to connect
        if monotonic_s() - began_s < _PATIENCE_S:
            self._debt_s = 0.0
            self._is_trusted = True

    def _cut(self) -> None:
        """Close the connection: whoever waits for an answer on it stops waiting."""
        with suppress(Exception):
            self._client.connection_pool.disconnect()

    def _fail(self) -> None:
        with self._lock:
            self._is_trusted = False
            self._try_again_s = monotonic_s() + PAUSE_S


class Cache:
    """The tiers in front of the database: what they claim, and what they are taught."""

    def __init__(self, url: str, epoch: str, secret: str) -> None:
        self.redis = RedisTier(url)
        self._seal = Seal(epoch, secret)
        self._facts = Facts()

    def claims(self, standing: Standing, ids: Collection[ItemId]) -> dict[ItemId, Proof]:
        """What this process remembers."""
        return self._facts.get(standing, ids)

    def ask(self, standing: Standing, ids: Sequence[ItemId]) -> Future[list[Any]] | None:
        """Ask Redis about these ids."""
        return self.redis.get(self._seal.names(standing, ids)) if ids else None

    def answered(
        self, standing: Standing, ids: Sequence[ItemId], asked: Future[list[Any]], waited_s: float
    ) -> dict[ItemId, Proof]:
        """What Redis claims, as far as it was sealed by this store."""
        self.redis.waited(asked, len(ids), waited_s)
        if asked.cancelled() or not asked.done():
            return {}
        sealed = zip(ids, asked.result(), strict=False)  # it is empty if Redis failed
        claims = {i: self._seal.unseal(standing, i, value) for i, value in sealed}
        return {i: proof for i, proof in claims.items() if proof is not None}

    def learn(
        self, standing: Standing, proofs: Mapping[ItemId, Proof], claims: Mapping[ItemId, Proof]
    ) -> None:
        """Take in what the database has confirmed; Redis gets what nobody had claimed."""
        self._facts.put(standing, proofs)
        news = [i for i, proof in proofs.items() if claims.get(i) != proof]
        sealed = (self._seal.seal(standing, i, proofs[i]) for i in news)
        self.redis.put(dict(zip(self._seal.names(standing, news), sealed, strict=True)))

    def close(self) -> None:
        """End the connection to Redis."""
        self.redis.close()


def _digest(base: Any, data: bytes) -> bytes:
    digest = base.copy()
    digest.update(data)
    found: bytes = digest.digest()
    return found


def _client(url: object) -> Any:
    if find_spec("redis") is None:
        raise MissingDriver(
            "A cache in Redis needs redis, which is not installed. Run: pip install "
            "'belaypin[redis]'"
        )
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    examples = "redis://host:6379/0, rediss://host/0 (TLS) or unix:///run/redis.sock"
    if not isinstance(url, str) or not url.startswith(("redis://", "rediss://", "unix://")):
        raise UsageError(f"cache is the URL of a Redis, such as {examples}; got {url!r}.")
    try:
        return redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=WAIT_S,
            socket_connect_timeout=WAIT_S,
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError) as error:
        # Without the URL: there may be a password in it.
        raise UsageError(f"The cache has no URL of a Redis ({error}). Write {examples}.") from error
