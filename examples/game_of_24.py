r"""The Game of 24 with the original tree of thoughts: proposals, values, five thoughts a layer.

``python examples/game_of_24.py 4 4 6 8`` prints each step as it is judged. The small model
plays a minute or two with fewer thoughts, and mostly loses, since it does not keep to the steps. A
model of yours plays with the paper's settings:
``SPEX_ENGINE=http://127.0.0.1:30000/v1 python examples/game_of_24.py 4 4 6 8``.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
from fractions import Fraction
from typing import Any

from spex_agents import Limits, TotBfs, create_tot_graph, make_engine
from spex_agents.engines import Engine, Message, Prompt, PromptTemplate
from spex_agents.rewards import Value
from spex_agents.search import Action

TEMPLATE = PromptTemplate(
    system=(
        "The Game of 24: make 24 from four numbers with + - * / and parentheses, each number used "
        "once. A step puts one operation between two of the numbers left and writes what is left "
        "then."
    ),
)

PROPOSAL = Action(
    name="propose",
    user=(
        "Numbers: 3 5 6 10\n"
        "Steps so far:\n"
        "Steps that could come next:\n"
        "10 - 6 = 4 (left: 3 4 5)\n"
        "3 * 6 = 18 (left: 5 10 18)\n"
        "10 / 5 = 2 (left: 2 3 6)\n\n"
        "Numbers: 3 5 6 10\n"
        "Steps so far:\n"
        "10 / 5 = 2 (left: 2 3 6)\n"
        "3 - 2 = 1 (left: 1 6)\n"
        "Steps that could come next:\n"
        "6 + 1 = 7 (left: 7)\n"
        "6 * 1 = 6 (left: 6)\n\n"
        "Where 24 alone is left, the next step is the whole expression: "
        "\\boxed{(13 - 9) * (10 - 4)}\n\n"
        "Numbers: {question}\n"
        "Steps so far:\n{steps}\n"
        "Steps that could come next:"
    ),
    lists=True,
    goes_on=True,
)

VALUE = Prompt(
    (
        Message(
            "user",
            "Can the numbers that are left still make 24? Try a few ways, then end with a line of "
            "one word: sure, likely or impossible.\n\n"
            "2 12 left: 2 * 12 = 24.\nsure\n\n"
            "5 7 left: 5 + 7 = 12, 5 * 7 = 35, 7 - 5 = 2.\nimpossible\n\n"
            "4 6 11 left: 4 + 6 + 11 = 21, 11 * 4 - 6 = 38, 4 * (11 - 6) = 20. They are of the "
            "right size.\nlikely\n\n"
            "Numbers: {question}\nSteps:\n{steps}\nLeft after the last step:",
        ),
    )
)


def settings(
    engine: Engine, *, width: int = 8, keep: int = 5, samples: int = 3, room: int = 256
) -> dict[str, Any]:
    """What a search is made of: the keywords of `create_tot_graph` besides its engine.

    Args:
        engine: Says what the thoughts are worth.
        width: Proposals for each thought.
        keep: Thoughts of a layer that are gone on with.
        samples: How often the worth of a thought is asked for.
        room: Tokens of such a reply.
    """
    return {
        "policy": TotBfs(width=width, keep=keep, generate="propose", proposal=PROPOSAL),
        "reward": Value(engine, VALUE, samples=samples, max_tokens=room, otherwise=0.0),
        "template": TEMPLATE,
        "limits": Limits(depth=4, step_tokens=48),
        "vote": "best",
        "free_text": False,  # a text without an expression is no answer
    }


def makes_24(numbers: str, answer: str) -> bool:
    """Whether an expression uses exactly these numbers, and comes to 24.

    Example:
        >>> makes_24("4 4 6 8", "(4 + 8) * (6 - 4)"), makes_24("4 4 6 8", "4 * 6")
        (True, False)
    """
    expression = answer.partition("=")[0]
    if sorted(re.findall(r"\d+", expression)) != sorted(numbers.split()):
        return False
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body) == 24
    except (SyntaxError, ValueError, ZeroDivisionError):
        return False


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left) + _value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _value(left) - _value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left) * _value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _value(left) / _value(right)
        case _:
            raise ValueError(f"{ast.unparse(node)} is no arithmetic")


async def play(engine: Engine, numbers: str, **sizes: int) -> str | None:
    """The answer to a puzzle; its steps are printed as they are judged."""
    graph = create_tot_graph(engine, **settings(engine, **sizes)).compile()
    texts: dict[str, str] = {}
    answer = None
    modes = ["custom", "values"]
    async for mode, told in graph.astream({"question": numbers}, stream_mode=modes):
        if mode == "values":
            answer = told.get("answer")
        elif told.get("status") == "accepted":
            texts[told["id"]] = " ".join(told["text"].split())
        elif told.get("status") == "scored":
            depth = told["id"].count(".")
            print(f"{'  ' * depth}{texts[told['id']]}  (value {told['reward']:.2f})", flush=True)
    return answer


if __name__ == "__main__":
    numbers = " ".join(sys.argv[1:]) or "4 4 6 8"
    name = os.environ.get("SPEX_ENGINE", "embedded")
    small = {"width": 3, "keep": 2, "samples": 1, "room": 32} if name == "embedded" else {}
    answer = asyncio.run(play(make_engine(name), numbers, **small))
    if answer is None:
        print("no answer: no step led to an expression")
    else:
        print(answer, "is right" if makes_24(numbers, answer) else "is not right")
