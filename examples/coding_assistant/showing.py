"""What happens, on a terminal: thoughts as they are accepted, tests as they are judged."""

from __future__ import annotations

import re

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.text import Text

from examples.coding_assistant.asking import Answer, Event
from spex_agents.speculation import Ledger

_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ACCEPTED, PASSED, FAILED = "·", "✓", "✗"


class Showing:
    """Prints events as they come.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: Event) -> None:
        if event["type"] != "thought":
            return
        depth = event["id"].count(".")
        if event["status"] == "accepted" and depth == 0:
            self._console.print(Text(event["text"], "bold"))
        elif event["status"] == "accepted":
            lines = event["text"].partition("```")[0].strip().splitlines() or [""]
            mark = Text(f"{'  ' * depth}{ACCEPTED} ", "dim")
            for number, line in enumerate(lines):
                begin = mark if number == 0 else Text("  " * (depth + 1))
                self._console.print(begin + Text(line.removeprefix("    ")), soft_wrap=True)
        elif event["status"] == "scored":
            share = event["reward"]
            good = share == 1
            said = "all tests passed" if good else f"{share:.0%} of the tests passed"
            style = "green" if good else "yellow" if share else "red"
            self._console.print(
                Text(f"{'  ' * (depth + 1)}{PASSED if good else FAILED} {said}", style)
            )

    def answer(self, answer: Answer, seconds: float) -> None:
        """Print the program, what its tests say, and what it has cost."""
        self._console.print()
        text = answer.text
        if (program := _BLOCK.search(text)) is not None:
            self._console.print(
                Syntax(program[1].rstrip("\n"), "python", background_color="default")
            )
            text = text[program.end() :].strip()
        self._console.print(Text(text, "green" if answer.passed else "yellow"))
        spent = Ledger.of(answer.ledger).bill
        self._console.print(
            f"[dim]{seconds:.1f} s, {spent}; {escape(answer.tree_sha256[:12])}[/dim]"
        )
