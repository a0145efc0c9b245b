"""Who votes in a search, for what, and with what weight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from spex_agents.answers.equivalence import canonical, plain_form
from spex_agents.answers.votes import Ballot
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.search.policy import State, voters
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.running.calls import stated


class Votes:
    """Counts the votes of one search; what a leaf answers is found once.

    Args:
        config: What the search is made of.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._answers: dict[Path, str | None] = {}

    async def standing(self, state: State, tree: Tree) -> list[Ballot]:
        """The votes of the leaves that have an answer, in the order of their places."""
        return await self._ballots(voters(self._config.policy, state, tree), tree)

    async def final(self, state: State, tree: Tree, *, whole: bool) -> list[Ballot]:
        """The votes that elect the answer.

        With `SearchConfig.free_text`, and without any leaf that has an answer, their texts vote.

        Args:
            state: The policy's.
            tree: What there is.
            whole: Whether the policy has ended the search: else all ended paths vote where nobody
                has come to vote before.
        """
        leaves = voters(self._config.policy, state, tree)
        if not leaves and not whole:
            leaves = tuple(tree.leaves())
        ballots = await self._ballots(leaves, tree)
        if ballots or not self._config.free_text:
            return ballots
        first: dict[str, str] = {}
        for place, path in enumerate(leaves):
            if text := self.text(path, tree):
                said = first.setdefault(" ".join(text.casefold().split()), text)
                ballots.append(Ballot(said, self._weight(path, tree), path, place))
        return ballots

    def text(self, path: Path, tree: Tree) -> str:
        """What a path says as a whole, as its template tells it."""
        return self._config.template.prompt(tree.question, tree.chain(path)).reply.strip()

    async def _ballots(self, leaves: Iterable[Path], tree: Tree) -> list[Ballot]:
        ballots = []
        for place, path in enumerate(leaves):
            if path not in self._answers:
                self._answers[path] = await self._answer(path, tree)
            if (answer := self._answers[path]) is not None:
                ballots.append(Ballot(answer, self._weight(path, tree), path, place))
        return ballots

    def _weight(self, leaf: Path, tree: Tree) -> float:
        """What the rewards on the path of `leaf` make of its vote."""
        path = (leaf[: depth + 1] for depth in range(len(leaf)))
        rewards = [tree.rewards[step] for step in path if step in tree.rewards]
        return WAYS[self._config.weight](rewards) if leaf in tree.rewards else 0.0

    async def _answer(self, path: Path, tree: Tree) -> str | None:
        if (answer := stated(self._config, tree, path)) is None:
            return None
        form = self._config.canonical
        if form is canonical and (easy := plain_form(answer)) is not None:
            return easy
        return await asyncio.to_thread(form, answer)


def fixed(ballots: Sequence[Ballot], demanded: Sequence[Path], tree: Tree) -> int | None:
    """How many of `ballots` stand before whatever is missing of `demanded`; None for all.

    Example:
        >>> from spex_agents.search.tree import Thought
        >>> tree = Tree("Why?").with_thoughts({(1,): Thought(text="So.", tokens=2)})
        >>> fixed([Ballot("4", 1.0, (1,))], [(0,), (1,)], tree)
        0
    """
    missing = next((at for at, path in enumerate(demanded) if path not in tree), None)
    late = set() if missing is None else set(demanded[missing:])
    return next((at for at, ballot in enumerate(ballots) if ballot.path in late), None)
