"""What a request comes to: the compiled graph of its search."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

from spex_agents.answers.limits import MaxTokens
from spex_agents.answers.termination import ExactStop
from spex_agents.engines.base import Features
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import SettingsError
from spex_agents.named import REWARDS, make_reward
from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.settings import CHAT, SearchSettings
from spex_agents.search.limits import Limits
from spex_agents.search.registry import make_policy, over_models
from spex_agents.search.registry import sizes as policy_sizes
from spex_agents.server.gateway.catalogue import Catalogue, Model
from spex_agents.server.gateway.errors import ApiError, explain
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.keys import sha256_of
from spex_agents.server.gateway.messages import Asked
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.settings import Agent
from spex_agents.speculation.config import Speculation

AnyGraph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

MOST_WASTE = 10.0
"""What is held back for waste, for each useful token, where waste has no bound."""

PLANS, GRAPHS = 32, 4
"""How many plans are kept, and graphs of each: with and without running ahead, and for keys that
have little left."""

_DECIDES: Any = {
    "model": True,
    "spex": {
        *("width", "rollouts", "depth", "step_tokens", "path_tokens"),
        *("reward", "aggregate", "vote", "speculation"),
    },
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "max_completion_tokens"), True),
    **dict.fromkeys(("response_format", "tools", "tool_choice", "parallel_tool_calls"), True),
}
"""What of a request its plan depends on, besides its system messages."""

_IN_SPEX = ("width", "rollouts", "step_tokens", "path_tokens", "reward", "aggregate", "vote")
_PLACES: Mapping[str, str] = {
    **{name: f"spex.{name}" for name in _IN_SPEX},
    **{name: name for name in ("temperature", "top_p")},
    "policy": "model",
    "answer_schema": "response_format",
}
"""Where a request has a setting, by the setting's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that is valid: what is left to say is how much its search may use.

    Attributes:
        estimate: Tokens that it may decode, about, if it does not run ahead.
        ahead: The same if it does.
        most: Committed tokens after which it decides no further.
    """

    estimate: int
    ahead: int
    most: int
    _agent: Agent
    _engine: Any
    _search: SearchSettings
    _speculation: Speculation | None
    _saver: BaseCheckpointSaver[Any]
    _graphs: dict[tuple[str | None, int], AnyGraph] | None

    def limit(self, tokens: int | None) -> int:
        """Committed tokens after which it ends, if it was granted so many."""
        return self.most if tokens is None else max(1, min(self.most, tokens))

    def graph(self, *, share: str | None, tokens: int | None) -> AnyGraph:
        """The compiled graph, which any number of searches may share; an agent's is made anew.

        Args:
            share: Whose slots it may take to run ahead; None for it not to.
            tokens: What it was granted; None for no limit.
        """
        limit = self.limit(tokens)
        if self._graphs is None:
            return self._made(share, limit)
        if (share, limit) not in self._graphs:
            if len(self._graphs) >= GRAPHS:
                self._graphs.clear()
            self._graphs[share, limit] = self._made(share, limit)
        return self._graphs[share, limit]

    def _made(self, share: str | None, limit: int) -> AnyGraph:
        stop = MaxTokens(limit, waste=False)
        speculation = None
        if share is not None and self._speculation is not None:
            speculation = replace(self._speculation, share=share)
        search: SearchSettings = {
            **self._search,
            "termination": stop if "answer_schema" in self._search else ExactStop() | stop,
            "speculation": speculation,
        }
        return self._agent.create(self._engine, **search).compile(checkpointer=self._saver)


class Plans:
    """What requests ask for: those that differ in question and seed alone have one plan.

    A team's requests seldom differ in more, and a graph takes milliseconds to make and compile.

    Args:
        catalogue: The models.
        hosting: Limits, and what holds where a request does not say.
        saver: Of the checkpoints.
    """

    def __init__(
        self, catalogue: Catalogue, hosting: Hosting, saver: BaseCheckpointSaver[Any]
    ) -> None:
        self._catalogue = catalogue
        self._hosting = hosting
        self._saver = saver
        self._known: OrderedDict[str, Plan] = OrderedDict()

    def of(self, request: ChatRequest) -> Plan:
        """The plan of a request.

        Raises:
            ApiError: The request is not valid.
        """
        request.check(strict=self._hosting.strict)
        model = self._catalogue.find(request.model)
        if model.agent is not None or _asked(request, model).conversation is not None:
            # An agent's graph is made by a function that may do what it likes.
            return _plan(request, model, self._hosting, self._saver, shared=False)
        same = sha256_of(f"{request.model_dump_json(include=_DECIDES)}{request.asked.system}")
        if same not in self._known:
            plan = _plan(request, model, self._hosting, self._saver, shared=True)
            self._known[same] = plan
            if len(self._known) > PLANS:
                self._known.popitem(last=False)
        self._known.move_to_end(same)
        return self._known[same]


def _plan(
    request: ChatRequest,
    model: Model,
    hosting: Hosting,
    saver: BaseCheckpointSaver[Any],
    *,
    shared: bool,
) -> Plan:
    asked = request.spex
    engine: Any = model.engine
    sizes = {**model.size, **_given(width=asked.width, rollouts=asked.rollouts)}
    _check_most(hosting, depth=asked.depth, **sizes)
    if asked.reward is not None and asked.reward not in REWARDS:  # a module's name least of all
        raise ApiError(
            400,
            f"reward={asked.reward!r}: must be one of {', '.join(REWARDS)}",
            param="spex.reward",
        )
    writers: list[Any] = [engine, *model.others.values()]
    takes_messages = all(writer.features.messages for writer in writers)
    if request.asked.conversation is not None and not takes_messages:
        raise ApiError(
            400,
            f"messages: {request.model} takes text alone: leave the images out, or ask a model "
            "that its gateway has as a chat model",
            param="messages",
        )
    agent = model.agent or Agent(create_tot_graph)
    usual: Any = CHAT if engine.features.messages else {}
    own: SearchSettings = {**usual, **agent.search}
    try:
        usual = own.get("limits", Limits())
        limits = replace(
            usual,
            depth=asked.depth or min(usual.depth, hosting.most_depth),
            **_given(step_tokens=asked.step_tokens, path_tokens=asked.path_tokens),
        )
        if request.token_limit < limits.path_tokens:
            longest = int(request.token_limit)
            limits = replace(
                limits, path_tokens=longest, step_tokens=min(limits.step_tokens, longest)
            )
        sampling = replace(
            hosting.sampling,
            stop=own.get("sampling", hosting.sampling).stop,
            **_given(temperature=request.temperature, top_p=request.top_p),
        )
        search: SearchSettings = {
            **own,
            "limits": limits,
            "sampling": sampling,
            "template": _asked(request, model).told_by(own.get("template", PromptTemplate())),
        }
        if model.policy is not None:
            search["policy"] = over_models(make_policy(model.policy, **sizes), model.others)
            search["engines"] = model.others
        elif model.others:
            raise SettingsError(
                f"model={request.model!r}: an agent has a policy of its own; name one for several "
                f"engines: {request.model}/ab-mcts-32"
            )
        elif sizes:
            raise SettingsError(
                f"{next(iter(sizes))}={next(iter(sizes.values()))}: model {request.model} has a "
                f"policy of its own; name one to size it: {request.model}/rebase-8"
            )
        search |= _form(request, model, search["template"])
        if asked.vote is not None:
            search["vote"] = asked.vote
        if model.agent is None or asked.reward is not None or asked.aggregate is not None:
            search["reward"] = make_reward(
                asked.reward or hosting.reward,
                engine,
                sampling=sampling,
                limits=limits,
                aggregate=asked.aggregate or "last",
            )
        most = int(min(request.token_limit, hosting.most_tokens))
        estimate = min(most, _size(model, sizes, limits))
        ahead = None if asked.speculation is False else hosting.ahead(engine)
        plan = Plan(
            most=most,
            estimate=estimate,
            ahead=int(estimate * (1 + (min(ahead.waste, MOST_WASTE) if ahead else 0))),
            _agent=agent,
            _engine=engine,
            _search=search,
            _speculation=ahead,
            _saver=saver,
            _graphs={} if shared else None,
        )
        plan.graph(share=None, tokens=None)  # so that what does not fit is told now
    except SettingsError as error:
        raise explain(error, names=_PLACES) from error
    return plan


def _form(request: ChatRequest, model: Model, template: PromptTemplate) -> SearchSettings:
    """What an answer is: of a schema, or the call of a tool."""
    form: SearchSettings = {}
    if offers := _offers(request, model):
        form["template"] = replace(template, offer=request.offer)
    if (schema := request.schema_wanted) is not None:
        form["answer_schema"] = schema
    elif (tools := request.offered) is not None and model.agent is None:
        if offers:
            tools = replace(tools, offered=True)
        else:
            form["template"] = replace(template, close=tools.asks)
        form["extract"], form["canonical"] = tools.extract, tools.canonical
        form["free_text"] = not tools.required
    return form


def _offers(request: ChatRequest, model: Model) -> bool:
    """Whether the model behind the engine is offered the tools of a request."""
    features: Features = model.engine.features
    return features.tools and model.agent is None and request.offer is not None


def _asked(request: ChatRequest, model: Model) -> Asked:
    return request.asked_with_tools if _offers(request, model) else request.asked


def _size(model: Model, sizes: Mapping[str, int], limits: Limits) -> int:
    """Tokens of the largest tree: of `width` nodes in each layer, or in each of each rollout."""
    if model.policy is None:
        return sys.maxsize
    nodes = math.prod({**policy_sizes(model.policy), **sizes}.values()) * limits.depth
    return nodes * limits.step_tokens


def _check_most(hosting: Hosting, **asked: int | None) -> None:
    for name, value in asked.items():
        most = hosting.most_depth if name == "depth" else hosting.most_width
        if value is not None and value > most:
            raise ApiError(
                400, f"{name}={value}: must be at most {most} here", param=f"spex.{name}"
            )


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
