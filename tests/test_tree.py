"""The tree of thoughts, the seeds of its paths, and the caps on both."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.errors import SettingsError
from spex_agents.search.limits import Limits
from spex_agents.search.tree import Path, Thought, Tree, derive_seed, draw

PATHS = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)


def thought(text: str, tokens: int = 1, *, ends: bool = False) -> Thought:
    return Thought(text=text, tokens=tokens, ends=ends)


def grown(texts: dict[Path, str], rewards: dict[Path, float]) -> Tree:
    tree = Tree("q", 1).with_thoughts({path: thought(text) for path, text in texts.items()})
    return tree.with_rewards(rewards)


# Trees


def test_adding_to_a_tree_leaves_the_old_one_as_it_was() -> None:
    empty = Tree("q", 7)
    one = empty.with_thoughts({(0,): thought("a")})
    two = one.with_rewards({(0,): 0.5})
    assert (len(empty), len(one), len(two)) == (0, 1, 1)
    assert (0,) in one
    assert (0,) not in empty
    assert not one.rewards
    assert (two.question, two.seed, two.reward((0,))) == ("q", 7, 0.5)


def test_a_missing_reward_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Tree("q").with_thoughts({(0,): thought("a")}).reward((0,))


def test_leaves_are_the_ended_paths_in_the_order_of_commitment() -> None:
    tree = Tree("q").with_thoughts({(1,): thought("b", ends=True), (0,): thought("a")})
    tree = tree.with_thoughts({(0, 0): thought("c", ends=True)})
    assert list(tree.leaves()) == [(1,), (0, 0)]


def test_a_chain_goes_from_the_question_to_the_path() -> None:
    tree = grown({(0,): "a", (0, 2): "b", (0, 1): "x"}, {})
    assert [thought.text for thought in tree.chain((0, 2))] == ["a", "b"]
    assert tree.chain(()) == ()


@given(st.dictionaries(PATHS, st.tuples(st.text(), st.floats(0, 1))), st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_insertion(
    rows: dict[Path, tuple[str, float]], random: object
) -> None:
    texts = {path: text for path, (text, _) in rows.items()}
    rewards = {path: reward for path, (_, reward) in rows.items()}
    mixed = list(texts)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    other = grown({path: texts[path] for path in mixed}, dict(reversed(rewards.items())))
    assert grown(texts, rewards).sha256() == other.sha256()


def test_the_hash_tells_paths_texts_and_rewards_apart() -> None:
    trees = [
        grown({}, {}),
        grown({(0,): "a"}, {}),
        grown({(0,): "a"}, {(0,): 0.0}),
        grown({(0,): "a"}, {(0,): 0.1 + 0.2}),
        grown({(0,): "a"}, {(0,): 0.3}),
        grown({(1,): "a"}, {(1,): 0.3}),
        grown({(0,): "b"}, {(0,): 0.3}),
        grown({(0,): "a", (0, 0): ""}, {(0,): 0.3}),
        grown({(0,): "a", (1,): ""}, {(0,): 0.3}),
    ]
    assert len({tree.sha256() for tree in trees}) == len(trees)


# Seeds


def test_seeds_differ_by_run_path_and_purpose() -> None:
    paths = [()] + [path for depth in (1, 2) for path in itertools.product(range(12), repeat=depth)]
    seeds = {
        derive_seed(seed, path, purpose)
        for seed in (0, 1)
        for path in paths
        for purpose in ("thought", "reward")
    }
    assert len(seeds) == 2 * len(paths) * 2
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_trees_agree_whose_rewards_differ_by_rounding_only() -> None:
    tree = grown({(0,): "a", (1,): "b"}, {(0,): 0.5, (1,): 0.25})
    assert tree.agrees(grown({(0,): "a", (1,): "b"}, {(0,): 0.5 + 1e-6, (1,): 0.25}))
    assert not tree.agrees(grown({(0,): "a", (1,): "b"}, {(0,): 0.51, (1,): 0.25}))
    assert not tree.agrees(grown({(0,): "a", (1,): "c"}, {(0,): 0.5, (1,): 0.25}))
    assert not tree.agrees(grown({(0,): "a"}, {(0,): 0.5}))
    assert not tree.agrees(grown({(0,): "a", (1,): "b"}, {(0,): 0.5}))


def test_a_seed_is_the_same_in_every_process() -> None:
    # The first four bytes of sha256("0/thought/0.1"), less one bit.
    assert derive_seed(0, (0, 1), "thought") == 0xFD16A68E >> 1


def test_paths_that_only_look_alike_have_seeds_of_their_own() -> None:
    assert derive_seed(0, (1, 1)) != derive_seed(0, (11,))
    assert derive_seed(1, (1,)) != derive_seed(11, ())


def test_draws_of_one_purpose_at_one_path_repeat() -> None:
    assert draw(3, (1,), "pick").random() == draw(3, (1,), "pick").random()
    assert draw(3, (1,), "pick").random() != draw(3, (1,), "other").random()


# Limits


def test_room_counts_the_whole_path() -> None:
    limits = Limits(step_tokens=50, path_tokens=100)
    assert limits.room([]) == 50
    assert limits.room([thought("a", 30), thought("b", 40)]) == 30
    assert limits.room([thought("a", 30)], to_end=True) == 70


@pytest.mark.parametrize(
    ("before", "tokens", "ends"),
    [
        ((), 99, False),
        ((), 100, True),  # the path's tokens are used up
        ((60,), 39, False),
        ((60,), 40, True),
        ((1,), 1, False),
        ((1, 1), 1, True),  # the third thought of at most three
    ],
)
def test_a_cap_ends_the_path_that_reaches_it(
    before: Sequence[int], tokens: int, *, ends: bool
) -> None:
    limits = Limits(step_tokens=100, path_tokens=100, depth=3)
    closed = limits.close(thought("t", tokens), [thought("b", count) for count in before])
    assert closed == thought("t", tokens, ends=ends)


def test_a_path_that_has_ended_stays_ended() -> None:
    assert Limits().close(thought("a", ends=True), []).ends


@pytest.mark.parametrize("name", ["step_tokens", "path_tokens", "depth"])
def test_a_limit_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=0: must be a whole number of at least 1"):
        Limits(**{name: 0})
