"""How far a search has come: what there is of it, and what its termination rule is told."""

from __future__ import annotations

import asyncio
import time

from spex_agents.answers.standing import Standing
from spex_agents.search.policy import Decision, Expand, State
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.counting import Votes, fixed
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.running.memo import Memo


class Course:
    """Follows the votes, the tokens and the seconds of one search; the seconds from now on.

    Args:
        config: What the search is made of.
        memo: What has been begun for it.
        tree: What it goes on from.
        votes: Counts its votes.
        before: What its earlier runs have spent; None for what the thoughts of `tree` took.
    """

    def __init__(
        self,
        config: SearchConfig,
        memo: Memo,
        tree: Tree,
        votes: Votes,
        before: Ledger | None = None,
    ) -> None:
        self._config = config
        self._memo = memo
        self._votes = votes
        self._began = asyncio.get_running_loop().time()
        spent = before or Ledger()
        committed = sum(thought.tokens for thought in tree.thoughts.values())
        self._before = max(committed, spent.decoded_tokens)
        self._sent_before = spent.sent_tokens

    async def standing(
        self, state: State, tree: Tree, decision: Decision | None, *, within: bool = False
    ) -> Standing:
        """Where the search stands.

        Args:
            state: The policy's.
            tree: What there is.
            decision: The last one.
            within: Whether what it demanded is still awaited.
        """
        ballots = await self._votes.standing(state, tree)
        decoded, sent = self._spent()
        return Standing(
            ballots=ballots,
            vote=self._config.vote,
            remaining=self._config.policy.remaining(state, tree),
            tokens=sum(thought.tokens for thought in tree.thoughts.values()),
            decoded=decoded,
            sent=sent,
            seconds=asyncio.get_running_loop().time() - self._began,
            time=time.time(),
            within=within,
            fixed=fixed(ballots, demanded(decision), tree) if within else None,
        )

    def after(self, tokens: int, sent: int) -> Standing:
        """What a rule on cost is told once so much more has been decoded and sent, in vain or not.

        Args:
            tokens: Decoded.
            sent: Tokens of prompts.
        """
        decoded, before = self._spent()
        decoded += tokens
        return Standing(
            ballots=(),
            vote=self._config.vote,
            remaining=None,
            tokens=decoded,
            decoded=decoded,
            sent=before + sent,
            seconds=asyncio.get_running_loop().time() - self._began,
            time=time.time(),
        )

    def _spent(self) -> tuple[int, int]:
        """Tokens decoded and sent for the search in all its runs."""
        decoded, sent = self._memo.spent()
        return self._before + decoded, self._sent_before + sent

    def there(self, tree: Tree, decision: Decision | None, *, unjudged: bool) -> Tree:
        """`tree`, and what there is of what the last decision demanded.

        Args:
            tree: What is committed.
            decision: The last one.
            unjudged: Also what has no reward so far, though it is to have one.
        """
        memo = self._memo

        def ready(path: Path) -> bool:
            if path not in memo.thoughts:
                return False
            return unjudged or path in memo.rewards or not memo.rewarded(path)

        there = [path for path in demanded(decision) if ready(path)]
        tree = tree.with_thoughts({path: memo.thoughts[path] for path in there})
        return tree.with_rewards(
            {path: memo.rewards[path] for path in there if path in memo.rewards}
        )


def demanded(decision: Decision | None) -> tuple[Path, ...]:
    """The paths that a decision demands."""
    return decision.paths if isinstance(decision, Expand) else ()
