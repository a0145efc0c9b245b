"""Hooks in SGLang cannot take it down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spex_agents.server.plugin.expectations import FEATURES, TABLE, faults
from spex_agents.server.plugin.guard import Guard

GIVES = ("admission",)


def double(number: int) -> int:
    return 2 * number


def fails_before(original: Callable[..., Any], number: int) -> int:
    raise KeyError("moved")


def fails_after(original: Callable[..., Any], number: int) -> int:
    original(number)
    raise KeyError("moved")


@pytest.mark.parametrize("hook", [fails_before, fails_after])
def test_a_hook_that_fails_gives_its_feature_up_and_the_original_runs_once(
    hook: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def original(number: int) -> int:
        calls.append(number)
        return 2 * number

    guard = Guard({"admission", "seeds"})
    around = guard.around(GIVES, hook)
    assert around(original, 21) == 42
    assert calls == [21]
    assert guard.features == {"seeds"}
    assert guard.failures == 1
    assert "lost for this process: admission" in caplog.text
    assert around(original, 4) == 8  # without the hook from now on
    assert guard.failures == 1


def test_an_error_of_sglang_itself_is_left_to_it() -> None:
    def original(number: int) -> int:
        raise RuntimeError("out of memory")

    def hook(original: Callable[..., Any], number: int) -> Any:
        return original(number + 1)

    guard = Guard({"admission"})
    with pytest.raises(RuntimeError, match="out of memory"):
        guard.around(GIVES, hook)(original, 1)
    assert guard.features == {"admission"}


def test_what_is_added_to_a_result_may_fail() -> None:
    def hook(result: int, number: int) -> int:
        raise AttributeError("gone")

    guard = Guard({"admission"})
    assert guard.after(GIVES, hook)(double(21), 21) == 42
    assert guard.features == set()


def test_a_hook_of_several_features_runs_while_one_of_them_is_on() -> None:
    def hook(original: Callable[..., Any], number: int) -> int:
        return int(original(number)) + 1

    guard = Guard({"abort"})
    assert guard.around(("admission", "abort"), hook)(double, 1) == 3
    guard.features.clear()
    assert guard.around(("admission", "abort"), hook)(double, 1) == 2


def sources() -> dict[str, str]:
    """A source that is just what the table has."""
    files: dict[str, list[str]] = {}
    for each in TABLE:
        owner, _, name = each.function.partition(".")
        lines = files.setdefault(each.file, [])
        lines += [f"{word} = None" for word in each.words]
        if name:
            returns = f" -> {each.returns}int]" if each.returns.endswith("[") else ""
            returns = returns or (f" -> {each.returns}" if each.returns else "")
            lines.append(
                f"class {owner}:\n    def {name}({', '.join(each.parameters)}){returns}: ..."
            )
    return {file: "\n".join(lines) for file, lines in files.items()}


def test_nothing_is_missing_where_all_is_as_expected() -> None:
    assert faults(sources().get) == {}


@pytest.mark.parametrize("each", TABLE, ids=lambda each: each.function or each.file)
def test_a_file_that_is_gone_costs_the_features_that_need_it(each: Any) -> None:
    there = sources()
    del there[each.file]
    assert set(each.gives) <= faults(there.get).keys() <= set(FEATURES)


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        ("self, running_batch)", "self)", "takes self"),
        ("self, running_batch)", "self, running_batch, more)", "wants self, running_batch, more"),
        ("running_batch)", "running_batch, *, more)", "wants self, running_batch, more"),
        ("-> NextBatchPlan", "-> int", "returns int"),
        ("get_new_batch_prefill", "new_batch", "has no Scheduler.get_new_batch_prefill"),
    ],
)
def test_a_signature_that_has_changed_is_told(was: str, now: str, reason: str) -> None:
    there = sources()
    file = "managers/scheduler.py"
    assert was in there[file]
    there[file] = there[file].replace(was, now, 1)
    found = faults(there.get)
    assert found.keys() == {"admission"}
    assert reason in found["admission"]
