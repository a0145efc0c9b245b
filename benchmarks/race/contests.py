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
    "beam": "beam search: {wide} candidates a layer, 2 kept",
    "ab-mcts": "AB-MCTS-A: {answers} answers",
    "mcts": "MCTS (RAP): {rollouts} rollouts, {children} children",
    "particles": "particle filtering: {wide} particles",
    "consistency": "adaptive self-consistency: at most {samples} answers, 0.95",
}


def contests(
    *, answers: int = 12, samples: int = 16, wide: int = 8, rollouts: int = 6
) -> dict[str, Contest]:
    """All contests.

    Args:
        answers: Of AB-MCTS.
        samples: Of self-consistency, at most.
        wide: Candidates in a layer of a beam, and particles; even.
        rollouts: Of MCTS; half as many children.
    """
    children = rollouts // 2
    return {
        "beam": Contest(
            title=_TITLES["beam"].format(wide=wide),
            entries=(
                rival("search-and-learn beam_search", "sal_beam", "sal", n=wide, width=wide // 2),
                rival(
                    "its_hub BeamSearch", "its_hub_search", "its_hub",
                    algorithm="beam", width=2, budget=wide,
                ),
                rival(
                    "llm-reasoners BeamSearch", "reasoners_search", "reasoners",
                    algorithm="beam", width=wide // 2, keep=2, depth=12,
                ),
                rival(
                    "a LangGraph ToT graph", "langgraph_tot", OURS,
                    width=wide // 2, keep=2, depth=12,
                ),
                *ours("beam", {"beams": wide, "width": wide // 2}, "best"),
            ),
        ),
        "ab-mcts": Contest(
            title=_TITLES["ab-mcts"].format(answers=answers),
            entries=(
                rival(
                    "TreeQuest, one at a time", "treequest_ab", "treequest",
                    budget=answers, batch=1,
                ),
                rival(
                    "TreeQuest, batches of 4", "treequest_ab", "treequest",
                    budget=answers, batch=4,
                ),
                *ours("ab-mcts", {"rollouts": answers}, "best"),
            ),
        ),
        "mcts": Contest(
            title=_TITLES["mcts"].format(rollouts=rollouts, children=children),
            entries=(
                rival(
                    "llm-reasoners MCTS", "reasoners_search", "reasoners",
                    algorithm="mcts", width=children, rollouts=rollouts, depth=12,
                ),
                *ours("rap", {"rollouts": rollouts, "width": children}, "weighted"),
            ),
        ),
        "particles": Contest(
            title=_TITLES["particles"].format(wide=wide),
            entries=(
                rival(
                    "its_hub ParticleFiltering", "its_hub_search", "its_hub",
                    algorithm="particles", budget=wide,
                ),
                *ours("particles", {"width": wide}, "best"),
            ),
        ),
        "consistency": Contest(
            title=_TITLES["consistency"].format(samples=samples),
            entries=(
                rival(
                    "its_hub BetaSelfConsistency", "its_hub_search", "its_hub",
                    algorithm="beta", budget=samples,
                ),
                *ours("adaptive-consistency", {"width": samples}, "majority", judged=False),
                rival(
                    "spex best-of-n, ended eagerly", "spex", OURS,
                    policy="best-of-n", fields={"width": samples}, vote="majority",
                    judged=False, eager=True,
                ),
            ),
        ),
    }  # fmt: skip


CONTESTS: Mapping[str, Contest] = contests()
