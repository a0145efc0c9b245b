"""The coding assistant: what it reads, what contains its programs, its graph, and its client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import gateway, process
from processes import PATIENCE, eventually

from examples.coding_assistant import agent
from examples.coding_assistant.__main__ import app
from examples.coding_assistant.agent import create_coder
from examples.coding_assistant.asking import Answer, Event, Here
from examples.coding_assistant.problems import easy, named
from examples.coding_assistant.search import TEMPLATE, asked, program_in
from examples.coding_assistant.task import Task
from examples.coding_assistant.testing import LIMITS, UnitTests
from spex_agents import Proposer
from spex_agents.engines.base import Request
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.errors import SettingsError
from spex_agents.search import Limits, Rstar
from spex_agents.search.tree import Thought

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "examples.coding_assistant")
DOUBLE = "def double(x):\n    '''Twice x.'''\n\nassert double(2) == 4\nassert double(-3) == -6"
RIGHT = "def double(x):\n    return x * 2"


class Scripted:
    """Writes the given texts in turn, and keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[str] = []

    async def __call__(self, question: str, steps: Sequence[str], seed: int) -> str:
        self.asked.append(question)
        return self.texts.pop(0)


def coder(engine: Scripted) -> Here:
    """The agent, which gets one program a round from the script."""
    return Here.of(create_coder(Proposer(engine), policy=Rstar(rollouts=1, width=1)))


def sandboxed(ancestor: int | None = None) -> list[str]:
    """What runs a program in a sandbox, of all processes below `ancestor`, or this one."""
    found, below = [], [str(ancestor or os.getpid())]
    while below:
        process = Path("/proc", below.pop())
        with suppress(OSError):
            for children in process.glob("task/*/children"):
                below += children.read_text().split()
            if b"/code/testing.py" in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


# What it reads.


def test_a_request_s_tests_are_the_reward_s_alone() -> None:
    task = Task.read(DOUBLE)
    assert task.tests == "assert double(2) == 4\nassert double(-3) == -6"
    assert task.opening == "def double(x):"
    prompt = TEMPLATE.prompt(task.question, ())
    assert "assert" not in "".join(turn.content for turn in prompt.messages)
    assert prompt.reply.startswith("```python\ndef double(x):\n")


def test_tests_may_be_blocks_or_examples_of_a_docstring() -> None:
    block = Task.read("Write one().\n\n```python\ndef test_one():\n    assert one() == 1\n```")
    assert (block.request, block.opening) == ("Write one().", "")
    assert block.tests.startswith("def test_one")
    examples = Task.read("def one():\n    '''\n    >>> one()\n    1\n    '''")
    assert examples.tests == "assert (one()) == (1)"


def test_code_before_the_function_belongs_to_the_program() -> None:
    task = Task.read("from typing import List\n\n\ndef first(x: List) -> int:\n\nassert first([1])")
    assert task.given == "from typing import List"
    assert task.opening == "def first(x: List) -> int:"
    assert Task.of(task.question) == task


def test_a_request_without_tests_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"has no tests; add lines such as assert"):
        Task.read("Write something nice.")


def test_a_conversation_goes_on_from_its_last_program() -> None:
    text = (
        f"Conversation so far:\nUser: {DOUBLE}\nAssistant: ```python\n{RIGHT}\n```\n\n"
        "2 of 2 tests passed.\n\nQuestion:\nAlso of strings.\nassert double('a') == 'aa'"
    )
    task = Task.read(text)
    assert task.tests.splitlines()[-1] == "assert double('a') == 'aa'"
    assert len(task.tests.splitlines()) == 3
    assert task.program == RIGHT
    assert "Also of strings." in asked(task)
    assert RIGHT in asked(task)


def test_every_problem_has_a_request_with_tests() -> None:
    assert len(easy()) == 12
    assert all(Task.read(request).opening for request in easy().values())
    assert Task.read(named("HumanEval/53")).opening == "def add(x: int, y: int):"
    with pytest.raises(SettingsError, match="HumanEval/0 to HumanEval/163"):
        named("HumanEval/999")


