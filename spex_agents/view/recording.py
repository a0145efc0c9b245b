"""A run as one file: what was asked, what happened when, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spex_agents.errors import SettingsError

_SOMETIMES = ("reasoning", "same_as", "engine")
_PARTS = {"question": str, "settings": dict, "events": list, "tree": list, "ledger": dict}


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
        "answer_path": report.get("answer_path"),
        "seconds": max(event["seconds"] or 0.0 for event in thoughts),
        "tree": [
            {
                "path": [int(part) for part in event["id"].split(".")],
                "text": event["text"],
                **{name: event[name] for name in _SOMETIMES if name in event},
                "tokens": event["tokens"],
                "reward": rewards.get(event["id"]),
            }
            for event in thoughts
            if event["status"] == "accepted"
        ],
        "events": thoughts,
    }


def read_recording(file: Path) -> Mapping[str, Any]:
    """The run that a file holds.

    Raises:
        SettingsError: It cannot be read, or is no recording.

    Example:
        >>> import asyncio
        >>> from tempfile import NamedTemporaryFile
        >>> from spex_agents import BestOfN, SearchConfig, solve
        >>> from spex_agents.engines import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> parts = {"engine": SimulatedEngine(speed=1000), "reward": SimulatedReward()}
        >>> result = asyncio.run(solve(SearchConfig(policy=BestOfN(width=2), **parts), "5 + 7?"))
        >>> with NamedTemporaryFile("w", suffix=".json") as file:
        ...     json.dump(result.recorded, file)
        ...     file.flush()
        ...     read_recording(Path(file.name))["question"]
        '5 + 7?'
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
