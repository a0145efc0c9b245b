"""A search's figures, and its thoughts, as OpenTelemetry spans."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Rebase, Rstar
from spex_agents.search.policy import Policy
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.reporting.telemetry import span
from spex_agents.speculation.solving import Result, solve


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def run(policy: Policy, *, seconds: float | None = None) -> Result | None:
    """A search in a span, given up after so many seconds."""

    async def search() -> Result | None:
        config = SearchConfig(engine=SimulatedEngine(), policy=policy, reward=SimulatedReward())
        with span("answer a question", {}):
            try:
                async with asyncio.timeout(seconds):
                    return await solve(config, "What is 5 + 7?", run="run")
            except TimeoutError:
                return None

    return run_virtual(search())


def outcomes(thoughts: Sequence[ReadableSpan]) -> Counter[str]:
    return Counter(str((thought.attributes or {})["spex.outcome"]) for thought in thoughts)


def test_the_ledger_is_on_the_span_that_the_search_ran_in(spans: InMemorySpanExporter) -> None:
    result = run(Rstar(rollouts=3))
    assert result is not None
    (around,) = [one for one in spans.get_finished_spans() if one.name == "answer a question"]
    told = around.attributes or {}
    assert told == {f"spex.{name}": value for name, value in result.ledger.report().items()}
    assert told["spex.hits"] == result.ledger.hits > 0


def test_the_searches_of_a_span_add_up(spans: InMemorySpanExporter) -> None:
    async def search() -> Ledger:
        total = Ledger()
        config = SearchConfig(
            engine=SimulatedEngine(), policy=Rebase(width=4), reward=SimulatedReward()
        )
        with span("run an agent", {}):
            for seed in range(3):
                total.add((await solve(config, "What is 5 + 7?", seed=seed)).ledger)
        return total

    total = run_virtual(search())
    (around,) = [one for one in spans.get_finished_spans() if one.name == "run an agent"]
    told = {f"spex.{name}": value for name, value in total.report().items()}
    assert dict(around.attributes or {}) == pytest.approx(told)


def test_every_thought_is_a_span_with_its_outcome(spans: InMemorySpanExporter) -> None:
    result = run(Rebase(width=6))
    assert result is not None
    ledger = result.ledger
    *thoughts, around = spans.get_finished_spans()
    found = outcomes(thoughts)
    assert found["hit"] == ledger.hits > 0
    assert found["retracted"] == ledger.retracted > 0
    assert found["wasted"] == ledger.launched - ledger.hits - ledger.retracted > 0
    assert found["demanded"] == len(result.tree) - ledger.hits > 0
    for thought in thoughts:
        assert thought.parent is not None
        assert thought.parent.span_id == around.context.span_id
        assert thought.name == "spex.thought"
        told = dict(thought.attributes or {})
        assert told.keys() == {"spex.path", "spex.speculative", "spex.outcome", "spex.tokens"}
        assert told["spex.speculative"] is (told["spex.outcome"] != "demanded")
    decoded = sum(int(str((thought.attributes or {})["spex.tokens"])) for thought in thoughts)
    assert decoded == ledger.decoded_tokens


def test_a_search_that_is_given_up_leaves_no_span_open(spans: InMemorySpanExporter) -> None:
    for seconds in (0.5, 1.5, 3.0):
        spans.clear()
        run(Rebase(width=6), seconds=seconds)
        found = outcomes(spans.get_finished_spans()[:-1])
        assert found["cancelled"] + found["wasted"] > 0


def test_without_a_span_around_it_a_search_has_none(spans: InMemorySpanExporter) -> None:
    config = SearchConfig(
        engine=SimulatedEngine(), policy=Rebase(width=4), reward=SimulatedReward()
    )
    run_virtual(solve(config, "What is 5 + 7?"))
    assert spans.get_finished_spans() == ()
