"""Who writes thoughts: one async protocol, and the plain data that crosses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from spex_agents.engines.prompts import Prompt
from spex_agents.errors import SettingsError, share_above_zero
from spex_agents.search.tree import Thought

Exactness: TypeAlias = Literal["exact", "seeded", "unseeded"]
"""What a seed is worth.

exact: the same seed and prompt give the same thought whatever else runs; seeded: they do unless
batch-dependent rounding flips a token; unseeded: only the distribution is the same.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn, the same for every thought of a search.

    Attributes:
        temperature: 0 is greedy.
        top_p: Draw from the most probable tokens whose probabilities sum up to this.
        top_k: Draw from so many of the most probable tokens; 0 for all.
        stop: Step delimiters: a thought ends before the first of them.
        logprobs: Whether thoughts carry the log-probabilities of their tokens.

    Raises:
        SettingsError: A value is outside its range.

    Example:
        >>> Sampling(temperature=0, stop=(";",)).top_k
        40
    """

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 40
    stop: tuple[str, ...] = ("\n",)
    logprobs: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise SettingsError(f"temperature={self.temperature!r}: must lie in [0, 2]")
        share_above_zero(top_p=self.top_p)
        if self.top_k < 0:
            raise SettingsError(f"top_k={self.top_k!r}: must be at least 0 (0: no limit)")
        if not all(self.stop):
            raise SettingsError(f"stop={self.stop!r}: must be a tuple of non-empty strings")


@dataclass(slots=True, kw_only=True)
class Request:
    """One call in flight: its owner's handle on it.

    Attributes:
        id: Unique among all requests ever sent: run, path and attempt. Servers match prefixes of
            it, so a request's id begins with its run's.
        seed: Seed of the draw.
        demanded: Whether the search waits for it; False is speculation, which goes last.
        tokens: Tokens decoded so far, kept current by the engine and final once the call has
            returned, failed or been cancelled: retries and aborted work included.
        estimated_tokens: Those of them that nobody has told: counted by what was received, or taken
            from how fast others were.
        prompt_tokens: Of its prompt, read anew or not; 0 where the engine does not tell.
        cached_tokens: Those of them that were not read anew, as far as the engine tells.
        started: When its decoding began, on the clock of the running loop, if the engine tells:
            without it, waiting for a slot is taken for slow decoding.
        on_split: Called with it when it makes more calls at a time or fewer: by how many, and with
            the part that has ended, if one has and made one call.

    Example:
        >>> request = Request(id="run-1/0.2/thought-1", seed=7, demanded=False)
        >>> request.demanded, request.tokens
        (False, 0)
    """

    id: str
    seed: int
    demanded: bool = True
    tokens: int = 0
    estimated_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    started: float | None = None
    on_split: Callable[[Request, int, Request | None], None] | None = field(
        default=None, repr=False, compare=False
    )

    def covers(self, other: str) -> bool:
        """Whether `other` is its id, or that of a part of it.

        Example:
            >>> reward = Request(id="run-1/0.2/reward-1", seed=7)
            >>> reward.covers("run-1/0.2/reward-1/3"), reward.covers("run-1/0.2/reward-12")
            (True, False)
        """
        return other == self.id or other.startswith(f"{self.id}/")

    def split(self, more: int, ended: Request | None = None) -> None:
        """It makes so many more calls at a time from now on, or fewer: a part has ended."""
        if self.on_split is not None:
            self.on_split(self, more, ended)

    def add(self, part: Request, paid: Request | None = None) -> None:
        """Count what a part of it has cost, but for what was `paid` before."""
        for count in ("tokens", "estimated_tokens", "prompt_tokens", "cached_tokens"):
            before = 0 if paid is None else getattr(paid, count)
            setattr(self, count, getattr(self, count) + getattr(part, count) - before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What an engine can do.

    Attributes:
        exactness: What a seed is worth there.
        logprobs: Thoughts can carry log-probabilities.
        untried: That is only hoped for: its server has not been asked for any yet.
        labels: `score` can read label probabilities.
        promotion: A waiting or running request can change from speculative to demanded.
        slots: Requests it runs at once, if it knows.
        requests_per_minute: That its provider allows, if it is known to limit them.
        tokens_per_minute: Likewise, of prompts and thoughts together.
        pure: Free of side effects: may be asked for thoughts that the search may never demand.
            Without it a search begins nothing early.
        messages: Takes messages as they are: `Message.source`.
        tools: Offers its model tools: `Prompt.offer`.
        paid: Its provider bills each token, those of prompts included: a search begins early only
            what is likely, unless it is told otherwise (`Speculation.usual`).

    Example:
        >>> Features(exactness="seeded", labels=True).logprobs
        False
    """

    exactness: Exactness
    logprobs: bool = False
    untried: bool = False
    labels: bool = False
    promotion: bool = False
    slots: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    pure: bool = True
    messages: bool = False
    tools: bool = False
    paid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """An engine's own count of its requests.

    Example:
        >>> Load(running=3, waiting=1).running
        3
    """

    running: int
    waiting: int


class Engine(Protocol):
    """Writes and scores thoughts.

    Cancelling the task that awaits `generate` or `score` aborts the request at the server,
    explicitly and with a bounded wait, before the cancellation is passed on. An engine is opened
    lazily and closed by `aclose` (every engine is also an async context manager).

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> engine: Engine = SimulatedEngine()
        >>> engine.name, engine.features.exactness
        ('simulated/paper-7b', 'exact')
    """

    @property
    def name(self) -> str:
        """The engine and its model, for reports: ``embedded/SmolLM2-135M-Instruct``."""
        ...

    @property
    def features(self) -> Features: ...

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply` until a step delimiter, the model's stop or `max_tokens`.

        Raises:
            EngineError: No thought came, after the engine's own retries.
        """
        ...

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the next token, not normalised over the labels.

        Raises:
            EngineError: No answer came, or the engine cannot read label probabilities.
        """
        ...

    async def promote(self, request: Request) -> None:
        """Hurry `request`: the search now waits for it (its `demanded` is already True)."""
        ...

    async def load(self) -> Load: ...

    async def aclose(self) -> None: ...


class Closing:
    """An async context manager that calls `aclose` on the way out; engines build on it.

    Example:
        >>> import asyncio
        >>> class Line(Closing):
        ...     async def aclose(self):
        ...         print("closed")
        >>> async def use():
        ...     async with Line():
        ...         print("open")
        >>> asyncio.run(use())
        open
        closed
    """

    async def aclose(self) -> None:
        """Let go of everything."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
