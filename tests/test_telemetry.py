"""A search's figures reach the OpenTelemetry span around it."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spex_agents.engines.clock import run_virtual
from spex_agents.engines.simulated import SimulatedEngine
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Rstar
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solve import Result, solve


def test_the_ledger_is_on_the_span_that_the_search_ran_in() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")

    async def search() -> Result:
        config = SearchConfig(
            engine=SimulatedEngine(), policy=Rstar(rollouts=3), reward=SimulatedReward()
        )
        with tracer.start_as_current_span("answer a question"):
            return await solve(config, "What is 5 + 7?", run="run")

    result = run_virtual(search())
    (span,) = exporter.get_finished_spans()
    told = span.attributes or {}
    assert told == {f"spex.{name}": value for name, value in result.ledger.report().items()}
    assert told["spex.hits"] == result.ledger.hits > 0
