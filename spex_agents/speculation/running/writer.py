"""The thoughts of one search that are being written, by path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from spex_agents.engines.base import Request
from spex_agents.errors import EngineError
from spex_agents.search.tree import Path, Thought, chain_of
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.running.calls import (
    attempt,
    bearable,
    elders_of,
    prompt_for,
    stated,
    write_thought,
)
from spex_agents.speculation.running.forms import Forms
from spex_agents.speculation.running.jobs import Job, Jobs
from spex_agents.speculation.running.lead import Lead, Writing
from spex_agents.speculation.running.observer import Observer
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.slots.turns import Searcher


class Writer:
    """Asks the engine for thoughts, each after those it goes on from.

    Args:
        config: What the search is made of.
        question: At the root.
        thoughts: Those that are written, kept current by their owner.
        rewards: Theirs, likewise.
        searcher: Whose work it is.
        jobs: Owns what is under way.
        observer: Told of it.
        budget: Of the engine that writes a path.
        lead: Told how long each thought took.
        take: Waits for a thought that is demanded.
        forms: What answers come to.
        ended: Called when the work for a thought has ended.

    Attributes:
        flying: Those being written.
        guesses: Those begun early and not demanded so far, written by now or not.
    """

    def __init__(
        self,
        config: SearchConfig,
        question: str,
        thoughts: Mapping[Path, Thought],
        rewards: Mapping[Path, float],
        searcher: Searcher,
        *,
        jobs: Jobs,
        observer: Observer,
        budget: Callable[[Path], Budget],
        lead: Lead,
        take: Callable[[Path], Awaitable[Thought]],
        forms: Forms,
        ended: Callable[[Job[Thought]], None],
    ) -> None:
        self.flying: dict[Path, Job[Thought]] = {}
        self.guesses: dict[Path, Job[Thought]] = {}
        self._config = config
        self._question = question
        self._thoughts = thoughts
        self._rewards = rewards
        self._searcher = searcher
        self._jobs = jobs
        self._observer = observer
        self._budget = budget
        self._lead = lead
        self._take = take
        self._forms = forms
        self._ended = ended

    def begin(self, path: Path, *, guess: bool = False, probability: float = 1.0) -> Job[Thought]:
        """Begin the thought at `path`.

        Raises:
            SessionClosed: The search takes no more work.
        """
        work = partial(self._generate, path, chain_of(self._thoughts, path[:-1]))
        job = self._jobs.begin(
            path, "thought", work, guess=guess, flying=self.flying, ended=self._ended
        )
        if guess:
            self.guesses[path] = job
        # After its own search has it: the free slot may begin another's thought, and fail.
        job.task.add_done_callback(lambda _: self._freed(job))
        self._budget(path).begin(self._searcher, path, job.request, probability)
        self._observer.begun(job)
        return job

    async def _generate(self, path: Path, before: Sequence[Thought], request: Request) -> Thought:
        elders = elders_of(self._config.policy, path)
        for elder in elders:
            if elder not in self._thoughts:
                try:  # demanded work only waits: no guess begins before them
                    await self._take(elder)
                except EngineError as error:
                    if not bearable(self._config, error):
                        raise
                self._budget(path).restart(request)
        there = (self._thoughts.get(elder) for elder in elders)
        siblings = [
            thought
            for thought in there
            if thought is not None and (thought.same_as is not None or not thought.failed)
        ]
        asked = prompt_for(
            self._config, self._question, path, before, elders=siblings, rewards=self._rewards
        )
        thought = await write_thought(self._config, asked, path, before, request)
        await self._begin_form(path, (*before, thought))
        if not request.tokens:  # an engine that does not count them
            request.tokens = request.estimated_tokens = thought.tokens
        return thought

    async def _begin_form(self, path: Path, chain: Sequence[Thought]) -> None:
        """Begin what a leaf will vote for: an answer that cannot be counted is a path's fault."""
        if attempt(self._config.policy, path, chain)[-1].ends:
            answer = stated(self._config, self._question, path, chain)
            if answer is not None:
                await self._forms.begin(answer)

    def _freed(self, job: Job[Thought]) -> None:
        load = self._budget(job.path).end(job.request)
        if (thought := self._thoughts.get(job.path)) is not None and job.ended is not None:
            started = job.begun if job.request.started is None else job.request.started
            self._lead.wrote[job.path] = Writing(
                tokens=thought.tokens, seconds=job.ended - started, load=load
            )
