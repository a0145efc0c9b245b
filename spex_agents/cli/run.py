"""Runs one search for the command line: on the right clock, watched, and reported."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, ExitStack, aclosing, nullcontext, redirect_stdout
from json import dump, dumps
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from rich.console import Console

from spex_agents.cli.exits import interruptible
from spex_agents.cli.live import live_view
from spex_agents.cli.recordings import pair_in, writable, write_pair
from spex_agents.cli.report import as_json, panel
from spex_agents.cli.showcase import showcase
from spex_agents.errors import SpexError
from spex_agents.named import run_with
from spex_agents.search import Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.outcome import recording
from spex_agents.speculation.reporting.events import Listener, ThoughtEvent
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import Result, run_to_end

if TYPE_CHECKING:
    from spex_agents.named import AnyEngine


def run(
    config: SearchConfig,
    engine: AnyEngine,
    policy: str,
    question: str,
    *,
    seed: int,
    json: bool,
    record: Path | None = None,
) -> bool:
    """Search, print what came of it, and tell whether there is an answer.

    Of a search that an error ends, the best so far is recorded, and printed as JSON.

    Raises:
        SettingsError: The recording cannot be written.
        SpexError: What has ended the search.
    """
    watched = Console(stderr=True)
    events: list[ThoughtEvent] = []
    with ExitStack() as stack:
        # Opened before any model is called.
        file = None if record is None else stack.enter_context(writable(record, "record"))
        listener = None if file is None else events.append
        with redirect_stdout(sys.stderr):  # whatever a reward of the user's prints
            search = timed(config, engine, Tree(question, seed), watched, listener)
            result, seconds, error = run_with(engine, interruptible(search))
        if file is not None:
            dump(recording(config, policy, result, seconds, events), file)
    if json and (error is None or len(result.tree)):
        print(dumps(as_json(config, policy, result, seconds)))
    if error is not None:
        raise error
    if not json:
        Console().print(panel(config, policy, result, seconds))
    return result.answer is not None


def show_demo(seed: int, wait: float, record: Path | None = None) -> None:
    """Run the demonstration, and print it on standard output."""
    with nullcontext() if record is None else pair_in(record) as files:
        off, on = asyncio.run(interruptible(showcase(seed, Console(), wait)))
        if files is not None:
            write_pair(files, off.recording, on.recording)


async def timed(
    config: SearchConfig,
    engine: AnyEngine,
    tree: Tree,
    console: Console,
    listener: Listener | None = None,
) -> tuple[Result, float, SpexError | None]:
    """A whole search, the seconds it took on the loop's clock once the engine was up, its error."""
    clock = asyncio.get_running_loop().time
    async with engine, AsyncExitStack() as others:
        for other in config.engines.values():
            await others.enter_async_context(aclosing(other))
        begun = clock()
        async with (
            Session(config, tree, run=uuid4().hex, listener=listener) as session,
            live_view(session, console),
        ):
            try:
                return await run_to_end(session), clock() - begun, None
            except SpexError as error:
                return error.partial, clock() - begun, error
