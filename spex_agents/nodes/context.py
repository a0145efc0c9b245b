"""What a run may choose for itself: the run context of a search, as Studio shows it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

from langgraph.runtime import get_runtime
from pydantic import BaseModel, ConfigDict, Field, model_validator

from spex_agents.answers.limits import MaxTokens
from spex_agents.errors import SettingsError
from spex_agents.search.policy import Policy
from spex_agents.search.registry import POLICIES, make_policy
from spex_agents.speculation.config import SearchConfig, Speculation

logger = logging.getLogger(__name__)


class SearchContext(BaseModel):
    """What one run of a search may choose; what is None is as its graph or node was made.

    It is the `context_schema` of `create_tot_graph`. A graph around a node names it, or a class
    that inherits from it, as its own. A search keeps to what it was begun with: a run that goes on
    with it needs no context.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.nodes.graph import create_tot_graph
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000)).compile()
        >>> context = SearchContext(policy="best-of-n", width=3)
        >>> result = graph.invoke({"question": "What is 5 + 7?"}, context=context)
        >>> len(result["thoughts"])
        3
    """

    model_config = ConfigDict(frozen=True, title="Search")

    @model_validator(mode="before")
    @classmethod
    def _is_spelt_right(cls, given: Any) -> Any:
        """Refuse what is nearly one of the fields; other keys of a run's configuration may come."""
        for name in given if isinstance(given, Mapping) else ():
            near = get_close_matches(str(name), cls.model_fields, n=1, cutoff=0.75)
            if near and name not in cls.model_fields:
                raise ValueError(f"{name!r}: there is no such choice of a run; is it {near[0]!r}?")
        return given

    policy: str | None = Field(
        default=None,
        title="Policy",
        description="What to expand next.",
        json_schema_extra={"enum": [*POLICIES, None]},
    )
    width: int | None = Field(
        default=None, ge=1, title="Width", description="Paths that are followed side by side."
    )
    depth: int | None = Field(
        default=None, ge=1, title="Depth", description="Thoughts in a path, at most."
    )
    seed: int | None = Field(
        default=None, title="Seed", description="Decides the run, as far as the model takes seeds."
    )
    speculation: bool | None = Field(
        default=None,
        title="Speculation",
        description="Run ahead of rewards: the same result, sooner, for more tokens.",
    )
    tokens: int | None = Field(
        default=None,
        ge=1,
        title="Budget of tokens",
        description="The search ends once so many have been written, and answers with what it has.",
    )


def context_here() -> dict[str, Any]:
    """What the run that is under way has chosen, as plain data."""
    try:
        runtime: Any = get_runtime()
    except (KeyError, RuntimeError):  # called by hand, outside a graph
        return {}
    context = runtime.context if runtime is not None else None
    if not isinstance(context, SearchContext):  # another's, of a graph around it
        if isinstance(context, Mapping):
            _warn(*(name for name in SearchContext.model_fields if name in context))
        return {}
    chosen = context.model_dump(include=set(SearchContext.model_fields))
    return {name: value for name, value in chosen.items() if value is not None}


@cache
def _warn(*names: str) -> None:
    """Tell once of what looks like choices of a search, and may be another's."""
    if names:
        logger.warning(
            "context={%s}: passed over by the search, which reads a SearchContext alone: give the "
            "graph around it context_schema=SearchContext",
            ", ".join(f"{name!r}: ..." for name in names),
        )


def in_context(search: SearchConfig, chosen: Mapping[str, Any]) -> SearchConfig:
    """`search` with what a run has chosen.

    Raises:
        SettingsError: It does not fit together.
    """
    changed: dict[str, Any] = {}
    if (name := chosen.get("policy")) is not None:
        changed["policy"] = make_policy(name, width=chosen.get("width"))
    elif (width := chosen.get("width")) is not None:
        changed["policy"] = _wide(search.policy, width)
    if (depth := chosen.get("depth")) is not None:
        changed["limits"] = replace(search.limits, depth=depth)
    if (ahead := chosen.get("speculation")) is not None:
        usual = Speculation.usual(search.engine, *search.engines.values())
        changed["speculation"] = (search.speculation or usual) if ahead else None
    if (tokens := chosen.get("tokens")) is not None:
        limit, rule = MaxTokens(tokens), search.termination
        changed["termination"] = limit if rule is None else rule | limit
    return replace(search, **changed) if changed else search


def _wide(policy: Policy, width: int) -> Policy:
    if "width" in getattr(policy, "__dataclass_fields__", ()):
        widened: Policy = replace(cast(Any, policy), width=width)
        return widened
    raise SettingsError(f"width={width!r}: {policy!r} has no width; name a policy= that has one")