# What contains its programs.


@pytest.fixture(scope="module")
def tests() -> UnitTests:
    return UnitTests(replace(LIMITS, cpu_seconds=1))


async def share(tests: UnitTests, program: str, request: str = DOUBLE) -> float:
    return (await tests.report(Task.read(request), program)).share


async def test_the_reward_is_the_share_of_tests_that_pass(tests: UnitTests) -> None:
    assert await share(tests, RIGHT) == 1
    assert await share(tests, "def double(x):\n    return 4") == 0.5
    report = await tests.report(Task.read(DOUBLE), "def double(x):\n    return x * x")
    assert (report.passed, report.total) == (1, 2)
    assert report.failures == ("assert double(-3) == -6 fails: it is 9",)


async def test_a_check_function_counts_each_of_its_assertions(tests: UnitTests) -> None:
    request = (
        "def double(x):\n\n```python\ndef check(f):\n    for x in (0, 1, 2):\n"
        "        assert f(x) == 2 * x\n    assert f(5) == 10\n\ncheck(double)\n```"
    )
    assert await share(tests, "def double(x):\n    return x * x", request) == 0.5


@pytest.mark.parametrize(
    "program",
    [
        "def double(x):\n    return",
        "def double(x) return 4",
        "import os\nos._exit(0)",
        "import sys\nsys.exit()",
        'import sys\nsys.stdout.write(\'{"passed": 9, "total": 9, "failures": []}\')',
        "double = open('/etc/passwd').read()",
        "import socket\ndouble = socket.create_connection(('127.0.0.1', 22))",
        f"double = open({str(Path(__file__))!r}).read()",
        "import sys\ndouble = lambda x: int(sys.stdin.read())",
    ],
)
async def test_what_does_not_work_or_cheats_scores_nothing(tests: UnitTests, program: str) -> None:
    assert await share(tests, program) == 0


@pytest.mark.parametrize(
    ("program", "why"),
    [
        pytest.param(
            "def double(x):\n    while True: pass", "an endless loop", marks=pytest.mark.slow
        ),
        ("import os\nfor _ in range(7): os.fork()\nimport time; time.sleep(9)", "processes"),
        ("x = [b'x' * (1 << 28) for _ in range(9)]", ""),
    ],
)
async def test_what_takes_too_much_is_stopped_and_leaves_nothing(
    tests: UnitTests, program: str, why: str
) -> None:
    report = await tests.report(Task.read(DOUBLE), program)
    assert report.share == 0
    assert why in report.failures[0]
    assert sandboxed() == []


async def test_equal_programs_are_run_once(tests: UnitTests) -> None:
    task = Task.read(DOUBLE)
    own = UnitTests()
    first = Thought(text=" return x * 2\n```", tokens=9)
    again = Thought(text=" return x * 2\n```\n\nThat is it.", tokens=12)
    scores = await asyncio.gather(
        *(own.score(task.question, [one], Request(id="r", seed=0)) for one in (first, again))
    )
    assert scores == [1, 1]
    assert repr(own) == "<UnitTests: 1 reports>"


async def test_cancelling_leaves_no_program(tests: UnitTests) -> None:
    task = replace(Task.read(DOUBLE), tests="import time\ntime.sleep(1000)\nassert True")
    running = asyncio.create_task(tests.report(task, RIGHT))
    while not sandboxed():  # noqa: ASYNC110 (another process tells nobody)
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sandboxed() == []


# Its graph.


async def test_what_fails_is_repaired_with_the_failing_output() -> None:
    engine = Scripted(" return x + 2\n```", " return x * 2\n```")
    events: list[Event] = []
    answer = await coder(engine).ask(DOUBLE, events.append)
    assert answer.passed
    assert answer.text == f"```python\n{RIGHT}\n```\n\n2 of 2 tests passed."
    assert "return x + 2" in engine.asked[1]
    assert "assert double(-3) == -6 fails: it is -1" in engine.asked[1]
    accepted = [event["id"] for event in events if event.get("status") == "accepted"]
    assert accepted == ["0", "0.0", "1", "1.0"]
    parents = {event["id"]: event["parent"] for event in events if event["type"] == "thought"}
    assert parents == {"0": "", "0.0": "0", "1": "", "1.0": "1"}


