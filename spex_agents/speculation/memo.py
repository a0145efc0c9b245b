"""The memo table of one search: thoughts and rewards by path, begun early or on demand.

The search demands paths, the speculator predicts them, and both begin them here, each once: whoever
comes second finds the work under way. The search sees demanded values only, so its tree is the same
whatever was begun early.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

from spex_agents.engines.base import Prompt, Request
from spex_agents.errors import EngineError, RewardError, SessionClosed, SpexError
from spex_agents.rewards.base import GroupReward, Reward, check_reward, in_groups
from spex_agents.search.action import Action, told
from spex_agents.search.tree import Path, Thought, Tree, derive_seed
from spex_agents.speculation.budget import budget_of
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.events import Listener, Status, ThoughtEvent, path_id
from spex_agents.speculation.ledger import Ledger
from spex_agents.speculation.prediction import Prediction
from spex_agents.speculation.telemetry import Outcome, ThoughtSpan, ThoughtSpans, record
from spex_agents.waiting import until_ended

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""How long closing waits for the engine to confirm that everything was aborted."""

Value = TypeVar("Value", Thought, float)


@dataclass(slots=True)
class Job(Generic[Value]):
    """A thought or a reward being made. `guess`: it was begun before it was demanded."""

    task: asyncio.Task[Value]
    request: Request
    guess: bool
    begun: float
    ended: float | None = None
    cancelled: float | None = None
    span: ThoughtSpan = field(default_factory=ThoughtSpan)


