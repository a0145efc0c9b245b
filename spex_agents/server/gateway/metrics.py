"""What a gateway does, for Prometheus."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from spex_agents.engines.base import Load
from spex_agents.server.gateway.search import Search
from spex_agents.speculation.reporting.ledger import Ledger

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""From a list of models to a search of the usual limit of ten minutes, which is in the last."""

FIRST_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_OUTCOMES = ("launched", "hits", "promoted", "retracted", "failed")


class Metrics:
    """Counters and gauges, in a registry of their own; keys appear by name, prompts never.

    Args:
        running: Tells how many searches run.
    """

    def __init__(self, running: Callable[[], int]) -> None:
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
        Gauge(
            "spex_gateway_searches_running", "Searches that run.", registry=registry
        ).set_function(running)
        Gauge(
            "spex_gateway_build_info", "Always 1.", ["version", "python"], registry=registry
        ).labels(version("spex-agents"), platform.python_version()).set(1)
        ProcessCollector(registry=registry)
        self._load = Gauge(
            "spex_gateway_engine_requests",
            "Requests at an engine, as it says.",
            ["engine", "state"],
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, status).inc()
        self._request_seconds.labels(route).observe(seconds)

    def refused(self, key: str, code: str | None) -> None:
        self._refused.labels(key, code or "invalid").inc()

    def first_thought(self, search: Search, policy: str, seconds: float) -> None:
        """A run of `search` has its first certain thought."""
        self._first_seconds.labels(_engine(search), policy).observe(seconds)

    def ended(self, search: Search, policy: str, spent: Ledger) -> None:
        """A run of `search` has ended, and has cost `spent`."""
        engine = _engine(search)
        self._searches.labels(engine, policy, search.state).inc()
        if search.state == "done":
            self._search_seconds.labels(engine, policy).observe(search.seconds)
        self._tokens.labels(search.owner, "useful").inc(spent.useful_tokens)
        self._tokens.labels(search.owner, "wasted").inc(spent.wasted_tokens)
        for name in _OUTCOMES:
            self._thoughts.labels(name).inc(getattr(spent, name))

    def load(self, engine: str, load: Load) -> None:
        self._load.labels(engine, "running").set(load.running)
        self._load.labels(engine, "waiting").set(load.waiting)

    def page(self) -> bytes:
        return generate_latest(self._registry)


def _engine(search: Search) -> str:
    return search.request.model.partition("/")[0]


def since(before: Ledger, after: Ledger) -> Ledger:
    """What has been spent between two states of a ledger; `slowest_abort` means nothing there.

    Example:
        >>> since(Ledger(hits=2, useful_tokens=40), Ledger(hits=5, useful_tokens=100)).hits
        3
    """
    names = [figure.name for figure in fields(Ledger)]
    return Ledger(**{name: getattr(after, name) - getattr(before, name) for name in names})