async def test_the_rounds_end_and_the_answer_says_what_fails() -> None:
    engine = Scripted(" return x + 2\n```", " return 5\n```")
    answer = await coder(engine).ask(DOUBLE, lambda event: None)
    assert not answer.passed
    assert "0 of 2 tests passed." in answer.text
    assert "* assert double(2) == 4 fails: it is 5" in answer.text
    with pytest.raises(SettingsError, match="rounds=0"):
        create_coder(Proposer(engine), rounds=0)


async def test_without_a_whole_program_it_says_so() -> None:
    engine = Scripted(*[" return x"] * 24)
    limits = Limits(depth=1)
    graph = create_coder(Proposer(engine), policy=Rstar(rollouts=1, width=1), limits=limits)
    answer = await Here.of(graph).ask(DOUBLE, lambda event: None)
    assert (answer.passed, answer.text[:28]) == (False, "No whole program was written")


async def test_a_thread_goes_on_from_the_turn_before() -> None:
    engine = Scripted(" return x * 2\n```", " return x + x\n```")
    here = coder(engine)
    await here.ask(DOUBLE, lambda event: None)
    answer = await here.ask("Without a product.\nassert double('a') == 'aa'", lambda event: None)
    assert "return x + x" in answer.text
    assert "3 of 3 tests passed." in answer.text
    assert "The program so far:" in engine.asked[1]
    assert "return x * 2" in engine.asked[1]


def test_a_thought_s_code_ends_with_its_block() -> None:
    assert program_in(" return 1") is None
    assert program_in(" return 1\n```\n\nIt is one.") == " return 1"
    assert program_in("```python\na\n```\n\n```\nb\n```") == "a"


async def latest(http: httpx.AsyncClient) -> dict[str, Any]:
    """What a gateway says of the search that was begun last."""
    (search,) = (await http.get("/v1/searches", params={"limit": 1})).json()["data"]
    return dict(search)


async def test_a_client_that_comes_back_finds_the_search_where_it_was() -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()
    written = 0

    async def write(question: str, steps: Sequence[str], seed: int) -> str:
        nonlocal written
        if written:
            waiting.set()
            await go_on.wait()
        written += 1
        return f" return x * {written}\n```"

    body = {"model": "mine/coder/rstar-2", "messages": [{"role": "user", "content": DOUBLE}]}
    returning = {"Idempotency-Key": "once"}
    async with (
        gateway(agents={"coder": agent}, more={"mine": Proposer(write)}) as running,
        running.http() as http,
    ):
        first = asyncio.create_task(http.post("/v1/chat/completions", json=body, headers=returning))
        async with asyncio.timeout(PATIENCE):
            await waiting.wait()
            first.cancel()
            while (search := await latest(http))["state"] == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        go_on.set()
        done = await http.post("/v1/chat/completions", json=body, headers=returning)
        tree = (await http.get(f"/v1/searches/{search['id']}")).json()["tree"]
    assert done.json()["choices"][0]["message"]["content"].endswith("2 of 2 tests passed.")
    assert [row["id"] for row in tree] == ["0", "0.0", "0.1"]
    assert written == 2


# Its client.

