"""A search's figures on the OpenTelemetry span it ran in, where OpenTelemetry is installed."""

from __future__ import annotations

from importlib.util import find_spec

from spex_agents.speculation.ledger import Ledger


def record(ledger: Ledger) -> None:
    """Set ``spex.launched``, ``spex.wasted_tokens`` and so on, on the current span if there is one.

    Several searches in one span: the last one's figures stay. Prompts and thoughts are not told.
    """
    if find_spec("opentelemetry") is None:
        return
    from opentelemetry import trace  # noqa: PLC0415 (optional)

    attributes = {f"spex.{name}": value for name, value in ledger.report().items()}
    trace.get_current_span().set_attributes(attributes)
