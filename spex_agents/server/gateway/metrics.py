"""What a gateway does, for Prometheus."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from spex_agents.engines.base import Load
    from spex_agents.server.gateway.search import Search
    from spex_agents.speculation.reporting.ledger import Ledger

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""From a list of models to a search of the usual limit of ten minutes, which is in the last."""

FIRST_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
TOGETHER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client knows, as it is imported, that there are several
processes: where they keep their figures."""

_OUTCOMES = ("launched", "hits", "promoted", "retracted", "failed")


class Metrics:
    """Counters and gauges, in a registry of their own; keys appear by name, prompts never.

    Of a gateway of several worker processes, each of them tells the sum of all.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "spex_gateway_requests", "Answered.", ["route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "spex_gateway_request_seconds",
            "To the last byte.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "spex_gateway_refused", "Searches not begun.", ["key", "code"], registry=registry
        )
        self._searches = Counter(
            "spex_gateway_searches",
            "Runs of searches, by what became of them.",
            ["engine", "policy", "state"],
            registry=registry,
        )
        self._search_seconds = Histogram(
            "spex_gateway_search_seconds",
            "Of searches that are done, all their runs together.",
            ["engine", "policy"],
            buckets=SECONDS,
            registry=registry,
        )
        self._first_seconds = Histogram(
            "spex_gateway_time_to_first_token_seconds",
            "From the begin of a search's run to its first certain thought, which streams show.",
            ["engine", "policy"],
            buckets=FIRST_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "spex_gateway_tokens", "Decoded.", ["key", "kind"], registry=registry
        )
        self._thoughts = Counter(
            "spex_gateway_speculation",
            "Thoughts begun early (launched), and what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._running = Gauge(
            "spex_gateway_searches_running",
            "Searches that run.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        Gauge(
            "spex_gateway_build_info",
            "Always 1.",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="livemax",
        ).labels(version("spex-agents"), platform.python_version()).set(1)
        self._up = Gauge(
            "spex_gateway_engine_up",
            "Whether an engine answers: 1 or 0.",
            ["engine"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._load = Gauge(
            "spex_gateway_engine_requests",
            "Requests at an engine, as it says.",
            ["engine", "state"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, status).inc()
        self._request_seconds.labels(route).observe(seconds)

    def refused(self, key: str, code: str | None) -> None:
        self._refused.labels(key, code or "invalid").inc()

    def first_thought(self, search: Search, policy: str, seconds: float) -> None:
        """A run of `search` has its first certain thought."""
        self._first_seconds.labels(_engine(search), policy).observe(seconds)

    def ended(self, search: Search, policy: str, state: str, spent: Ledger) -> None:
        """A run of `search` has ended like that, and has cost `spent`."""
        engine = _engine(search)
        self._searches.labels(engine, policy, state).inc()
        if state == "done":
            self._search_seconds.labels(engine, policy).observe(search.seconds)
        self._tokens.labels(search.owner, "useful").inc(spent.useful_tokens)
        self._tokens.labels(search.owner, "wasted").inc(spent.wasted_tokens)
        for name in _OUTCOMES:
            self._thoughts.labels(name).inc(getattr(spent, name))

    def running(self, searches: int) -> None:
        """So many searches run in this process."""
        self._running.set(searches)

    def up(self, engine: str, *, answers: bool) -> None:
        self._up.labels(engine).set(answers)

    def load(self, engine: str, load: Load) -> None:
        self._load.labels(engine, "running").set(load.running)
        self._load.labels(engine, "waiting").set(load.waiting)

    def page(self) -> bytes:
        if (together := os.environ.get(TOGETHER)) is None:
            return generate_latest(self._registry) + generate_latest(_own_process())
        registry = CollectorRegistry()
        _Together(registry, together)  # type: ignore[no-untyped-call]
        registry.register(_Workers(Path(together)))
        return generate_latest(registry)


def _own_process() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class _Together(MultiProcessCollector):
    """The figures of all workers.

    A worker makes its files empty and then gives them a size. One that begins just now, or was
    killed in between, has nothing to tell, and must not cost the others' figures
    (prometheus/client_python, issue 1199).
    """

    def collect(self) -> Iterable[Any]:
        files = [str(file) for file in sorted(Path(self._path).glob("*.db")) if _size(file)]
        return cast("Iterable[Any]", self.merge(files))  # type: ignore[no-untyped-call]


def _size(file: Path) -> int:
    """In bytes; none of a file that was removed meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


class _Workers(Collector):
    """The processes of all workers, by their ids.

    Args:
        directory: Where they keep their figures.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Any]:
        told: dict[str, Any] = {}
        for file in sorted(self._directory.glob("gauge_livesum_*.db")):
            pid = file.stem.rpartition("_")[2]
            for found in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                if found.name not in told:
                    told[found.name] = type(found)(found.name, found.documentation, labels=["pid"])  # type: ignore[call-arg]
                told[found.name].add_metric([pid], found.samples[0].value)
        return told.values()


def _engine(search: Search) -> str:
    return search.request.model.partition("/")[0]
