"""Who votes in a search, for what, and with what weight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from spex_agents.answers.equivalence import canonical, formed, written
from spex_agents.answers.forms import Form
from spex_agents.answers.votes import Ballot
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.search.action import begun
from spex_agents.search.policy import State, voters
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.running.calls import attempt, stated


class Votes:
    """Counts the votes of one search; what a leaf answers is found once.

    Args:
        config: What the search is made of.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._answers: dict[Path, str | None] = {}
        self._forms: dict[str, Form] = {}

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
        thoughts = attempt(self._config.policy, path, tree.chain(path))
        return self._config.template.prompt(tree.question, thoughts).reply.strip()

    async def _ballots(self, leaves: Iterable[Path], tree: Tree) -> list[Ballot]:
        found: list[tuple[int, Path, str]] = []
        for place, path in enumerate(leaves):
            if path not in self._answers:
                self._answers[path] = stated(self._config, tree, path)
            if (answer := self._answers[path]) is not None:
                found.append((place, path, answer))
        answers = [answer for _, _, answer in found]
        forms = [await self._form(answer) for answer in answers]
        labels = written(answers, forms)
        return [
            Ballot(label, self._weight(path, tree), path, place, form)
            for (place, path, _), label, form in zip(found, labels, forms, strict=True)
        ]

    def _weight(self, leaf: Path, tree: Tree) -> float:
        """What the rewards on the path of `leaf` make of its vote."""
        first = begun(self._config.policy.action, leaf)
        path = (leaf[: depth + 1] for depth in range(first, len(leaf)))
        rewards = [tree.rewards[step] for step in path if step in tree.rewards]
        return WAYS[self._config.weight](rewards) if leaf in tree.rewards else 0.0

    async def _form(self, answer: str) -> Form:
        """What an answer comes to: begun when its leaf was written, and remembered."""
        if self._config.canonical is canonical:
            return await formed(answer)
        if answer not in self._forms:
            self._forms[answer] = Form(await asyncio.to_thread(self._config.canonical, answer))
        return self._forms[answer]


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
