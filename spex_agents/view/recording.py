"""A run as one file: what was asked, what happened when, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spex_agents.errors import SettingsError
from spex_agents.search.tree import words_of
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.reporting.events import ThoughtEvent, path_id
from spex_agents.speculation.solving import Result

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
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> from spex_agents.search import Rebase
        >>> from spex_agents.speculation.solving import solve
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


def streamed_recording(
    question: str,
    report: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    **settings: object,
) -> dict[str, Any]:
    """The recording of a search inside a graph of yours, from what its stream carried.

    Args:
        question: What was asked.
        report: What the search says of itself: ``response_metadata["spex"]`` of its message, the
            artifact of its tool, or the state of its graph.
        events: All parts of ``stream_mode="custom"``, of one search.
        **settings: To be shown: `policy`, `reward`, `seed`, and `speculation`, a bool, which names
            the run.

    Raises:
        SettingsError: No event is of a thought.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.nodes import create_tot_graph
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000)).compile()
        >>> asked = {"question": "What is 5 + 7?"}
        >>> parts = list(graph.stream(asked, stream_mode=["custom", "values"]))
        >>> events = [part for mode, part in parts if mode == "custom"]
        >>> run = streamed_recording(**asked, report=parts[-1][1], events=events)
        >>> run["answer"], run["seconds"] > 0, len(run["tree"]) == len(parts[-1][1]["thoughts"])
        ('12', True, True)
    """
    thoughts = [event for event in events if event["type"] == "thought"]
    if not thoughts:
        raise SettingsError(
            f"{len(events)} events: none is of a thought; give all parts of stream_mode='custom'"
        )
    rewards = {event["id"]: event["reward"] for event in thoughts if event["status"] == "scored"}
    return {
        "question": question,
        "settings": settings,
        **{key: report[key] for key in ("answer", "stopped", "tree_sha256", "ledger")},
        "seconds": max(event["seconds"] or 0.0 for event in thoughts),
        "tree": [
            {
                "path": [int(part) for part in event["id"].split(".")],
                "text": event["text"],
                "tokens": event["tokens"],
                "reward": rewards.get(event["id"]),
            }
            for event in thoughts
            if event["status"] == "accepted"
        ],
        "events": thoughts,
    }


def outcome(result: Result, seconds: float) -> dict[str, Any]:
    """What came of a search, as plain data: `tokens` is the tree's, `ledger` has all spent."""
    tree = result.tree
    return {
        "answer": result.answer,
        "seconds": round(seconds, 3),
        "stopped": result.stopped,
        "ended": result.ended,
        "tree_sha256": result.tree_sha256,
        "answer_path": None if result.path is None else list(result.path),
        "agreement": result.agreement,
        "ballots": [
            {"path": list(ballot.path), "answer": ballot.answer, "weight": ballot.reward}
            for ballot in result.ballots
        ],
        "failures": [
            {"path": list(path), "reason": reason} for path, reason in result.failures.items()
        ],
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
                **dict(zip(("words",), words_of(tree.rewards.get(path)), strict=False)),
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
