"""What a request comes to: the compiled graph of its search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from spex_agents.cli.choices import REWARDS, make_reward
from spex_agents.errors import SettingsError
from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.run import SearchGraph
from spex_agents.search.limits import Limits
from spex_agents.search.registry import make_policy
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.errors import ApiError, explain
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.settings import Hosting
from spex_agents.speculation.termination import ExactStop, MaxTokens

_IN_SPEX = ("width", "rollouts", "step_tokens", "path_tokens", "reward", "aggregate", "vote")
_PLACES: Mapping[str, str] = {
    **{name: f"spex.{name}" for name in _IN_SPEX},
    **{name: name for name in ("temperature", "top_p")},
}
"""Where a request has a setting, by the setting's name."""


def search_graph(
    request: ChatRequest,
    catalogue: Catalogue,
    hosting: Hosting,
    saver: BaseCheckpointSaver[Any],
    *,
    share: str | None,
) -> SearchGraph:
    """The compiled graph of the search that `request` asks for.

    Args:
        request: Of a client.
        catalogue: The models.
        hosting: Limits, and what holds where the request does not say.
        saver: Of its checkpoints.
        share: Whose slots it may take to run ahead; None for it not to.

    Raises:
        ApiError: The request is not valid.
    """
    asked = request.spex
    model = catalogue.find(request.model)
    engine: Any = model.engine
    sizes = {**model.size, **_given(width=asked.width, rollouts=asked.rollouts)}
    _check_most(hosting, depth=asked.depth, **sizes)
    if asked.reward is not None and asked.reward not in REWARDS:  # a module's name least of all
        raise ApiError(
            400,
            f"reward={asked.reward!r}: must be one of {', '.join(REWARDS)}",
            param="spex.reward",
        )
    speculation = None
    if share is not None and asked.speculation is not False:
        speculation = replace(hosting.speculation, share=share)
    try:
        limits = Limits(
            **_given(
                depth=asked.depth or min(Limits().depth, hosting.most_depth),
                step_tokens=asked.step_tokens,
                path_tokens=asked.path_tokens,
            )
        )
        sampling = replace(
            hosting.sampling,
            **_given(temperature=request.temperature, top_p=request.top_p),
        )
        graph = create_tot_graph(
            engine,
            policy=make_policy(model.policy, **sizes),
            reward=make_reward(
                asked.reward or hosting.reward,
                engine,
                sampling=sampling,
                limits=limits,
                aggregate=asked.aggregate or "last",
            ),
            limits=limits,
            sampling=sampling,
            template=request.asked.template,
            vote=asked.vote or "weighted",
            stop=ExactStop() | MaxTokens(int(min(request.token_limit, hosting.most_tokens))),
            speculation=speculation,
        )
    except SettingsError as error:
        raise explain(error, names=_PLACES) from error
    return graph.compile(checkpointer=saver)


def _check_most(hosting: Hosting, **asked: int | None) -> None:
    for name, value in asked.items():
        most = hosting.most_depth if name == "depth" else hosting.most_width
        if value is not None and value > most:
            raise ApiError(
                400, f"{name}={value}: must be at most {most} here", param=f"spex.{name}"
            )


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
