"""Fingerprints: time of one / time of the bare C encoder and SHA-256 on the same document."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

import belaypin
from benchmarks.figures import Figure, Stopwatch, say

__all__ = ["measure"]

_SAMPLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "stackexchange-sample"
_KINDS = ("Users", "Posts", "Comments", "Votes")
_AIM = 3.0
_CALLS = 20_000
_encode = msgspec.json.Encoder(order="sorted").encode

Document = dict[str, Any]


def measure(pairs: int) -> Iterator[Figure]:
    """One figure for each kind of real document, and one for documents within documents."""
    samples = {f"{kind.lower()} of the sample": _documents(kind) for kind in _KINDS}
    samples["posts in an envelope, with a score"] = [_envelope(d) for d in _documents("Posts")]
    for name, documents in samples.items():
        say(f"hash: {name}")
        ratios = [_ratio(documents) for _ in range(2 * pairs)]
        yield Figure.of("hash", name, "x", ratios, at_most=_AIM)


def _documents(kind: str) -> list[Document]:
    rows = ElementTree.parse(_SAMPLE / f"{kind}.xml").getroot()
    return [{name: _value(text) for name, text in row.attrib.items()} for row in rows]


def _value(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 16 else text


def _envelope(document: Document) -> Document:
    return {"data": document, "tags": ["one", "two"], "meta": {"score": 0.75, "draft": False}}


def _ratio(documents: Sequence[Document]) -> float:
    return _time_s(belaypin.fingerprint, documents) / _time_s(_bare, documents)


def _bare(document: Document) -> str:
    return hashlib.sha256(_encode(document)).hexdigest()


def _time_s(function: Callable[[Document], str], documents: Sequence[Document]) -> float:
    rounds = _CALLS // len(documents)
    with Stopwatch() as watch:
        for _ in range(rounds):
            for document in documents:
                function(document)
    return watch.spent.cpu_s / rounds
