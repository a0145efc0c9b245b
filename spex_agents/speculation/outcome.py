"""What came of a search, as plain data: to be kept, and looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spex_agents.search.tree import words_of
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.reporting.events import ThoughtEvent, path_id
from spex_agents.speculation.result import Result


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
    came = outcome(result, seconds)
    return {
        "question": tree.question,
        "settings": {
            "policy": policy,
            "policy_settings": repr(config.policy),
            "engine": ", ".join([config.engine.name, *_others(config)]),
            "reward": config.reward.name,
            "vote": config.vote,
            "seed": tree.seed,
            "speculation": config.speculation is not None,
        },
        **came,
        "tree": [_with_engine(config, row) for row in came["tree"]],
        "events": [_without_text(event) if event["id"] in told else event for event in events],
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
        **(
            {"engines": {name: row.report() for name, row in result.engines.items()}}
            if len(result.engines) > 1
            else {}
        ),
        "tree": [
            {
                "path": list(path),
                "text": thought.text,
                **({"reasoning": thought.reasoning} if thought.reasoning else {}),
                "tokens": thought.tokens,
                "ends": thought.ends,
                **({} if thought.same_as is None else {"same_as": path_id(thought.same_as)}),
                "reward": tree.rewards.get(path),
                **dict(zip(("words",), words_of(tree.rewards.get(path)), strict=False)),
            }
            for path, thought in tree.thoughts.items()
        ],
    }


def _others(config: SearchConfig) -> list[str]:
    return [f"{name}: {engine.name}" for name, engine in config.engines.items()]


def _with_engine(config: SearchConfig, row: dict[str, Any]) -> dict[str, Any]:
    name = config.policy.action(tuple(row["path"])).engine
    return {**row, "engine": name} if name else row


def _without_text(event: ThoughtEvent) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "reasoning"} | {"text": ""}
