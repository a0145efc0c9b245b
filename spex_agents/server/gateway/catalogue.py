"""Model names: which engine and which policy a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from spex_agents.engines.base import Engine
from spex_agents.errors import SettingsError
from spex_agents.search.registry import POLICIES, over_several, sizes
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.settings import Agent

DEFAULT = "spex"
"""The name of a gateway's engine where none is given."""

_ENGINE = re.compile(r"[\w.-]+")
_POLICY = re.compile(r"(?P<policy>[a-z-]+?)(?:-(?P<size>[1-9]\d{0,5}))?")


@dataclass(frozen=True, slots=True)
class Model:
    """What a model name stands for: `size` is one of the policy's, by its name, or nothing.

    Without a policy an agent has its own. `others` write besides the engine, by their names.
    """

    engine: Engine
    policy: str | None
    size: Mapping[str, int]
    agent: Agent | None = None
    others: Mapping[str, Engine] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For metrics."""
        return self.policy or "agent"


class Catalogue:
    """The models of a gateway: ``ENGINE/POLICY-SIZE``, any size, or none for the policy's own.

    The size is the number of rollouts of a policy that has some, else its width. An agent is
    ``ENGINE/AGENT``, or ``ENGINE/AGENT/POLICY-SIZE`` for another policy than its own. Policies over
    several models take ``ENGINE+ENGINE``; the first of them is the search's own.

    Args:
        engines: By the names that models begin with.
        agents: By the names that follow an engine's.

    Raises:
        SettingsError: There is no engine, or a name is not a word, or a policy's.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> models = Catalogue({"spex": SimulatedEngine(), "large": SimulatedEngine()})
        >>> models.names()[0], dict(models.find("spex/rstar-10").size)
        ('spex/rebase-16', {'rollouts': 10})
        >>> list(models.find("spex+large/ab-mcts-32").others)
        ['large']
    """

    def __init__(
        self, engines: Mapping[str, Engine], agents: Mapping[str, Agent] | None = None
    ) -> None:
        if not engines:
            raise SettingsError("engines={}: give at least one")
        for name in engines:
            if not _ENGINE.fullmatch(name):
                raise SettingsError(
                    f"engine {name!r}: a name has letters, digits, and . - _ only: spex"
                )
        for name in agents or ():
            if not _ENGINE.fullmatch(name) or ((like := _POLICY.fullmatch(name)) and _known(like)):
                raise SettingsError(
                    f"agent {name!r}: a name has letters, digits, and . - _ only, and is no "
                    "policy's: coder"
                )
        self.engines = dict(engines)
        self.agents = dict(agents or {})

    def names(self) -> list[str]:
        """All engines with their agents, and policies, each of the policy's own size.

        Where there are several engines, all of them together with the policies over several.
        """
        agents = [f"{engine}/{agent}" for engine in self.engines for agent in self.agents]
        own = [f"{engine}/{_sized(policy)}" for engine in self.engines for policy in POLICIES]
        several = "+".join(self.engines)
        together = [f"{several}/{_sized(policy)}" for policy in POLICIES if over_several(policy)]
        return agents + own + (together if len(self.engines) > 1 else [])

    def find(self, name: str) -> Model:
        """What `name` stands for.

        Raises:
            ApiError: Nothing; 404, as OpenAI has it.
        """
        named, _, search = name.partition("/")
        engine, *others = named.split("+")
        agent, _, policy = search.partition("/")
        if agent in self.agents:
            search = policy
        found = _POLICY.fullmatch(search)
        own = agent in self.agents and name == f"{named}/{agent}"
        known = self.engines.keys() >= {engine, *others} and len({engine, *others}) > len(others)
        if not known or not (own or (found and _known(found))):
            agents = f", or ENGINE/AGENT with {', '.join(self.agents)}" if self.agents else ""
            raise ApiError(
                404,
                f"model={name!r}: must be ENGINE/POLICY-SIZE, with an engine among "
                f"{', '.join(self.engines)} (or several, ENGINE+ENGINE, each once) and a policy "
                f"among {', '.join(POLICIES)}{agents}; "
                f"for example {self.names()[0]}",
                param="model",
                code="model_not_found",
            )
        given, more = self.agents.get(agent), {other: self.engines[other] for other in others}
        if own or found is None:
            return Model(self.engines[engine], None, {}, given, more)
        policy = found["policy"]
        size = {_size_of(policy): int(found["size"])} if found["size"] else {}
        return Model(self.engines[engine], policy, size, given, more)


def _known(name: re.Match[str]) -> bool:
    return name["policy"] in POLICIES


def _sized(policy: str) -> str:
    return f"{policy}-{sizes(policy)[_size_of(policy)]}"


def _size_of(policy: str) -> str:
    return "rollouts" if "rollouts" in sizes(policy) else "width"
