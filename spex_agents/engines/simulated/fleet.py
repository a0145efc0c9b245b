"""Several simulated servers behind a router: where a request goes, and what is read anew there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from spex_agents.engines.base import Closing, Features, Load, Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.engines.simulated.requests import QUESTION_TOKENS, Node, node_of, prefix
from spex_agents.engines.simulated.world import World
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.search.tree import Thought

Routing: TypeAlias = Literal["prefix", "least-load"]

IMBALANCE, IMBALANCE_RATIO, MATCH = 64, 1.5, 0.3
"""Of sglang-router's cache-aware policy, by default: how far apart loads are where the least loaded
server is taken, and the share of a prompt that a server must know to be preferred."""


class _Server(SimulatedEngine):
    """One server, which remembers all that it has read or written."""

    def __init__(self, world: World | None, hardware: Hardware, fleet: SimulatedFleet) -> None:
        super().__init__(world, hardware)
        self.fleet = fleet
        self.cached: set[Node] = set()

    def reading_seconds(self, request: Request) -> float:
        missing = [node for node in prefix(request) if node not in self.cached]
        self.cached.update(missing)
        tokens = sum(map(self.fleet.tokens_of, missing))
        self.fleet.read_tokens += tokens
        return tokens * self.hardware.compute


class SimulatedFleet(Closing):
    """Simulated servers with caches of their own, none of which ever forgets.

    A token of a prompt that a server has not in its cache takes the time of its arithmetic
    (`Hardware.compute`), in which the server decodes nothing.

    Args:
        world: The source of the thoughts.
        hardware: Of each server.
        servers: How many.
        routing: "prefix" is the rule of sglang-router's cache-aware policy: to the server that
            knows most of the prompt, unless the loads are far apart. "least-load" goes by the
            requests that run or wait there alone.

    Attributes:
        read_tokens: Tokens of prompts read so far, the first reading of each question included.

    Raises:
        SettingsError: A value is outside its range.

    Example:
        >>> from spex_agents.engines.simulated.hardware import HARDWARE
        >>> fleet = SimulatedFleet(None, HARDWARE["paper-7b"], servers=4, routing="prefix")
        >>> fleet.read_tokens
        0
    """

    def __init__(
        self, world: World | None, hardware: Hardware, *, servers: int, routing: Routing
    ) -> None:
        at_least_one(servers=servers)
        if routing not in get_args(Routing):
            raise SettingsError(
                f"routing={routing!r}: must be one of {', '.join(get_args(Routing))}"
            )
        self.hardware = hardware
        self.routing = routing
        self.servers = [_Server(world, hardware, self) for _ in range(servers)]
        self.read_tokens = 0
        self._tokens: dict[Node, int] = {}
        self._sent: list[set[Node]] = [set() for _ in range(servers)]
        self._at: dict[str, _Server] = {}

    def __repr__(self) -> str:
        return f"<SimulatedFleet {self.name} at={[server.running for server in self.servers]}>"

    @property
    def name(self) -> str:
        return f"simulated/{len(self.servers)} x {self.hardware.name}"

    @property
    def features(self) -> Features:
        return replace(self.servers[0].features, slots=self.hardware.slots * len(self.servers))

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply` at one of the servers."""
        server = self._route(request)
        try:
            thought = await server.generate(
                prompt, request, sampling=sampling, max_tokens=max_tokens
            )
        finally:
            del self._at[request.id]
        node = node_of(request)
        self._tokens[node] = thought.tokens
        server.cached.add(node)
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """Score at one of the servers."""
        server = self._route(request)
        try:
            return await server.score(prompt, request, labels=labels)
        finally:
            del self._at[request.id]

    async def promote(self, request: Request) -> None:
        """Hurry `request`, or its parts, where they are."""
        at = (server for name, server in self._at.items() if request.covers(name))
        for server in dict.fromkeys(at):
            await server.promote(request)

    async def load(self) -> Load:
        loads = [await server.load() for server in self.servers]
        return Load(
            running=sum(load.running for load in loads), waiting=sum(load.waiting for load in loads)
        )

    async def aclose(self) -> None:
        """Fail what is still in flight."""
        for server in self.servers:
            await server.aclose()

    def tokens_of(self, node: Node) -> int:
        return self._tokens.get(node, 0) if len(node) > 1 else QUESTION_TOKENS

    def _route(self, request: Request) -> _Server:
        chosen = self._choose(prefix(request))
        self._sent[chosen] |= {*prefix(request), node_of(request)}
        self._at[request.id] = self.servers[chosen]
        return self.servers[chosen]

    def _choose(self, nodes: Sequence[Node]) -> int:
        loads = [server.running + server.waiting for server in self.servers]
        low, high = min(loads), max(loads)
        least = loads.index(low)
        if self.routing == "least-load" or (
            high - low > IMBALANCE and high > IMBALANCE_RATIO * low
        ):
            return least
        matches = [
            sum(self.tokens_of(node) for node in nodes if node in sent) for sent in self._sent
        ]
        most = max(matches)
        return matches.index(most) if most > MATCH * sum(map(self.tokens_of, nodes)) else least