class Memo:
    """Everything that has been begun for one search, by path; it owns every task and request.

    Use it as an async context manager, or call `close`: nothing outlives that.

    Args:
        config: What the search is made of.
        tree: What is known already.
        run: First part of all request ids; every search needs its own.
        listener: Called with every event.
    """

    def __init__(
        self, config: SearchConfig, tree: Tree, *, run: str, listener: Listener | None = None
    ) -> None:
        self.config = config
        self.run = run
        self.listener = listener
        self.ledger = Ledger()
        self.thoughts: dict[Path, Thought] = dict(tree.thoughts)
        self.rewards: dict[Path, float] = dict(tree.rewards)
        self.writing: dict[Path, Job[Thought]] = {}
        self.scoring: dict[Path, Job[float]] = {}
        self._question = tree.question
        self._seed = tree.seed
        self._guesses: dict[Path, Job[Thought]] = {}
        self._hits: set[Path] = set()
        self._failed: set[Path] = set()
        """Paths whose guess has failed: not guessed again, or a fault would be met without end."""
        self._took: dict[Path, float] = {}
        self._spent: dict[Path, int] = {}
        self._attempts: Counter[Path] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None
        # A search that does not run ahead is counted by its engine's budget as well.
        own = config.speculation.budget if config.speculation is not None else None
        self._budget = own or budget_of(config.engine)
        self._prediction = Prediction(self._budget.prediction)
        self._spans = ThoughtSpans()
        self._opened = asyncio.get_running_loop().time()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _changed(self) -> None:
        """Something has become known; for whoever builds on this."""

    async def take(self, path: Path) -> Thought:
        """Return the thought at `path`: the one begun early, or one written now.

        A guess that failed is no error of the search: its work is done again.

        Raises:
            EngineError: The thought could not be written on demand.
            SessionClosed: The session was closed meanwhile.
        """
        self._demand(path)
        return await self._settle(path, self.thoughts, self.writing, self._write)

    def launch(self, path: Path, worth: float = 1.0) -> None:
        """Begin the thought at `path` before it is demanded.

        Args:
            path: A path whose parent's text is known, and its elders' where it goes on with theirs.
            worth: The probability that it will be demanded.

        Raises:
            SessionClosed: The session was closed.
        """
        if path in self.thoughts or path in self.writing or path in self._failed:
            return  # begun, or found to fail, since it was offered
        self._guesses[path] = self._write(path, guess=True, worth=worth)
        self.ledger.launched += 1
        self._emit(path, "speculative")

    def retract(self, path: Path) -> None:
        """Cancel the thought at `path`, which was begun early and has become improbable."""
        del self._guesses[path]
        job = self.writing.pop(path)
        self._budget.retracting(job.request)
        self._cancel(job)
        self.ledger.retracted += 1
        self._emit(path, "cancelled")

    async def close(self) -> None:
        """Abort everything in flight and wait for it, even if the caller is cancelled meanwhile.

        The ledger is complete afterwards, and its figures are on the current OpenTelemetry span.
        """
        if self._closing is None:
            self._budget.leave(self)
            self._closing = asyncio.create_task(self._drain(), context=contextvars.Context())
        await until_ended(self._closing)
        self._closing.result()
        record(self.ledger)

    async def _drain(self) -> None:
        left = {**self._guesses, **self.writing}
        for writing in self.writing.values():
            self._cancel(writing)
        for scoring in self.scoring.values():
            self._cancel(scoring)
        for task in self._tasks:
            if not task.cancelling():  # a second cancellation would interrupt the first one's work
                task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            if late:
                logger.warning("%d calls were not aborted in %s s", len(late), CLOSE_SECONDS)
        for path, guess in self._guesses.items():
            if path in self.thoughts:  # the others have ended as they were cancelled
                guess.span.end("wasted", guess.request.tokens)
        try:
            for path, job in left.items():
                self._emit(path, "wasted", tokens=job.request.tokens)
        except Exception:  # a listener's fault must not keep a search from closing
            logger.exception("a listener failed")

    @property
    def ahead(self) -> Collection[Path]:
        """What has been begun early and not been demanded so far."""
        return self._guesses.keys()

    @property
    def tokens(self) -> int:
        """Tokens decoded so far, those in flight included."""
        writing = sum(job.request.tokens for job in self.writing.values())
        scoring = sum(job.request.tokens for job in self.scoring.values())
        return self.ledger.decoded_tokens + writing + scoring

    def _demand(self, path: Path) -> None:
        """Begin the thought at `path`, or take over the guess that began it."""
        if (guess := self._guesses.pop(path, None)) is not None:
            now = asyncio.get_running_loop().time()
            self._emit(path, "demanded")
            self.ledger.hits += 1
            self._hits.add(path)
            self.ledger.saved_seconds += (guess.ended or now) - guess.begun
            if path in self.writing:
                self.ledger.promoted += 1
                self._promote(guess.request)
                return
            guess.span.end("hit", guess.request.tokens)
            if (scoring := self.scoring.get(path)) is not None:
                self._promote(scoring.request)
        elif path not in self.thoughts and path not in self.writing:
            self._write(path, guess=False)

    def _promote(self, request: Request) -> None:
        request.demanded = True
        self._own(self.config.engine.promote(request))

    async def _settle(
        self,
        path: Path,
        known: dict[Path, Value],
        flying: dict[Path, Job[Value]],
        begin: Callable[..., Job[Value]],
    ) -> Value:
        while path not in known:
            job = flying.get(path) or begin(path, guess=False)
            await asyncio.wait([job.task])
            if job.task.cancelled():
                raise SessionClosed(f"thought {path_id(path)} was cancelled with its session")
            if (error := job.task.exception()) is not None and not job.guess:
                raise error
        return known[path]

    def _write(self, path: Path, *, guess: bool, worth: float = 1.0) -> Job[Thought]:
        thoughts = self._chain(path[:-1])
        request = self._request(path, "thought", guess=guess)
        job = self._job(self._generate(path, thoughts, request), request, guess=guess)
        job.span = self._spans.begin(path_id(path), guess=guess)
        self.writing[path] = job
        job.task.add_done_callback(lambda _: self._written(path, job))
        self._budget.begin(self, path, request, worth)
        # After its own search has it: the free slot may begin another's thought, and fail.
        job.task.add_done_callback(lambda _: self._budget.end(request))
        if not guess:
            self._emit(path, "begun")
        return job

    async def _generate(self, path: Path, before: Sequence[Thought], request: Request) -> Thought:
        config = self.config
        for elder in self._elders(path):
            if elder not in self.thoughts:
                await self.take(elder)  # demanded work only waits: no guess begins before them
                self._budget.restart(request)
        action, prompt = self._prompt(path, before)
        sampling = replace(config.sampling, stop=()) if action.to_end else config.sampling
        try:
            thought = await config.engine.generate(
                prompt,
                request,
                sampling=sampling,
                max_tokens=config.limits.room(before, to_end=action.to_end),
            )
        except SpexError:
            raise
        except Exception as error:
            raise EngineError(f"{config.engine.name} failed: {error!r}") from error
        thought = replace(thought, text=action.cue + thought.text)
        if action.goes_on and thought.finish == "stop":
            thought = replace(thought, finish="step", ends=False)
        if config.extract(thought.text) is not None:
            thought = replace(thought, ends=True)
        return config.limits.close(thought, before)

    def _prompt(self, path: Path, before: Sequence[Thought]) -> tuple[Action, Prompt]:
        """How the thought at `path` is asked for, with its cue, and the prompt that asks."""
        template, action = self.config.template, self.config.policy.action
        steps = [(thought, action(path[:depth])) for depth, thought in enumerate(before, 1)]
        question, thoughts, asked = told(self._question, steps, action(path))
        elders = [self.thoughts[elder] for elder in self._elders(path)]
        prompt = template.prompt(question, thoughts, asked, elders)
        return asked, replace(prompt, plain=template.prompt(self._question, before))

    def _elders(self, path: Path) -> list[Path]:
        """The siblings whose texts belong to the prompt of `path`."""
        if not self.config.policy.action(path).lists:
            return []
        return [(*path[:-1], index) for index in range(path[-1])]

    def _written(self, path: Path, job: Job[Thought]) -> None:
        self._finish(path, job, self.writing)
        self._trace(path, job)
        if len(path) == 1 and (asked := job.request.prompt_tokens):  # the least: others may be cued
            self.ledger.prompt_tokens = min(asked, self.ledger.prompt_tokens or asked)
        # One that finished as it was retracted counts as cancelled: another may have replaced it.
        if job.task.cancelled() or job.cancelled is not None or self._closing is not None:
            return
        if job.task.exception() is None:
            thought = self.thoughts[path] = job.task.result()
            self._took[path] = (job.ended or job.begun) - job.begun
            self._prediction.learn_end(path, ends=thought.ends)
            self._emit(path, "written", text=thought.text, tokens=job.request.tokens)
            reward = self.config.reward
            early = not in_groups(reward) and (job.request.demanded or reward.pure)
            if early and self._rewarded(path):
                self._score(path, guess=not job.request.demanded)
        else:
            if job.guess:
                self._guesses.pop(path, None)
                self._hits.discard(path)
                self._failed.add(path)
                self.ledger.failed += 1
            self._emit(path, "failed", tokens=job.request.tokens)
        self._changed()

    def _trace(self, path: Path, job: Job[Thought]) -> None:
        tokens = job.request.tokens
        if job.cancelled is not None or job.task.cancelled() or self._closing is not None:
            closing: Outcome = "cancelled" if job.request.demanded else "wasted"
            job.span.end("retracted" if self._closing is None else closing, tokens)
        elif job.task.exception() is not None:
            job.span.end("failed", tokens)
        elif job.request.demanded:
            job.span.end("hit" if job.guess else "demanded", tokens)
        else:
            job.span.written()

    def _rewarded(self, path: Path) -> bool:
        return self.thoughts[path].ends or not self.config.policy.leaves_only

    def _score(self, path: Path, *, guess: bool) -> Job[float]:
        request = self._request(path, "reward", guess=guess)
        job = self._job(self._evaluate(self._chain(path), request), request, guess=guess)
        self.scoring[path] = job
        job.task.add_done_callback(lambda _: self._scored(path, job))
        self._emit(path, "scoring")
        return job

    async def _evaluate(self, thoughts: Sequence[Thought], request: Request) -> float:
        reward = self.config.reward
        with _failing(reward):
            value = await reward.score(self._question, thoughts, request)
        return check_reward(value, reward.name)

    def _score_group(self, paths: Sequence[Path], reward: GroupReward) -> None:
        """Begin the rewards of thoughts that are compared: one call, under the first of them."""
        first = paths[0]
        if first in self.rewards or first in self.scoring:
            return
        request = self._request(first, "reward", guess=False)
        job = self._job(self._compare(paths, reward, request), request, guess=False)
        self.scoring[first] = job
        job.task.add_done_callback(lambda _: self._scored(first, job))
        for path in paths:
            self._emit(path, "scoring")

    async def _compare(self, paths: Sequence[Path], reward: GroupReward, request: Request) -> float:
        """The reward of the first path; those of the others are known from then on."""
        group = [self._chain(path) for path in paths]
        with _failing(reward):
            values = await reward.score_group(self._question, group, request)
        if len(values) != len(paths):
            raise RewardError(
                f"reward {reward.name!r} returned {len(values)} numbers for {len(paths)} thoughts: "
                "must be one for each"
            )
        first, *others = [check_reward(value, reward.name) for value in values]
        for path, value in zip(paths[1:], others, strict=True):
            self.rewards[path] = value
            self._prediction.learn_reward(path, self.thoughts, self.rewards)
            self._emit(path, "judged", reward=value)
        return first

    def _scored(self, path: Path, job: Job[float]) -> None:
        self._finish(path, job, self.scoring)
        if job.task.cancelled() or self._closing is not None:
            return
        if job.task.exception() is None:
            self.rewards[path] = job.task.result()
            self._spent[path] = job.request.tokens
            self._prediction.learn_reward(path, self.thoughts, self.rewards)
            self._emit(path, "judged", reward=self.rewards[path], tokens=job.request.tokens)
        self._changed()

    # What both kinds of jobs share.

    def _chain(self, path: Path) -> tuple[Thought, ...]:
        return tuple(self.thoughts[path[: depth + 1]] for depth in range(len(path)))

    def _request(self, path: Path, purpose: str, *, guess: bool) -> Request:
        self._attempts[path] += 1
        return Request(
            id=f"{self.run}/{path_id(path)}/{purpose}-{self._attempts[path]}",
            seed=derive_seed(self._seed, path, purpose),
            demanded=not guess,
        )

    def _job(
        self, work: Coroutine[Any, Any, Value], request: Request, *, guess: bool
    ) -> Job[Value]:
        return Job(self._own(work), request, guess, asyncio.get_running_loop().time())

    def _own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        if self._closing is not None:
            work.close()
            raise SessionClosed(f"{self!r} takes no more work: open another session")
        # An empty context: nothing of the node that happened to ask leaks into what outlives it.
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: who waits for the task raises it, and often nobody does

    def _finish(self, path: Path, job: Job[Value], flying: dict[Path, Job[Value]]) -> None:
        if flying.get(path) is job:
            del flying[path]
        job.ended = asyncio.get_running_loop().time()
        self.ledger.wasted_tokens += job.request.tokens
        if job.cancelled is not None:
            self.ledger.abort(job.ended - job.cancelled)

    def _cancel(self, job: Job[Any]) -> None:
        job.cancelled = asyncio.get_running_loop().time()
        job.task.cancel()

    def _emit(
        self,
        path: Path,
        status: Status,
        *,
        text: str = "",
        reward: float | None = None,
        tokens: int | None = None,
    ) -> None:
        if self.listener is not None:
            seconds = asyncio.get_running_loop().time() - self._opened
            self.listener(
                ThoughtEvent(
                    type="thought",
                    id=path_id(path),
                    parent=path_id(path[:-1]),
                    status=status,
                    text=text,
                    reward=reward,
                    seconds=round(seconds, 6),
                    tokens=tokens,
                )
            )


@contextmanager
def _failing(reward: Reward) -> Iterator[None]:
    """Name the reward in whatever it raises."""
    try:
        yield
    except SpexError:
        raise
    except Exception as error:
        raise RewardError(f"reward {reward.name!r} failed: {error!r}") from error
