"""rStar with five actions against its published rules: the table, the rollouts, the prompts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.errors import SettingsError
from spex_agents.search import Expand, Path, Rstar, Thought, Tree, draw
from spex_agents.search.policies.rstar_actions import RstarActions
from spex_agents.search.policy import State

FOLLOWS = {
    "question": ["A1"] * 3 + ["A2"] + ["A3"] * 3 + ["A5"],
    "A1": ["A1"] * 3 + ["A2"],
    "A3": ["A1"] * 3 + ["A2"] + ["A3"] * 3 + ["A4"],
    "A4": ["A1"] * 3 + ["A2"] + ["A3"] * 3,
    "A5": ["A1"] * 3 + ["A2"] + ["A3"] * 3,
}
"""A node's children, by what made it, as published: three of A1 and of A3, one of the others."""
NAMES = {
    "one step": "A1",
    "answer": "A2",
    "sub-question": "A3",
    "answer again": "A4",
    "rephrase": "A5",
}


def kind(path: Path) -> str:
    """What made a node, read off the published table."""
    return FOLLOWS[kind(path[:-1])][path[-1]] if path else "question"


def follow(path: Path) -> list[Path]:
    return [(*path, index) for index in range(len(FOLLOWS[kind(path)]))]


class Published:
    """rStar's search from its description: select, expand, simulate, back up; Q and N by node."""

    def __init__(
        self,
        terminal: Callable[[Path], bool],
        reward: Callable[[Path], float],
        choose: Callable[[Path, Sequence[Path]], Path],
        weight: float = 2.0,
    ) -> None:
        self.terminal, self.reward, self.choose, self.weight = terminal, reward, choose, weight
        self.total: dict[Path, float] = defaultdict(float)
        self.visits: dict[Path, int] = defaultdict(int)
        self.expanded: set[Path] = set()

    def uct(self, node: Path) -> float:
        visits = self.visits[node]
        explore = math.sqrt(math.log(self.visits[node[:-1]]) / visits)
        return self.total[node] / visits + self.weight * explore

    def rollout(self) -> Path:
        walked: list[Path] = [()] if not self.expanded else self.select()
        while not self.terminal(walked[-1]):
            self.expanded.add(walked[-1])
            walked.append(self.choose(walked[-1], follow(walked[-1])))
        for node in walked:
            self.total[node] += self.reward(walked[-1])
            self.visits[node] += 1
        return walked[-1]

    def select(self) -> list[Path]:
        walked: list[Path] = [()]
        while walked[-1] in self.expanded:
            unexplored = [child for child in follow(walked[-1]) if not self.visits[child]]
            if unexplored:
                return [*walked, self.choose(walked[-1], unexplored)]
            walked.append(max(follow(walked[-1]), key=self.uct))
        return walked


def chosen(seed: int) -> Callable[[Path, Sequence[Path]], Path]:
    """The chance that the policy takes: one of those left, uniformly."""

    def choose(node: Path, left: Sequence[Path]) -> Path:
        return draw(seed, node, f"explore-{len(left)}").choice(left)

    return choose


def walk(
    policy: Rstar, seed: int, answers: Callable[[Path], bool], reward: Callable[[Path], float]
) -> tuple[list[Path], State]:
    """All that the policy demands in a world where `answers` says which thoughts answer."""
    tree, state = Tree("q", seed), policy.start()
    asked: list[Path] = []
    while True:
        state, decision = policy.decide(state, tree)
        if not isinstance(decision, Expand):
            return asked, state
        (path,) = decision.paths
        asked.append(path)
        ends = answers(path)
        tree = tree.with_thoughts({path: Thought(text=str(path), tokens=1, ends=ends)})
        tree = tree.with_rewards({path: reward(path)} if ends else {})


def value(path: Path) -> float:
    return round(draw(0, path, "value").random(), 2)


@pytest.mark.parametrize("above", [(), (0,), (4,), (7,), (4, 7), (7, 5), (4, 7, 6), (1, 2)])
def test_the_actions_that_may_follow_are_the_published_ones(above: Path) -> None:
    policy = RstarActions()
    names = [NAMES[policy.action((*above, index)).name] for index in range(policy.branches(above))]
    assert names == FOLLOWS[kind(above)]


