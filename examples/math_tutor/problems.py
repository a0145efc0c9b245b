"""What can be taught: a problem of a set, or a question of one's own, each with its check."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.math_tutor.checks import Check
from spex_agents import Limits, Sampling
from spex_agents.engines import PromptTemplate
from spex_agents.errors import SettingsError
from spex_agents.named import make_reward
from spex_agents.problems import ProblemSet, Stated, load
from spex_agents.rewards import Reward

if TYPE_CHECKING:
    from spex_agents.named import AnyEngine

DEFAULT = "weekday-sums"
LIMITS = Limits(depth=12, step_tokens=64, path_tokens=400)
SAMPLING = Sampling(temperature=0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a lesson is to be about, as it was asked for.

    Attributes:
        question: One's own; None for a problem of the set.
        answer: Of one's own question, where it is known.
        problems: Of which set the problem is, or in whose style one's own question is put.
        number: Which of the set, from 0; None for the first that the student has not done.
    """

    question: str | None = None
    answer: str | None = None
    problems: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a lesson is about.

    Attributes:
        question: To be solved.
        known: Its answer, where it is known.
        template: How it is put to the model.
        reward: Of the set, if it has a calculator of its own.
    """

    question: str
    known: str | None
    template: PromptTemplate = PromptTemplate()
    reward: Reward | None = None


def task(choice: Choice, done: Collection[str]) -> Task:
    """The task of that choice.

    Args:
        choice: What was asked for.
        done: Questions that the student is through with.

    Raises:
        SettingsError: There is no such problem, or its answer is none that can be compared.
    """
    if choice.question is None:
        return _of_set(load(choice.problems or DEFAULT), choice, done)
    if choice.number is not None:
        raise SettingsError(f"number={choice.number}: is of a set; leave it out with a QUESTION")
    if choice.problems is None:
        return Task(question=choice.question, known=choice.answer)
    style = load(choice.problems)
    return Task(
        question=choice.question,
        known=choice.answer,
        template=style.template,
        reward=style.reward,
    )


def _of_set(problems: ProblemSet, choice: Choice, done: Collection[str]) -> Task:
    if choice.answer is not None:
        raise SettingsError(f"answer={choice.answer!r}: is of a QUESTION of your own; give it too")
    stated = [one for _, one in problems.problems if isinstance(one, Stated)]
    if not stated:
        raise SettingsError(
            f"problems={problems.name!r}: has no stated answers to compare with; take a set such "
            "as weekday-sums or gsm8k"
        )
    left = [one for one in stated if one.question not in done]
    if choice.number is not None:
        left = stated[choice.number : choice.number + 1] if choice.number >= 0 else []
    if not left:
        raise SettingsError(
            f"problems={problems.name!r}: number={choice.number} is not one of 0 to "
            f"{len(stated) - 1} that is left; give another --number, or another set"
        )
    return Task(
        question=left[0].question,
        known=left[0].answer,
        template=problems.template,
        reward=problems.reward,
    )


def check_of(name: str | None, engine: AnyEngine, own: Reward | None) -> Check:
    """What leads the search.

    Args:
        name: A reward of `make_reward`; None for the task's own, or a calculator.
        engine: The search's.
        own: The task's.

    Raises:
        SettingsError: There is no such reward.
    """
    if name is None:
        return Check.of_sums(engine, own)
    reward = make_reward(name, engine, sampling=SAMPLING, limits=LIMITS)
    if name == "calculator":
        return Check.of_sums(engine, reward)
    return Check.own(reward) if ":" in name else Check.unsure(reward)
