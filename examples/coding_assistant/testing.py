"""Unit tests as a reward: the share that a program passes, in a sandbox, several at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache

from examples.coding_assistant.task import Task
from spex_agents.engines import Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.rewards import Cached
from spex_agents.sandbox import Isolation, SandboxLimits, Verdict, judge
from spex_agents.sandbox.run import chosen
from spex_agents.search import Thought

LIMITS = SandboxLimits(seconds=30.0, cpu_seconds=2, memory=512 << 20, processes=16)
"""Computing time is what ends an endless loop: unlike the clock it does not depend on the load."""

PLACES = 8
"""Runs at a time: more than there are processors, for tests that wait as well as for those that do
not, whose computing time is limited each by itself."""

_CALLS = re.compile(r"\b(\w+)\(")


class UnitTests:
    """The share of its task's tests that a program passes; 0 for one that does not end, or cheats.

    A run of the tests depends on nothing but program and tests: no network, no files, no other
    process. So it is pure, and may run for programs that the search has not asked for yet; and it
    is remembered by program and tests, whichever thoughts they came from.

    Args:
        limits: Of one run.
        places: Runs at a time, those that the search waits for first.
        isolation: What keeps programs apart from this system.

    Raises:
        SettingsError: This system cannot keep a program apart.
    """

    name = "unit tests"
    needs_logprobs = False
    pure = True
    seeded = False

    def __init__(
        self,
        limits: SandboxLimits = LIMITS,
        *,
        places: int = PLACES,
        isolation: Isolation = "auto",
    ) -> None:
        chosen(isolation)  # now, not with the first program
        self.max_concurrency = places  # told, or a search would have to find it
        self._runs = _Runs(limits, Gate(places), isolation)
        self._known = Cached(self._runs)

    def __repr__(self) -> str:
        return f"<UnitTests: {len(self._runs.reports)} reports>"

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        from examples.coding_assistant.search import TEMPLATE, program_in  # noqa: PLC0415 (a cycle)

        program = program_in(TEMPLATE.prompt(question, thoughts).reply)
        return await self._share(Task.of(question), program or "", request)

    async def report(self, task: Task, program: str) -> Verdict:
        """What a task's tests say of a program; known already where the search has scored it."""
        await self._share(task, program, Request(id="report", seed=0))
        return self._runs.reports[_whole(task, program), _tested(task)]

    async def _share(self, task: Task, program: str, request: Request) -> float:
        content = [Thought(text=_whole(task, program), tokens=0)]
        return await self._known.score(_tested(task), content, request)


@cache
def shared_tests() -> UnitTests:
    """One for the process, so that all its searches share what is known, and the places."""
    return UnitTests()


def _whole(task: Task, program: str) -> str:
    return f"{task.given}\n\n{program}" if task.given else program


def _tested(task: Task) -> str:
    """The tests, and the functions that they are about, as the question of a reward."""
    functions = sorted(set(_CALLS.findall(f"{task.request}\n{task.opening}")))
    return json.dumps({"tests": task.tests, "functions": functions})


class _Runs:
    """Judges a program by the question's tests; `Cached` sees to it that it does so once."""

    name = UnitTests.name
    needs_logprobs, pure, seeded = False, True, False

    def __init__(self, limits: SandboxLimits, gate: Gate, isolation: Isolation) -> None:
        self.reports: dict[tuple[str, str], Verdict] = {}
        self._limits = limits
        self._gate = gate
        self._isolation = isolation

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        program = thoughts[0].text
        async with self._gate.place(request):
            report = await judge(
                program, limits=self._limits, isolation=self._isolation, **json.loads(question)
            )
        self.reports[program, question] = report
        return report.share