@given(
    seed=st.integers(0, 10**6),
    rollouts=st.integers(1, 40),
    closes=st.floats(0, 1),
    exploration=st.sampled_from([0.0, 0.5, 2.0]),
)
def test_every_rollout_is_the_published_one(
    seed: int, rollouts: int, closes: float, exploration: float
) -> None:
    def answers(path: Path) -> bool:
        asks_it_all = kind(path) == "A3" and draw(seed, path, "closes").random() < closes
        return kind(path) == "A2" or asks_it_all

    published = Published(
        terminal=lambda path: len(path) >= 5 or (path != () and answers(path)),
        reward=lambda path: value(path) if answers(path) else 0.0,
        choose=chosen(seed),
        weight=exploration,
    )
    leaves = [published.rollout() for _ in range(rollouts)]
    policy = RstarActions(rollouts=rollouts, exploration=exploration)
    asked, state = walk(policy, seed, answers, value)
    assert state[0] == tuple(leaves)
    nodes = dict.fromkeys(leaf[:depth] for leaf in leaves for depth in range(1, len(leaf) + 1))
    assert asked == list(nodes)


def test_a_search_by_hand() -> None:
    # n = 1: A1, A2, A3 and A5 at 0 to 3, and two thoughts at most. A2 answers, at index 1; what
    # is two deep without an answer brings 0. With c = 2, and what seed 0 draws:
    # 1 to 4: below the question 1, 2, 0 and 3; below (2,) 0: brings 0; below (0,) and (3,) 1.
    # 5: ln 4: 0.75, 0.5, 0 and 0.25 + 2.35 each: (0,), and there the 0 that is left: brings 0.
    # 6: ln 5: 0.375 + 1.79 = 2.17 of (0,) against 0.5 + 2.54 of (1,): a leaf met before, but it
    #    counts.
    # 7: ln 6: 0.375 + 1.89 and 0.5 + 1.89 against 0 + 2.68 and 0.25 + 2.68: (3,); of 0 and 2 the 0.
    # 8: ln 7: 2.35, 2.47, 0 + 2.79 and 0.125 + 1.97: (2,); of 1, 2 and 3 the 2.
    # 9: ln 8: 0.375, 0.5, 0 and 0.125 + 2.04 each: (1,).
    rewards = {(1,): 0.5, (0, 1): 0.75, (3, 1): 0.25}
    policy = RstarActions(rollouts=9, width=1, depth=2)
    asked, state = walk(policy, 0, lambda path: path[-1] == 1, rewards.__getitem__)
    leaves = [(1,), (2, 0), (0, 1), (3, 1), (0, 0), (1,), (3, 0), (2, 2), (1,)]
    assert state[0] == tuple(leaves)
    above = {(2, 0): (2,), (0, 1): (0,), (3, 1): (3,)}
    assert asked == [
        path
        for leaf in dict.fromkeys(leaves)
        for path in ((above[leaf], leaf) if leaf in above else (leaf,))
    ]


def test_a_one_step_thought_with_the_answer_ends_its_path_here_and_goes_on_there() -> None:
    def answers(path: Path) -> bool:
        return kind(path) in ("A1", "A2")

    _, state = walk(RstarActions(rollouts=30), 3, answers, value)
    ended = [leaf for leaf in state[0] if kind(leaf) == "A1"]
    assert {len(leaf) for leaf in ended} >= {1, 2}
    published = Published(
        terminal=lambda path: len(path) >= 5 or kind(path) == "A2",
        reward=lambda path: value(path) if kind(path) == "A2" else 0.0,
        choose=chosen(3),
    )
    leaves = [published.rollout() for _ in range(30)]
    assert {len(leaf) for leaf in leaves if kind(leaf) == "A1"} == {5}


def test_a_path_without_an_answer_is_a_leaf_of_no_worth_at_the_depth() -> None:
    policy = RstarActions(rollouts=12, width=1, depth=1)
    asked, state = walk(policy, 0, lambda path: path == (1,), lambda _: 0.5)
    assert sorted(asked) == [(0,), (1,), (2,), (3,)]
    assert len(state[0]) == 12
    assert state[0].count((1,)) > max(state[0].count((index,)) for index in (0, 2, 3))


def test_unexplored_children_are_drawn_evenly() -> None:
    policy = RstarActions(width=1)
    first = [policy.decide(policy.start(), Tree("q", seed))[1] for seed in range(400)]
    paths = [decision.paths[0] for decision in first if isinstance(decision, Expand)]
    assert all(70 < paths.count((index,)) < 130 for index in range(4))


def test_samples_of_one_step_are_what_they_were() -> None:
    # The reduced search takes them by index: the walk that both share has not changed it.
    _, state = walk(Rstar(rollouts=5, width=2), 0, lambda path: len(path) == 2, lambda _: 0.5)
    assert state[0] == ((0, 0), (1, 0), (0, 1), (1, 1), (0, 0))


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="depth=0: must be"):
        RstarActions(depth=0)
    with pytest.raises(SettingsError, match="width=0: must be"):
        RstarActions(width=0)
