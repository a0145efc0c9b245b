"""A policy as it asks an agent's model: for messages, to which prompts for text do not apply."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract
from spex_agents.answers.votes import Ballot
from spex_agents.errors import SettingsError
from spex_agents.search.action import Action, before_try
from spex_agents.search.policy import Policy, State, voters
from spex_agents.search.prompts import IMPROVE, MESSAGE_AGAIN, REFINE
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.counting import Votes

_FORMS = {IMPROVE.user: MESSAGE_AGAIN.user, REFINE.user: MESSAGE_AGAIN.user}
_LOOKED_AT = 16
"""Children by each of a policy's first two layers whose actions are checked before any call."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What a candidate says, by its text, without the arguments that do not count in a vote.

    Attributes:
        ignored: Names of arguments of tool calls; "all" for all of them.
    """

    ignored: Collection[str] | Literal["all"]

    def __call__(self, text: str) -> str | None:
        """None for a candidate that has been dropped."""
        told: Any = json.loads(text)
        if isinstance(told, dict):
            return None
        said = [message for message in told if message["type"] != "tool"]
        for message in said:
            for call in message.get("calls", ()):
                call["args"] = {
                    name: value
                    for name, value in call["args"].items()
                    if self.ignored != "all" and name not in self.ignored
                }
        return json.dumps(said, sort_keys=True)


def first_said(policy: Policy, tree: Tree, leaf: Path) -> str:
    """The text of the first message of a path, or of its try: the agent's next one."""
    return tree.thought(leaf[: before_try(policy.action, leaf) + 1]).text


class MessageVotes(Votes):
    """The votes of candidates, each with the reward of where its path has come to.

    Args:
        config: What the search is made of.
        vote: What a candidate says.
        failed: Texts of those that were dropped: they have no vote.
    """

    def __init__(self, config: SearchConfig, vote: Vote, failed: Collection[str]) -> None:
        self._policy = config.policy
        self._vote = vote
        self._failed = failed

    async def standing(self, state: State, tree: Tree) -> list[Ballot]:
        return self._ballots_of(voters(self._policy, state, tree), tree)

    async def final(
        self, state: State, tree: Tree, *, whole: bool, bear: bool = False
    ) -> list[Ballot]:
        """The votes that elect the message.

        A search that was cut short before any path has ended has them of all that was written.
        """
        leaves = voters(self._policy, state, tree)
        if not leaves and not whole:
            above = {path[:-1] for path in tree.thoughts}
            leaves = tuple(path for path in tree.thoughts if path not in above)
        return self._ballots_of(leaves, tree)

    def _ballots_of(self, leaves: Sequence[Path], tree: Tree) -> list[Ballot]:
        standing = [leaf for leaf in leaves if tree.thought(leaf).text not in self._failed]
        said = [self._vote(first_said(self._policy, tree, leaf)) or "" for leaf in standing]
        return [
            Ballot(text, tree.rewards.get(leaf, 0.0), leaf, place)
            for place, (leaf, text) in enumerate(zip(standing, said, strict=True))
        ]


@dataclass(frozen=True, slots=True, repr=False)
class Drafting:
    """A policy whose thoughts are messages; everything but how it asks is the policy's own.

    A message says what it says: no cue begins it, no list goes on in it, and where the model calls
    no tool that can be called here, the path has ended. What remains of an action are earlier
    drafts that it tells.

    Attributes:
        policy: It.
        vote: What a candidate says, for policies that count answers.
    """

    policy: Policy
    vote: Vote

    def __repr__(self) -> str:
        return repr(self.policy)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of one that is being copied, and has no policy yet
            raise AttributeError(name)
        return getattr(self.policy, name)

    def reading(self, extract: Extract, canonical: Canonical) -> Policy:
        return drafting(self.policy.reading(self.vote, str), self.vote)

    def action(self, path: Path) -> Action:
        asked = self.policy.action(path)
        _check(self.policy, asked)
        user = _FORMS.get(asked.user, asked.user) if asked.listens else ""
        return Action(name=asked.name, user=user, to_end=asked.to_end, refines=asked.refines)


def drafting(policy: Policy, vote: Vote) -> Policy:
    """`policy`, asking for messages."""
    return cast("Policy", Drafting(policy, vote))


def check_drafting(policy: Policy) -> None:
    """Check that a policy can ask for messages, as far as its first two layers tell.

    Raises:
        SettingsError: It needs log-probabilities or several models, or its prompts rest on the
            words of a thought.
    """
    if policy.needs_logprobs:
        raise SettingsError(
            f"policy={policy!r}: needs log-probabilities, which an agent's messages do not have; "
            "take another policy, or this one without a prior"
        )
    for action in _first_actions(policy):
        _check(policy, action)


def whole(policy: Policy) -> bool:
    """Whether a thought of the policy's is a whole path: nothing is looked at below it."""
    return all(action.to_end and not action.refines for action in _first_actions(policy))


def _first_actions(policy: Policy) -> Iterator[Action]:
    paths: list[Path] = [(index,) for index in range(_LOOKED_AT)]
    paths += [(*path, index) for path in paths for index in range(_LOOKED_AT)]
    for path in paths:
        with suppress(LookupError, ValueError):  # one's own may know those alone that it demands
            yield policy.action(path)


def _check(policy: Policy, action: Action) -> None:
    if action.engine:
        raise SettingsError(
            f"policy={policy!r}: asks for the engine {action.engine!r}; an agent has one model, so "
            "leave out the names of others"
        )
    if action.restates or action.again:
        raise SettingsError(
            f"policy={policy!r}: its action {action.name!r} writes a question or a thought again "
            "from its words, which a message of an agent's does not allow; take a policy without "
            "such actions (rstar in place of rstar-actions)"
        )
