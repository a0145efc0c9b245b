"""The tree while it grows, on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from rich.tree import Tree as Branches

from spex_agents.search.tree import ROOT, Path
from spex_agents.speculation.running.jobs import Job
from spex_agents.speculation.session import Session
from spex_agents.view.standings import mark

FRAME_SECONDS = 0.125
_FEWEST_ROWS = 5


@asynccontextmanager
async def live_view(session: Session, console: Console) -> AsyncIterator[None]:
    """Show the session's tree on `console` while the body runs; nothing where no one looks."""
    if not console.is_terminal:
        yield
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        # A task, not the view's own thread, which would read the session while it changes.
        painting = asyncio.create_task(_paint(session, live))
        try:
            yield
        finally:
            painting.cancel()
            await asyncio.wait([painting])


async def _paint(session: Session, live: Live) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        rows = max(_FEWEST_ROWS, live.console.height - 5)
        live.update(picture(session, loop.time() - begun, rows), refresh=True)
        await asyncio.sleep(FRAME_SECONDS)


def picture(session: Session, seconds: float, rows: int, *, ended: bool = False) -> RenderableType:
    """The session as it stands: at most `rows` thoughts, those that changed last.

    Once the search has ended, the thoughts of its tree alone.
    """
    question = Text(_line(session.tree.question), "bold", no_wrap=True, overflow="ellipsis")
    branches = {ROOT: Branches(question, guide_style="dim")}
    early = [] if ended else [*_in_flight(session), *_written_early(session)]
    for path in sorted(_latest(session, early, rows)):
        branches[path] = branches[path[:-1]].add(_thought(session, path))
    return Group(branches[ROOT], _figures(session, seconds, ended))


def _latest(session: Session, early: Iterable[Path], rows: int) -> set[Path]:
    """Thoughts that are not in the tree yet, then its youngest: with their ancestors."""
    shown: set[Path] = set()
    for path in (*early, *reversed(list(session.tree.thoughts))):
        new = {path[: depth + 1] for depth in range(len(path))} - shown
        if len(shown) + len(new) <= rows:
            shown |= new
    return shown


def _in_flight(session: Session) -> Iterable[Path]:
    return sorted(
        session.memo.writing, key=lambda path: not session.memo.writing[path].request.demanded
    )


def _written_early(session: Session) -> Collection[Path]:
    return [path for path in session.memo.thoughts if path not in session.tree]


def _thought(session: Session, path: Path) -> Text:
    job = session.memo.writing.get(path)
    thought = session.tree.thoughts.get(path) or session.memo.thoughts.get(path)
    repeats = path in session.tree and thought is not None and thought.same_as is not None
    if path in session.tree:
        standing = "merged" if repeats else "accepted"
    else:
        standing = "speculative" if path in session.memo.ahead else "demanded"
    line = Text(f"{mark(standing)} ", no_wrap=True, overflow="ellipsis")
    if engine := session.config.policy.action(path).engine:
        line.append(f"{engine} ", "magenta")
    if job is not None:
        return line.append(
            f"... {job.request.tokens} tokens", "yellow" if job.request.demanded else "dim italic"
        )
    if path in session.memo.rewards:
        line.append(f"{session.memo.rewards[path]:.2f} ", "cyan" if path in session.tree else "dim")
    assert thought is not None  # noqa: S101 (it is not being written)
    shown = path in session.tree and not repeats
    style = "dim" if not shown else "green" if thought.ends else ""
    return line.append(_line(thought.text), style)


def _figures(session: Session, seconds: float, ended: bool) -> Columns:
    jobs: list[Job[Any]] = [*session.memo.writing.values(), *session.memo.scoring.values()]
    tokens = session.ledger.decoded_tokens + sum(job.request.tokens for job in jobs)
    finished = sum(1 for _ in session.tree.leaves())
    left = session.config.policy.remaining(session.state, session.tree)
    begun = len(session.memo.writing) + len(_written_early(session))
    ahead = len(session.memo.ahead)
    figures = [
        f"{mark('accepted')} {len(session.tree)} accepted",
        f"{mark('demanded')} {begun - ahead} demanded",
        f"{mark('wasted')} {ahead} wasted"
        if ended
        else f"{mark('speculative')} {ahead} speculative",
        f"paths ended {finished}" + ("" if left is None else f"/{finished + left}"),
        f"{tokens} tokens, {tokens / max(seconds, FRAME_SECONDS):.0f}/s",
        f"{seconds:.0f} s",
        f"{mark('retracted')} {session.ledger.retracted} retracted",
        f"{len(session.memo.scoring)} rewards pending",
    ]
    return Columns([Text(figure, "bold", no_wrap=True) for figure in figures], padding=(0, 2))


def _line(text: str) -> str:
    return " ".join(text.split())
