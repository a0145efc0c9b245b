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
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

import anyio

from spex_agents.engines.base import Request
from spex_agents.errors import EngineError, RewardError, SessionClosed, SpexError
from spex_agents.rewards.base import check_reward
from spex_agents.search.answers import Ballot, canonical, elect, plain_form
from spex_agents.search.policy import Decision, Expand, Finish, State, ask
from spex_agents.search.tree import Path, Thought, Tree, derive_seed
from spex_agents.speculation.budget import budget_of
from spex_agents.speculation.config import Forecast, Known, SearchConfig, Speculation
from spex_agents.speculation.ledger import Ledger
from spex_agents.speculation.prediction import Prediction
from spex_agents.speculation.selection import forecaster
from spex_agents.speculation.telemetry import record
from spex_agents.speculation.termination import Standing

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""How long closing waits for the engine to confirm that everything was aborted."""

KEEP = 0.4
"""A thought under way is kept while its probability is at least this share of the threshold: what
it has cost already is no longer a cost."""

Value = TypeVar("Value", Thought, float)


class ThoughtEvent(TypedDict):
    """What happened to a thought, for whoever watches the search.

    `status` is "speculative" (begun before it was demanded), "accepted" (in the tree), "scored"
    (its reward is in the tree) or "cancelled" (retracted before it was demanded).
    """

    type: Literal["thought"]
    id: str
    parent: str
    status: Literal["speculative", "accepted", "scored", "cancelled"]
    text: str
    reward: float | None


Listener: TypeAlias = Callable[[ThoughtEvent], None]


@dataclass(slots=True)
class Job(Generic[Value]):
    """A thought or a reward being made. `guess`: it was begun before it was demanded."""

    task: asyncio.Task[Value]
    request: Request
    guess: bool
    begun: float
    ended: float | None = None
    cancelled: float | None = None


class Session:
    """One search: its committed tree, and everything in flight for it.

    Use it as an async context manager, or call `close`: nothing outlives that.

    Args:
        config: What the search is made of.
        tree: The committed tree to go on from; one without thoughts begins a search.
        state: The policy's state that belongs to `tree`; None for its start.
        decision: The decision that came with `state`; None before the first.
        run: First part of all request ids; every session needs its own.
        listener: Called with every event.
    """

    def __init__(
        self,
        config: SearchConfig,
        tree: Tree,
        *,
        run: str,
        state: State = None,
        decision: Decision | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.config = config
        self.tree = tree
        self.state = config.policy.start() if state is None else state
        self.run = run
        self.listener = listener
        self.ledger = Ledger()
        self.stopped: str | None = None
        """The stopping rule that ended the search, if one did."""
        self.thoughts: dict[Path, Thought] = dict(tree.thoughts)
        self.rewards: dict[Path, float] = dict(tree.rewards)
        self.writing: dict[Path, Job[Thought]] = {}
        self.scoring: dict[Path, Job[float]] = {}
        self._guesses: dict[Path, Job[Thought]] = {}
        self._failed: set[Path] = set()
        """Paths whose guess has failed: not guessed again, or a fault would be met without end."""
        self._took: dict[Path, float] = {}
        self._spent: dict[Path, int] = {}
        self._answers: dict[Path, str | None] = {}
        self._attempts: Counter[Path] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._decision = decision
        self._planned: asyncio.Handle | None = None
        self._budget = budget_of(config.engine)  # it counts searches that do not run ahead as well
        self._prediction = Prediction()
        self._forecast: Forecast | None = None
        if config.speculation is not None:
            self._budget = config.speculation.budget or self._budget
            self._prediction = Prediction(self._budget.prediction)
            self._forecast = forecaster(
                config.speculation, config.policy, config.limits, self._prediction
            )

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        status = "closed" if self._closing else f"{len(self._tasks)} calls in flight"
        return f"<Session {self.run}: {len(self.tree)} thoughts, {status}>"

    # The steps of the search.

    async def decide(self) -> Decision:
        """Ask the policy, then the stopping rule, what comes next.

        Raises:
            PolicyError: The policy broke its contract.
        """
        state, decision = ask(self.config.policy, self.state, self.tree, self.config.limits)
        stopped = None
        if isinstance(decision, Expand) and (stop := self.config.stop) is not None:
            standing = Standing(
                ballots=await self._ballots(state),
                vote=self.config.vote,
                remaining=self.config.policy.remaining(state, self.tree),
                tokens=sum(thought.tokens for thought in self.tree.thoughts.values()),
            )
            if stop(standing):
                # The policy's own decision is dropped, and the state that belongs to it.
                state, stopped, decision = self.state, str(stop), Finish()
        # All at once, and after the last await: a plan made meanwhile, or a cancellation, meets the
        # state and the decision that belong together.
        self.state, self.stopped, self._decision = state, stopped, decision
        self._replan()
        return decision

    async def expand(self, paths: Iterable[Path]) -> dict[Path, Thought]:
        """Take the thoughts at `paths`, all at once, and commit them in that order.

        Raises:
            EngineError: A thought could not be written; nothing of this call is committed.
        """
        due = [path for path in paths if path not in self.tree]
        # What is under way first: a thought that begins may push guesses out, but none of these.
        for path in sorted(due, key=lambda path: path not in self._guesses):
            self._demand(path)
        thoughts = {path: await self.take(path) for path in due}
        self.tree = self.tree.with_thoughts(thoughts)
        for path, thought in thoughts.items():
            self.ledger.use(thought.tokens)
            self.ledger.useful_seconds += self._took.pop(path, 0.0)
            self._emit(path, "accepted", text=thought.text)
        return thoughts

    async def evaluate(self, paths: Iterable[Path]) -> dict[Path, float]:
        """Take the rewards of the committed thoughts at `paths`, and commit them in that order.

        Raises:
            RewardError: A reward failed or is out of range; nothing of this call is committed.
        """
        due = [path for path in paths if path not in self.tree.rewards and self._rewarded(path)]
        for path in due:
            if path not in self.rewards and path not in self.scoring:
                self._score(path, guess=False)
        rewards = {
            path: await self._settle(path, self.rewards, self.scoring, self._score) for path in due
        }
        self.tree = self.tree.with_rewards(rewards)
        for path, reward in rewards.items():
            self.ledger.use(self._spent.pop(path, 0))
            self._emit(path, "scored", reward=reward)
        return rewards

    async def ballots(self) -> list[Ballot]:
        """The votes of the committed leaves that have an answer, in the order of commitment."""
        return await self._ballots(self.state)

    async def _ballots(self, state: State) -> list[Ballot]:
        votes = []
        voters = self.config.policy.voters(state, self.tree)
        for path in self.tree.leaves() if voters is None else voters:
            if path not in self._answers:
                self._answers[path] = await self._answer(path)
            if (answer := self._answers[path]) is not None:
                votes.append(Ballot(answer, self.tree.rewards.get(path, 0.0)))
        return votes

    async def answer(self) -> str | None:
        """The answer that the committed leaves elect; None if none of them has one."""
        return elect(await self.ballots(), self.config.vote)

    async def _answer(self, path: Path) -> str | None:
        text = self.config.template.prompt(self.tree.question, self.tree.chain(path)).reply
        if (answer := self.config.extract(text)) is None:
            return None
        if (easy := plain_form(answer)) is not None:
            return easy
        return await asyncio.to_thread(canonical, answer)

    # The memo table.

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
            path: A path whose parent's text is known.
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
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not self._closing.done():
                try:
                    await asyncio.wait([self._closing])
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled
        self._closing.result()
        record(self.ledger)

    async def _drain(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
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
            self.ledger.hits += 1
            self.ledger.saved_seconds += (guess.ended or now) - guess.begun
            if path in self.writing:
                self.ledger.promoted += 1
                self._promote(guess.request)
            elif (scoring := self.scoring.get(path)) is not None:
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
        job = self._job(self._generate(thoughts, request), request, guess=guess)
        self.writing[path] = job
        job.task.add_done_callback(lambda _: self._written(path, job))
        self._budget.begin(self, path, request, worth)
        # After its own search has it: the free slot may begin another's thought, and fail.
        job.task.add_done_callback(lambda _: self._budget.end(request))
        return job

    async def _generate(self, before: Sequence[Thought], request: Request) -> Thought:
        config = self.config
        try:
            thought = await config.engine.generate(
                config.template.prompt(self.tree.question, before),
                request,
                sampling=config.sampling,
                max_tokens=config.limits.room(before, to_end=config.policy.to_end),
            )
        except SpexError:
            raise
        except Exception as error:
            raise EngineError(f"{config.engine.name} failed: {error!r}") from error
        if config.extract(thought.text) is not None:
            thought = replace(thought, ends=True)
        return config.limits.close(thought, before)

    def _written(self, path: Path, job: Job[Thought]) -> None:
        self._finish(path, job, self.writing)
        # One that finished as it was retracted counts as cancelled: another may have replaced it.
        if job.task.cancelled() or job.cancelled is not None or self._closing is not None:
            return
        if job.task.exception() is None:
            thought = self.thoughts[path] = job.task.result()
            self._took[path] = (job.ended or job.begun) - job.begun
            self._prediction.learn_end(path, ends=thought.ends)
            if self._rewarded(path) and (job.request.demanded or self.config.reward.pure):
                self._score(path, guess=not job.request.demanded)
        elif job.guess:
            self._guesses.pop(path, None)
            self._failed.add(path)
            self.ledger.failed += 1
        self._replan()

    def _rewarded(self, path: Path) -> bool:
        return self.thoughts[path].ends or not self.config.policy.leaves_only

    def _score(self, path: Path, *, guess: bool) -> Job[float]:
        request = self._request(path, "reward", guess=guess)
        job = self._job(self._evaluate(self._chain(path), request), request, guess=guess)
        self.scoring[path] = job
        job.task.add_done_callback(lambda _: self._scored(path, job))
        return job

    async def _evaluate(self, thoughts: Sequence[Thought], request: Request) -> float:
        reward = self.config.reward
        try:
            value = await reward.score(self.tree.question, thoughts, request)
        except SpexError:
            raise
        except Exception as error:
            raise RewardError(f"reward {reward.name!r} failed: {error!r}") from error
        return check_reward(value, reward.name)

    def _scored(self, path: Path, job: Job[float]) -> None:
        self._finish(path, job, self.scoring)
        if job.task.cancelled() or self._closing is not None:
            return
        if job.task.exception() is None:
            self.rewards[path] = job.task.result()
            self._spent[path] = job.request.tokens
            self._prediction.learn_reward(path, self.thoughts, self.rewards)
        self._replan()

    # What both kinds of jobs share.

    def _chain(self, path: Path) -> tuple[Thought, ...]:
        return tuple(self.thoughts[path[: depth + 1]] for depth in range(len(path)))

    def _request(self, path: Path, purpose: str, *, guess: bool) -> Request:
        self._attempts[path] += 1
        return Request(
            id=f"{self.run}/{path_id(path)}/{purpose}-{self._attempts[path]}",
            seed=derive_seed(self.tree.seed, path, purpose),
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
        status: Literal["speculative", "accepted", "scored", "cancelled"],
        *,
        text: str = "",
        reward: float | None = None,
    ) -> None:
        if self.listener is not None:
            self.listener(
                ThoughtEvent(
                    type="thought",
                    id=path_id(path),
                    parent=path_id(path[:-1]),
                    status=status,
                    text=text,
                    reward=reward,
                )
            )

    # Running ahead.

    def _replan(self) -> None:
        """Plan once all that happens at this moment has happened."""
        if self._forecast is not None and self._planned is None and self._closing is None:
            self._planned = asyncio.get_running_loop().call_soon(self._plan)

    def _plan(self) -> None:
        self._planned = None
        settings = self.config.speculation
        if settings is None or self._forecast is None or self._closing is not None:
            return
        started = perf_counter()
        known = Known(self.tree, self.state, self._decision, self.thoughts, self.rewards)
        try:
            chances = self._forecast(known)
        except Exception:
            logger.exception("no forecast: the search goes on without running ahead")
            self._forecast, chances = None, {}
        for path in [path for path in self._guesses if path in self.writing]:
            if chances.get(path, 0.0) < settings.threshold * KEEP:
                self.retract(path)
        least = self._least(settings, chances)
        worth = {
            path: chance
            for path, chance in chances.items()
            if path not in self.thoughts
            and path not in self._failed
            and (chance >= least or path in self.writing)
        }
        self._budget.offer(self, worth)
        self.ledger.plans += 1
        self.ledger.plan_seconds += perf_counter() - started

    def _least(self, settings: Speculation, chances: Mapping[Path, float]) -> float:
        """The probability to ask for now, higher the more has been wasted.

        A thought of probability p adds (1 - p) to the waste for each p of use: from 1 / (1 + w) on
        it brings a ratio above w down.
        """
        strict = 1 / (1 + settings.waste)
        if strict <= settings.threshold:
            return settings.threshold
        spent = min(1.0, self._waste(chances) / settings.waste) if settings.waste else 1.0
        return settings.threshold + (strict - settings.threshold) * spent

    def _waste(self, chances: Mapping[Path, float]) -> float:
        """The waste ratio to expect of what has been begun so far."""
        useful, wasted = float(self.ledger.useful_tokens), float(self.ledger.wasted_tokens)
        committed = self.tree.thoughts.values()
        mean = sum(thought.tokens for thought in committed) / len(committed) if committed else 1.0
        for path in self._guesses:
            if (thought := self.thoughts.get(path)) is not None:
                wasted -= thought.tokens  # counted as waste until it is taken
            tokens = thought.tokens if thought is not None else mean
            useful += tokens * chances.get(path, 0.0)
            wasted += tokens * (1 - chances.get(path, 0.0))
        useful += mean * sum(job.request.demanded for job in self.writing.values())
        return wasted / useful if useful else 0.0


def path_id(path: Path) -> str:
    """The name of a path in events and request ids: ``0.3.1``; the root's is empty."""
    return ".".join(map(str, path))
