"""What the virtual clock measures: a search, the hardware, and the world it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from spex_agents.answers.termination import TerminationRule
from spex_agents.bench.deliberate import Deliberate
from spex_agents.bench.trace import TraceReward
from spex_agents.engines.base import Engine
from spex_agents.engines.simulated.api import SimulatedApi
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.fleet import Routing, SimulatedFleet
from spex_agents.engines.simulated.hardware import HARDWARE, Hardware
from spex_agents.engines.simulated.trace import TraceWorld
from spex_agents.engines.simulated.world import World
from spex_agents.errors import SettingsError, at_least_one, at_least_zero
from spex_agents.rewards.asking.votes import VoteConfidence
from spex_agents.rewards.base import Reward
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Limits, Policy
from spex_agents.search.registry import stated
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.slots.budget import Allocation, Budget

_DEPTHS = {"rstar": 5, "ab-mcts": 100, "ab-mcts-m": 100}

DRAFT_TOKENS, DRAFT_COST = 4, 0.1
"""Token-level speculative decoding: tokens drafted for a step, and what drafting adds to it."""


def depth_cap(name: str) -> int:
    """Thoughts in a path of the policy of that name, at most: 10, as in the paper's settings.

    Where each thought is a whole answer, no cap that counts.

    Example:
        >>> depth_cap("rebase"), depth_cap("rstar:create=all")
        (10, 5)
    """
    return _DEPTHS.get(stated(name)[0], 10)


def label(name: str, policy: object) -> str:
    """A search's name in reports: its policy's, its size, and what else is stated with it.

    The size is what `--rollouts` sets, where the policy has none `--width`.

    Example:
        >>> from spex_agents.search import Beam, Rstar
        >>> label("rstar:create=all", Rstar(rollouts=8, create="all"))
        'rstar-8:create=all'
        >>> label("beam", Beam(beams=16, width=4)), label("rstar:rollouts=8", Rstar(rollouts=8))
        ('beam-16', 'rstar-8')
    """
    plain, fields = stated(name)
    names = ("rollouts",) if getattr(policy, "rollouts", None) else ("beams", "width")
    size = next((size for each in names if (size := getattr(policy, each, None))), None)
    fields.pop(next((each for each in names if each in fields), ""), None)
    others = ",".join(f"{field}={value}" for field, value in fields.items())
    return plain + (f"-{size}" if size else "") + (others and f":{others}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the benchmark.

    Attributes:
        preset: Hardware, one of `HARDWARE`, or one of your own.
        name: The policy's name, for the report.
        policy: What is searched with.
        depth: Thoughts in a path, at most.
        queries: Searches that run at the same time on one engine.
        reward_latency: Seconds a reward takes.
        reward_spread: Sigma of its log-normal spread.
        seeds: Runs, each with seeds of its own.
        speculation: What "on" means; its budget is filled in.
        capacity: Of the budget: requests in flight, "slots" for as many as the hardware runs, or
            "online" to find it.
        allocation: Of the budget.
        termination: When searches end early, on, off and with the oracle alike.
        world: Who writes the thoughts; None for the synthetic process.
        replicas: Devices that share the requests evenly, as one large one.
        routing: How requests get to the devices if each is a server of its own, with its own cache
            (`SimulatedFleet`); None for the one large device.
        acceptance_length: Tokens a step yields for a request; more than 1 is token-level
            speculative decoding of `DRAFT_TOKENS` at `DRAFT_COST`.
        reward_workers: Rewards that are judged at a time; None for any number.
        votes: The reward asks the engine: so many completions of each thought's path, at once.
        decision_seconds: What a decision takes, in a worker thread.
        limits: Requests and tokens a minute; the engine is then an API that has no other limit.

    Raises:
        SettingsError: A value is outside its range.
    """

    preset: str | Hardware
    name: str
    policy: Policy
    depth: int
    queries: int = 1
    reward_latency: float = 0.05
    reward_spread: float = 0.0
    seeds: int = 20
    speculation: Speculation = field(default_factory=Speculation)
    capacity: int | Literal["slots", "online"] = "slots"
    allocation: Allocation = "benefit"
    termination: TerminationRule | None = None
    world: World | None = None
    replicas: int = 1
    routing: Routing | None = None
    acceptance_length: float = 1.0
    reward_workers: int | None = None
    votes: int = 0
    decision_seconds: float = 0.0
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        at_least_one(queries=self.queries, seeds=self.seeds, replicas=self.replicas)
        at_least_zero(votes=self.votes, decision_seconds=self.decision_seconds)
        self.reward(self.engine())
        self.budget()
        Limits(depth=self.depth)

    @property
    def label(self) -> str:
        return label(self.name, self.policy)

    def hardware(self) -> Hardware:
        """The preset, its replicas as one, with token-level speculative decoding if asked."""
        if isinstance(self.preset, Hardware):
            hardware = self.preset
        elif self.preset in HARDWARE:
            hardware = HARDWARE[self.preset]
        else:
            raise SettingsError(f"preset={self.preset!r}: must be one of {', '.join(HARDWARE)}")
        if self.replicas > 1 and self.routing is None:
            hardware = replace(
                hardware,
                name=f"{hardware.name} x{self.replicas}",
                slots=hardware.slots * self.replicas,
                per_sequence=hardware.per_sequence / self.replicas,
                compute=hardware.compute / self.replicas,
                slowdown=hardware.slowdown / self.replicas,
            )
        if self.acceptance_length != 1:
            hardware = replace(
                hardware,
                acceptance_length=self.acceptance_length,
                draft_tokens=DRAFT_TOKENS,
                draft_cost=DRAFT_COST,
            )
        return hardware

    def engine(self) -> SimulatedEngine | SimulatedFleet:
        """A new engine, for one run."""
        if self.limits is not None:
            requests, tokens = self.limits
            return SimulatedApi(self.world, requests=requests, tokens=tokens)
        if self.routing is None:
            return SimulatedEngine(self.world, self.hardware())
        return SimulatedFleet(
            self.world, self.hardware(), servers=self.replicas, routing=self.routing
        )

    def engines(self) -> Mapping[str, SimulatedEngine]:
        """New engines of the other models that the policy asks for, for one run.

        They take 2, 1/2, 3, 1/3 ... times as long for a token as the search's own.
        """
        names = [name for name in getattr(self.policy, "models", ()) if name]
        hardware = self.hardware()
        paces = [(2 + at // 2) ** (-1 if at % 2 else 1) for at in range(len(names))]
        return {
            name: SimulatedEngine(self.world, replace(hardware, name=name), speed=1 / pace)
            for name, pace in zip(names, paces, strict=True)
        }

    def budget(self) -> Budget:
        """A new budget, for one run."""
        requests, tokens = self.limits or (None, None)
        limited = partial(
            Budget,
            allocation=self.allocation,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
        )
        match self.capacity:
            case "slots":
                return limited(self.hardware().slots)
            case "online":
                return limited(None)
            case int(capacity):
                return limited(capacity)
        raise SettingsError(f"capacity={self.capacity!r}: must be a number, or 'slots' or 'online'")

    def ahead(self) -> Speculation:
        """What "on" means in one run: with a budget of its own."""
        return replace(self.speculation, budget=self.budget())

    def reward(self, engine: Engine) -> Reward:
        """A new reward, for all searches of one run."""
        latency, spread = self.reward_latency, self.reward_spread
        if self.votes:
            return VoteConfidence(engine, samples=self.votes)
        if isinstance(self.world, TraceWorld):
            return TraceReward(world=self.world, latency=latency, spread=spread)
        return SimulatedReward(latency=latency, spread=spread, max_concurrency=self.reward_workers)

    def config(
        self,
        engine: Engine,
        speculation: Speculation | None,
        reward: Reward | None = None,
        engines: Mapping[str, Engine] | None = None,
    ) -> SearchConfig:
        """What its searches are made of, on an engine of its own."""
        deciding = self.decision_seconds
        return SearchConfig(
            engine=engine,
            policy=Deliberate(self.policy, deciding) if deciding else self.policy,
            reward=reward or self.reward(engine),
            engines=self.engines() if engines is None else engines,
            limits=Limits(depth=self.depth, step_tokens=1024, path_tokens=1024 * self.depth),
            termination=self.termination,
            failures=None,  # a figure of a tree with holes is none
            speculation=speculation,
        )

    def search(self, run: int, query: int) -> tuple[str, int]:
        """The question and the seed of one search; those of a trace come first as recorded."""
        if isinstance(self.world, TraceWorld):
            turn, index = divmod(run * self.queries + query, len(self.world.questions))
            return self.world.questions[index], turn
        return f"question {query}", run * 10_000 + query
