"""The coding assistant: what it reads, what contains its programs, its graph, and its client."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from examples.coding_assistant.agent import create_coder
from examples.coding_assistant.asking import Event, Here
from examples.coding_assistant.problems import easy, named
from examples.coding_assistant.search import TEMPLATE, asked, program_in
from examples.coding_assistant.task import Task
from examples.coding_assistant.testing import LIMITS, UnitTests
from spex_agents.engines.base import Closing, Features, Load, Prompt, Request, Sampling
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search import Rstar
from spex_agents.search.tree import Thought

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "examples.coding_assistant")
DOUBLE = "def double(x):\n    '''Twice x.'''\n\nassert double(2) == 4\nassert double(-3) == -6"
RIGHT = "def double(x):\n    return x * 2"


class Scripted(Closing):
    """Writes the given thoughts, in turn, whoever asks."""

    name = "scripted"

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.prompts: list[Prompt] = []

    @property
    def features(self) -> Features:
        return Features(exactness="unseeded")

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        self.prompts.append(prompt)
        request.tokens += 1
        return Thought(text=self.texts.pop(0), tokens=1, finish="stop", ends=True)

    async def score(self, *_: Any, **__: Any) -> Any:
        raise EngineError("not here")

    async def promote(self, request: Request) -> None: ...

    async def load(self) -> Load:
        return Load(running=0, waiting=0)


def sandboxed() -> list[str]:
    """What runs a program in a sandbox, of all processes below this one."""
    found, below = [], [str(os.getpid())]
    while below:
        process = Path("/proc", below.pop())
        with suppress(OSError):
            for children in process.glob("task/*/children"):
                below += children.read_text().split()
            if b"/code/program.py" in (process / "cmdline").read_bytes():
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
        ("def double(x):\n    while True: pass", "an endless loop"),
        ("import os\nwhile True: os.fork()", "processes"),
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


def shown_to(events: list[Event]) -> Any:
    return events.append


async def test_what_fails_is_repaired_with_the_failing_output() -> None:
    engine = Scripted(" return x + 2\n```", " return x * 2\n```")
    events: list[Event] = []
    graph = create_coder(engine, policy=Rstar(rollouts=1, width=1))
    answer = await Here.of(graph).ask(DOUBLE, events.append)
    assert answer.passed
    assert answer.text.startswith(f"```python\n{RIGHT}\n```")
    (repair,) = {turn.content for turn in engine.prompts[1].messages[-1:]}
    assert "assert double(-3) == -6 fails: it is -1" in repair
    assert "return x + 2" in repair
    accepted = [event["id"] for event in events if event.get("status") == "accepted"]
    assert accepted == ["0", "0.0", "1", "1.0"]
    assert answer.ledger["useful_tokens"] == 2


async def test_the_rounds_end(tests: UnitTests) -> None:
    engine = Scripted(" return x + 2\n```", " return 5\n```")
    graph = create_coder(engine, policy=Rstar(rollouts=1, width=1))
    answer = await Here.of(graph).ask(DOUBLE, lambda event: None)
    assert not answer.passed
    assert "0 of 2 tests passed." in answer.text
    assert "* assert double(2) == 4 fails: it is 5" in answer.text
    with pytest.raises(SettingsError, match="rounds=0"):
        create_coder(engine, rounds=0)


async def test_a_thread_goes_on_from_the_turn_before() -> None:
    engine = Scripted(" return x * 2\n```", " return x + x\n```")
    graph = create_coder(engine, policy=Rstar(rollouts=1, width=1))
    here = Here(graph.compile(checkpointer=InMemorySaver()))
    await here.ask(DOUBLE, lambda event: None)
    answer = await here.ask("Now without a product.\nassert double('a') == 'aa'", print)
    assert "3 of 3 tests passed." in answer.text
    assert "return x * 2" in engine.prompts[1].messages[-1].content


def test_a_thought_s_code_ends_with_its_block() -> None:
    assert program_in(" return 1") is None
    assert program_in(" return 1\n```\n\nIt is one.") == " return 1"
    assert program_in("```python\na\n```\n\n```\nb\n```") == "a"
