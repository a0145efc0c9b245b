"""Recorded thoughts of a real model, replayed by the simulated engine.

A trace is a text file with a JSON object a line, one for each thought; traces are joined by joining
their files. A thought is found by what decided it, the text before it and its seed, so a trace that
one policy recorded serves any other as far as their paths coincide.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as File
from random import Random
from statistics import fmean

from spex_agents.engines.prompts import Prompt, PromptTemplate
from spex_agents.errors import RewardError, SettingsError
from spex_agents.search.tree import Finish, Thought, Tree, derive_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A thought as a model wrote it.

    Attributes:
        question: At the root of its path.
        depth: 1 for a first thought.
        before: Digest of the question and the reply that it continues.
        seed: It was drawn with.
        text: What was written.
        tokens: Decoded for it.
        finish: Why decoding ended.
        logprob: Mean log-probability of its tokens, or None.
        reward: Its score.
    """

    question: str
    depth: int
    before: str
    seed: int
    text: str
    tokens: int
    finish: Finish
    logprob: float | None
    reward: float

    def thought(self, max_tokens: int) -> Thought:
        """The thought, cut off at `max_tokens`."""
        tokens = min(self.tokens, max_tokens)
        finish = self.finish if tokens == self.tokens else "length"
        logprobs = None if self.logprob is None else (self.logprob,) * tokens
        return Thought(
            text=self.text, tokens=tokens, finish=finish, ends=finish == "stop", logprobs=logprobs
        )


class TraceWorld:
    """The thoughts of a trace; what it lacks is resampled from it.

    A thought that was not recorded is one of the recorded thoughts of its question and depth (or of
    the nearest depth that has some), chosen by its seed: the world is a pure function still.

    Args:
        recorded: The trace.

    Raises:
        SettingsError: It is empty.

    Example:
        >>> from spex_agents.bench.trace import shipped_trace
        >>> len(shipped_trace().questions)
        8
    """

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self.recorded = tuple(recorded)
        if not self.recorded:
            raise SettingsError("recorded=(): must hold at least one thought")
        self.questions = tuple(dict.fromkeys(row.question for row in self.recorded))
        self._by_seed = {(row.before, row.seed): row for row in self.recorded}
        self._by_text: dict[tuple[str, str], Recorded] = {}
        for row in self.recorded:
            self._by_text.setdefault((row.before, row.text), row)
            self._by_text.setdefault((row.question, row.text), row)
        self._by_depth: dict[str, dict[int, list[Recorded]]] = {}
        for row in self.recorded:
            self._by_depth.setdefault(row.question, {}).setdefault(row.depth, []).append(row)

    @classmethod
    def load(cls, file: File | str) -> TraceWorld:
        """Read a trace.

        Raises:
            SettingsError: There is no such file, or a line of it is not a recorded thought.
        """
        rows = []
        try:
            with File(file).open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    rows.append(_parse(line, f"{file}, line {number}"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"trace={str(file)!r}: cannot be read: {error}") from error
        return cls(rows)

    def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
        """The recorded thought, or a resampled one.

        Raises:
            SettingsError: The trace does not have the question.
        """
        question = prompt.messages[-1].content if prompt.messages else ""
        row = self._by_seed.get((digest(question, prompt.reply), seed))
        if row is None:
            rows = self._of_depth(question, prompt.reply.count("\n") + 1)
            row = rows[Random(seed).randrange(len(rows))]
        return row.thought(max_tokens)

    def reward(self, question: str, thoughts: Sequence[Thought]) -> float:
        """The recorded reward of the last of `thoughts`; a resampled one brings its own along."""
        text = thoughts[-1].text
        row = self._by_text.get((digest_before(question, thoughts[:-1]), text))
        row = row or self._by_text.get((question, text)) or self._behind_cue(question, text)
        if row is None:
            raise RewardError(f"thought {text!r} is not of this trace")
        return row.reward

    def _behind_cue(self, question: str, text: str) -> Recorded | None:
        """The longest recorded thought that `text` ends with: a policy's own words came first."""
        rows = (row for row in self.recorded if row.question == question)
        behind = (row for row in rows if text.endswith(row.text))
        return max(behind, key=lambda row: len(row.text), default=None)

    def synthesised(self, tree: Tree) -> float:
        """Share of the thoughts of `tree` that were resampled."""
        keys = (
            (digest_before(tree.question, tree.chain(path)[:-1]), derive_seed(tree.seed, path))
            for path in tree.thoughts
        )
        return fmean(key not in self._by_seed for key in keys) if len(tree) else 0.0

    def _of_depth(self, question: str, depth: int) -> list[Recorded]:
        if (by_depth := self._by_depth.get(question)) is None:
            raise SettingsError(
                f"question={question!r}: not in this trace, whose questions are "
                f"{'; '.join(self.questions)}"
            )
        return by_depth[min(by_depth, key=lambda recorded: (abs(recorded - depth), recorded))]


def digest(question: str, reply: str) -> str:
    """A name for the text before a thought."""
    return hashlib.sha256(f"{question}\0{reply}".encode()).hexdigest()[:16]


def digest_before(question: str, thoughts: Sequence[Thought]) -> str:
    """The digest for the thought after `thoughts`, as the default template joins them."""
    return digest(question, PromptTemplate().prompt(question, thoughts).reply)


def dump(recorded: Iterable[Recorded]) -> str:
    """A trace as text, a line for each thought."""
    return "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in recorded)


def _parse(line: str, where: str) -> Recorded:
    try:
        row = Recorded(**json.loads(line))
        if row.tokens < 0 or row.depth < 1 or not 0 <= row.reward <= 1:
            raise ValueError("a number is outside its range")
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{where}: is not a recorded thought: {error}") from error
    return row
