"""ETS: its program against sums by hand and exhaustive search, its clusters, and what may fail."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from searching import run_search

from spex_agents.errors import PolicyError, SettingsError
from spex_agents.search import Ets, Expand, Rebase, Thought, Tree
from spex_agents.search.policies.embedding import KEPT, Vectors, static_vectors
from spex_agents.search.policies.tree_program import clusters, keep
from spex_agents.search.tree import Path
from spex_agents.speculation.config import Speculation

LN2 = math.log(2)


def kinds(texts: Sequence[str]) -> list[list[float]]:
    """A scripted embedder: texts of the same first letter point the same way."""
    return [[float(text[0] == letter) for letter in "abcd"] for text in texts]


def commit(tree: Tree, texts: Mapping[Path, str], rewards: Mapping[Path, float]) -> Tree:
    thoughts = {
        path: Thought(text=text, tokens=1, ends=text.endswith(".")) for path, text in texts.items()
    }
    return tree.with_thoughts(thoughts).with_rewards(rewards)


def test_ets_by_hand() -> None:
    policy = Ets(width=4, temperature=1.0, cost=1.1, coverage=0.0)
    state, decision = policy.decide(policy.start(), Tree("q"))
    assert decision == Expand(((0,), (1,), (2,), (3,)))
    # Weights 4 : 2 : 1 : 1. REBASE's shares of W = 4: ceil(16/8) = 2, ceil(4/4) = 1, ceil(1/2) = 1
    # and 0; O = 1/2, 1/4, 1/4, 0. N = 4 and M = 1 (the question): a thought costs 1.1 / 5 = 0.22.
    # Worth 0.28, 0.03, 0.03, -0.22: the first three stay. W = 4 over 4 : 2 : 1 is
    # ceil(16/7) = 3, ceil(2/3) = 1 and 0, where REBASE alone would have given 2, 1, 1.
    tree = commit(
        Tree("q"),
        {(0,): "a", (1,): "b", (2,): "c", (3,): "d"},
        {(0,): 2 * LN2, (1,): LN2, (2,): 0.0, (3,): 0.0},
    )
    state, decision = policy.decide(state, tree)
    assert decision == Expand(((0, 0), (0, 1), (0, 2), (1, 0)))
    # (0, 2) ends: W = 3, weights 4 : 2 : 1 of (1, 0), (0, 0), (0, 1): shares 2, 1, 0; O = 2/3, 1/3,
    # 0. N = 3, M = 3 (the question, (0,) and (1,)): 1.1 / 6 = 0.183. (0, 0) would be worth 0.15 by
    # itself, but (0,) has to stay with it: -0.033. (1, 0) is worth 0.3 with (1,).
    tree = commit(
        tree,
        {(0, 0): "a", (0, 1): "b", (0, 2): "c.", (1, 0): "d"},
        {(0, 0): LN2, (0, 1): 0.0, (0, 2): 1.0, (1, 0): 2 * LN2},
    )
    state, decision = policy.decide(state, tree)
    assert decision == Expand(((1, 0, 0), (1, 0, 1), (1, 0, 2)))
    assert policy.remaining(state, tree) == 3
    assert policy.fallbacks(state) == 0


def test_ets_keeps_a_member_of_a_cluster_that_is_worth_little_by_itself() -> None:
    # Ten thoughts of equal reward: O = 1/10. N + M = 11, so each costs 2 / 11 = 0.18, more than its
    # share brings. Three kinds of step, and 1.5 / 3 = 0.5 for each kind that stays: one of each,
    # the first by path. W = 10 over three: ceil(10/3) = 4, ceil(6/2) = 3, 3.
    policy = Ets(width=10, cost=2.0, embed=kinds)
    state, _ = policy.decide(policy.start(), Tree("q"))
    texts: dict[Path, str] = {(index,): "aaabbbbccc"[index] + str(index) for index in range(10)}
    tree = commit(Tree("q"), texts, dict.fromkeys(texts, 0.5))
    _, decision = policy.decide(state, tree)
    assert isinstance(decision, Expand)
    assert [path[0] for path in decision.paths] == [0, 0, 0, 0, 3, 3, 3, 7, 7, 7]
    # Without the term for clusters nothing is worth its cost, and one thought has to stay.
    alone = Ets(width=10, cost=2.0, coverage=0.0).decide(state, tree)[1]
    assert isinstance(alone, Expand)
    assert {path[0] for path in alone.paths} == {0}


def worth(
    chosen: Sequence[int],
    leaves: Sequence[Path],
    outcomes: Sequence[float],
    labels: Sequence[int],
    *,
    cost: float,
    coverage: float,
) -> float:
    """The objective of the source for a choice of leaves."""
    above = {path[:depth] for path in leaves for depth in range(len(path))}
    stays = {leaves[leaf][:depth] for leaf in chosen for depth in range(len(leaves[leaf]))}
    return (
        sum(outcomes[leaf] for leaf in chosen)
        - cost / (len(above) + len(leaves)) * (len(stays) + len(chosen))
        + coverage / (max(labels) + 1) * len({labels[leaf] for leaf in chosen})
    )


@pytest.mark.parametrize("seed", range(40))
def test_no_other_choice_of_leaves_is_worth_more(seed: int) -> None:
    rng = Random(seed)
    depth, count = rng.randint(1, 4), rng.randint(2, 8)
    every = list(product(range(8), *([range(3)] * (depth - 1))))
    leaves = rng.sample(every, count)
    shares = sorted((rng.randint(0, 3) for _ in leaves), reverse=True)
    outcomes = [share / max(1, sum(shares)) for share in shares]
    drawn = [rng.randrange(count) for _ in leaves]
    labels = [list(dict.fromkeys(drawn)).index(label) for label in drawn]
    cost, coverage = rng.choice([0.0, 0.5, 1.0, 2.0]), rng.choice([0.0, 0.5, 1.5])
    chosen = keep(leaves, outcomes, labels, cost=cost, coverage=coverage, nodes=1000)
    assert chosen

    def value(choice: Sequence[int]) -> float:
        return worth(choice, leaves, outcomes, labels, cost=cost, coverage=coverage)

    every_choice = ([leaf for leaf in range(count) if bits >> leaf & 1] for bits in range(2**count))
    assert value(chosen) == pytest.approx(max(map(value, filter(None, every_choice))), abs=1e-6)


def test_clusters_are_joined_by_the_average_of_their_distances() -> None:
    step = math.acos(0.96)
    vectors = [np.array([math.cos(turn * step), math.sin(turn * step)]) for turn in range(3)]
    # Cosine distances 0.04 of neighbours, 0.157 of the ends: the third is 0.098 from the first two.
    assert clusters(vectors, 0.05) == [0, 0, 1]
    assert clusters(vectors, 0.1) == [0, 0, 0]
    assert clusters(vectors, 0.03) == [0, 1, 2]
    assert clusters([None, vectors[0], None, vectors[0] * 3], 0.05) == [0, 1, 2, 1]
    assert clusters([None], 0.05) == [0]


# The solver's limit


def test_at_its_limit_the_solver_leaves_the_decision_to_rebase_and_that_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        ets = run_search(Ets(width=8, nodes=0), seed=1, speculation=Speculation())
    assert ets.tree == run_search(Rebase(width=8), seed=1).tree
    assert ets.ledger.fallbacks >= 1
    told = [record.message for record in caplog.records if "simpler rule" in record.message]
    assert len(told) == ets.ledger.fallbacks  # predicted trees neither count nor are told
    assert run_search(Ets(width=8), seed=1).ledger.fallbacks == 0


# Embedders


def test_the_model_that_comes_with_it_tells_steps_apart() -> None:
    texts = ["First, let us add the numbers.", "Let us add the numbers first.", "It is a square."]
    one, same, other = static_vectors(texts)

    def distance(left: Any, right: Any) -> float:
        return float(1 - left @ right / np.linalg.norm(left) / np.linalg.norm(right))

    assert distance(one, same) < 0.15
    assert distance(one, other) > 0.5
    assert (static_vectors(texts[2:])[0] == other).all()  # whatever stands beside it


def test_the_model_leaves_the_logging_of_the_program_alone() -> None:
    code = (
        "import logging\n"
        "from spex_agents.search.policies.embedding import static_vectors\n"
        "static_vectors(['a'])\n"
        "print(logging.root.handlers, logging.root.level)"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] 30\n", "")


def test_a_text_is_embedded_once_and_the_memory_is_bounded() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.extend(texts)
        return [[float(len(text)), 1.0] for text in texts]

    vectors = Vectors(embed)
    first = vectors(["a", "bb", "a", " "])
    assert [None if vector is None else vector[0] for vector in first] == [1, 2, 1, None]
    vectors(["bb", "ccc"])
    assert asked == ["a", "bb", "ccc"]
    vectors([str(number) for number in range(KEPT)])
    vectors(["a"])
    assert asked.count("a") == 2


def fails(texts: Sequence[str]) -> Any:
    raise ConnectionError("no model")


@pytest.mark.parametrize(
    ("embed", "said"),
    [
        (fails, r"embed failed on 2 texts: ConnectionError\('no model'\); mend it, or leave embed"),
        (lambda texts: [[1.0]], r"shape \(1, 1\) for 2 texts: must be \(2, d\)"),
        (lambda texts: [1.0] * len(texts), r"shape \(2,\) for 2 texts"),
        (lambda texts: [[0.0, 0.0]] * len(texts), "for 'b': it has no direction"),
        (lambda texts: [[math.nan, 1.0]] * len(texts), "for 'b': it has no direction"),
        (lambda texts: None, "embed gave an array|embed failed"),
    ],
)
def test_an_embedder_that_fails_is_an_error_that_says_what_to_do(embed: Any, said: str) -> None:
    policy = Ets(width=2, embed=embed)
    state, _ = policy.decide(policy.start(), Tree("q"))
    tree = commit(Tree("q"), {(0,): "a", (1,): "b"}, {(0,): 0.1, (1,): 0.2})
    with pytest.raises(PolicyError, match=said):
        policy.decide(state, tree)


def test_a_search_whose_embedder_fails_ends_with_its_error() -> None:
    with pytest.raises(PolicyError, match="embed failed"):
        run_search(Ets(width=4, embed=fails), speculation=Speculation())


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width=0: must be"),
        ({"temperature": 0}, "temperature=0: must be above 0"),
        ({"cost": -1}, "cost=-1: must be at least 0"),
        ({"coverage": math.nan}, "coverage=nan: must be at least 0"),
        ({"nodes": -1}, "nodes=-1: must be at least 0"),
        ({"distance": 2.1}, r"distance=2.1: must lie in \[0, 2\]"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Ets(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["scipy", "wordllama"])
def test_a_missing_package_is_told_when_the_policy_is_made(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spex_agents.search.policies.embedding.find_spec",
        lambda name: None if name == package else name,
    )
    with pytest.raises(SettingsError, match=rf"{package} is missing.*'spex-agents\[ets\]'"):
        Ets()
    if package == "wordllama":
        Ets(embed=kinds)
