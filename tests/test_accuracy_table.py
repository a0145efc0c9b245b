"""The table of right answers, from rows that a comparison has kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy_table import (
    Line,
    draw,
    lines,
    of_problems,
    read_rows,
    table,
    together,
)

RIGHT = {"best": (True, True, False, False), "beam": (True, False, True, False)}


def row(method: str, problem: int, right: bool, **more: Any) -> dict[str, Any]:
    row = {"method": method, "problem": problem, "right": right, "useful_tokens": 10 + problem}
    return {**row, "error": None, **more}


def found(right: Mapping[str, tuple[bool, ...]] = RIGHT) -> list[Line]:
    rows = [
        row(method, problem, verdict)
        for method, verdicts in right.items()
        for problem, verdict in enumerate(verdicts)
    ]
    return lines(rows, "best")


def test_methods_are_held_to_the_reference_problem_by_problem() -> None:
    best, beam = found()
    assert (best.method, best.right, best.problems, best.p_value) == ("best", 2, 4, None)
    assert (beam.alone, beam.reference_alone, beam.p_value) == (1, 1, 1.0)
    assert (beam.low, beam.high, beam.tokens) == (best.low, best.high, 11.5)
    told = table([best, beam], "best").splitlines()
    assert told[2].startswith("| best | 2/4 | 50% | 15% to 85% | 12 |  |  |")
    assert "| 1 : 1 | 1.00 |" in told[3]


def test_what_all_have_answered_counts_alone() -> None:
    (best, beam) = found({"best": (True, True, True), "beam": (False, True)})
    assert best.problems == beam.problems == 2
    rows = [row("best", 0, True), row("beam", 0, False, error="EngineError: gone")]
    (only,) = lines(rows, "best")
    assert only.method == "best"


def test_a_clear_difference_has_a_small_p() -> None:
    _, beam = found({"best": (False,) * 9, "beam": (True,) * 9})
    assert beam.p_value == pytest.approx(2 / 2**9)
    assert "| 9 : 0 | 0.004 |" in table([beam], "best")


def test_parts_of_a_set_are_joined_if_they_have_the_same_settings(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        head = json.dumps({"settings": {"seed": seed}})
        file.write_text(f"{head}\n{json.dumps(row('best', 3, True))}\n")
    assert len(read_rows(f"{files[0]},{files[1]}")) == 2
    with pytest.raises(SystemExit, match="different settings"):
        read_rows(f"{files[0]},{files[2]}")
    with pytest.raises(SystemExit, match="must be one of best"):
        lines(read_rows(str(files[0])), "beam")


def test_rewards_are_one_table_and_what_needs_none_is_there_once() -> None:
    def rows(*methods: str, right: bool, question: str = "q") -> list[dict[str, Any]]:
        return [row(method, 3, right, question=question) for method in methods]

    sets = {
        "calculator": rows("greedy", "majority", "rebase", right=True),
        "trained": rows("greedy", "majority", "rebase", right=False),
    }
    told = {row["method"]: row["right"] for row in together(sets)}
    assert told == {
        "greedy": True, "majority": True, "rebase, calculator": True, "rebase, trained": False
    }  # fmt: skip
    with pytest.raises(SystemExit, match="confidence: problem 3 is another one"):
        together(sets | {"confidence": rows("rebase", right=True, question="else")})


def test_only_the_problems_of_a_file_count(tmp_path: Path) -> None:
    asked = tmp_path / "unseen.jsonl"
    asked.write_text(json.dumps({"question": "1 + 1", "answer": "2"}) + "\n")
    mark = hashlib.sha256(b"1 + 1").hexdigest()[:16]
    rows = [row("best", 0, True, question=mark), row("best", 1, True, question="another")]
    assert of_problems(rows, asked) == rows[:1]


def test_two_drawings_are_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for picture in pictures:
        draw({"sums": found(), "others": found()}, picture)
    assert pictures[0].read_text() == pictures[1].read_text()
    draw({"sums": found({"best": (True,), "beam": (False,)})}, pictures[1])
    assert pictures[0].read_text() != pictures[1].read_text()
