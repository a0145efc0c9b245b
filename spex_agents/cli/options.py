"""The options of the command line: each is declared once, and means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import typer

from spex_agents.answers.registry import RULES
from spex_agents.answers.votes import Vote
from spex_agents.engines.simulated.hardware import HARDWARE
from spex_agents.named import REWARDS
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.search.registry import POLICIES, defaults

SEARCH, ENGINE, SPECULATION, WORLD = "Search", "Engine", "Speculation", "Hardware and world"
SERVER = "Server"
"""Panels of ``--help``."""

Questions: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(help="Questions, taken in turn; a few sums by default.", show_default=False),
]

PolicyName: TypeAlias = Annotated[
    str,
    typer.Option(
        help=f"{', '.join(POLICIES)}, or module:class for a policy of yours; "
        "fields may follow (rstar:create=all,width=3).",
        rich_help_panel=SEARCH,
    ),
]
Width: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Thoughts in a layer, children of a thought, or whole answers, as the policy has "
        f"it ({defaults('width')}). Beam and dvts keep one in 4 of a layer.",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Rollouts: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help=f"Rounds of a Monte-Carlo tree search ({defaults('rollouts')}).",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
RewardName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=", ".join(f"{name} ({by})" if by else name for name, (_, by) in REWARDS.items())
        + ", or module:function, an async function (question, steps) -> float of your own.",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
AggregateName: TypeAlias = Annotated[
    str,
    typer.Option(
        help=f"How a path's reward follows from those of its steps: {', '.join(WAYS)}.",
        rich_help_panel=SEARCH,
    ),
]
VoteName: TypeAlias = Annotated[
    str,
    typer.Option(
        help=f"How leaves elect the answer: {', '.join(get_args(Vote))}.", rich_help_panel=SEARCH
    ),
]
WeightName: TypeAlias = Annotated[
    str,
    typer.Option(
        help=f"How a vote's weight follows from its path's rewards: {', '.join(WAYS)}.",
        rich_help_panel=SEARCH,
    ),
]
Termination: TypeAlias = Annotated[
    str,
    typer.Option(
        help=f"When searches end early: {', '.join(RULES)}. exact is lossless, margin SPEX's rule.",
        rich_help_panel=SEARCH,
    ),
]
Depth: TypeAlias = Annotated[
    int, typer.Option(help="Thoughts in a path, at most.", rich_help_panel=SEARCH)
]
StepTokens: TypeAlias = Annotated[
    int, typer.Option(help="Tokens of a thought, at most.", rich_help_panel=SEARCH)
]
PathTokens: TypeAlias = Annotated[
    int, typer.Option(help="Tokens of a path, at most.", rich_help_panel=SEARCH)
]
Shots: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="JSONL of solved examples for the prompt: question and solution in each line.",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Seed: TypeAlias = Annotated[
    int, typer.Option(help="The same seed gives the same search.", rich_help_panel=SEARCH)
]

EngineName: TypeAlias = Annotated[
    str,
    typer.Option(
        help="embedded (a small model in this process), simulated (no model, on a virtual "
        "clock), the address of an OpenAI-compatible server (http://127.0.0.1:30000/v1), a "
        "LangChain chat model (openai:gpt-5-mini), or module:function, an async function "
        "(question, steps, seed) -> str of your own.",
        rich_help_panel=ENGINE,
    ),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="embedded: a GGUF file; simulated: a hardware preset; server: the model's name.",
        show_default=False,
        rich_help_panel=ENGINE,
    ),
]
ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Bearer token for the server.", envvar="SPEX_API_KEY", rich_help_panel=ENGINE
    ),
]
Dialect: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="The kind of server, if it is not recognised: vllm, llamacpp, ollama ...",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
TemplateName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--template",
        help="Write prompts here and send them to /completions: chatml, or module:function.",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
ThinkingMode: TypeAlias = Annotated[
    str,
    typer.Option(
        "--thinking",
        help="The model's reasoning: auto, off, keep, or steps (search over its paragraphs).",
        rich_help_panel=SERVER,
    ),
]
ExtraBody: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Further fields for every request to the server, as a JSON object.",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
Priorities: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Priorities of demanded and of speculative requests, if the server has some: 0,1 for "
        "vLLM.",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]
SpecialTokensMode: TypeAlias = Annotated[
    str,
    typer.Option(
        "--special-tokens",
        help="Special tokens in questions and thoughts: escape, refuse or keep.",
        rich_help_panel=SERVER,
    ),
]
Temperature: TypeAlias = Annotated[
    float, typer.Option(help="Of sampling; 0 is greedy.", rich_help_panel=ENGINE)
]
TopP: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Sample from the most probable tokens that sum up to this.", rich_help_panel=ENGINE
    ),
]
TopK: TypeAlias = Annotated[
    int,
    typer.Option(
        help="Sample from so many most probable tokens; 0 for all.", rich_help_panel=ENGINE
    ),
]

Threshold: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Least probability at which a thought is begun early.", rich_help_panel=SPECULATION
    ),
]
Draws: TypeAlias = Annotated[
    int, typer.Option(help="How many trees a forecast draws.", rich_help_panel=SPECULATION)
]
Waste: TypeAlias = Annotated[
    float,
    typer.Option(
        help="How many tokens may be wasted for each useful one.", rich_help_panel=SPECULATION
    ),
]

Preset: TypeAlias = Annotated[
    str, typer.Option(help=f"{', '.join(HARDWARE)}.", rich_help_panel=WORLD)
]

RecordPair: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="DIRECTORY",
        help="Write the first search there, for `spex view`: off.json is without speculation, "
        "on.json with it.",
        show_default=False,
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]
