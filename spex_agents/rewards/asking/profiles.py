"""How published process reward models want a path written, and where their score is read.

Each profile was checked against the source it names. The layout is data: a model that is not here
takes three parameters, ``Profile(mark=..., labels=..., question=...)``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from spex_agents.engines.prompts import Message, Prompt, fill
from spex_agents.errors import SettingsError

Layout: TypeAlias = Literal["text", "reply", "dialogue"]

_NUMBERED = re.compile(r"^\s*Step \d+:\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    r"""What a process reward model reads, and how it answers.

    Attributes:
        layout: "text" is one plain text; "reply" a chat whose last reply, left open, holds the
            steps; "dialogue" a chat with a user's turn a step, each answered by the good label.
        system: The system message of a chat; empty for none.
        question: The text before the steps, or the user's turn; ``{question}`` is filled in.
        step: A step; ``{step}`` and ``{number}``, from 1, are filled in. If it has a number, one
            that the step brings ("Step 2: ...") is dropped.
        between: Between steps.
        mark: Ends each step. The score is read behind the last one.
        labels: The good and the bad one, a token each: the score is p(good) / (p(good) + p(bad))
            for the next token. None if a reward head answers.
        apart: In a plain text, the question, each step and each mark are tokenised by themselves,
            so that a mark stays a token of its own.
        head: How a head's values become a score: the sigmoid of its only value, or the second of
            their softmax.
        source: Where the layout is published.

    Raises:
        SettingsError: The labels are not two different texts.

    Example:
        >>> Profile(mark=" ки", labels=("+", "-")).prompt("2 + 2?", ["It is 4."])
        '2 + 2?\nIt is 4. ки'
    """

    layout: Layout = "text"
    system: str = ""
    question: str = "{question}\n"
    step: str = "{step}"
    between: str = "\n"
    mark: str = ""
    labels: tuple[str, str] | None = ("+", "-")
    apart: bool = False
    head: Literal["sigmoid", "softmax"] = "sigmoid"
    name: str = "process"
    source: str = ""

    def __post_init__(self) -> None:
        if self.labels is not None and (len(set(self.labels)) != 2 or not all(self.labels)):
            raise SettingsError(
                f"labels={self.labels!r}: must be two different texts, the good one first, or None"
            )
        if self.layout == "dialogue" and self.labels is None:
            raise SettingsError("layout='dialogue': needs labels=, which answer each step")
        if self.layout != "text" and self.apart:
            raise SettingsError("apart=True: needs layout='text', a chat is tokenised as a whole")

    def prompt(self, question: str, steps: Sequence[str]) -> str | list[str] | Prompt:
        """What the model reads to score the last of `steps`; a list is tokenised piece by piece."""
        asked = fill(self.question, question=question)
        texts = [self._step(number, step) for number, step in enumerate(steps, 1)]
        if self.apart:
            pieces = [asked]
            for number, text in enumerate(texts):
                pieces += [self.between + text if number else text, self.mark]
            return [piece for piece in pieces if piece]
        written = [text + self.mark for text in texts]
        if self.layout == "text":
            return asked + self.between.join(written)
        turns = [Message("system", self.system)] if self.system else []
        if self.layout == "reply":
            turns.append(Message("user", asked))
            return Prompt(tuple(turns), self.between.join(written))
        good = self.labels[0] if self.labels else ""
        for number, text in enumerate(written):
            if number:
                turns.append(Message("assistant", good))
            turns.append(Message("user", text if number else asked + text))
        return Prompt(tuple(turns))

    def _step(self, number: int, step: str) -> str:
        if "{number}" in self.step:
            step = _NUMBERED.sub("", step)
        return fill(self.step, step=step, number=str(number))


MATH_SHEPHERD = Profile(
    name="math-shepherd",
    question="{question} ",
    step="Step {number}: {step}",
    mark=" ки",
    labels=("+", "-"),
    source="https://huggingface.co/peiyi9979/math-shepherd-mistral-7b-prm",
)
"""Math-Shepherd, Mistral 7B: "+" against "-" behind each "ки"."""

RLHFLOW = Profile(
    name="rlhflow",
    layout="dialogue",
    question="{question} ",
    labels=("+", "-"),
    source="https://github.com/RLHFlow/RLHF-Reward-Modeling math-rm/prm_evaluate.py",
)
"""RLHFlow, Llama 3.1 8B (PRM-Mistral-Data, PRM-Deepseek-Data): each step a turn, answered "+"."""

QWEN_MATH = Profile(
    name="qwen2.5-math-prm",
    layout="reply",
    system="Please reason step by step, and put your final answer within \\boxed{}.",
    question="{question}",
    between="",
    mark="<extra_0>",
    labels=None,
    head="softmax",
    source="https://huggingface.co/Qwen/Qwen2.5-Math-PRM-7B",
)
"""Qwen2.5-Math-PRM: a head of two classes, the second one good, at each ``<extra_0>``.

Its architecture, Qwen2ForProcessRewardModel, is not among those of SGLang 0.5.23.
"""

SKYWORK = Profile(
    name="skywork-o1-open-prm",
    question="{question}\n",
    between="",
    mark="\n",
    labels=None,
    apart=True,
    head="sigmoid",
    source="https://github.com/SkyworkAI/skywork-o1-prm-inference model_utils/io_utils.py",
)
"""Skywork-o1-Open-PRM-Qwen-2.5: the sigmoid of a value head at each line break.

Its architecture, Qwen2ForPrmModel, is not among those of SGLang 0.5.23. The reference puts the
tokenizer's BOS token first: begin `question` with it if the model's tokenizer has one.
"""

LLEMMA_REBASE = Profile(
    name="llemma-rebase",
    question="{question}\n",
    mark=" ки",
    labels=None,
    head="sigmoid",
    source="https://github.com/thu-wyz/sglang (branch reward-model) model_rpc.py, logits 8094",
)
"""Llemma 34B of REBASE: the sigmoid of the mean of all logits at token 8094.

A mean of logits is linear in the hidden state: save the model as LlamaForSequenceClassification
whose one row of `score` is the mean of the rows of `lm_head`. That token 8094 is "ки", and how the
question and the steps are joined, is not stated there: check both with the model's tokenizer.
"""

PROFILES = {
    profile.name: profile for profile in (MATH_SHEPHERD, RLHFLOW, QWEN_MATH, SKYWORK, LLEMMA_REBASE)
}
"""The profiles by name."""
