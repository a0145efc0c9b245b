"""What an SGLang server is, as it tells itself, and what a search goes without there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spex_agents.engines.base import Exactness

LOSSES: Mapping[str, str] = {
    "admission": "speculative requests of all clients share the batch with demanded ones",
    "abort": "a subtree is pruned request by request, and an early abort can get lost",
    "promotion": "what has been sent keeps its priority when it becomes demanded",
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
        deterministic: Kernels whose result does not depend on the batch, and seeds.
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
            losses.append("no priorities: start the server with --enable-priority-scheduling")
        return tuple(losses)

    def __str__(self) -> str:
        plugin = f"SPEX plugin ({', '.join(sorted(self.features))})" if self.features else "plain"
        return f"SGLang {self.version}, {plugin}" + "".join(f"; {loss}" for loss in self.losses)


def read_info(found: object) -> ServerInfo:
    """Read what ``/server_info`` answers; of several schedulers, what all of them have."""
    told: Mapping[str, Any] = found if isinstance(found, dict) else {}
    listed = told.get("internal_states")
    states = [state if isinstance(state, dict) else {} for state in _list(listed)]
    plugins = [state["spex"] for state in states if isinstance(state.get("spex"), dict)]
    whole = bool(plugins) and len(plugins) == len(states)
    features = [frozenset(_list(plugin.get("features"))) for plugin in plugins]
    return ServerInfo(
        version=str(told.get("version", "unknown")),
        features=frozenset.intersection(*features) if whole else frozenset(),
        deterministic=bool(told.get("enable_deterministic_inference")),
        priorities=bool(told.get("enable_priority_scheduling")),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
