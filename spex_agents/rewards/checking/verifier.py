"""Any async function as a reward: unit tests, an exact checker, a call to a service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import isawaitable

from spex_agents._functions import called, check_async
from spex_agents.engines.base import Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.errors import RewardError
from spex_agents.rewards.base import RewardFunction
from spex_agents.search.tree import Critique, Thought


@dataclass(frozen=True, slots=True, init=False, weakref_slot=True)
class Verifier:
    """Scores with ``async def function(question, steps) -> float``, a number in [0, 1].

    Args:
        function: Gets the question and the texts of the path's thoughts.
        pure: Declares it free of side effects: it may then be called for thoughts that the search
            never demands. Its value must be the same each time in any case.
        max_concurrency: Calls that run at a time, the demanded ones first, over all searches with
            this reward; None for no limit. Give it where more at once are no faster: as many as
            there are processors for tests, as a service allows.
        speaks: Declares that it may return a [`Critique`][spex_agents.search.Critique]: what is
            said in it is then shown to later tries, which wait for it.
        name: For reports; by default the function's own.

    Raises:
        SettingsError: `function` is not async, or does not take these two, or
            `max_concurrency` is below 1.

    Example:
        >>> import asyncio
        >>> async def short(question: str, steps: Sequence[str]) -> float:
        ...     return 1 / len(steps)
        >>> steps = [Thought(text="2 + 2", tokens=3), Thought(text="= 4", tokens=2)]
        >>> asyncio.run(Verifier(short).score("What is 2 + 2?", steps, Request(id="r", seed=7)))
        0.5
    """

    function: RewardFunction
    pure: bool
    name: str
    needs_logprobs: bool
    seeded: bool
    speaks: bool
    max_concurrency: int | None
    _gate: Gate = field(repr=False, compare=False)

    def __init__(
        self,
        function: RewardFunction,
        *,
        pure: bool = False,
        max_concurrency: int | None = None,
        name: str | None = None,
        speaks: bool = False,
    ) -> None:
        check_async("reward", function, "question", "steps", returns="float")
        settings = {"function": function, "pure": pure, "name": name or called(function)}
        settings |= {"needs_logprobs": False, "seeded": False, "speaks": speaks}
        settings |= {"max_concurrency": max_concurrency, "_gate": Gate(max_concurrency)}
        for attribute, value in settings.items():
            object.__setattr__(self, attribute, value)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: The function has returned without being awaited, or has spoken unannounced.
        """
        async with self._gate.place(request):
            request.started = asyncio.get_running_loop().time()
            value = self.function(question, [thought.text for thought in thoughts])
            declare = f"Verifier({self.name}, speaks=True)"
            return await returned(value, self.name, speaks=self.speaks, declare=declare)


async def returned(value: object, name: str, *, speaks: bool, declare: str) -> float:
    """What a reward function of a user's comes to, from what calling it has given.

    Raises:
        RewardError: The function has returned without being awaited, or has spoken unannounced.
    """
    if not isawaitable(value):
        raise RewardError(
            f"reward {name!r} returned {value!r} without being awaited: write it as `async def` "
            "(asyncio.to_thread runs what blocks)"
        )
    reward: float = await value
    if isinstance(reward, Critique) and not speaks:
        raise RewardError(
            f"reward {name!r} returned words: declare them, {declare}, so that later tries wait "
            "for them"
        )
    return reward
