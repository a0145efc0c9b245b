"""What is to be written: read from what a user says, and told to the model and to the reward."""

from __future__ import annotations

import ast
import doctest
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from spex_agents.errors import SettingsError

_TURN = re.compile(r"^(User|Assistant|System|Question): ?", re.MULTILINE)
_BLOCK = re.compile(r"^```[ \t]*\w*[ \t]*\n(.*?)^```[ \t]*$\n?", re.MULTILINE | re.DOTALL)
_ASSERTS = re.compile(r"^assert\b.*$\n?", re.MULTILINE)
_QUOTES = re.compile(r"```|\"\"\"|'''")
_DEF = re.compile(r"^(?:async )?def (\w+)\(.*\)(?: *->.*)?:[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A function to write, as plain data.

    Attributes:
        request: What the user wants, without the tests.
        tests: Python whose assertions a program has to pass.
        given: Code that the user has written before the function: imports, other functions.
        opening: The function's first line, if the user has written it: every program begins so.
        program: A program to go on from.
        output: What its tests say.
    """

    request: str
    tests: str
    given: str = ""
    opening: str = ""
    program: str = ""
    output: str = ""

    @property
    def question(self) -> str:
        """The task as the question of a search, which is a text."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, question: str) -> Task:
        """The task that a search is about: the inverse of `question`."""
        return cls(**json.loads(question))

    @classmethod
    def read(cls, text: str) -> Task:
        r"""The task that a user, or a whole conversation, describes.

        Tests are lines that begin with ``assert`` and blocks of code with assertions; without any,
        the examples of docstrings. They are the reward's: the model does not see them. What a
        conversation asks for later changes the program that was answered last.

        Raises:
            SettingsError: There is nothing to test with.

        Example:
            >>> task = Task.read("def double(x):\n    '''Twice x.'''\n\nassert double(2) == 4")
            >>> task.tests, task.opening
            ('assert double(2) == 4', 'def double(x):')
        """
        said, program = _said(text)
        tests = "\n".join(test for turn in said for test in _tests(turn))
        wanted = [without for turn in said if (without := _without_tests(turn))]
        if not tests:
            tests = "\n".join(test for turn in wanted for test in _examples(turn))
        if not tests:
            raise SettingsError(
                f"question={_short(text)!r}: has no tests; add lines such as assert f(2) == 4, "
                "a block of code with assertions, or examples in the docstring (>>> double(2))"
            )
        request = "\n\n".join(wanted)
        stub = "\n".join([*_BLOCK.findall(request), _BLOCK.sub("", request)])
        given, opening = _stub(stub)
        return cls(request=request, tests=tests, given=given, opening=opening, program=program)


def _said(text: str) -> tuple[list[str], str]:
    """What the user has said, turn by turn, and the last program that was answered."""
    if not text.startswith("Conversation so far:\n"):
        return [text], ""
    said, program = [], ""
    _, *turns = _TURN.split(text)
    for speaker, turn in zip(turns[::2], turns[1::2], strict=True):
        if speaker in ("User", "Question"):
            said.append(turn)
        elif blocks := _BLOCK.findall(turn):
            program = blocks[-1].strip("\n")
    return said, program


def _is_test(code: str) -> bool:
    try:
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _tests(text: str) -> Iterator[str]:
    yield from (code.strip("\n") for code in _BLOCK.findall(text) if _is_test(code))
    yield from (line.strip() for line in _ASSERTS.findall(_BLOCK.sub("", text)))


def _without_tests(text: str) -> str:
    text = _BLOCK.sub(lambda block: "" if _is_test(block[1]) else block[0], text)
    return _ASSERTS.sub("", text).strip()


def _examples(text: str) -> Iterator[str]:
    """The examples of docstrings whose outcome is an expression."""
    try:
        examples = doctest.DocTestParser().get_examples(_QUOTES.sub("\n\n", text))
    except ValueError:  # not quite doctests
        return
    for example in examples:
        test = f"assert ({example.source.strip()}) == ({example.want.strip()})"
        if example.want and _is_test(test):
            yield test


def _stub(text: str) -> tuple[str, str]:
    """The code before the last function that the user has begun, and that function's first line."""
    if not (found := list(_DEF.finditer(text))):
        return "", ""
    last = found[-1]
    before = text[: last.start()].strip()
    try:
        ast.parse(before)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # words
        code = [line for line in before.splitlines() if re.match(r"(from|import) \w", line)]
        before = "\n".join(code)
    return before, last[0].rstrip()


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
