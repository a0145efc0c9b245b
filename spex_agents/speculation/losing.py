"""Paths that fail: which may, and how many before the search does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from spex_agents.errors import EngineError, RewardError
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.config import Failures


async def taken_or_failed(
    paths: Iterable[Path],
    take: Callable[[Path], Awaitable[Thought]],
    bear: Callable[[EngineError], bool],
) -> tuple[dict[Path, Thought], dict[Path, Exception]]:
    """The thoughts at `paths`, and why there is none at the others.

    Args:
        paths: Demanded.
        take: Waits for one.
        bear: Which errors are returned, by path, in place of a thought.

    Raises:
        EngineError: One that may not be borne.
    """
    thoughts: dict[Path, Thought] = {}
    errors: dict[Path, Exception] = {}
    for path in paths:
        try:
            thoughts[path] = await take(path)
        except EngineError as error:
            if not bear(error):
                raise
            errors[path] = error
    return thoughts, errors


def without(errors: Mapping[Path, Exception], tree: Tree, allowed: Failures | None) -> Tree:
    """`tree` with the paths of `errors` marked as failed.

    Raises:
        SpexError: The last of them, if they are too many.
    """
    if not errors or allowed is None:
        return tree
    tree = tree.with_failures(
        {path: f"{type(error).__name__}: {error}" for path, error in errors.items()}
    )
    failed = len(tree.failures())
    if allowed.many(failed, of=len(tree)):
        error = [*errors.values()][-1]
        error.add_note(f"{failed} of {len(tree)} thoughts have failed: {allowed} bears no more")
        raise error
    return tree


def check_left(tree: Tree, fault: Exception | None) -> None:
    """Check that a search that has ended has a thought left.

    Args:
        tree: What it has committed.
        fault: Why the last path that failed did; None if that was before a checkpoint.

    Raises:
        EngineError: All have failed.
        RewardError: The same, and `fault` is one.
    """
    failures = tree.failures()
    if failures and len(failures) == len(tree):
        kind = RewardError if isinstance(fault, RewardError) else EngineError
        told = f"all {len(tree)} thoughts have failed: {[*failures.values()][-1]}"
        raise kind(told) from (fault and fault.__cause__) or fault
