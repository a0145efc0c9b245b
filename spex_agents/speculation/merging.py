"""Candidates of one decision that say the same: one of them is scored and gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from spex_agents.answers.equivalence import written
from spex_agents.errors import PolicyError
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.running.calls import attempt, stated
from spex_agents.speculation.running.memo import Memo


async def merged(memo: Memo, paths: Sequence[Path], tree: Tree) -> dict[Path, Thought]:
    """Find which of `paths` say the same as one before them; these have no rewards of their own.

    Args:
        memo: Of the search.
        paths: What a decision has demanded, in its order.
        tree: In which it is.

    Returns:
        Their thoughts, each of which names the first that says the same.

    Raises:
        PolicyError: A function of the search's own has failed, or does not give each text a label.
    """
    if memo.config.merge is None:
        return {}
    there = [path for path in paths if tree.thought(path).failed is None]
    first: dict[Hashable, Path] = {}
    found = {}
    for path, label in zip(there, await _labels(memo, there, tree), strict=True):
        thought = tree.thought(path)
        other = path if label is None else first.setdefault((thought.ends, label), path)
        if other != path and thought.same_as is None:
            found[path] = memo.thoughts[path] = repeating(thought, other)
            memo.scores.drop(path)
            memo.ledger.merged += 1
    return found


async def _labels(memo: Memo, paths: Sequence[Path], tree: Tree) -> Sequence[Hashable | None]:
    config = memo.config
    chains = [tree.chain(path) for path in paths]
    if config.merge == "answer":
        answers = [
            stated(config, tree.question, path, chain) if chain[-1].ends else None
            for path, chain in zip(paths, chains, strict=True)
        ]
        given = [answer for answer in answers if answer is not None]
        names = iter(written(given, [await memo.forms.of(answer) for answer in given]))
        return [None if answer is None else next(names) for answer in answers]
    tries = (attempt(config.policy, *each) for each in zip(paths, chains, strict=True))
    texts = [config.template.prompt(tree.question, each).reply.strip() for each in tries]
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
