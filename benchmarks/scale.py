"""A large store, made in minutes by way of an import: python -m benchmarks.scale URL.

Each entity has a lease that was released, a stream "posts" and, every other one, a stream "likes";
their items share ids that follow each other, as a source with serial numbers has them. Some
entities fail, some streams have a gap or an open window; lags and changes are spread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import belaypin
from belaypin.exchange import Chain, CoverageLine, End, Header, KeyLine, Line, SegmentLine
from belaypin.segments import BLOCK_ITEMS, pack

__all__ = ["PIPELINE", "fill", "lines"]

PIPELINE = "social"

_DAY_US = 86_400_000_000
_WINDOW = (
    '{"main":{"start_us":1700000000000000,"end_us":1700086400000000,"is_head":true,'
    '"covered_to_us":1700000000000000,"cursor":3}}'
)


def fill(
    store: belaypin.Store, entities: int, items: int, pipeline: str = PIPELINE
) -> belaypin.Imported:
    """Fill a store; it is the same for the same numbers, but for the time of the day."""
    return store.import_(lines(entities, items, time.time_ns() // 1_000, pipeline))


def lines(entities: int, items: int, now_us: int, pipeline: str = PIPELINE) -> Iterator[bytes]:
    """The export of such a store."""
    name = f"scale-{entities}-{items}-{pipeline}"
    chain = Chain()
    yield chain.encode(Header(1, pipeline, name, belaypin.__version__, now_us))
    each = items // (entities + entities // 2)
    for number in range(entities):
        for line in _entity(number, each, now_us):
            yield chain.encode(line)
    yield chain.encode(End(chain.lines + 1))


def _entity(number: int, items: int, now_us: int) -> Iterator[Line]:
    entity = f"user:{number:08}"
    changed_us = now_us - number * 7_919_000_017 % (30 * _DAY_US)
    begun_us = now_us - 400 * _DAY_US
    fails = number % 1_000 == 3
    yield KeyLine(
        entity=entity,
        stream="",
        attempts=3 + fails,
        runs=3,
        busy_us=900_000,
        priority=5 if number % 1_000 == 7 else 0,
        failed_runs=int(fails),
        failed_us=changed_us if fails else None,
        failed_role="main" if fails else None,
        error="HTTPError: 429 Too Many Requests" if fails else None,
        next_try_us=changed_us if fails else None,
        created_us=begun_us,
        updated_us=changed_us,
        leases=(("main", begun_us + 1),),
    )
    streams = ("likes", "posts") if number % 2 else ("posts",)
    for stream in streams:
        yield from _stream(entity, stream, number, items, now_us, changed_us)


def _stream(
    entity: str, stream: str, number: int, items: int, now_us: int, changed_us: int
) -> Iterator[Line]:
    packed = pack(dict.fromkeys(range(number * items, (number + 1) * items))) if items else []
    is_open = number % 500 == 11
    begun_us = now_us - 400 * _DAY_US
    yield KeyLine(
        entity=entity,
        stream=stream,
        commits=1 + items // 500,
        head_seq=len(packed),
        progress=_WINDOW if is_open else "{}",
        is_open=int(is_open),
        items=items,
        skipped=number % 7,
        created_us=begun_us,
        updated_us=changed_us,
        version=0,
    )
    head_us = now_us - 60_000_000 - number * 104_729_000_003 % (7 * _DAY_US)
    if number % 200 == 5:
        gap = (begun_us, head_us - _DAY_US), (head_us, now_us)
        yield CoverageLine(gap)
    else:
        yield CoverageLine(((begun_us, head_us),))
    for seq, segment in enumerate(packed, 1):
        assert segment.items <= BLOCK_ITEMS
        yield SegmentLine(
            seq=seq, level=0, token=begun_us + 1, created_us=changed_us, **segment._asdict()
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("url", help="of the store to fill")
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000_000)
    parser.add_argument("--pipeline", default=PIPELINE)
    arguments = parser.parse_args()
    began = time.monotonic()
    with belaypin.open(arguments.url) as store:
        report = fill(store, arguments.entities, arguments.items, arguments.pipeline)
        size = store.storage().database_bytes
    print(f"{report} in {time.monotonic() - began:.0f} s; the database takes {size:,} bytes")


if __name__ == "__main__":
    main()
