"""A function of the user's that fails costs a path, and not the search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from searching import QUESTION, Outcome, config, run_search
from test_failures import Faulty

from spex_agents.answers import extract_answer
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import AnswerError, EngineError, SettingsError
from spex_agents.search import BestOfN, Rebase, Refine
from spex_agents.speculation import Failures, Result, Speculation
from spex_agents.speculation.questions import blank, check_question
from spex_agents.speculation.solving import solve


def bad() -> Faulty:
    return Faulty([(1,)], text=r"Step 1, quality 0.5. So it is \boxed{bad}")


def found(**settings: Any) -> Outcome:
    return run_search(Rebase(width=4), engine=bad(), **{"failures": Failures(), **settings})


def picky(text: str) -> str | None:
    if "bad" in text:
        raise KeyError("no such key")
    return extract_answer(text)


def odd(text: str) -> Any:
    return 12 if "bad" in text else extract_answer(text)


def strict(answer: str) -> str:
    if answer == "bad":
        raise ZeroDivisionError
    return answer


def number(answer: str) -> Any:
    return None if answer == "bad" else answer


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"extract": picky}, "extract=picky failed on 'Step 1, quality 0.5. So it is "),
        ({"extract": odd}, "extract=odd returned 12: must return a string or None"),
        ({"canonical": strict}, "canonical=strict failed on 'bad': ZeroDivisionError()"),
        ({"canonical": number}, "canonical=number returned None: must return a string"),
    ],
    ids=["extract fails", "extract finds no text", "canonical fails", "canonical is no text"],
)
@pytest.mark.parametrize("speculation", [None, Speculation()], ids=["off", "on"])
def test_it_ends_its_path_alone_and_is_named(
    settings: dict[str, Any], reason: str, speculation: Speculation | None
) -> None:
    outcome = found(speculation=speculation, **settings)
    ((path, said),) = outcome.tree.failures().items()
    assert path == (1,)
    assert said.replace("\\\\", "\\").startswith(f"AnswerError: {reason}"), said
    assert outcome.ledger.lost == 1
    assert outcome.answer not in (None, "bad")
    assert all(ballot.path[:1] != (1,) for ballot in outcome.ballots)


def test_the_tree_is_that_in_which_the_engine_failed_there() -> None:
    outcome = found(extract=picky)
    other = run_search(Rebase(width=4), engine=Faulty([(1,)]), failures=Failures())
    assert outcome.tree.rewards == other.tree.rewards
    assert outcome.tree.thoughts.keys() == other.tree.thoughts.keys()
    assert [ballot.path for ballot in outcome.ballots] == [ballot.path for ballot in other.ballots]


def ends(**settings: Any) -> AnswerError:
    with pytest.raises(AnswerError) as raised:
        run_virtual(solve(config(bad(), BestOfN(width=8), **settings), QUESTION))
    return raised.value


def broken(text: str) -> str:
    raise RuntimeError(f"cannot read {len(text)} characters")


@pytest.mark.parametrize("name", ["extract", "canonical"])
def test_one_that_always_fails_ends_the_search_with_its_name_and_the_best_so_far(name: str) -> None:
    error = ends(failures=Failures(), **{name: broken})
    assert f"{name}=broken failed on " in str(error)
    assert "thoughts have failed" in error.__notes__[0]
    assert isinstance(error.partial, Result)
    assert error.partial.ended.startswith("AnswerError: ")


def test_in_strict_mode_the_first_failure_ends_the_search() -> None:
    error = ends(failures=None, canonical=strict)
    assert isinstance(error.partial, Result)
    assert error.partial.answer not in (None, "bad")


def test_one_that_fails_only_when_votes_are_counted_leaves_the_other_votes() -> None:
    asked: list[str] = []

    def tired(text: str) -> str | None:
        asked.extend(["bad"] * ("bad" in text))
        if "bad" in text and len(asked) > 2:  # as it was written, and as its vote was begun
            raise TimeoutError
        return extract_answer(text)

    error = ends(failures=Failures(), extract=tired)
    assert "tired failed on" in str(error)
    assert len(error.partial.ballots) > 2
    assert error.partial.answer not in (None, "bad")


def test_a_try_that_is_to_be_refined_is_counted_as_it_is_written() -> None:
    engine = Faulty([(0, 0)], text=r"Step 1, quality 0.5. So it is \boxed{bad}")
    outcome = run_search(Refine(rollouts=3), engine=engine, failures=Failures(), canonical=strict)
    assert list(outcome.tree.failures()) == [(0, 0)]
    assert all(ballot.answer != "bad" for ballot in outcome.ballots)


@pytest.mark.parametrize("text", ["\u200b", "\ufeff \u2060", "\u00ad\n", "\u3164", "\u2800\u200e"])
def test_a_thought_that_shows_nothing_is_white_space(text: str) -> None:
    outcome = run_search(Rebase(width=4), engine=Faulty([(1,)], text=text), failures=Failures())
    assert "white space" in outcome.tree.failures()[(1,)]
    with pytest.raises(SettingsError, match="must not be empty"):
        check_question(text)


@pytest.mark.parametrize("text", ["4\u200b", "\u200d👩\u200d🚀", "a\u0301", "√", "।"])
def test_a_text_that_shows_something_is_none(text: str) -> None:
    assert not blank(text)
    assert check_question(text) == text


def test_its_error_is_an_error_of_an_engine_to_whoever_catches_those() -> None:
    assert issubclass(AnswerError, EngineError)


def test_a_function_without_a_name_is_told_by_what_it_is() -> None:
    class Reads:
        def __repr__(self) -> str:
            return "Reads()"

        def __call__(self, text: str) -> str | None:
            return picky(text)

    reads: Callable[[str], str | None] = Reads()
    ((_, reason),) = found(extract=reads).tree.failures().items()
    assert "extract=Reads() failed on " in reason
