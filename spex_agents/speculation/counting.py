"""Who votes in a search, for what, and with what weight."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from spex_agents.answers.equivalence import written
from spex_agents.answers.forms import Form
from spex_agents.answers.votes import Ballot
from spex_agents.errors import AnswerError
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.search.action import before_try
from spex_agents.search.policy import State, voters
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.running.calls import attempt, stated
from spex_agents.speculation.running.forms import Forms

logger = logging.getLogger(__name__)


class Votes:
    """Counts the votes of one search; what a leaf answers is found once.

    Args:
        config: What the search is made of.
        forms: What its answers come to.
    """

    def __init__(self, config: SearchConfig, forms: Forms) -> None:
        self._config = config
        self._answers: dict[Path, str | None] = {}
        self._forms = forms
        self._told = False

    async def standing(self, state: State, tree: Tree) -> list[Ballot]:
        """The votes of the leaves that have an answer, in the order of their places."""
        return await self._ballots(voters(self._config.policy, state, tree), tree)

    async def final(
        self, state: State, tree: Tree, *, whole: bool, bear: bool = False
    ) -> list[Ballot]:
        """The votes that elect the answer.

        With `SearchConfig.free_text`, and without any leaf that has an answer, their texts vote.

        Args:
            state: The policy's.
            tree: What there is.
            whole: Whether the policy has ended the search: else all ended paths vote where nobody
                has come to vote before.
            bear: Whether a leaf whose answer cannot be found or counted goes without a vote.

        Raises:
            AnswerError: There is such a leaf.
        """
        leaves = voters(self._config.policy, state, tree)
        if not leaves and not whole:
            leaves = tuple(tree.leaves())
        ballots = await self._ballots(leaves, tree, bear=bear)
        if ballots or not self._config.free_text:
            return ballots
        first: dict[str, str] = {}
        for place, path in enumerate(leaves):
            if text := self.text(path, tree):
                said = first.setdefault(" ".join(text.casefold().split()), text)
                ballots.append(Ballot(said, self._weight(path, tree), path, place))
        self._tell_cut([tree.chain(ballot.path) for ballot in ballots])
        return ballots

    def _tell_cut(self, paths: Sequence[Sequence[Thought]]) -> None:
        """Warn once where the text that will be the answer is that of a path which was cut."""
        if paths and not self._told and all(map(self._config.limits.cut, paths)):
            self._told = True
            logger.warning(
                "no path ended by itself: %r cut all of them, and the answer is what one had said "
                "by then; raise the limit",
                self._config.limits,
            )

    def text(self, path: Path, tree: Tree) -> str:
        """What a path says as a whole, as its template tells it."""
        thoughts = attempt(self._config.policy, path, tree.chain(path))
        return self._config.template.prompt(tree.question, thoughts).reply.strip()

    async def _ballots(
        self, leaves: Iterable[Path], tree: Tree, *, bear: bool = False
    ) -> list[Ballot]:
        found: list[tuple[int, Path, str, Form]] = []
        for place, path in enumerate(leaves):
            try:
                if path not in self._answers:
                    chain = tree.chain(path)
                    self._answers[path] = stated(self._config, tree.question, path, chain)
                if (answer := self._answers[path]) is not None:
                    found.append((place, path, answer, await self._forms.of(answer)))
            except AnswerError:
                if not bear:
                    raise
        labels = written([each[2] for each in found], [each[3] for each in found])
        return [
            Ballot(label, self._weight(path, tree), path, place, form)
            for (place, path, _, form), label in zip(found, labels, strict=True)
        ]

    def _weight(self, leaf: Path, tree: Tree) -> float:
        """What the rewards on the path of `leaf` make of its vote."""
        first = before_try(self._config.policy.action, leaf)
        path = (leaf[: depth + 1] for depth in range(first, len(leaf)))
        rewards = [tree.rewards[step] for step in path if step in tree.rewards]
        return WAYS[self._config.weight](rewards) if leaf in tree.rewards else 0.0


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
