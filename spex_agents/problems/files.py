"""Problems from a file: a JSON object in each line, whose fields tell what kind it is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spex_agents.errors import SettingsError
from spex_agents.problems.coding import Coding
from spex_agents.problems.countdown import Countdown
from spex_agents.problems.kinds import Problem, Stated
from spex_agents.sandbox import Isolation
from spex_agents.speculation.questions import NO_TEXT, check_question

logger = logging.getLogger(__name__)

FORMS = "question and answer; numbers and target; or prompt, tests and, if need be, entry_point"


def read_problems(file: Path, *, isolation: Isolation = "auto") -> tuple[Problem, ...]:
    """The problems of a JSONL file, all of one kind; fields that the kind lacks are passed over.

    A line whose question has no answer is left out, and a warning tells its number.

    Args:
        file: Each line has `question` and `answer`; `numbers` and `target`; or `prompt`, `tests`
            and, if need be, `entry_point`.
        isolation: What keeps tests apart from the system.

    Raises:
        SettingsError: The file cannot be read or holds no problem, or a line is none.

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"question": "What is 5 + 7?", "answer": "12"}')
        ...     file.flush()
        ...     (problem,) = read_problems(Path(file.name))
        >>> problem.answer
        '12'
    """
    rows = [(number, row) for number, row in json_lines(file) if row is not None]
    if unanswered := [number for number, row in rows if _has_no_answer(row)]:
        which = f"line{'s' * (len(unanswered) > 1)} {', '.join(map(str, unanswered))}"
        logger.warning("problems=%r, %s: left out, for there is no answer", str(file), which)
        rows = [one for one in rows if one[0] not in unanswered]
    problems = []
    for number, row in rows:
        try:
            problems.append(problem(row, isolation))
            check_question(problems[-1].question)
        except SettingsError as error:
            raise SettingsError(f"problems={str(file)!r}, line {number}: {error}") from error
        if type(problems[-1]) is not type(problems[0]):
            raise SettingsError(
                f"problems={str(file)!r}, line {number}: is of another kind than line "
                f"{rows[0][0]}; keep kinds in files of their own"
            )
    if not problems:
        raise SettingsError(
            f"problems={str(file)!r}: has no problem; give a line for each, with its answer"
        )
    return tuple(problems)


def _has_no_answer(row: object) -> bool:
    match row:
        case {"question": str(question), **more} if question.strip():
            answer = more.get("answer")
            return answer is None or (isinstance(answer, str) and not answer.strip())
    return False


def read_examples(file: Path) -> tuple[tuple[str, str], ...]:
    """Solved examples to show a model: lines with `question` and `solution`.

    Raises:
        SettingsError: The file cannot be read, or a line is something else.
    """
    examples = []
    for number, row in json_lines(file):
        match row:
            case {"question": str(question), "solution": str(solution)}:
                examples.append((question, solution))
            case _:
                raise SettingsError(
                    f"shots={str(file)!r}, line {number}: must have the texts question and solution"
                )
    return tuple(examples)


def json_lines(file: Path) -> Iterable[tuple[int, Any]]:
    """The lines of a file that are not blank, with their numbers from 1 on.

    Raises:
        SettingsError: It cannot be read, or a line is not JSON.
    """
    try:
        # Only line feeds end a line: other separators may stand inside of a string.
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{str(file)!r}: cannot be read: {reason}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:  # files that were put together have marks of byte order inside as well
                yield number, json.loads(line.removeprefix("\ufeff"))
            except (ValueError, RecursionError) as error:
                raise SettingsError(f"{str(file)!r}, line {number}: no JSON: {error}") from error


def problem(row: object, isolation: Isolation = "auto") -> Problem:
    """The problem that a JSON object tells.

    Raises:
        SettingsError: It tells none.

    Example:
        >>> problem({"numbers": [1, 2], "target": 3})
        Countdown(numbers=(1, 2), target=3)
    """
    match row:
        case {"question": str(question), "answer": str() | int() | float() as answer}:
            if not question.strip() or not str(answer).strip():
                raise SettingsError("question and answer must not be empty")
            if NO_TEXT.search(str(answer)):
                raise SettingsError(f"answer={answer!r}: has NUL or half of a character: no text")
            return Stated(question=question, answer=str(answer))
        case {"question": str(), "answer": answer}:
            raise SettingsError(f"answer={answer!r}: must be a text or a number")
        case {"numbers": list(numbers), "target": target}:
            return Countdown(numbers=tuple(numbers), target=target)
        case {"prompt": prompt, "tests": tests, **more}:
            if isinstance(tests, list):
                tests = "\n".join(map(str, tests))
            entry = str(more.get("entry_point") or "")
            return Coding(prompt=prompt, tests=tests, entry_point=entry, isolation=isolation)
        case dict():
            raise SettingsError(f"has the fields {', '.join(row) or 'none'}; must have {FORMS}")
    raise SettingsError(f"is {row!r}; must be a JSON object with {FORMS}")