SCRIPT = """
from spex_agents import Proposer

async def double(question, steps, seed):
    return " return x * 2\\n```"

engine = Proposer(double, pure=True)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A gateway in a process of its own, where the agent's model knows one program."""
    place = tmp_path_factory.mktemp("gateway")
    (place / "script.py").write_text(SCRIPT)
    served = ("--agent", "coder=examples.coding_assistant:agent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with process(place, *served, "--engine", "mine=script:engine") as (run, url):
            yield run.pid, url


def client(url: str, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """The client's process, asked what `arguments` say, at an address."""
    command = [*COMMAND, *arguments, "--gateway", f"{url}/v1", "--model", "mine/coder"]
    return subprocess.run(
        command, cwd=ROOT, input=said, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_client_shows_thoughts_and_tests_and_then_the_program(served: tuple[int, str]) -> None:
    done = client(served[1], DOUBLE)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert shown[:3] == ["write the program", "  · return x * 2", "    ✓ all tests passed"]
    assert [line.rstrip() for line in shown[4:6]] == RIGHT.splitlines()
    assert shown[6] == "2 of 2 tests passed."


@pytest.mark.slow
def test_a_conversation_goes_on_behind_a_gateway(served: tuple[int, str]) -> None:
    said = f"{DOUBLE.replace(chr(10) * 2, chr(10))}\n\nAlso texts.\nassert double('a') == 'aa'\n"
    done = client(served[1], "--json", said=said)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["answer"].endswith("2 of 2 tests passed.")
    assert second["answer"].endswith("3 of 3 tests passed.")
    assert "change the program" in done.stderr


@pytest.mark.slow
def test_the_tree_does_not_depend_on_where_it_grows(served: tuple[int, str]) -> None:
    here = asyncio.run(coder(Scripted(" return x * 2\n```")).ask(DOUBLE, lambda event: None))
    there = client(served[1], DOUBLE, "--json", "--no-speculation")
    assert json.loads(there.stdout)["tree_sha256"] == here.tree_sha256


@pytest.mark.slow
def test_ctrl_c_ends_the_search_down_to_the_sandbox(served: tuple[int, str]) -> None:
    serving, url = served
    endless = f"{DOUBLE}\n\n```python\nimport time\ntime.sleep(1000)\nassert True\n```"
    command = [*COMMAND, endless, "--gateway", f"{url}/v1", "--model", "mine/coder"]
    with subprocess.Popen(command, cwd=ROOT, stdout=-3, stderr=-1, text=True) as run:
        assert eventually(lambda: sandboxed(serving) != [])
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate()
    assert (run.returncode, errors.splitlines()[-1:]) == (130, ["interrupted"])
    assert eventually(lambda: sandboxed(serving) == [])
    (latest,) = httpx.get(f"{url}/v1/searches", params={"limit": 1}).json()["data"]
    assert latest["state"] == "suspended"


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (("Write one().",), 2, "has no tests"),
        ((DOUBLE, "--problem", "last"), 2, "goes without a request"),
        (("--problem", "none"), 2, "must be one of absolute, last"),
        (("double", "--tests", "nowhere.py"), 2, "cannot be read"),
        ((DOUBLE, "--rollouts", "0"), 2, "--rollouts 0"),
        ((DOUBLE, "--engine", "simulated"), 2, "writes no programs"),
        ((DOUBLE, "--gateway", "http://127.0.0.1:9/v1"), 3, "is the gateway up?"),
    ],
)
def test_what_goes_wrong_is_one_line(
    arguments: tuple[str, ...], code: int, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert fault in line


@pytest.mark.slow
def test_a_gateway_s_refusal_is_told(served: tuple[int, str]) -> None:
    command = [*COMMAND, DOUBLE, "--gateway", f"{served[1]}/v1", "--model", "mine/poet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "ENGINE/AGENT with coder" in done.stderr


# The small model.


@pytest.mark.model
@pytest.mark.slow
def test_the_small_model_writes_a_program_and_the_same_tree_with_and_without_speculation() -> None:
    async def trees() -> list[Answer]:
        async with EmbeddedEngine() as engine:
            answers = []
            for ahead in ({}, {"speculation": None}):
                graph = create_coder(engine, tests=UnitTests(), **ahead)  # type: ignore[arg-type]
                answers.append(await Here.of(graph).ask(named("last"), lambda event: None))
            return answers

    on, off = asyncio.run(trees())
    assert on.passed
    assert on.tree_sha256 == off.tree_sha256
    assert (on.ledger["launched"] > 0, off.ledger["launched"]) == (True, 0)
