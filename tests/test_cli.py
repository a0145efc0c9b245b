"""The command line: what it prints where, its exit codes, and what it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, SPEX
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from spex_agents.cli import app
from spex_agents.cli.live import picture
from spex_agents.cli.showcase import showcase
from spex_agents.demo import PROBLEM, UnitTests, isolation_here
from spex_agents.engines import Request
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.problems import read_problems
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Rebase, Thought, Tree
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end

SIMULATED = ("--engine", "simulated")


def process(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def spex(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def solve(*arguments: str) -> dict[str, Any]:
    result = spex("solve", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_json_is_one_object_with_everything_in_it() -> None:
    found = solve("What is 5 + 7?", *SIMULATED, "--seed", "3")
    assert found["answer"] == "12"
    assert found["policy"] == "rebase"
    assert found["engine"] == "simulated/paper-7b"
    assert found["seed"] == 3
    assert found["speculation"] is True
    assert found["stopped"] in ("ExactStop()", None)
    assert found["seconds"] > 0
    assert len(found["tree_sha256"]) == 64
    assert found["thoughts"] == len(found["tree"])
    assert found["tokens"] == sum(row["tokens"] for row in found["tree"])
    assert found["ledger"]["useful_tokens"] == found["tokens"]
    assert set(found["tree"][0]) == {"path", "text", "tokens", "ends", "reward"}


@pytest.mark.parametrize("policy", ["rebase", "beam", "best-of-n", "rstar"])
def test_the_tree_is_the_same_without_speculation(policy: str) -> None:
    ahead = solve("What is 5 + 7?", *SIMULATED, "--policy", policy, "--width", "4")
    waiting = solve(
        "What is 5 + 7?", *SIMULATED, "--policy", policy, "--width", "4", "--no-speculation"
    )
    assert ahead["tree_sha256"] == waiting["tree_sha256"]
    assert ahead["answer"] == waiting["answer"]
    assert ahead["seconds"] <= waiting["seconds"]
    assert waiting["ledger"]["launched"] == 0


@pytest.mark.parametrize("reward", ["judge", "votes", "expected-value", "calculator"])
def test_rewards_have_names_and_aggregate_over_steps(reward: str) -> None:
    question = ("What is 5 + 7?", *SIMULATED, "--reward", reward, "--width", "4", "--depth", "4")
    found = {
        (aggregate, *flags): solve(*question, "--aggregate", aggregate, *flags)
        for aggregate in ("last", "prod")
        for flags in ((), ("--no-speculation",))
    }
    for aggregate in ("last", "prod"):
        assert len({run["tree_sha256"] for key, run in found.items() if key[0] == aggregate}) == 1
    rewards = {tuple(row["path"]): row["reward"] for row in found["prod",]["tree"]}
    assert all(reward <= rewards.get(path[:-1], 1) for path, reward in rewards.items())


def test_another_seed_gives_another_tree() -> None:
    trees = [solve("What is 5 + 7?", *SIMULATED, "--seed", seed) for seed in ("1", "2")]
    assert trees[0]["tree_sha256"] != trees[1]["tree_sha256"]


def test_for_people_there_is_a_panel() -> None:
    result = spex("solve", "What is 5 + 7?", *SIMULATED)
    assert result.exit_code == 0
    assert "12" in result.stdout.splitlines()[0]
    assert "rebase on simulated/paper-7b, seed 0" in result.stdout
    assert re.search(r"spent +.*\d+ (tokens )?written \(\d+ in vain\) in \d", result.stdout)
    assert result.stderr == ""


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (38, 4)])
def test_the_live_tree_shows_what_changed_last_and_no_more_than_fits(
    width: int, lines: int
) -> None:
    question = f"What is 5 + 7? {'Think hard. ' * 20}"

    async def frames() -> list[str]:
        engine = SimulatedEngine()
        config = SearchConfig(engine=engine, policy=Rebase(width=6), reward=SimulatedReward())
        shown = []
        async with Session(config, Tree(question, seed=1), run="live") as session:
            search = asyncio.create_task(run_to_end(session))
            for _ in range(30):
                await asyncio.sleep(0.3)
                await engine.load()  # brings the tokens of what runs up to date
                screen = Console(width=width, file=io.StringIO(), record=True)
                screen.print(picture(session, asyncio.get_running_loop().time(), rows=8))
                shown.append(screen.export_text())
            await search
        return shown

    shown = run_virtual(frames())
    assert all(frame.startswith("What is 5 + 7?") for frame in shown)
    assert max(len(frame.splitlines()) for frame in shown) == 1 + 8 + lines
    assert all(cell_len(line) <= width for frame in shown for line in frame.splitlines())
    figures = ["● 0 accepted", "▸ 6 demanded", "◌ 0 speculative", "paths ended 0/6"]
    assert all(figure in shown[0] for figure in (*figures, "✕ 0 retracted", "0 rewards pending"))
    assert all("rewards pending" in frame and "…" in frame.splitlines()[0] for frame in shown)
    assert any("◌ 0." in frame and "... " in frame for frame in shown)
    assert any("... " in frame and re.search(r"● 0\.\d\d Step", frame) for frame in shown)


def test_the_figures_below_the_live_tree_count_its_marks_and_the_end_shows_the_same_tree() -> None:
    def drawn(session: Session, *, ended: bool = False) -> str:
        screen = Console(width=100, file=io.StringIO(), record=True)
        seconds = asyncio.get_running_loop().time()
        screen.print(picture(session, seconds, rows=100, ended=ended))
        return screen.export_text()

    async def frames(speculation: Speculation | None) -> list[str]:
        async with SimulatedEngine() as engine:
            config = SearchConfig(
                engine=engine,
                policy=Rebase(width=4),
                reward=SimulatedReward(latency=1),
                speculation=speculation,
            )
            async with Session(config, Tree("What is 5 + 7?", seed=1), run="live") as session:
                search = asyncio.create_task(run_to_end(session))
                shown = []
                while not search.done():
                    shown.append(drawn(session))
                    await asyncio.sleep(0.3)
                return [*shown, drawn(session, ended=True)]

    *live, ahead = run_virtual(frames(Speculation()))
    for frame in live:
        for mark, word in ("●", "accepted"), ("▸", "demanded"), ("◌", "speculative"):
            assert f"{mark} {frame.count(mark) - 1} {word}" in frame
    assert any("◌ 0 speculative" not in frame for frame in live)
    plain = run_virtual(frames(None))[-1]
    assert ahead.rpartition("● ")[0] == plain.rpartition("● ")[0]
    assert "○ 0 wasted" in plain
    assert "○ 0 wasted" not in ahead


def test_no_answer_is_exit_code_1() -> None:
    result = spex("solve", "What is 5 + 7?", *SIMULATED, "--depth", "1", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["answer"] is None
    assert "no answer" in spex("solve", "What is 5 + 7?", *SIMULATED, "--depth", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("solve", "  "), "question='  ': must not be empty"),
        (("solve", "x", "--policy", "greedy"), "must be one of rebase, "),
        (("solve", "x", "--width", "0"), "--width 0: must be"),
        (("solve", "x", "--policy", "beam", "--width", "0"), "0: must be"),
        (("solve", "x", "--policy", "beam", "--width", "-8"), "-8: must be"),
        (("solve", "x", "--rollouts", "8"), "--rollouts 8: rebase has no rollouts"),
        (("solve", "x", "--depth", "0"), "--depth 0: must be"),
        (("solve", "x", "--temperature", "3"), "--temperature 3.0: must lie in [0, 2]"),
        (("solve", "x", *SIMULATED, "--vote", "all"), "--vote all: must be one of"),
        (("solve", "x", *SIMULATED, "--weight", "max"), "--weight max: must be one of"),
        (
            ("solve", "x", *SIMULATED, "--termination", "soon"),
            "--termination soon: must be one of none, exact, margin",
        ),
        (("solve", "x", "--engine", "gpu"), "--engine gpu: must be embedded, simulated"),
        (("solve", "x", *SIMULATED, "--model", "y"), "--model y: the simulated engine has one of"),
        (("solve", "x", "--model", "no/such.gguf"), "--model no/such.gguf: there is no such file"),
        (("solve", "x", *SIMULATED, "--shots", "nowhere.jsonl"), "cannot be read"),
        (("solve", "x", *SIMULATED, "--reward", "luck"), "--reward luck: must be one of"),
        (("solve", "x", *SIMULATED, "--aggregate", "max"), "--aggregate max: must be one of last"),
        (("bench", "real", *SIMULATED, "--aggregate", "max"), "--aggregate max: "),
        (
            ("solve", "x", *SIMULATED, "--reward", "group-vote", "--aggregate", "min"),
            "'group-vote' compares thoughts",
        ),
        (("solve", "x", *SIMULATED, "--reward", "no_such_module:f"), "cannot import"),
        (("solve", "x", *SIMULATED, "--reward", "json:no_such"), "has no 'no_such'"),
        (("solve", "x", "--engine", "json:no_such"), "--engine json:no_such: "),
        (("solve", "x", "--engine", "json:dumps"), "--engine dumps: must be an async function"),
        (
            ("solve", "x", "--engine", "http://127.0.0.1:9/v1", "--reward", "simulated"),
            "scores thoughts of the simulated engine only",
        ),
        (
            ("solve", "x", *SIMULATED, "--dialect", "vllm"),
            "--dialect vllm: engine 'simulated' takes none of a server's settings: leave it out",
        ),
        (
            ("solve", "x", "--extra-body", '{"a": 1}'),
            "--extra-body '{\"a\": 1}': engine 'embedded' takes only thinking of a server's",
        ),
        (
            ("solve", "x", "--engine", "openai:gpt-5-mini", "--thinking", "off"),
            "--thinking off: engine 'openai:gpt-5-mini' takes none",
        ),
        (
            ("solve", "x", "--engine", "openai:gpt-5-mini", "--model", "y"),
            "--model y: engine 'openai:gpt-5-mini' has a model of its own",
        ),
        (("gateway", "--engine", "a=simulated", "--priorities", "0,1"), "--priorities 0,1: "),
        (("bench", "real", *SIMULATED, "--special-tokens", "keep"), "--special-tokens keep: "),
        (("doctor", "--dialect", "vllm"), "--dialect vllm: is a server's: name its address"),
        (("doctor", "--engine", "embedded"), "--engine embedded: must be a server's address"),
        (("solve",), "Missing argument"),
        (("solve", "x", "--width", "many"), "--width"),
        (("sovle", "x"), "No such command"),
    ],
)
def test_bad_input_is_one_error_and_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    result = spex(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_gateway_s_server_settings_go_to_its_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: dict[str, Any] = {}

    def created(given: dict[str, Any], **_: object) -> None:
        engines.update(given)
        raise SettingsError("that is all")

    monkeypatch.setattr("spex_agents.server.gateway.app.create_gateway", created)
    both = ("--engine", "a=simulated", "--engine", "b=http://127.0.0.1:9/v1")
    result = spex("gateway", *both, "--dialect", "vllm", "--priorities", "0,1", "--patience", "9")
    assert "that is all" in result.stderr
    assert [engine.name for engine in engines.values()] == [
        "simulated/paper-7b",
        "openai/http://127.0.0.1:9/v1",
    ]
    assert engines["b"]._priorities == (0, 1)
    assert engines["b"]._client.retries.patience == 9


def test_an_engine_of_ones_own_is_an_async_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_propose.py").write_text(
        "from spex_agents import Proposer\n"
        "async def propose(question, steps, seed):\n"
        "    return 'The answer is 12' if steps else f'Let us see {seed}'\n"
        "ahead = Proposer(propose, pure=True)\n"
        "async def short(question, steps):\n"
        "    return 1 / len(steps[-1])\n"
    )
    own = ("solve", "x", "--reward", "own_propose:short", "--width", "4", "--json")
    reports = []
    for name in ("propose", "ahead"):
        result = spex(*own, "--engine", f"own_propose:{name}")
        assert result.exit_code == 0, result.stderr
        reports.append(json.loads(result.stdout))
    assert [report["engine"] for report in reports] == ["function/propose"] * 2
    assert {report["answer"] for report in reports} == {"12"}
    assert reports[0]["tree_sha256"] == reports[1]["tree_sha256"]
    assert reports[0]["ledger"]["launched"] == 0


def test_solved_examples_are_shown_to_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_model.py").write_text(
        "from langchain_core.language_models.fake_chat_models import FakeListChatModel\n"
        "seen = []\n"
        "class Seeing(FakeListChatModel):\n"
        "    def _call(self, messages, *given, **more):\n"
        "        seen.append([message.content for message in messages])\n"
        "        return super()._call(messages, *given, **more)\n"
        "model = Seeing(responses=['\\\\boxed{12}'])\n"
    )
    (tmp_path / "shots.jsonl").write_text('{"question": "1 + 1?", "solution": "It is two."}\n')
    monkeypatch.chdir(tmp_path)
    own = ("--engine", "own_model:model", "--policy", "best-of-n", "--width", "2")
    assert solve("What is 5 + 7?", *own, "--shots", "shots.jsonl")["answer"] == "12"
    for told in sys.modules["own_model"].seen:
        assert told[-3:-1] == ["1 + 1?", "It is two."]
        assert "What is 5 + 7?" in told[-1]


def test_a_reward_of_ones_own_is_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brevity_reward.py").write_text(
        "async def brevity(question, steps):\n"
        "    print('a line that must not reach standard output')\n"
        "    return 1 / len(steps)\n"
        "async def wild(question, steps):\n"
        "    return 7\n",
        encoding="utf-8",
    )
    found = solve("What is 5 + 7?", *SIMULATED, "--reward", "brevity_reward:brevity")
    assert {row["reward"] for row in found["tree"] if len(row["path"]) == 2} == {0.5}
    result = spex("solve", "x", *SIMULATED, "--reward", "brevity_reward:wild")
    assert result.exit_code == 3
    assert "reward 'wild' returned 7: must be a number in [0, 1]" in result.stderr


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A search with a reward that fails for every thought of the fourth layer."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty_reward.py").write_text(
        "async def late(question, steps):\n    return 7 if len(steps) > 3 else 0.5\n",
        encoding="utf-8",
    )
    return ("What is 5 + 7?", *SIMULATED, "--reward", "faulty_reward:late")


def test_a_search_goes_on_without_paths_that_fail_and_in_strict_mode_ends(
    faulty: tuple[str, ...],
) -> None:
    found = solve(*faulty)
    assert found["ended"] == "policy"
    assert {len(row["path"]) for row in found["failures"]} == {4}
    result = spex("solve", *faulty, "--strict")
    assert result.exit_code == 3
    assert result.stdout == ""
    error, best = result.stderr.splitlines()
    assert error == "error: reward 'late' returned 7: must be a number in [0, 1]"
    assert re.fullmatch(r"best so far: 12 \(\d+ thoughts, \d+ tokens\)", best)


def test_of_a_search_that_fails_json_and_the_recording_have_the_best_so_far(
    faulty: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run.json"
    result = spex("solve", *faulty, "--strict", "--json", "--record", str(run))
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["answer"] == "12"
    assert found["ended"].startswith("RewardError: reward 'late' returned 7")
    assert found["stopped"] is None
    assert found["ballots"]
    assert found["ledger"]["decoded_tokens"] >= found["tokens"] > 0
    said = f"best so far: 12 ({found['thoughts']} thoughts, {found['tokens']} tokens)"
    assert result.stderr.splitlines()[1:] == [said]
    page = tmp_path / "run.html"
    assert spex("view", str(run), "--out", str(page)).exit_code == 0
    assert "returned 7" in page.read_text(encoding="utf-8")


def test_the_termination_rule_is_chosen_by_its_name() -> None:
    question = ("What is 5 + 7?", *SIMULATED, "--policy", "rstar", "--seed", "1")
    found = {name: solve(*question, "--termination", name) for name in ("none", "exact", "margin")}
    assert found["none"]["stopped"] is None
    assert found["exact"]["stopped"] == "ExactStop()"
    assert found["margin"]["stopped"] == "MarginStop(alpha=0.5, min_answers=4)"
    assert found["exact"]["answer"] == found["none"]["answer"] == "12"
    sizes = [found[name]["thoughts"] for name in ("margin", "exact", "none")]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
    assert solve(*question)["tree_sha256"] == found["exact"]["tree_sha256"]


def test_a_vote_weighs_what_its_path_does_while_the_search_is_the_same() -> None:
    question = ("What is 5 + 7?", *SIMULATED, "--termination", "none")
    last, least = (solve(*question, "--weight", weight) for weight in ("last", "min"))
    assert last["tree_sha256"] == least["tree_sha256"]
    rewards = {tuple(row["path"]): row["reward"] for row in least["tree"]}
    for ballot in least["ballots"]:
        path = tuple(ballot["path"])
        assert ballot["weight"] == min(rewards[path[: at + 1]] for at in range(len(path)))
    assert last["ballots"] != least["ballots"]


@pytest.mark.parametrize("reward", ["value", "group-vote"])
def test_a_model_that_says_none_of_the_words_is_one_line_and_exit_code_3(reward: str) -> None:
    result = spex("solve", "What is 5 + 7?", *SIMULATED, "--reward", reward)
    assert result.exit_code == 3
    assert "prompt=" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_cannot_be_reached_is_one_line_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = OpenAIEngine.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "retry_wait", 0.0)
    result = spex("solve", "x", "--engine", "http://127.0.0.1:9/v1", "--model", "m", "--json")
    assert result.exit_code == 3
    assert result.stderr.rstrip().endswith("start the server there, or correct --engine")
    assert result.stdout == ""
    assert result.stderr.startswith("error: http://127.0.0.1:9/v1 cannot be reached")
    assert len(result.stderr.splitlines()) == 1


def test_a_process_prints_one_object_and_nothing_else() -> None:
    done = process(*SPEX, "solve", "What is 5 + 7?", *SIMULATED, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["answer"] == "12"
    assert done.stderr == ""


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, spex_agents.cli; "
        "print({'openai', 'sympy', 'numpy', 'scipy', 'rich.live'} & sys.modules.keys())"
    )
    done = process(sys.executable, "-c", code)
    assert done.stdout == "set()\n"
    assert "--policy" in spex("solve", "--help").stdout


@pytest.mark.model
def test_the_embedded_model_gives_the_same_tree_with_and_without_speculation() -> None:
    small = ("--width", "2", "--depth", "2", "--step-tokens", "8", "--path-tokens", "16")
    results = [
        spex("solve", "What is 2 + 3?", *small, *more, "--json")
        for more in ((), ("--no-speculation",))
    ]
    ahead, waiting = (json.loads(result.stdout) for result in results)
    assert ahead["engine"].startswith("embedded/")
    assert ahead["tree_sha256"] == waiting["tree_sha256"]
    assert [result.exit_code for result in results] == [int(ahead["answer"] is None)] * 2


@pytest.mark.model
def test_ctrl_c_ends_a_live_search_cleanly() -> None:
    screen, terminal = pty.openpty()
    search = subprocess.Popen(
        [
            *SPEX,
            "solve",
            "Count.",
            "--json",
            "--policy",
            "rstar",
            "--rollouts",
            "1000",
        ],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(terminal)
    seen = b""
    while b" demanded" not in seen:  # the live view is up, so the model decodes
        seen += os.read(screen, 65536)
    search.send_signal(signal.SIGINT)
    while True:
        try:
            if not (more := os.read(screen, 65536)):
                break
        except OSError:  # how a terminal says that nobody writes to it any more
            break
        seen += more
    stdout, _ = search.communicate(timeout=PATIENCE)
    os.close(screen)
    assert search.returncode == 130
    assert stdout == b""
    assert b"interrupted" in seen
    assert b"Traceback" not in seen


def test_the_problem_of_the_demo_is_in_the_file() -> None:
    file = Path(__file__).parents[1] / "examples" / "data" / "weekday_sums.jsonl"
    assert PROBLEM in read_problems(file)


@pytest.mark.model
@pytest.mark.slow
async def test_the_demo_shows_the_same_search_twice_and_one_that_greedy_decoding_gets_wrong() -> (
    None
):
    screen = Console(width=80, file=io.StringIO(), record=True)
    off, on = await showcase(0, screen, wait=0.1)
    assert off.recording["ledger"]["launched"] == 0 < on.recording["ledger"]["hits"]
    assert off.result.tree.sha256() == on.result.tree.sha256()
    shown = " ".join(screen.export_text().split())
    assert "The same tree of 28 thoughts" in shown
    assert f"The search answers {PROBLEM.answer}, which is right." in shown
    once = shown.partition("In one go, without a search,")[2].partition("The search")[0]
    assert "which is wrong" in once


@pytest.mark.parametrize("wait", [0.0, 0.01])
async def test_the_tests_of_the_demo_find_a_wrong_sum(wait: float) -> None:
    tests = UnitTests(wait, await isolation_here())
    question = "Start: 4\nMonday: + 3\nTuesday: + 3"
    request = Request(id="run/0/reward-1", seed=0)

    async def passes(*steps: str) -> float:
        return await tests.score(
            question, [Thought(text=step, tokens=1) for step in steps], request
        )

    assert await passes("Monday: 4 + 3 = 7", "Tuesday: 7 + 3 = 10") == 1
    assert await passes("Monday: 4 + 3 = 8") == 0
    assert await passes("Monday: 4 + 3 = 7", "Tuesday: 8 + 3 = 11") == 0
