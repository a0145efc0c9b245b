"""Any async function as an engine: templates, an agent of one's own, a call to a service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from spex_agents._functions import called, check_async
from spex_agents.engines.base import Closing, Exactness, Features, Load, Request, Sampling
from spex_agents.engines.calls.cut import estimated_tokens
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Thought

ProposeFunction: TypeAlias = Callable[[str, Sequence[str], int], Awaitable[str | Thought]]
"""``async def propose(question, steps, seed) -> str | Thought``: the next step of a path."""


class Proposer(Closing):
    """Writes thoughts with ``async def function(question, steps, seed) -> str | Thought``.

    A text is a step, and ends its path if an answer is found in it, if it is empty, or where the
    policy asks for whole answers; its tokens are estimated, one to four characters. A `Thought`
    tells all that itself; its tokens are estimated likewise where it tells none. Prompts of a
    policy's own do not reach the function.

    Cancelling the search, or the thought, cancels the call: what is awaited in it gets an
    `asyncio.CancelledError`.

    Args:
        function: Gets the question, the texts of the path's thoughts so far, and a seed that is the
            same whenever the thought is asked for.
        pure: Declares it a pure function of these three: free of side effects, so that it may be
            called for thoughts that the search never demands, and the same thought each time.
            Without it nothing is begun early.
        exactness: What the seed is worth there, if that is not told by `pure`: a function that only
            calls a model is free of side effects, and may be "unseeded" all the same.
        max_concurrency: Calls in flight at most, demanded ones first; None for no limit.
        name: For reports; by default the function's own.

    Raises:
        SettingsError: `function` is not async or does not take these three, or a setting is not
            among what is allowed.

    Example:
        >>> from spex_agents import BestOfN, create_tot_graph
        >>> async def propose(question: str, steps: Sequence[str], seed: int) -> str:
        ...     return f"The answer is {seed % 2}"
        >>> async def known(question: str, steps: Sequence[str]) -> float:
        ...     return float("1" in steps[-1])
        >>> graph = create_tot_graph(Proposer(propose, pure=True), reward=known).compile()
        >>> graph.invoke({"question": "Heads or tails?"})["answer"]
        '1'
    """

    def __init__(
        self,
        function: ProposeFunction,
        *,
        pure: bool = False,
        exactness: Exactness | None = None,
        max_concurrency: int | None = None,
        name: str | None = None,
    ) -> None:
        wanted = ("question", "steps", "seed")
        check_async("propose", function, *wanted, returns="str | Thought")
        if exactness not in (None, "exact", "seeded", "unseeded"):
            raise SettingsError(f"exactness={exactness!r}: must be exact, seeded or unseeded")
        self._function = function
        self._gate = Gate(max_concurrency)
        self._name = name or called(function)
        self._features = Features(
            exactness=exactness or ("exact" if pure else "unseeded"),
            promotion=True,
            slots=max_concurrency,
            pure=pure,
        )

    def __repr__(self) -> str:
        return f"Proposer({self._name}, pure={self._features.pure})"

    @property
    def name(self) -> str:
        return f"function/{self._name}"

    @property
    def features(self) -> Features:
        return self._features

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Call the function for the thought after the path that `prompt` tells.

        Raises:
            EngineError: The prompt tells no path, or what the function returned is no thought.
        """
        asked = prompt.plain or prompt
        if asked.question is None:
            raise EngineError(
                f"{self.name} can only go on from a question and its steps: pass this reward "
                "another engine"
            )
        steps = [thought.text for thought in asked.steps]
        async with self._gate.place(request):
            request.started = asyncio.get_running_loop().time()
            found: object = await self._function(asked.question, steps, request.seed)
        thought = _thought(found, whole=not sampling.stop)
        if thought is None:
            raise EngineError(f"{self.name} returned {found!r}: must be a str or a Thought")
        request.tokens += thought.tokens
        if not (isinstance(found, Thought) and found.tokens):
            request.estimated_tokens += thought.tokens
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """A function gives no label probabilities.

        Raises:
            EngineError: Always.
        """
        raise EngineError(f"{self.name} judges nothing: pass this reward another engine")

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        return Load(running=self._gate.running, waiting=self._gate.waiting)


def _thought(found: object, *, whole: bool) -> Thought | None:
    if isinstance(found, Thought):
        told = found.tokens or estimated_tokens(found.reasoning + found.text)
        return replace(found, tokens=told)
    if not isinstance(found, str):
        return None
    ends = whole or not found
    return Thought(
        text=found, tokens=estimated_tokens(found), finish="stop" if ends else "step", ends=ends
    )
