"""The public conformance suite for LangGraph's checkpointers, in full, on both sides and databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.report import CapabilityReport

import belaypin
from belaypin.integrations.langgraph import AsyncBelaypinSaver, BelaypinSaver


def _assert_full(report: CapabilityReport) -> None:
    """No capability is missing, none has a failure, and none ran nothing."""
    assert set(report.results) == {capability.value for capability in Capability}
    for name, result in report.results.items():
        assert result.detected, f"{name} is not there"
        assert result.failures == [], name
        assert result.passed, name
        assert result.tests_passed > 0, name
    assert report.passed_all()


async def test_the_async_saver_passes_in_full(url: str) -> None:
    async with await belaypin.aopen(url) as store:

        @checkpointer_test(name="AsyncBelaypinSaver")
        async def savers() -> AsyncIterator[BaseCheckpointSaver]:
            yield AsyncBelaypinSaver(store)

        _assert_full(await validate(savers))


async def test_the_sync_saver_passes_in_full(url: str) -> None:
    with belaypin.open(url) as store:

        @checkpointer_test(name="BelaypinSaver")
        async def savers() -> AsyncIterator[BaseCheckpointSaver]:
            yield BelaypinSaver(store)

        _assert_full(await validate(savers))


async def test_the_suite_would_notice(url: str) -> None:
    """A saver that forgets the writes of tasks fails the suite."""

    class Forgetful(AsyncBelaypinSaver):
        async def aput_writes(self, *args: object, **kwargs: object) -> None:
            pass

    async with await belaypin.aopen(url) as store:

        @checkpointer_test(name="Forgetful")
        async def savers() -> AsyncIterator[BaseCheckpointSaver]:
            yield Forgetful(store)

        report = await validate(savers, capabilities={"put_writes"})
        with pytest.raises(AssertionError):
            _assert_full(report)
