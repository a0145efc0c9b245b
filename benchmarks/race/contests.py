"""Who races against whom, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS = "spex"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Who races, and how.

    Attributes:
        name: For the table.
        program: Its file in `contestants`.
        environment: Whose interpreter runs it, as ``--python`` names it; "spex" for this one.
        settings: Of its search.
    """

    name: str
    program: str
    environment: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The same search, by several."""

    title: str
    entries: Sequence[Contestant]


def ours(
    policy: str, fields: Mapping[str, object], vote: str, **settings: object
) -> tuple[Contestant, Contestant]:
    """A policy of this library without and with running ahead."""
    off, on = (
        Contestant(
            name=f"spex {policy}, {'on' if ahead else 'off'}",
            program="spex",
            environment=OURS,
            settings={"policy": policy, "fields": fields, "vote": vote, "ahead": ahead, **settings},
        )
        for ahead in (False, True)
    )
    return off, on


def rival(name: str, program: str, environment: str, **settings: object) -> Contestant:
    return Contestant(name=name, program=program, environment=environment, settings=settings)


_TITLES = {
    "beam": "beam search: 8 candidates a layer, 2 kept",
    "ab-mcts": "AB-MCTS-A: 12 answers",
    "mcts": "MCTS (RAP): 6 rollouts, 3 children",
    "particles": "particle filtering: 8 particles",
    "consistency": "adaptive self-consistency: at most 16 answers, 0.95",
}
CONTESTS: Mapping[str, Contest] = {
    "beam": Contest(
        title=_TITLES["beam"],
        entries=(
            rival("search-and-learn beam_search", "sal_beam", "sal", n=8, width=4),
            rival(
                "its_hub BeamSearch", "its_hub_search", "its_hub",
                algorithm="beam", width=2, budget=8,
            ),
            rival(
                "llm-reasoners BeamSearch", "reasoners_search", "reasoners",
                algorithm="beam", width=4, keep=2, depth=12,
            ),
            rival("a LangGraph ToT graph", "langgraph_tot", OURS, width=4, keep=2, depth=12),
            *ours("beam", {"beams": 8, "width": 4}, "best"),
        ),
    ),
    "ab-mcts": Contest(
        title=_TITLES["ab-mcts"],
        entries=(
            rival("TreeQuest, one at a time", "treequest_ab", "treequest", budget=12, batch=1),
            rival("TreeQuest, batches of 4", "treequest_ab", "treequest", budget=12, batch=4),
            *ours("ab-mcts", {"rollouts": 12}, "best"),
        ),
    ),
    "mcts": Contest(
        title=_TITLES["mcts"],
        entries=(
            rival(
                "llm-reasoners MCTS", "reasoners_search", "reasoners",
                algorithm="mcts", width=3, rollouts=6, depth=12,
            ),
            *ours("rap", {"rollouts": 6, "width": 3}, "weighted"),
        ),
    ),
    "particles": Contest(
        title=_TITLES["particles"],
        entries=(
            rival(
                "its_hub ParticleFiltering", "its_hub_search", "its_hub",
                algorithm="particles", budget=8,
            ),
            *ours("particles", {"width": 8}, "best"),
        ),
    ),
    "consistency": Contest(
        title=_TITLES["consistency"],
        entries=(
            rival(
                "its_hub BetaSelfConsistency", "its_hub_search", "its_hub",
                algorithm="beta", budget=16,
            ),
            *ours("adaptive-consistency", {"width": 16}, "majority", judged=False),
            rival(
                "spex best-of-n, AdaptiveStop(eager=True)", "spex", OURS,
                policy="best-of-n", fields={"width": 16}, vote="majority", judged=False, eager=True,
            ),
        ),
    ),
}  # fmt: skip
