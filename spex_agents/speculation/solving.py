"""A whole search without a graph around it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from spex_agents.search.policy import Expand
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig, check_question
from spex_agents.speculation.reporting.events import Listener
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a search came to.

    Attributes:
        answer: The elected answer in canonical form; None if no leaf has one.
        path: Of the leaf it is taken from; None without an answer.
        tree: The committed tree.
        ledger: What it cost.
        stopped: The termination rule that ended it, or None if the policy did.
    """

    answer: str | None
    path: Path | None
    tree: Tree
    ledger: Ledger
    stopped: str | None


async def solve(
    config: SearchConfig,
    question: str,
    *,
    seed: int = 0,
    run: str | None = None,
    listener: Listener | None = None,
) -> Result:
    """Search for the answer of `question`.

    Args:
        config: What the search is made of.
        question: What to answer.
        seed: Decides the run.
        run: First part of all request ids; None for a new one.
        listener: Called with every event.

    Raises:
        SettingsError: The question is empty.
        EngineError: A thought could not be written.
        RewardError: A reward failed or is out of range.
        PolicyError: The policy broke its contract.
    """
    tree = Tree(check_question(question), seed)
    async with Session(config, tree, run=run or uuid4().hex, listener=listener) as session:
        return await run_to_end(session)


async def run_to_end(session: Session) -> Result:
    """The loop of `solve`, on an open session that its caller closes."""
    while isinstance(decision := await session.decide(), Expand):
        await session.expand(decision.paths)
        await session.evaluate(decision.paths)
    answer = await session.answer()
    return Result(
        answer=answer,
        path=None if answer is None else await session.accepted(),
        tree=session.tree,
        ledger=session.ledger,
        stopped=session.stopped,
    )
