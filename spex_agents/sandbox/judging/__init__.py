"""A program judged by tests that it cannot reach.

The tests run in one process of a sandbox, the program in another one: it is asked by a pipe, and
answers with data. So it can neither read the tests, nor change them or their result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spex_agents.sandbox.isolation import CODE, Isolation
from spex_agents.sandbox.limits import SandboxLimits
from spex_agents.sandbox.process import Job, python
from spex_agents.sandbox.run import performed

_OVER = {
    "time": "the time limit: an endless loop?",
    "memory": "the memory limit",
    "processes": "the limit of processes",
    "output": "the limit of output",
}
_OWN = re.compile(r"^from spex_agents\..*$\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What tests say of a program: how many of them it passed, and the first that it did not.

    Example:
        >>> verdict = Verdict(passed=3, total=4, failures=("assert median([]) is None",))
        >>> verdict.share, verdict.ok, str(verdict)
        (0.75, False, '3 of 4 tests passed')
    """

    passed: int
    total: int
    failures: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        return self.passed / self.total if self.total else 0.0

    @property
    def ok(self) -> bool:
        return self.passed == self.total > 0 and not self.failures

    def __str__(self) -> str:
        return f"{self.passed} of {self.total} tests passed"


async def judge(
    program: str,
    tests: str,
    limits: SandboxLimits = SandboxLimits(),
    *,
    functions: Sequence[str] = (),
    isolation: Isolation = "auto",
) -> Verdict:
    """Run tests of a program, which is in a process of its own and cannot reach them.

    Tests use what the program defines by name. Values of Python's own types are copied to it and
    back, changes that it makes to its arguments included; other objects stay where they are, and
    the tests call them, read their attributes and go through them. A test that compares such an
    object with a value of its own is told that they differ: the program is not asked.

    Args:
        program: What is judged.
        tests: Assertions, counted one by one, in order or in functions `test_*`.
        limits: Of both processes together.
        functions: Names of what is to be tested. Others that the language has too, such as `len`,
            stay the language's in the tests.
        isolation: What keeps both from the system.

    Raises:
        SettingsError: This system offers no such isolation.

    Example:
        >>> import asyncio
        >>> busy = SandboxLimits(seconds=60)  # a machine with other work
        >>> print(asyncio.run(judge("def double(x): return 4", "assert double(2) == 4", busy)))
        1 of 1 tests passed
    """
    given = {"program": program, "tests": tests, "functions": list(functions)}
    job = Job(
        command=[*python(), f"{CODE}/testing.py", f"{CODE}/answering.py"],
        stdin=json.dumps(given).encode(),
        limits=limits,
        files={f"{name}.py": _source(name) for name in ("testing", "answering")},
    )
    outcome = await performed(job, isolation)
    if outcome.ok:
        try:
            found = json.loads(outcome.stdout)
        except ValueError:
            why = "the tests printed over their report"
        else:
            passed, total, failures = found["passed"], found["total"], found["failures"]
            return Verdict(passed=passed, total=total, failures=tuple(failures))
    else:
        why = _OVER.get(outcome.status, "it ended before its tests did")
    return Verdict(passed=0, total=1, failures=(f"the program was stopped: {why}",))


@cache
def _source(name: str) -> str:
    """A process's code in one file: it has no package to import from."""
    place = Path(__file__).parent
    parts = [(place / f"{part}.py").read_text(encoding="utf-8") for part in ("data", "wire", name)]
    return _OWN.sub("", "\n\n".join(parts))
