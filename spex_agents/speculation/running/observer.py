"""What happens in a search, told in one place: to its ledger, its listener and OpenTelemetry."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.reporting.events import Listener, Status, path_id, thought_event
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.reporting.telemetry import ThoughtSpans
from spex_agents.speculation.running.jobs import Job

logger = logging.getLogger(__name__)


class Observer:
    """Sees every step of a thought's life, counts it, and tells it.

    Args:
        listener: Called with every event; None for nobody.
        engine: Names the engine that writes a path.

    Attributes:
        ledger: What has been counted.
        rows: What of it was for thoughts, by the engine that was asked for them.
        most_sent: Tokens of the longest prompt of a thought that is written; None before one is.
        most_judged: Tokens that a reward has taken at most, and of its prompts; None likewise.
    """

    def __init__(self, listener: Listener | None, engine: Callable[[Path], str]) -> None:
        self.listener = listener
        self.ledger = Ledger()
        self.rows: defaultdict[str, Ledger] = defaultdict(Ledger)
        self.most_sent: int | None = None
        self.most_judged: tuple[int, int] | None = None
        self._engine = engine
        self._spans = ThoughtSpans()
        self._hits: set[Path] = set()
        self._took: dict[Path, float] = {}
        self._spent: dict[Path, int] = {}
        self._asked: dict[tuple[str, Path], int] = {}
        """Tokens of the prompts of what is there and not taken."""
        self._opened = asyncio.get_running_loop().time()

    def _row(self, path: Path) -> Ledger:
        return self.rows[self._engine(path)]

    def begun(self, job: Job[Thought]) -> None:
        self._spans.begin(job.request, path_id(job.path))
        for ledger in (self.ledger, self._row(job.path)):
            ledger.launched += job.guess
            ledger.thought_calls += 1
        self.tell(job.path, "speculative" if job.guess else "begun")

    def scoring(self, paths: Collection[Path]) -> None:
        """A reward is asked for, which may compare several thoughts."""
        self.ledger.reward_calls += 1
        for path in paths:
            self.tell(path, "scoring")

    def demanded(self, guess: Job[Thought]) -> None:
        """A thought begun early is demanded, which may be written by now."""
        now = asyncio.get_running_loop().time()
        self.ledger.hits += 1
        self._row(guess.path).hits += 1
        self._hits.add(guess.path)
        self.ledger.ahead_seconds += (guess.ended or now) - guess.begun
        if guess.ended is None:
            self.ledger.promoted += 1
        else:
            self._spans.end(guess.request, "hit")
        self.tell(guess.path, "demanded")

    def retracted(self, guess: Job[Thought]) -> None:
        self.ledger.retracted += 1
        self.tell(guess.path, "cancelled")

    def ended(self, job: Job[Any]) -> None:
        """A thought or a reward is under way no longer, however it went."""
        assert job.ended is not None  # noqa: S101 (narrowing)
        self.ledger.calls += 1
        self.ledger.sent_tokens += job.request.prompt_tokens
        # In vain and wasted until the search takes what they gave.
        self.ledger.vain_tokens += job.request.prompt_tokens
        self.ledger.cached_tokens += job.request.cached_tokens
        self.ledger.estimated_tokens += job.request.estimated_tokens
        self.ledger.wasted_tokens += job.request.tokens
        if job.cancelled is not None:
            self.ledger.aborted_tokens += job.request.tokens
            self.ledger.abort(job.ended - job.cancelled)

    def prompted(self, job: Job[Thought]) -> None:
        """A thought's engine has told what it took, and perhaps how long its prompt was."""
        row = self._row(job.path)
        row.calls += 1
        row.sent_tokens += job.request.prompt_tokens
        row.wasted_tokens += job.request.tokens
        if len(job.path) == 1 and (asked := job.request.prompt_tokens):
            # The least is the question's own: others may be cued.
            self.ledger.prompt_tokens = min(asked, self.ledger.prompt_tokens or asked)

    def aborted(self, job: Job[Thought], *, closing: bool) -> None:
        """A thought that was given up has ended at its engine."""
        if not closing:
            self._spans.end(job.request, "retracted")
        else:
            self._spans.end(job.request, "cancelled" if job.request.demanded else "wasted")

    def failed(self, job: Job[Thought]) -> None:
        self.ledger.failed += job.guess
        self._hits.discard(job.path)
        self._spans.end(job.request, "failed")
        self.tell(job.path, "failed", tokens=job.request.tokens)

    def lost(self, path: Path, *, written: bool) -> None:
        """The search goes on without a path, whose thought or reward has failed."""
        self.ledger.lost += 1
        if written:  # that the thought's request has failed was told
            self.tell(path, "failed")

    def written(self, job: Job[Thought], thought: Thought) -> None:
        if job.request.demanded:
            self._spans.end(job.request, "hit" if job.guess else "demanded")
        else:
            self._spans.written(job.request)
        self._asked["thought", job.path] = job.request.prompt_tokens
        self.most_sent = max(self.most_sent or 0, job.request.prompt_tokens)
        self._took[job.path] = (job.ended or job.begun) - job.begun
        text, reasoning, tokens = thought.text, thought.reasoning, job.request.tokens
        self.tell(job.path, "written", text=text, reasoning=reasoning, tokens=tokens)

    def accepted(self, path: Path, thought: Thought) -> None:
        """The search has taken a thought."""
        self.ledger.use(thought.tokens)
        self.ledger.vain_tokens -= self._asked.pop(("thought", path), 0)
        self._row(path).use(thought.tokens)
        if path in self._hits:
            self.ledger.hit_tokens += thought.tokens
        self.ledger.useful_seconds += self._took.pop(path, 0.0)
        self.tell(
            path,
            "accepted",
            text=thought.text,
            reasoning=thought.reasoning,
            tokens=thought.tokens,
            same_as=thought.same_as,
        )

    def judged(self, path: Path, reward: float, job: Job[float] | None) -> None:
        """A reward has arrived: by `job`, or with that of another thought."""
        if job is not None:
            self._spent[path] = job.request.tokens
            self._asked["reward", path] = job.request.prompt_tokens
            tokens, sent = self.most_judged or (0, 0)
            self.most_judged = (
                max(tokens, job.request.tokens),
                max(sent, job.request.prompt_tokens),
            )
        self.tell(path, "judged", reward=reward, tokens=None if job is None else job.request.tokens)

    def scored(self, path: Path, reward: float) -> None:
        """The search has taken a reward."""
        self.ledger.use(self._spent.pop(path, 0))
        self.ledger.vain_tokens -= self._asked.pop(("reward", path), 0)
        self.tell(path, "scored", reward=reward)

    def closed(self, left: Collection[Job[Thought]]) -> None:
        """The search has ended, and has not taken the thoughts that are `left`."""
        for job in left:
            if job.ended is not None:  # one that is not aborted yet tells its own end
                self._spans.end(job.request, "wasted")
        try:
            for job in left:
                self.tell(job.path, "wasted", tokens=job.request.tokens)
        except Exception:  # a listener's fault must not keep a search from closing
            logger.exception("a listener failed")

    def tell(
        self,
        path: Path,
        status: Status,
        *,
        text: str = "",
        reasoning: str = "",
        reward: float | None = None,
        tokens: int | None = None,
        same_as: Path | None = None,
    ) -> None:
        """Tell the listener, and nobody else."""
        if self.listener is not None:
            seconds = asyncio.get_running_loop().time() - self._opened
            event = thought_event(
                path,
                status,
                text=text,
                reasoning=reasoning,
                reward=reward,
                seconds=round(seconds, 6),
                tokens=tokens,
                same_as=same_as,
                engine=self._engine(path),
            )
            self.listener(event)
