"""The race's harness: its world, its server, and this library as a contestant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_server import Answer, scripted_server

from benchmarks.race.__main__ import Racer, draw, race, serving
from benchmarks.race.contests import CONTESTS, OURS, Contestant, contests
from benchmarks.race.rows import ROWS, Line, keep, kept, line_of, same_trees
from benchmarks.race.server import RaceServer
from benchmarks.race.upstream import Upstream
from benchmarks.race.world import DELIMITER, calculated, judged, problems, written


def test_a_reply_without_a_slip_has_the_right_answer_and_the_better_reward() -> None:
    right = wrong = 0
    rewards: dict[bool, list[float]] = {True: [], False: []}
    for problem in problems(20):
        for key in map(str, range(5)):
            text = DELIMITER.join(written(problem, "", key, again=False))
            assert text == DELIMITER.join(written(problem, "", key, again=False))
            rewards[problem.right(text)].append(judged(problem, text))
            right += problem.right(text)
            wrong += not problem.right(text)
    assert right > 20
    assert wrong > 20
    mean = {sound: sum(given) / len(given) for sound, given in rewards.items()}
    assert mean[True] > mean[False] + 0.1


def test_steps_go_on_from_what_is_there() -> None:
    (problem,) = problems(1)
    first, *rest = written(problem, "", "a key", again=False)
    sign, operand = problem.operations[1]
    value = int(first.partition("= ")[2].partition(".")[0])
    (second, *_) = written(problem, first, "another", again=False)
    assert f"{value} {sign} {operand} = " in second
    assert len(written(problem, first, "another", again=False)) == len(rest)
    assert calculated(7, "-", 9) == -2


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(2, 0, speed=50) as url:
        yield url


def test_running_ahead_gives_the_same_answers(server: str) -> None:
    with ExitStack() as stack:
        racers = [
            stack.enter_context(Racer(entry, sys.executable, server))
            for entry in CONTESTS["consistency"].entries
            if entry.settings.get("policy") == "adaptive-consistency"
        ]
        *turns, (off, on) = race("consistency", racers, count=2, at_once=1)
    assert [[line.problems for line in turn] for turn in turns] == [[1, 0], [1, 1], [2, 1]]
    assert (off.error, on.error) == ("", "")
    assert off.problems == on.problems == 2
    assert [row["right"] for row in on.rows] == [row["right"] for row in off.rows]
    assert same_trees([off, on]) == (2, 2)
    assert all(row["answered"] for row in (*on.rows, *off.rows))
    assert on.tokens >= off.tokens > 0


def raced(tree: str) -> list[Line]:
    row: dict[str, Any] = {"problem": 0, "right": True, "seconds": 2.5, "tokens": 90}
    row |= {"at_answer": 0, "left": 1, "answered": True}
    return [
        line_of("mcts", "another", [row]),
        line_of("mcts", "spex rap, off", [row | {"tree_sha256": "a"}]),
        line_of("mcts", "spex rap, on", [row | {"tree_sha256": tree}]),
    ]


def test_a_table_is_drawn_of_kept_rows_and_tells_whether_trees_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, "MCTS", {"count": 1}, raced("a"))
    file = tmp_path / "mcts.jsonl"
    title, lines = kept(file)
    assert title == "MCTS"
    assert [line.cells() for line in lines] == [line.cells() for line in raced("a")]
    draw([str(file)])
    told = capsys.readouterr().out
    assert "| spex rap, on | 2.5 | 90 | 0 | 1 | 1/1 | 21 to 100 % |" in told
    assert "1 of 1 trees are the same with speculation and without it" in told


@pytest.mark.parametrize("tree", ["b", "timed:a"])
def test_a_table_of_trees_that_differ_is_an_error(tmp_path: Path, tree: str) -> None:
    keep(tmp_path, "MCTS", {"count": 1}, raced(tree))
    with pytest.raises(SystemExit, match="speculation has changed a tree"):
        draw([str(tmp_path / "mcts.jsonl")])


def test_a_row_without_its_tree_is_not_told_to_have_the_same(tmp_path: Path) -> None:
    lines = [replace(line, rows=[dict(line.rows[0], tree_sha256=None)]) for line in raced("a")]
    assert same_trees(lines) == (0, 1)


@pytest.mark.parametrize("file", sorted(ROWS.glob("*.jsonl")), ids=lambda file: file.stem)
def test_the_page_has_the_table_of_the_rows_that_are_kept(file: Path) -> None:
    title, lines = kept(file)
    page = (ROWS.parents[2] / "docs" / "race.md").read_text().replace("`", "")
    assert f"## {title}\n" in page
    assert all(f"| {' | '.join(line.cells())} |" in page for line in lines)
    same, pairs = same_trees(lines)
    assert same == pairs > 0


@pytest.mark.slow
def test_a_contestant_that_fails_says_why(server: str) -> None:
    entry = Contestant(name="broken", program="spex", environment=OURS, settings={"policy": "none"})
    with Racer(entry, sys.executable, server) as racer:
        *_, (line,) = race("beam", [racer], count=2, at_once=1)
    assert "none" in line.error
    assert line.problems == 0


async def test_a_model_behind_the_server_is_given_up_at_the_end_of_a_step() -> None:
    words = ("Step", " 1", ".", "\n", "\nStep", " 2.")
    async with scripted_server() as model:
        model.default = Answer(tokens=words, then="hang")
        app = RaceServer(1, 0, 1.0, Upstream(model.url.removesuffix("/v1"))).app
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://race") as client:
            (problem,) = problems(1)
            question = {"role": "user", "content": problem.question}
            begun = {"role": "assistant", "content": "First."}
            body = {"messages": [question, begun], "stop": [DELIMITER], "seed": 2**40 + 1}
            reply = (await client.post("/v1/chat/completions", json=body)).json()
            (choice,) = reply["choices"]
            assert choice["message"]["content"] == "Step 1."
            assert choice["stop_reason"] == DELIMITER
            assert reply["usage"]["completion_tokens"] == 5
            await model.until_live(0)
            (sent,) = model.bodies
            assert sent["prompt"].endswith("<|im_start|>assistant\nFirst.")
            assert sent["prompt"].count("The answer is \\boxed{") == 2
            assert 0 <= sent["seed"] < 2**31
            spent = (await client.get("/spent")).json()["0"]
            assert (spent["tokens"], spent["requests"], spent["running"]) == (5, 1, 0)


async def test_a_model_behind_the_server_writes_to_its_end() -> None:
    async with scripted_server() as model:
        model.default = Answer(tokens=("Step 1.", "\n\n", "\\boxed{4}"))
        app = RaceServer(1, 0, 1.0, Upstream(model.url.removesuffix("/v1"))).app
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://race") as client:
            body = {"messages": [{"role": "user", "content": problems(1)[0].question}]}
            streamed = await client.post("/v1/chat/completions", json={**body, "stream": True})
            events = [
                json.loads(line.removeprefix("data: "))
                for line in streamed.text.splitlines()
                if line.startswith("data: {")
            ]
            said = [event["choices"][0]["delta"].get("content", "") for event in events[:-1]]
            assert "".join(said) == "Step 1.\n\n\\boxed{4}"
            assert events[-1]["usage"]["completion_tokens"] == 3


def test_the_sizes_of_contests_and_problems_may_be_smaller() -> None:
    small = contests(answers=4, samples=6, wide=4, rollouts=4)
    assert "4 answers" in small["ab-mcts"].title
    assert {entry.settings.get("budget", 4) for entry in small["ab-mcts"].entries} == {4}
    assert "at most 6 answers" in small["consistency"].title
    assert "4 candidates" in small["beam"].title
    assert small["beam"].entries[-1].settings["fields"] == {"beams": 4, "width": 2}
    assert "4 rollouts, 2 children" in small["mcts"].title
    assert CONTESTS.keys() == small.keys()
    assert {len(problem.operations) for problem in problems(20, small=True)} == {2, 3}
    assert {len(problem.operations) for problem in problems(20)} == {5, 6, 7}
