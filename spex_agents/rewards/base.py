"""How good a thought is: one async protocol, in which a plain async callable serves too."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, TypeGuard, cast

from spex_agents._functions import check_async
from spex_agents.engines.base import Engine, Request
from spex_agents.errors import RewardError, SettingsError
from spex_agents.search.tree import Critique, Thought


class Reward(Protocol):
    """Scores the last of `thoughts` in its path.

    The score must depend on nothing but the question, the thoughts and `request.seed`, so that it
    is the same whenever it is asked for. Higher is better; it lies in [0, 1].

    Attributes:
        name: For reports.
        needs_logprobs: Thoughts must carry log-probabilities.
        pure: Free of side effects: may be called for thoughts that the search may never demand.
        seeded: Optional: whether the score depends on `request.seed`, as it does where it is not
            said. One that does not may be shared by all paths of the same texts.
        engine: Optional: the engine that it asks.
        calls: Optional: requests that it makes of that at a time, for one path; else 1.
        speaks: Optional: whether it may return a [`Critique`][spex_agents.search.Critique], whose
            words later tries of a path can read; else only the number counts.
        max_concurrency: Optional: paths that it scores at a time, if there is a limit: the others
            wait, the demanded ones first.

    Example:
        >>> from spex_agents.rewards import Calculator
        >>> reward: Reward = Calculator()
        >>> reward.name, reward.pure, reward.needs_logprobs
        ('calculator', True, False)
    """

    @property
    def name(self) -> str: ...
    @property
    def needs_logprobs(self) -> bool: ...
    @property
    def pure(self) -> bool: ...

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score a path.

        Args:
            question: The question at the root.
            thoughts: The path's thoughts, from the root's child to the thought to score.
            request: Id and seed for any model call this makes; add the tokens decoded to it.

        Returns:
            A number in [0, 1].
        """
        ...


class GroupReward(Reward, Protocol):
    """Scores thoughts by comparing them: all those that one decision of the policy demands.

    Those are the layer of a breadth-first policy, and the siblings of a depth-first one. A group is
    scored when the last of its thoughts is written, and never for thoughts begun early, whose
    group is not known before it is demanded.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.rewards import GroupVote
        >>> reward: GroupReward = GroupVote(SimulatedEngine())
        >>> reward.name
        'group-vote'
    """

    async def score_group(
        self, question: str, group: Sequence[Sequence[Thought]], request: Request
    ) -> Sequence[float]:
        """Score paths by comparing them.

        Args:
            question: The question at the root.
            group: The paths, each as `score` gets it, in the order in which they were demanded.
            request: As of `score`, for the whole group.

        Returns:
            A number in [0, 1] for each path.
        """
        ...


RewardFunction: TypeAlias = Callable[[str, Sequence[str]], Awaitable[float]]
"""``async def reward(question, steps) -> float``: the shortest way to write a reward."""


def check_members(reward: object) -> Reward:
    """Return a reward that has what `Reward` asks for.

    Raises:
        SettingsError: It is a class, or lacks something.
    """
    if isinstance(reward, type):
        raise SettingsError(f"reward={reward.__name__}: is a class, pass an instance of it")
    wanted = ("name", "needs_logprobs", "pure", "score")
    if missing := [name for name in wanted if not hasattr(reward, name)]:
        raise SettingsError(f"reward={reward!r}: has no {', '.join(missing)}; see Reward")
    checked = cast(Reward, reward)
    arguments = ("question", "thoughts", "request")
    check_async("reward.score", checked.score, *arguments, returns="float")
    return checked


def check_single(reward: object) -> Reward:
    """Return a reward that scores one path by itself, as what wraps rewards needs.

    Raises:
        SettingsError: It compares paths, or is no reward.
    """
    checked = check_members(reward)
    if in_groups(checked):
        raise SettingsError(
            f"reward {checked.name!r} compares thoughts with each other: pass it to a search as it "
            "is, or wrap a reward of single paths"
        )
    return checked


def in_groups(reward: Reward) -> TypeGuard[GroupReward]:
    """Whether `reward` compares thoughts instead of scoring each by itself."""
    return hasattr(reward, "score_group")


def is_seeded(reward: Reward) -> bool:
    """Whether the scores of `reward` may depend on the request's seed."""
    return bool(getattr(reward, "seeded", True))


def speaks(reward: Reward) -> bool:
    """Whether the scores of `reward` may say something besides their number."""
    return bool(getattr(reward, "speaks", False))


def asks(reward: Reward) -> Engine | None:
    """The engine that `reward` asks, if it asks one."""
    return cast("Engine | None", getattr(reward, "engine", None))


def calls(reward: Reward) -> int:
    """Requests that `reward` makes of its engine at a time, for one path."""
    return int(getattr(reward, "calls", 1))


def places(reward: Reward) -> int | None:
    """Paths that `reward` scores at a time, if there is a limit."""
    return cast("int | None", getattr(reward, "max_concurrency", None))


class Wrapper:
    """What a reward made of another one has in common with it."""

    __slots__ = ()

    reward: Reward

    @property
    def name(self) -> str:
        return self.reward.name

    @property
    def needs_logprobs(self) -> bool:
        return self.reward.needs_logprobs

    @property
    def pure(self) -> bool:
        return self.reward.pure

    @property
    def seeded(self) -> bool:
        return is_seeded(self.reward)

    @property
    def speaks(self) -> bool:
        return speaks(self.reward)

    @property
    def engine(self) -> Engine | None:
        return asks(self.reward)

    @property
    def calls(self) -> int:
        return calls(self.reward)

    @property
    def max_concurrency(self) -> int | None:
        return places(self.reward)


def check_reward(value: object, name: str) -> float:
    """Return a reward that is a number in [0, 1], with what it says besides.

    Raises:
        RewardError: It is not.

    Example:
        >>> check_reward(1, "mine")
        1.0
    """
    if isinstance(value, bool | int | float) and math.isfinite(value) and 0 <= value <= 1:
        return value if isinstance(value, Critique) else float(value)
    raise RewardError(f"reward {name!r} returned {value!r}: must be a number in [0, 1]")
