"""llama.cpp for `EmbeddedEngine`: one model, and one stream of the key-value cache a slot.

Two choices make a token independent of what else is evaluated with it, be that other requests, the
rest of its prompt or drafts after it. Each stream has cells of its own, so a sum runs over the same
cells in the same order whoever else runs. And attention is the flash kernel on a cache of 8-bit
numbers, which takes each query by itself: without flash attention, and with it on 16-bit numbers,
llama.cpp has kernels for one query and for several that round differently.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray

from spex_agents.engines.base import Sampling
from spex_agents.engines.embedded.control import Aside, control_tokens
from spex_agents.engines.embedded.lanes import Arrangement, Lane, Lanes, fastest
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import CLOSE, OPEN, with_reasoning
from spex_agents.errors import EngineError, SettingsError

CHUNK = 64
"""Prompt tokens evaluated between two decoding steps: bounds what a prompt delays others."""

_arranged: dict[tuple[str, int, int], Arrangement] = {}
"""What was the fastest in this process, by model, slots and processors."""

_compared: dict[tuple[object, ...], tuple[Arrangement, bool]] = {}
"""Whether logits depended on the batch in this process and with what lanes, by all that counts."""


class Llama:
    """A loaded model with `slots` streams; to be used from one thread only."""

    def __init__(
        self,
        path: Path,
        *,
        slots: int,
        context: int,
        processors: int,
        draft_tokens: int,
        gpu_layers: int | None = None,
    ) -> None:
        self._api = api = _bindings()
        api.disable_logging()
        api.ggml_backend_load_all()

        class Model(api.LlamaModel):  # type: ignore[misc, name-defined]
            n_vocab = 0  # cyllama 0.2.18 reads it in get_logits_ith, but does not define it

        settings = api.LlamaModelParams()
        on_gpu = _has_gpu(api) and gpu_layers != 0
        if gpu_layers and not on_gpu:
            raise SettingsError(
                f"gpu_layers={gpu_layers!r}: llama.cpp finds no GPU; install its bindings for "
                "yours (cyllama-cuda12, cyllama-vulkan, ...), or leave gpu_layers out"
            )
        if gpu_layers is not None:
            settings.n_gpu_layers = gpu_layers
        self._model = Model(str(path), settings)
        self._vocab = self._model.get_vocab()
        self._letter = list(self._vocab.tokenize("a", False, False))
        Model.n_vocab = self._vocab.n_vocab
        self._batch = max(CHUNK, slots + draft_tokens)
        self._slots = slots
        self._draft_tokens = draft_tokens
        # A GPU takes all streams at once, and processors have little to do.
        used = 1 if on_gpu else processors
        tried = str(path), slots, used
        if tried not in _arranged:
            _arranged[tried] = fastest(partial(self._made, 1), slots=slots, processors=used)
        self._lanes = self._made(context, _arranged[tried])
        self._kind = (*tried, path.stat().st_mtime_ns, gpu_layers, context, draft_tokens)
        self._rows: list[tuple[Any, int]] = []
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.globals["raise_exception"] = _refuse
        source = self._model.get_default_chat_template()
        self._control = control_tokens(self._vocab)
        self._template = environment.from_string(source) if source else None

    def _made(self, context: int, arrangement: Arrangement) -> Lanes:
        streams = -(-self._slots // arrangement.lanes)
        made = [
            Lane(self._api, self._model, streams=streams, context=context, batch=self._batch)
            for _ in range(arrangement.lanes)
        ]
        return Lanes(made, arrangement)

    def close(self) -> None:
        self._lanes.close()
        self._model.close()

    def tokens(self, prompt: Prompt, *, thinks: bool) -> tuple[list[int], bool]:
        """The chat template over the messages, then the reply as the model would write it.

        A model without a chat template reads the messages' contents, an empty line between them.
        Special tokens in what is said are read as text.

        Args:
            prompt: What to read.
            thinks: What the template is told of a model that reasons first.

        Returns:
            The tokens, and whether they end within a block of reasoning.
        """
        aside = Aside(self._control)
        bos, eos = self._written(self._vocab.token_bos()), self._written(self._vocab.token_eos())
        if self._template is None:
            text = "".join(f"{aside.put(message.content)}\n\n" for message in prompt.messages)
        else:
            turns = [
                {"role": turn.role, "content": aside.put(turn.content)} for turn in prompt.messages
            ]
            try:
                text = self._template.render(
                    messages=turns,
                    add_generation_prompt=True,
                    bos_token=bos,
                    eos_token=eos,
                    enable_thinking=thinks,
                    thinking=thinks,  # DeepSeek's word
                )
            except TemplateError as error:
                raise EngineError(
                    f"the model's chat template refuses the prompt: {error}"
                ) from None
        opened = text.rstrip().endswith(OPEN)
        if opened and not (thinks or prompt.reply or prompt.reasoning):
            text, opened = f"{text.rstrip()}\n\n{CLOSE}\n\n", False  # whatever it was told
        text += aside.put(with_reasoning(prompt, opened=opened))
        add_bos = self._vocab.get_add_bos() and not text.startswith(bos)
        within = opened and not (prompt.reply or prompt.reasoning)
        return aside.tokens(self._vocab, text, add_bos=add_bos), within

    def _written(self, special: int) -> str:
        return self._vocab.get_text(special) if special >= 0 else ""

    def first_token(self, label: str) -> int:
        tokens = self._vocab.tokenize(label, False, False)
        if not tokens:
            raise EngineError(f"label {label!r} has no token: give a non-empty label")
        return int(tokens[0])

    def text(self, before: int, tokens: Sequence[int]) -> str:
        """The text of `tokens` after the token `before`, with the space that it begins with.

        Empty lines at the beginning of a line are left out: they would be steps without a word.
        """
        # Behind a letter: what comes after nothing but space would be stripped of its own.
        head = self._vocab.detokenize([*self._letter, before])
        text = str(self._vocab.detokenize([*self._letter, before, *tokens]))[len(head) :]
        return text.lstrip("\n") if head.endswith("\n") else text

    def ends(self, token: int) -> bool:
        return bool(self._vocab.is_eog(token))

    def share(self, source: int, target: int, length: int) -> None:
        """Give stream `target` the first `length` tokens of stream `source`, and no others."""
        self._lanes.share(source, target, length)

    def forget(self) -> None:
        self._lanes.forget()

    def prefill(self, stream: int, tokens: Sequence[int], start: int) -> None:
        """Evaluate `tokens` from position `start`; row 0 then tells what follows the last."""
        last = len(tokens) - 1
        self._rows = self._lanes.evaluate(
            [(stream, token, start + index, index == last) for index, token in enumerate(tokens)]
        )[-1:]

    def decode(self, texts: Sequence[tuple[int, Sequence[int], int]]) -> None:
        """Evaluate a (stream, tokens, position of the first) a stream.

        The rows, a token each in this order, then tell what follows it. Where streams get equally
        many tokens, that is one pass over the weights; else llama.cpp makes several.
        """
        self._rows = self._lanes.evaluate(
            [
                (stream, token, position, True)
                for stream, tokens, first in texts
                for position, token in enumerate(tokens, first)
            ]
        )

    def sampler(self, sampling: Sampling, seed: int) -> Any:
        """A sampler with a generator of its own: temperature, then top-k, then nucleus."""
        chain = self._api.LlamaSampler(self._api.LlamaSamplerChainParams())
        if sampling.temperature == 0:
            chain.add_greedy()
            return chain
        chain.add_temp(sampling.temperature)
        chain.add_top_k(sampling.top_k)
        chain.add_top_p(sampling.top_p, 1)
        chain.add_dist(seed % 0xFFFFFFFF)  # that number itself would ask for a random seed
        return chain

    def sample(self, sampler: Any, row: int) -> int:
        return int(sampler.sample(*self._rows[row]))

    def log_probabilities(self, row: int, tokens: Sequence[int]) -> list[float]:
        """Of `tokens`, in the model's own distribution: at temperature 1, with nothing cut."""
        logits = self._logits(row)
        highest = float(logits.max())
        total = highest + math.log(np.exp(logits - highest).sum(dtype=np.float64))
        return [float(logits[token]) - total for token in tokens]

    def _logits(self, row: int) -> NDArray[np.float32]:
        context, index = self._rows[row]
        return np.fromiter(context.get_logits_ith(index), np.float32, self._vocab.n_vocab)

    def batch_invariant(self) -> bool:
        """Whether logits are the same to the bit however a text comes to be evaluated.

        Compared are: a prompt at once, in pieces, and its end token by token; tokens alone, beside
        other streams, and several at a time as drafts are. Where the number of threads counts, it
        stays the same from now on. A process compares once.
        """
        if self._kind not in _compared:
            if not (same := self._same_bits()):
                self._lanes.arrangement = self._lanes.arrangement.even()
                same = self._same_bits()
            _compared[self._kind] = self._lanes.arrangement, same
        self._lanes.arrangement, same = _compared[self._kind]
        return same

    def _same_bits(self) -> bool:
        prompt = [token % self._vocab.n_vocab for token in range(300, 332)]
        drafts = prompt[: self._draft_tokens + 1]
        piece, tail, end = 13, 28, len(prompt)
        self.forget()
        self.prefill(0, prompt, 0)
        whole = self._logits(0)
        alone = [self._after(token, position) for position, token in enumerate(drafts, end)]
        self.share(0, 0, piece)
        self.prefill(0, prompt[piece:], piece)
        same = np.array_equal(whole, self._logits(0))
        self.share(0, 0, tail)
        for position in range(tail, end):
            last = self._after(prompt[position], position)
        same = same and np.array_equal(whole, last)
        for count in sorted({1, min(2, self._slots), min(5, self._slots), self._slots}):
            length = max(1, len(drafts) // count)
            for stream in range(count):
                self.share(0, stream, end)
            self.decode([(stream, drafts[:length], end) for stream in range(count)])
            first = (count - 1) // 2 * length
            same = same and all(
                np.array_equal(alone[index], self._logits(first + index)) for index in range(length)
            )
        arrangement = self._lanes.arrangement
        for threads in {*arrangement.alone.values()}:
            self._lanes.arrangement = replace(arrangement, alone={1: threads})
            self.share(0, 0, end)
            same = same and np.array_equal(alone[0], self._after(drafts[0], end))
        self._lanes.arrangement = arrangement
        self.forget()
        return same

    def _after(self, token: int, position: int) -> NDArray[np.float32]:
        self.decode([(0, [token], position)])
        return self._logits(0)


def _bindings() -> ModuleType:
    """Import the bindings with threads that sleep while they wait for each other.

    OpenMP reads this once, as its library is loaded. By default its threads spin, and as soon as
    another process wants a processor, decoding comes nearly to a halt.
    """
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return import_module("cyllama.llama.llama_cpp")
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]


def _has_gpu(api: Any) -> bool:
    return any(device["type"] != "CPU" for device in api.ggml_backend_dev_info())


def _refuse(message: str) -> None:
    raise TemplateError(message)
