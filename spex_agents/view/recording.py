"""A run as one file: what was asked, what happened when, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spex_agents.errors import SettingsError
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.events import ThoughtEvent, path_id
from spex_agents.speculation.solve import Result

_PARTS = {"question": str, "settings": dict, "events": list, "tree": list, "ledger": dict}


def recording(
    config: SearchConfig,
    policy: str,
    result: Result,
    seconds: float,
    events: Sequence[ThoughtEvent],
) -> dict[str, Any]:
    """Plain data that `run_page` shows: question, settings, events, tree, ledger and outcome.

    Args:
        config: What the search was made of.
        policy: Its policy's name.
        result: What it came to.
        seconds: From the question to the answer.
        events: All that its session told its listener. Texts of the tree are kept once, there.

    Example:
        >>> from spex_agents.engines.clock import run_virtual
        >>> from spex_agents.engines.simulated import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> from spex_agents.search import Rebase
        >>> from spex_agents.speculation.solve import solve
        >>> config = SearchConfig(
        ...     engine=SimulatedEngine(), policy=Rebase(width=4), reward=SimulatedReward()
        ... )
        >>> events = []
        >>> result = run_virtual(solve(config, "What is 5 + 7?", listener=events.append))
        >>> run = recording(config, "rebase", result, events[-1]["seconds"], events)
        >>> run["answer"], run["events"][0]["status"]
        ('12', 'begun')
    """
    tree = result.tree
    told = {path_id(path) for path in tree.thoughts}
    return {
        "question": tree.question,
        "settings": {
            "policy": policy,
            "policy_settings": repr(config.policy),
            "engine": config.engine.name,
            "reward": config.reward.name,
            "vote": config.vote,
            "seed": tree.seed,
            "speculation": config.speculation is not None,
        },
        **outcome(result, seconds),
        "events": [{**event, "text": ""} if event["id"] in told else event for event in events],
    }


def outcome(result: Result, seconds: float) -> dict[str, Any]:
    """What came of a search, as plain data: `tokens` is the tree's, `ledger` has all spent."""
    tree = result.tree
    return {
        "answer": result.answer,
        "seconds": round(seconds, 3),
        "stopped": result.stopped,
        "tree_sha256": tree.sha256(),
        "thoughts": len(tree),
        "tokens": sum(thought.tokens for thought in tree.thoughts.values()),
        "ledger": result.ledger.report(),
        "tree": [
            {
                "path": list(path),
                "text": thought.text,
                "tokens": thought.tokens,
                "ends": thought.ends,
                "reward": tree.rewards.get(path),
            }
            for path, thought in tree.thoughts.items()
        ],
    }


def read_recording(file: Path) -> Mapping[str, Any]:
    """The run that a file holds.

    Raises:
        SettingsError: It cannot be read, or is no recording.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"run={str(file)!r}: cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(found.get(part), kind) for part, kind in _PARTS.items()
    ):
        raise SettingsError(
            f"run={str(file)!r}: must be a recording, as `spex solve --record` writes it, with "
            f"{', '.join(_PARTS)}"
        )
    return found
