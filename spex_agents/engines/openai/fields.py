"""Requests in a server's dialect."""

from __future__ import annotations

from dataclasses import dataclass

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.calls.cut import estimated_tokens
from spex_agents.engines.openai.dialects import Dialect, Fields
from spex_agents.engines.prompts import Prompt


@dataclass(slots=True, kw_only=True)
class Call:
    """One thing asked of a server, until it is answered.

    Attributes:
        prompt: What for.
        request: Whose.
        sampling: How tokens are drawn.
        max_tokens: Of what the reply says; reasoning comes on top.
        alternatives: Tokens whose log-probabilities are asked for besides the one drawn.
        reasons: The model is expected to reason first.
        own_stops: Stop strings are looked for here, not by the server.
    """

    prompt: Prompt
    request: Request
    sampling: Sampling
    max_tokens: int
    alternatives: int | None = None
    reasons: bool = False
    own_stops: bool = False

    def cost(self, choices: int = 1) -> int:
        """About how many tokens of a minute's a provider counts for it, or for several of it."""
        turns = "".join(turn.content for turn in self.prompt.messages)
        return estimated_tokens(turns + self.prompt.reply) + choices * self.max_tokens

    def sampling_fields(self, dialect: Dialect) -> Fields:
        """The fields that say how tokens are drawn and where a reply ends."""
        fields: Fields = {
            "seed": self.request.seed,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            **dialect.fields,
        }
        if self.sampling.top_p == 1 and not dialect.whole_nucleus:
            del fields["top_p"]
        if dialect.top_k:
            fields["top_k"] = self.sampling.top_k or -1
        if self.sampling.stop and dialect.keep_delimiter and not self.own_stops:
            fields |= {"stop": list(self.sampling.stop), **dialect.keep_delimiter}
        return fields

    def logprob_fields(self, *, chat: bool) -> Fields:
        """The fields that ask for each token's log-probability, and for its alternatives'."""
        if not self.sampling.logprobs:
            return {}
        if not chat:
            return {"logprobs": self.alternatives or 1}
        if self.alternatives is None:
            return {"logprobs": True}
        return {"logprobs": True, "top_logprobs": self.alternatives}
