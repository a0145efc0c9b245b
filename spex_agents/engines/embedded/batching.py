"""Continuous batching for `EmbeddedEngine`: one thread, which owns the model and its streams.

Every round evaluates one piece of one prompt, then one token of every running job, and drafts of
those after it where few run. The event loop only ever holds the lock for a few statements; the
model runs without it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread, current_thread
from time import monotonic

from spex_agents.engines.base import Load
from spex_agents.engines.calls.cut import cut
from spex_agents.engines.embedded.jobs import CLOSED, Job, order
from spex_agents.engines.embedded.llama import CHUNK, Llama
from spex_agents.engines.embedded.lookup import Lookup
from spex_agents.engines.embedded.prefixes import Streams
from spex_agents.errors import EngineError, EngineUnavailable, PromptTooLong, SpexError
from spex_agents.search.tree import Finish

_LAST_STEP = 10.0
"""Seconds that the end of the interpreter waits for the step under way."""


class Batcher:
    """Runs jobs, up to `slots` at a time; demanded ones are admitted first, then the oldest.

    Running jobs hold the lowest slots, since only neighbouring streams are decoded in one pass.

    Attributes:
        process: Whose thread it is.
        loaded: Done when the model is up.
        closed: Done when the model is freed and the thread at its end.
        exact: Whether the loaded model's logits do not depend on the batch.
        prefilled_tokens: Prompt tokens evaluated so far, shared ones left out.
        drafted_tokens: Drafts verified so far.
        accepted_tokens: Those of them that were right.
    """

    def __init__(
        self, load: Callable[[], Llama], *, slots: int, context: int, draft_tokens: int
    ) -> None:
        self.process = os.getpid()
        self.loaded: Future[None] = Future()
        self.closed: Future[None] = Future()
        self.exact = False
        self.prefilled_tokens = self.drafted_tokens = self.accepted_tokens = 0
        self._load = load
        self._context = context
        self._draft_tokens = draft_tokens
        self._lookup = Lookup()
        self._changed = Condition()
        self._failure: SpexError | None = None
        self._waiting: list[Job] = []
        self._slots: list[Job | None] = [None] * slots
        for future in (self.loaded, self.closed):
            future.set_running_or_notify_cancel()
        self._thread = Thread(target=self._work, name="spex-embedded", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            EngineError: The batcher is closed, or its model did not load.
        """
        job.answer.set_running_or_notify_cancel()
        with self._changed:
            if self._failure:
                raise EngineUnavailable(str(self._failure))
            self._waiting.append(job)
            self._changed.notify()

    def withdraw(self, job: Job) -> None:
        """Forget a job now, wherever it is: its slot is free and its token count final."""
        with self._changed:
            job.over = True
            if job in self._waiting:
                self._waiting.remove(job)
            elif job in self._slots:
                self._slots[self._slots.index(job)] = None

    def load(self) -> Load:
        with self._changed:
            running = sum(job is not None for job in self._slots)
            return Load(running=running, waiting=len(self._waiting))

    def close(self, failure: SpexError | None = None) -> None:
        """Let the thread end after the step it is in; jobs under way and later ones fail."""
        with self._changed:
            self._failure = self._failure or failure or EngineUnavailable(CLOSED)
            self._changed.notify()

    def close_and_wait(self) -> None:
        """Close, and wait for the thread to end: for a process that ends without `aclose`."""
        if self.process != os.getpid():
            return
        self.close()
        if self._thread is not current_thread():
            self._thread.join(_LAST_STEP)

    def _work(self) -> None:
        try:
            self._run()
        finally:
            self.closed.set_result(None)

    def _run(self) -> None:
        try:
            self._llama = self._load()
            self.exact = self._llama.batch_invariant()
            self._streams = Streams(self._llama, len(self._slots))
        except Exception as error:
            failure = EngineUnavailable(str(error))
            self.close(failure)
            self._fail_all(failure)
            self.loaded.set_exception(failure)
            return
        self.loaded.set_result(None)
        while self._arranged():
            try:
                self._round()
            except Exception as error:
                self._fail_all(EngineUnavailable(f"llama.cpp failed: {error}"))
                self._streams.forget()
        self._fail_all(EngineUnavailable(CLOSED))
        self._llama.close()

    def _arranged(self) -> bool:
        """Wait for work and seat it; False once closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._waiting or any(self._slots))
            self._close_gaps()
            while self._waiting and None in self._slots:
                job = min(self._waiting, key=order)
                self._waiting.remove(job)
                self._slots[self._slots.index(None)] = job
                job.request.started = monotonic()  # the clock of asyncio's loops
            return self._failure is None

    def _close_gaps(self) -> None:
        running = [slot for slot, job in enumerate(self._slots) if job]
        for gap in range(len(running)):
            if self._slots[gap] is None and (job := self._slots[source := running.pop()]):
                if job.filled:
                    length = job.position if job.written else job.filled
                    self._streams.move(source, gap, length, self._idle())
                self._slots[gap], self._slots[source] = job, None

    def _idle(self) -> list[int]:
        return [slot for slot, job in enumerate(self._slots) if job is None]

    def _round(self) -> None:
        jobs = [(slot, job) for slot, job in enumerate(self._slots) if job]
        if unfilled := [(slot, job) for slot, job in jobs if not job.written]:
            slot, job = min(unfilled, key=lambda seat: order(seat[1]))
            try:
                self._prefill(slot, job)
            except SpexError as error:
                self._answer(job, error)
        if decoding := [(slot, job) for slot, job in jobs if job.written and not job.over]:
            drafts = self._drafts([job for _, job in decoding])
            texts = [
                (slot, [job.text[-1], *draft], job.position)
                for (slot, job), draft in zip(decoding, drafts, strict=True)
            ]
            self._llama.decode(texts)
            for row, ((slot, job), draft) in enumerate(zip(decoding, drafts, strict=True)):
                self._verify(slot, job, draft, row * (1 + len(draft)))

    def _drafts(self, jobs: Sequence[Job]) -> list[list[int]]:
        """Drafts for each job, all of one length, or none.

        A step takes longer by what it verifies, for all its jobs, and the fewer they are, the less
        that is beside what the step takes anyway: so they share `draft_tokens`. Streams of
        different lengths would take several passes: so the shortest draft counts.
        """
        length = self._draft_tokens // len(jobs)
        drafts = []
        for job in jobs:
            length = min(length, job.room - 1, self._context - 2 - job.position)
            if length < 1:
                return [[] for _ in jobs]
            drafts.append(self._lookup.draft(job.text, length))
            length = len(drafts[-1])
        return [draft[:length] for draft in drafts]

    def _verify(self, slot: int, job: Job, draft: Sequence[int], row: int) -> None:
        """Draw a job's next tokens, until one is not the draft that what follows was computed for.

        Each is drawn where and as it would have been without drafts, so the text is the same.
        """
        begun = len(job.text)
        self._extend(job, row)
        for index, token in enumerate(draft):
            if job.over or job.text[-1] != token:
                break
            self.accepted_tokens += 1
            self._extend(job, row + index + 1)
        self.drafted_tokens += len(draft)
        if draft:
            self._llama.share(slot, slot, job.position)
        if self.exact:
            self._streams.extend(slot, job.text[begun - 1 : -1])
        if self._draft_tokens:
            self._lookup.learn(job.text, begun)

    def _prefill(self, slot: int, job: Job) -> None:
        """Evaluate the next piece of a job's prompt, from the longest prefix that a stream has."""
        if not job.tokens:
            thinks = job.thinking in ("keep", "steps")
            job.tokens, job.opened = self._llama.tokens(job.prompt, thinks=thinks)
            job.request.prompt_tokens = len(job.tokens)
            self._check(job)
        length = len(job.tokens)
        begun = self._streams.begin(slot, job.tokens, job.filled, self._idle())
        job.request.cached_tokens += begun - job.filled
        job.filled = begun
        end = min(length, job.filled + CHUNK)
        piece = job.tokens[job.filled : end]
        self._llama.prefill(slot, piece, job.filled)
        self._streams.extend(slot, piece)
        self.prefilled_tokens += len(piece)
        job.filled = end
        if end == length and job.labels:
            found = self._llama.log_probabilities(0, list(job.label_tokens.values()))
            self._answer(job, dict(zip(job.label_tokens, map(math.exp, found), strict=True)))
        elif end == length:
            job.text = job.tokens.copy()
            if self._draft_tokens:
                self._lookup.learn(job.text, 0)
            self._extend(job, 0)

    def _check(self, job: Job) -> None:
        if not job.tokens:
            raise EngineError("the prompt has no tokens: give a message or the reply's beginning")
        if len(job.tokens) >= self._context:
            raise PromptTooLong(
                f"the prompt has {len(job.tokens)} tokens, but context={self._context} must hold "
                "it and at least one more: shorten the prompt, or raise "
                "EmbeddedEngine(context=...)"
            )
        job.label_tokens = {label: self._llama.first_token(label) for label in job.labels}
        if len(set(job.label_tokens.values())) < len(job.label_tokens):
            raise EngineError(
                f"labels {tuple(job.labels)!r} share a first token, by which they are told apart: "
                "choose labels that begin differently"
            )

    def _extend(self, job: Job, row: int) -> None:
        """Draw a job's next token, and answer it where that was the last."""
        llama, sampling = self._llama, job.sampling
        if job.sampler is None:
            job.sampler = llama.sampler(sampling, job.request.seed)
        token = llama.sample(job.sampler, row)
        logprob = llama.log_probabilities(row, [token])[0] if sampling.logprobs else 0.0
        with self._changed:
            if job.over:
                return
            job.written.append(token)
            job.text.append(token)
            job.logprobs.append(logprob)
            job.request.tokens += 1
        ended = llama.ends(token)
        text = llama.text(job.tokens[-1], job.written[:-1] if ended else job.written)
        said, reasoning = job.read(text)
        said, cut_off = cut(said, sampling.stop)
        full = job.room <= 0 or job.position + 1 >= self._context
        if not (ended or cut_off or full):
            return
        finish: Finish = "step" if cut_off else "stop" if ended else "length"
        self._answer(job, job.thought(said, finish, reasoning))

    def _answer(self, job: Job, answer: object) -> None:
        with self._changed:
            if not job.over:
                job.settle(answer)
                self._slots[self._slots.index(job)] = None

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            for job in (*self._waiting, *filter(None, self._slots)):
                job.settle(error)
            self._waiting.clear()
            self._slots = [None] * len(self._slots)
