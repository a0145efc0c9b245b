"""The original tree of thoughts against its published rules, on scripted thoughts and values."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path as File
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import QUESTION, make_engine, run_search

from spex_agents.errors import SettingsError
from spex_agents.rewards import GroupVote, Value
from spex_agents.search import Expand, Path, Policy, Thought, TotBfs, TotDfs, Tree, draw
from spex_agents.search.action import Action
from spex_agents.search.policy import State
from spex_agents.speculation.config import Speculation

EXAMPLE = File(__file__).parents[1] / "examples" / "game_of_24.py"
Script = Callable[[str, int], str]
Worth = Callable[[str], float]


def letter(seed: int, before: str, index: int) -> str:
    """The thought of that index after `before`: one of few, so that siblings repeat each other."""
    return draw(seed, (index,), f"after {before}").choice("abcd")


def worth(seed: int, text: str) -> float:
    """Three votes of sure, likely or impossible, as a share of the best: ties are common."""
    said = draw(seed, (), f"worth of {text}").choices((0.001, 1, 20), k=3)
    return sum(said) / 60


def published_bfs(script: Script, value: Worth, *, depth: int, width: int, keep: int) -> list[str]:
    """All that is expanded: of each layer the `keep` largest values, repeated texts counting 0."""
    expanded, kept = [], [""]
    for _ in range(depth):
        expanded += kept
        layer = [text + script(text, index) for text in kept for index in range(width)]
        values = [0.0 if text in layer[:at] else value(text) for at, text in enumerate(layer)]
        best = sorted(range(len(layer)), key=lambda at: values[at], reverse=True)[:keep]
        kept = [layer[at] for at in best]
    return expanded


def published_dfs(
    script: Script, value: Worth, *, depth: int, width: int, threshold: float, text: str = ""
) -> list[str]:
    """All that is visited, in order: candidates by value, and on from those above the threshold."""
    if len(text) == depth or (text and value(text) <= threshold):
        return [text]
    candidates = list(dict.fromkeys(text + script(text, index) for index in range(width)))
    below = partial(published_dfs, script, value, depth=depth, width=width, threshold=threshold)
    return [text] + [
        visited
        for candidate in sorted(candidates, key=value, reverse=True)
        for visited in below(text=candidate)
    ]


def walk(
    policy: Policy, script: Script, value: Worth, depth: int
) -> tuple[list[str], State, Callable[[Path], str]]:
    """The texts that the policy expands, its last state, and how a path reads."""
    tree, state = Tree("q"), policy.start()
    expanded: list[str] = []

    def text(path: Path) -> str:
        return "".join(thought.text for thought in tree.chain(path))

    while True:
        state, decision = policy.decide(state, tree)
        if not isinstance(decision, Expand):
            return expanded, state, text
        expanded += [text(path[:-1]) for path in decision.paths if path[-1] == 0]
        thoughts = {
            path: Thought(text=script(text(path[:-1]), path[-1]), tokens=1, ends=len(path) == depth)
            for path in decision.paths
        }
        tree = tree.with_thoughts(thoughts)
        tree = tree.with_rewards({path: value(text(path)) for path in thoughts})


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4))
def test_breadth_first_expands_what_is_published(
    seed: int, width: int, keep: int, depth: int
) -> None:
    script, value = partial(letter, seed), partial(worth, seed)
    expanded, _, _ = walk(TotBfs(width=width, keep=keep), script, value, depth)
    assert expanded == published_bfs(script, value, depth=depth, width=width, keep=keep)


@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.integers(1, 30),
)
def test_depth_first_visits_what_is_published(
    seed: int, width: int, depth: int, threshold: float, steps: int
) -> None:
    script, value = partial(letter, seed), partial(worth, seed)
    policy = TotDfs(width=width, threshold=threshold, steps=10**6, solutions=10**6)
    expanded, state, text = walk(policy, script, value, depth)
    visited = published_dfs(script, value, depth=depth, width=width, threshold=threshold)

    def hopeful(places: list[str]) -> list[str]:
        return [place for place in places if not place or value(place) > threshold]

    assert expanded == [place for place in hopeful(visited) if len(place) < depth]
    assert {text(path) for path in policy.voters(state, Tree("q"))} == {
        place for place in hopeful(visited) if len(place) == depth
    }
    # The question is no step; what is given up is one.
    limited = TotDfs(width=width, threshold=threshold, steps=steps, solutions=10**6)
    whole = [place for place in hopeful(visited[: steps + 1]) if len(place) < depth]
    assert walk(limited, script, value, depth)[0] == whole


def test_a_layer_by_hand() -> None:
    # b = 2. Of a, b, a, c the second a counts 0, however good the first: b (1.0) and a (0.7).
    # Below b and a: bx, by 0.5 each and ax, ay 0.5 and 0.6: ay, and of the equal ones bx, which is
    # first in the layer, though its path (1, 0) comes after (0, 0).
    texts = {"": "abac", "b": "xyxy", "a": "xyxy", "ay": "zzzz", "bx": "zzzz"}
    values = {"a": 0.7, "b": 1.0, "c": 0.1, "bx": 0.5, "by": 0.5, "ax": 0.5, "ay": 0.6}
    expanded, _, _ = walk(
        TotBfs(width=4, keep=2),
        lambda before, index: texts[before][index],
        lambda text: values.get(text, 0.0),
        depth=3,
    )
    assert expanded == ["", "b", "a", "ay", "bx"]


def commit(rewards: dict[Path, float], ends: tuple[Path, ...] = (), seed: int = 0) -> Tree:
    thoughts = {path: Thought(text=str(path), tokens=1, ends=path in ends) for path in rewards}
    return Tree("q", seed).with_thoughts(thoughts).with_rewards(rewards)


def test_an_ended_path_takes_no_place_in_its_layer_here_and_one_there() -> None:
    rewards: dict[Path, float] = {(0,): 0.9, (1,): 0.5, (2,): 0.1}
    policy = TotBfs(width=1, keep=1)
    _, decision = policy.decide(tuple(rewards), commit(rewards, ends=((0,),)))
    assert decision == Expand(((1, 0),))
    there = published_bfs(
        lambda before, index: str(index) if not before else "+",
        lambda text: rewards.get((int(text[0]),), 0.0),
        depth=2,
        width=3,
        keep=1,
    )
    assert there == ["", "0"]


def test_sampled_thoughts_are_distinct_here_and_may_repeat_there() -> None:
    rewards: dict[Path, float] = {(0,): 0.9, (1,): 0.1}
    policy = TotBfs(width=1, keep=2, select="sample")
    there = set()
    for seed in range(50):
        _, decision = policy.decide(tuple(rewards), commit(rewards, seed=seed))
        assert isinstance(decision, Expand)
        assert set(decision.paths) == {(0, 0), (1, 0)}
        there.add(tuple(Random(seed).choices((0, 1), weights=[0.9, 0.1], k=2)))
    assert (0, 0) in there


@pytest.mark.parametrize("make", [TotBfs, TotDfs])
def test_what_proposes_must_be_a_list(make: type[TotBfs | TotDfs]) -> None:
    with pytest.raises(SettingsError, match="generate='list': must be 'sample' or 'propose'"):
        make(generate="list")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="proposal='mine': must have lists=True"):
        make(proposal=Action(name="mine"))


@pytest.mark.parametrize("generate", ["sample", "propose"])
@pytest.mark.parametrize("reward", ["value", "vote"])
def test_the_rewards_of_the_paper_serve_both_searches(generate: str, reward: str) -> None:
    for policy in (
        TotBfs(width=3, keep=2, generate=generate),  # type: ignore[arg-type]
        TotDfs(width=3, threshold=0.01, steps=6, generate=generate),  # type: ignore[arg-type]
    ):

        def run(policy: Policy, speculation: Speculation | None) -> Tree:
            engine = make_engine()
            words = {"Yes": 20, "No": 0.001}
            made = (
                Value(engine, values=words, expected=True)
                if reward == "value"
                else GroupVote(engine, otherwise=0.5)
            )
            return run_search(policy, engine=engine, reward=made, speculation=speculation).tree

        on = run(policy, Speculation())
        assert on == run(policy, None)
        assert on.question == QUESTION
        assert {len(path) for path in on.thoughts} >= {1, 2}


def test_the_game_of_24_is_played_with_its_own_prompts() -> None:
    module = runpy.run_path(str(EXAMPLE))

    def run(speculation: Speculation | None) -> Tree:
        engine = make_engine()
        made = module["settings"](engine)
        # The simulated engine knows no words of judgement: its own serve.
        made["reward"] = replace(made["reward"], values={"quality": 1, "no": 0})
        made["termination"] = None
        return run_search(made.pop("policy"), engine=engine, speculation=speculation, **made).tree

    on = run(Speculation())
    assert on == run(None)
    assert {len(path) for path in on.thoughts} == {1, 2, 3, 4}
    for answer, right in {
        "(1 + 2 + 3) * 4": True,
        "4 * 3 * 2 * 1 = 24": True,
        "4 * (3 + 2 + 1": False,
        "4 * 6": False,
        "4 / (3 - 2 - 1)": False,
        "-1 + 2 + 3 + 4": False,
    }.items():
        assert module["makes_24"]("1 2 3 4", answer) is right
