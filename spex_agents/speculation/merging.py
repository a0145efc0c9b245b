"""Candidates of one decision that say the same: one of them is scored and gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from spex_agents.answers.equivalence import counted
from spex_agents.errors import PolicyError
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.running.calls import attempt, stated


async def repeats(config: SearchConfig, paths: Sequence[Path], tree: Tree) -> dict[Path, Path]:
    """Those of `paths` that say the same as one before them, each with the first such.

    Args:
        config: Says what is the same, by its `merge`.
        paths: What a decision has demanded, in its order.
        tree: In which it is.

    Raises:
        PolicyError: A function of the search's own has failed, or does not give each text a label.
    """
    if config.merge is None:
        return {}
    written = [path for path in paths if tree.thought(path).failed is None]
    labels = await _labels(config, written, tree)
    first: dict[Hashable, Path] = {}
    found = {}
    for path, label in zip(written, labels, strict=True):
        if label is not None:
            known = first.setdefault((tree.thought(path).ends, label), path)
            if known != path:
                found[path] = known
    return found


async def _labels(
    config: SearchConfig, paths: Sequence[Path], tree: Tree
) -> Sequence[Hashable | None]:
    if config.merge == "answer":
        answers = [
            stated(config, tree, path) if tree.thought(path).ends else None for path in paths
        ]
        given = [answer for answer in answers if answer is not None]
        names = iter(await counted(given, config.canonical))
        return [None if answer is None else next(names) for answer in answers]
    chains = (attempt(config.policy, path, tree.chain(path)) for path in paths)
    texts = [config.template.prompt(tree.question, chain).reply.strip() for chain in chains]
    if config.merge == "text":
        return [" ".join(text.split()) for text in texts]
    assert callable(config.merge)  # noqa: S101 (narrowing)
    try:
        labels = await asyncio.to_thread(config.merge, texts)
    except Exception as error:
        raise PolicyError(f"merge={config.merge!r} failed: {error!r}") from error
    if len(labels) != len(texts):
        raise PolicyError(
            f"merge={config.merge!r} returned {len(labels)} labels for {len(texts)} texts: must "
            "be one for each"
        )
    return labels


def repeating(thought: Thought, other: Path) -> Thought:
    """`thought` as one that says the same as that at `other`."""
    if thought.ends:
        return replace(thought, same_as=other)
    return replace(thought, ends=True, failed=f"says the same as {other}", same_as=other)


def shared(paths: Iterable[Path], tree: Tree) -> Tree:
    """`tree`, in which those of `paths` that repeat others have what became of these.

    Args:
        paths: What a decision has demanded.
        tree: With the rewards of it that there are.
    """
    rewards: dict[Path, float] = {}
    failures: dict[Path, str] = {}
    for path in paths:
        if path in tree and (other := tree.thought(path).same_as) is not None:
            if other in tree.rewards and not tree.thought(path).failed:
                rewards[path] = tree.rewards[other]
            elif (reason := tree.thought(other).failed) is not None:
                failures[path] = reason
    return tree.with_failures(failures).with_rewards(rewards)
