"""A policy's decisions on given rewards, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spex_agents.search import Expand, Finish, Path, Policy, Thought, Tree


def grown(
    policy: Policy,
    rewards: Mapping[Path, float],
    *,
    otherwise: float = 0.0,
    ends: Sequence[Path] = (),
    fails: Sequence[Path] = (),
) -> tuple[list[tuple[Path, ...]], Tree, object]:
    """What it asked for, and the tree and its own state at the end.

    Args:
        policy: Decides until it finishes.
        rewards: Of the thoughts that have another than `otherwise`.
        otherwise: The reward of all others.
        ends: Thoughts that end their paths.
        fails: Thoughts that fail, and have no reward.
    """
    tree, state = Tree("q"), policy.start()
    asked: list[tuple[Path, ...]] = []
    while True:
        state, decision = policy.decide(state, tree)
        if isinstance(decision, Finish):
            return asked, tree, state
        assert isinstance(decision, Expand)
        asked.append(decision.paths)
        there = [path for path in decision.paths if path not in fails]
        tree = tree.with_thoughts(
            {path: Thought(text=str(path), tokens=1, ends=path in ends) for path in decision.paths}
        )
        tree = tree.with_failures(dict.fromkeys(set(decision.paths) & set(fails), "failed"))
        tree = tree.with_rewards({path: rewards.get(path, otherwise) for path in there})
