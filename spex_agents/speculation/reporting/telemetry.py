"""A search and its thoughts as OpenTelemetry spans, where OpenTelemetry is installed.

Only its API is used: whether spans go anywhere is for the application to say, which sets up the
SDK. Prompts and thoughts are not told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from spex_agents.engines.base import Request
from spex_agents.speculation.reporting.ledger import Ledger

Outcome: TypeAlias = Literal["demanded", "hit", "retracted", "wasted", "failed", "cancelled"]
"""What became of a thought: "demanded" was not begun early, "cancelled" was demanded in vain."""


def record(ledger: Ledger) -> None:
    """Set ``spex.launched``, ``spex.wasted_tokens`` and so on, on the current span if there is one.

    Several searches in one span add up, as those of an agent whose model calls are searches.
    """
    if find_spec("opentelemetry") is None:
        return
    from opentelemetry import trace  # noqa: PLC0415 (optional)

    current = trace.get_current_span()
    before = getattr(current, "attributes", None) or {}  # a span that is not recorded has none
    ours = {name: value for name, value in before.items() if name.startswith("spex.")}
    spent = Ledger.of({name.removeprefix("spex."): value for name, value in ours.items()})
    spent.add(ledger)
    current.set_attributes({f"spex.{name}": value for name, value in spent.report().items()})


@contextmanager
def span(name: str, attributes: Mapping[str, str]) -> Iterator[None]:
    """Run the body in a span of its own; of its failure that has the type, not what it quotes."""
    if find_spec("opentelemetry") is None:
        yield
        return
    from opentelemetry import trace  # noqa: PLC0415 (optional)

    tracer = trace.get_tracer("spex_agents")
    with tracer.start_as_current_span(
        name, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


class ThoughtSpans:
    """Spans of thoughts, from request to text, below the one that is current now.

    Nothing is traced if that is not recorded. A span ends when its thought's outcome is known.
    """

    def __init__(self) -> None:
        self._tracer: Any = None
        self._context: Any = None
        self._open: dict[str, Any] = {}
        self._written: dict[str, int] = {}
        if find_spec("opentelemetry") is not None:
            from opentelemetry import context, trace  # noqa: PLC0415 (optional)

            if trace.get_current_span().is_recording():
                self._tracer = trace.get_tracer("spex_agents")
                self._context = context.get_current()

    def begin(self, request: Request, path: str) -> None:
        if self._tracer is not None:
            attributes = {"spex.path": path, "spex.speculative": not request.demanded}
            self._open[request.id] = self._tracer.start_span(
                "spex.thought", context=self._context, attributes=attributes
            )

    def written(self, request: Request) -> None:
        """The text is there; whether anybody wants it is not known yet."""
        self._written[request.id] = time.time_ns()

    def end(self, request: Request, outcome: Outcome) -> None:
        """Tell what became of a thought; the first word counts."""
        written = self._written.pop(request.id, None)
        if (span := self._open.pop(request.id, None)) is not None:
            span.set_attributes({"spex.outcome": outcome, "spex.tokens": request.tokens})
            span.end(written)
