"""Tests that a program cannot reach: cheats score nothing, honest programs what they deserve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cheats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.sandbox import SandboxLimits, Verdict, judge
from spex_agents.sandbox.judging.data import Broken, Decoder, Encoder

LIMITS = SandboxLimits(seconds=30.0, cpu_seconds=4, memory=256 << 20, processes=16)


def usual_and_slow(table: Iterable[str]) -> list[Any]:
    """The names of a table: every third one in the fast suite, the others in the slow one."""
    slow = pytest.mark.slow
    return [name if i % 3 == 0 else pytest.param(name, marks=slow) for i, name in enumerate(table)]


def test_there_are_thirty_of_each() -> None:
    assert len(cheats.CHEATS) >= 30
    assert len(cheats.HONEST) >= 30


@pytest.mark.parametrize("name", usual_and_slow(cheats.CHEATS))
async def test_a_cheat_scores_nothing(name: str) -> None:
    verdict = await judge(cheats.CHEATS[name], cheats.TESTS, LIMITS, functions=["double"])
    assert (verdict.share, verdict.ok) == (0, False), verdict


@pytest.mark.parametrize("name", cheats.MORE_CHEATS)
async def test_a_cheat_at_other_tests_scores_nothing(name: str) -> None:
    program, tests = cheats.MORE_CHEATS[name]
    assert (await judge(program, tests, LIMITS, functions=["double"])).share == 0


@pytest.mark.parametrize("name", usual_and_slow(cheats.HONEST))
async def test_an_honest_program_scores_what_it_passes(name: str) -> None:
    program, tests, share = cheats.HONEST[name]
    verdict = await judge(program, tests, LIMITS, functions=["f", "sum"])
    assert verdict.share == share, verdict


async def test_tests_without_assertions_pass_by_running() -> None:
    raising = "if f(1) != 1:\n    raise ValueError('wrong')"
    assert (await judge("def f(x): return x", raising, LIMITS)).ok
    assert (await judge("def f(x): return 2", raising, LIMITS)).share == 0
    assert (await judge("def f(x) return 2", raising, LIMITS)).share == 0


def test_nothing_of_nothing_is_nothing() -> None:
    assert (Verdict(passed=0, total=0).share, Verdict(passed=0, total=0).ok) == (0, False)


async def test_the_tests_say_what_failed() -> None:
    verdict = await judge("def f(x): return x * x", "assert f(2) == 4\nassert f(-3) == -6", LIMITS)
    assert verdict == Verdict(passed=1, total=2, failures=("assert f(-3) == -6 fails: it is 9",))
    endless = SandboxLimits(cpu_seconds=1, processes=16)
    verdict = await judge("def f():\n    while True: pass", "assert f()", endless)
    assert verdict.failures == ("the program was stopped: the time limit: an endless loop?",)


atoms: Any = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    *(st.decimals(allow_nan=False), st.fractions(), st.dates()),
)
hashable: Any = atoms | st.tuples(atoms, atoms) | st.frozensets(atoms, max_size=3)
flat: Any = hashable | st.lists(hashable, max_size=3)
values: Any = flat | st.lists(flat, max_size=3) | st.dictionaries(hashable, flat, max_size=3)


def refused(_: object) -> list[object]:
    raise AssertionError


@given(values)
def test_values_arrive_as_they_were_sent(value: object) -> None:
    encoder = Encoder(refused)
    (root,) = encoder.roots([value])
    found = Decoder(encoder.nodes, refused).value(root)
    assert found == value
    assert type(found) is type(value)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i, max_size=4)))
def test_what_is_not_in_form_is_refused_and_not_run(node: object) -> None:
    try:
        Decoder([["yours", node], node], refused).value(1)  # type: ignore[list-item]
    except (Broken, TypeError, ValueError, KeyError, IndexError, AttributeError):
        return
    except AssertionError:
        return
    assert isinstance(node, list)
