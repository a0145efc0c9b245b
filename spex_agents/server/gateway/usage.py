"""What searches have cost, as OpenAI tells it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from spex_agents.engines.calls.cut import estimated_tokens
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.server.gateway.search import Search


class PromptDetails(BaseModel):
    cached_tokens: int = 0
    estimated: bool = Field(
        default=False, description="The engine does not count them: a token for four characters."
    )


class CompletionDetails(BaseModel):
    reasoning_tokens: int
    accepted_prediction_tokens: int = Field(description="Begun early, and asked for later.")
    rejected_prediction_tokens: int = Field(
        description="Decoded for nothing; not among the completion's."
    )


class Usage(BaseModel):
    """OpenAI's: the question's prompt, once, and all tokens that the search took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


def usage_of(searches: Sequence[Search]) -> Usage:
    """What the searches of one request have cost: one prompt, and all that was written."""
    first = searches[0]
    asked = first.request.asked
    prompt, details = max(one.spent.prompt_tokens for one in searches), PromptDetails()
    if not prompt:
        text = "".join(
            turn.content
            for turn in asked.told_by(PromptTemplate()).prompt(asked.question, ()).messages
        )
        prompt, details = estimated_tokens(text), PromptDetails(estimated=True)
    useful = sum(one.spent.useful_tokens for one in searches)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=useful,
        total_tokens=prompt + useful,
        prompt_tokens_details=details,
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=useful,
            accepted_prediction_tokens=sum(one.spent.hit_tokens for one in searches),
            rejected_prediction_tokens=sum(one.spent.wasted_tokens for one in searches),
        ),
    )
