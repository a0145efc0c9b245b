"""What an SGLang server is, as it tells itself, and what a search goes without there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spex_agents.engines.base import Exactness

LOSSES: Mapping[str, str] = {
    "admission": "speculative requests of all clients share the batch with demanded ones",
    "abort": "a subtree is pruned request by request, and an early abort can get lost",
    "promotion": "what has been sent is sent anew when it becomes demanded, unless it runs already",
    "seeds": "seeds are ignored: thoughts are the same in distribution only",
    "counters": "the server does not report its step times and ridge",
}
"""What a server without each feature of the plugin costs a search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What a server is.

    Attributes:
        version: SGLang's.
        features: Those of the SPEX plugin; empty without it.
        deterministic: Kernels whose result does not depend on the batch, and seeds. Not with
            token-level speculation: what is drawn depends on the drafts, and these on other texts.
        priorities: Whether it schedules by priority.
    """

    version: str = "unknown"
    features: frozenset[str] = field(default_factory=frozenset)
    deterministic: bool = False
    priorities: bool = False

    @property
    def exactness(self) -> Exactness:
        if self.deterministic:
            return "exact"
        return "seeded" if "seeds" in self.features else "unseeded"

    @property
    def losses(self) -> tuple[str, ...]:
        """What a search goes without here, and why."""
        losses = [
            f"no {feature}: {cost}"
            for feature, cost in LOSSES.items()
            if feature not in self.features and not (feature == "seeds" and self.deterministic)
        ]
        if not self.priorities:
            losses.append(
                "no priorities: what has been sent is never hurried; start the server with "
                "--enable-priority-scheduling"
            )
        return tuple(losses)

    def __str__(self) -> str:
        plugin = f"SPEX plugin ({', '.join(sorted(self.features))})" if self.features else "plain"
        return f"SGLang {self.version}, {plugin}" + "".join(f"; {loss}" for loss in self.losses)


def read_info(answers: Sequence[object]) -> ServerInfo:
    """Read what the servers answer at ``/server_info``: what all of their schedulers have."""
    told = [_dict(answer) for answer in answers]
    states = [_dict(state) for one in told for state in _list(one.get("internal_states")) or [{}]]
    plugins = [state["spex"] for state in states if isinstance(state.get("spex"), dict)]
    whole = bool(plugins) and len(plugins) == len(states)
    features = [frozenset(_list(plugin.get("features"))) for plugin in plugins]
    return ServerInfo(
        version=" and ".join(sorted({str(one.get("version", "unknown")) for one in told})),
        features=frozenset.intersection(*features) if whole else frozenset(),
        deterministic=all(
            one.get("enable_deterministic_inference") and not one.get("speculative_algorithm")
            for one in told
        ),
        priorities=all(one.get("enable_priority_scheduling") for one in told),
    )


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
