"""What a gateway does, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from spex_agents.engines.base import Load
from spex_agents.server.gateway.search import Search
from spex_agents.speculation.reporting.ledger import Ledger

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
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

    def ended(self, search: Search, policy: str, spent: Ledger) -> None:
        """A run of `search` has ended, and has cost `spent`."""
        engine = search.request.model.partition("/")[0]
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


def since(before: Ledger, after: Ledger) -> Ledger:
    """What has been spent between two states of a ledger; `slowest_abort` means nothing there.

    Example:
        >>> since(Ledger(hits=2, useful_tokens=40), Ledger(hits=5, useful_tokens=100)).hits
        3
    """
    names = [figure.name for figure in fields(Ledger)]
    return Ledger(**{name: getattr(after, name) - getattr(before, name) for name in names})
