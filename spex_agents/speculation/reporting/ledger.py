"""Every token accounted for: decoded = useful + wasted, to the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from spex_agents.errors import at_least_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a provider takes, in any currency.

    Attributes:
        prompt: For a million tokens of prompts.
        decoded: For a million tokens decoded.
        cached: For a million tokens of prompts that were not read anew; None for `prompt`.
        call: For each request besides.

    Raises:
        SettingsError: A price is below 0.

    Example:
        >>> Ledger(useful_tokens=1_000_000).cost(Prices(prompt=0.4, decoded=1.6))
        1.6
    """

    prompt: float
    decoded: float
    cached: float | None = None
    call: float = 0.0

    def __post_init__(self) -> None:
        at_least_zero(
            prompt=self.prompt, decoded=self.decoded, cached=self.cached or 0.0, call=self.call
        )


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What a search has spent, and on what.

    Attributes:
        launched: Thoughts begun before they were demanded.
        hits: Launched thoughts that were demanded later.
        promoted: Hits that were still being written when they were demanded.
        retracted: Launched thoughts that were cancelled because they had become improbable.
        failed: Launched thoughts whose request failed; the search does their work again.
        thought_calls: Thoughts asked for, on demand or before.
        reward_calls: Rewards asked for likewise; one call may compare several thoughts.
        lost: Paths that failed, and without which the search went on.
        merged: Thoughts that said the same as another of their decision, and were not scored.
        prompt_tokens: Of the question's own prompt, counted once; 0 where the engine does not tell.
        calls: Requests for thoughts and rewards, whatever became of them.
        sent_tokens: Of the prompts of all of them; as far as the engine tells.
        cached_tokens: Those of them that the engine had read before, likewise.
        vain_tokens: Those of `sent_tokens` that were sent for thoughts and rewards that the search
            did not take.
        useful_tokens: Decoded for thoughts and rewards that the search took.
        hit_tokens: Those of them that hits had, begun early.
        wasted_tokens: Decoded for anything else.
        aborted_tokens: Decoded by requests that were cancelled in flight.
        estimated_tokens: Those of all tokens decoded that no server has counted.
        useful_seconds: From request to text of the thoughts that the search took, summed.
        saved_seconds: How much longer the search would have waited without guesses, in seconds,
            estimated. Below 0 where guesses have cost more.
        ahead_seconds: Work that hits had behind them when they were demanded, summed: much of it
            went on at the same time.
        aborts: Requests cancelled in flight.
        abort_seconds: From cancelling a request to its end at the engine, summed.
        slowest_abort: The longest of them, in seconds.
        fallbacks: Decisions that the policy made by a simpler rule than its own; see its docstring.
        plans: How often a forecast was made.
        plan_seconds: Computing time of the forecasts, summed.
    """

    launched: int = 0
    hits: int = 0
    promoted: int = 0
    retracted: int = 0
    failed: int = 0
    lost: int = 0
    merged: int = 0
    thought_calls: int = 0
    reward_calls: int = 0
    prompt_tokens: int = 0
    calls: int = 0
    sent_tokens: int = 0
    cached_tokens: int = 0
    vain_tokens: int = 0
    useful_tokens: int = 0
    hit_tokens: int = 0
    wasted_tokens: int = 0
    aborted_tokens: int = 0
    estimated_tokens: int = 0
    useful_seconds: float = 0.0
    saved_seconds: float = 0.0
    ahead_seconds: float = 0.0
    aborts: int = 0
    abort_seconds: float = 0.0
    slowest_abort: float = 0.0
    fallbacks: int = 0
    plans: int = 0
    plan_seconds: float = 0.0

    @property
    def decoded_tokens(self) -> int:
        return self.useful_tokens + self.wasted_tokens

    @property
    def hit_rate(self) -> float:
        """Hits per launched thought; 0 where nothing was launched."""
        return self.hits / self.launched if self.launched else 0.0

    @property
    def waste_ratio(self) -> float:
        """Wasted per useful token; 0 where nothing was useful."""
        return self.wasted_tokens / self.useful_tokens if self.useful_tokens else 0.0

    def cost(self, prices: Prices) -> float:
        """What all of it costs at a provider, in the currency of `prices`.

        Example:
            >>> spent = Ledger(calls=10, sent_tokens=9000, cached_tokens=8000, useful_tokens=500)
            >>> round(spent.cost(Prices(prompt=1.0, decoded=4.0, cached=0.1)), 6)
            0.0038
        """
        cached = prices.prompt if prices.cached is None else prices.cached
        tokens = (
            prices.prompt * (self.sent_tokens - self.cached_tokens)
            + cached * self.cached_tokens
            + prices.decoded * self.decoded_tokens
        )
        return tokens / 1e6 + prices.call * self.calls

    @property
    def bill(self) -> str:
        """What was paid for, in words; of prompts nothing where the engine does not tell.

        Example:
            >>> Ledger(sent_tokens=900, vain_tokens=300, useful_tokens=50, wasted_tokens=5).bill
            '900 tokens sent (300 in vain), 55 written (5 in vain)'
        """
        vain = f"({self.wasted_tokens} in vain)"
        if not self.sent_tokens:
            return f"{self.decoded_tokens} tokens written {vain}"
        sent = f"{self.sent_tokens} tokens sent ({self.vain_tokens} in vain)"
        return f"{sent}, {self.decoded_tokens} written {vain}"

    def use(self, tokens: int) -> None:
        """Count `tokens`, which were waste so far, as useful: the search took what they gave."""
        self.useful_tokens += tokens
        self.wasted_tokens -= tokens

    def keep(self, saved: Ledger) -> None:
        """Count as useful but what was so in `saved`: the search has lost what the rest gave it."""
        self.wasted_tokens += self.useful_tokens - saved.useful_tokens
        self.useful_tokens = saved.useful_tokens
        self.hit_tokens = min(self.hit_tokens, saved.useful_tokens)
        self.vain_tokens = self.sent_tokens - (saved.sent_tokens - saved.vain_tokens)

    def waste(self, prompts: float) -> tuple[float, float]:
        """What was useful and what was wasted, a token of a prompt counted as `prompts` of one."""
        sent = self.sent_tokens - self.vain_tokens
        return self.useful_tokens + prompts * sent, self.wasted_tokens + prompts * self.vain_tokens

    def abort(self, seconds: float) -> None:
        self.aborts += 1
        self.abort_seconds += seconds
        self.slowest_abort = max(self.slowest_abort, seconds)

    def add(self, other: Ledger) -> None:
        """Add the figures of another search, or of another part of this one, to these."""
        slowest = max(self.slowest_abort, other.slowest_abort)
        for name, value in other.figures().items():
            setattr(self, name, getattr(self, name) + value)
        self.slowest_abort = slowest

    def since(self, before: Ledger) -> Ledger:
        """What has been spent since it stood at `before`; `slowest_abort` is that of all.

        Tokens that were useful then and are wasted now (`keep`) were spent before. A figure of
        which less is known now, as after a run that was killed, is 0.

        Example:
            >>> Ledger(hits=5, useful_tokens=100).since(Ledger(hits=2, useful_tokens=40)).hits
            3
        """
        spent: Any = {
            name: max(0, value - getattr(before, name)) for name, value in self.figures().items()
        }
        decoded = max(0, self.decoded_tokens - before.decoded_tokens)
        spent["useful_tokens"] = min(spent["useful_tokens"], decoded)
        spent["wasted_tokens"] = decoded - spent["useful_tokens"]
        spent["saved_seconds"] = self.saved_seconds - before.saved_seconds  # may be below 0
        return Ledger(**{**spent, "slowest_abort": self.slowest_abort})

    def go_on(self, other: Ledger) -> None:
        """Add the figures of this search's next run: its question's prompt is counted once."""
        prompt = self.prompt_tokens or other.prompt_tokens
        self.add(other)
        self.prompt_tokens = prompt

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self:
        """The ledger that a `report` tells of; a figure it lacks is 0."""
        return cls(
            **{figure.name: report[figure.name] for figure in fields(cls) if figure.name in report}
        )

    def figures(self) -> dict[str, float]:
        """What was counted, by name."""
        return {figure.name: getattr(self, figure.name) for figure in fields(self)}

    def report(self) -> dict[str, float]:
        """The figures and their ratios, as plain data."""
        return {
            **self.figures(),
            "decoded_tokens": self.decoded_tokens,
            "hit_rate": round(self.hit_rate, 4),
            "waste_ratio": round(self.waste_ratio, 4),
        }
