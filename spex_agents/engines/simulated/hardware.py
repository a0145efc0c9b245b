"""How long a decoding step takes: a roofline of memory traffic and arithmetic, plus overhead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from spex_agents.errors import SettingsError, at_least_one, at_least_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A server that decodes all its running requests in step (continuous batching).

    A step over B requests takes, in seconds,

        (max(weights + per_sequence * B, compute * B * (1 + draft_tokens)) + overhead)
        * (1 + slowdown * B) * (1 + draft_cost)

    and yields `acceptance_length` tokens of each. Prompts cost nothing: a tree search's prefixes
    are in the server's cache.

    Attributes:
        name: For reports.
        slots: Requests that run at once; the others wait.
        weights: Seconds to read the weights once; no step is shorter.
        per_sequence: Seconds to read one request's keys and values.
        compute: Seconds of arithmetic for one token.
        overhead: Seconds of a step that overlap with nothing (launches, sampling, scheduling).
        slowdown: Relative growth of a step with each request.
        acceptance_length: Tokens a step yields for each request; more than 1 is token-level
            speculative decoding.
        draft_tokens: Tokens drafted, and so verified beside the next one, for each request.
        draft_cost: Time to draft, relative to the time to verify.

    Raises:
        SettingsError: A value is outside its range.

    Example:
        >>> HARDWARE["cpu-135m"].step_seconds(4)
        0.308
    """

    name: str
    slots: int
    weights: float = 0.0
    per_sequence: float = 0.0
    compute: float = 0.0
    overhead: float = 0.0
    slowdown: float = 0.0
    acceptance_length: float = 1.0
    draft_tokens: int = 0
    draft_cost: float = 0.0

    def __post_init__(self) -> None:
        at_least_one(slots=self.slots)
        at_least_zero(weights=self.weights, per_sequence=self.per_sequence, compute=self.compute)
        at_least_zero(overhead=self.overhead, slowdown=self.slowdown, draft_cost=self.draft_cost)
        if not 1 <= self.acceptance_length <= 1 + self.draft_tokens:
            raise SettingsError(
                f"acceptance_length={self.acceptance_length!r}: must lie in "
                f"[1, {1 + self.draft_tokens}] (1 + draft_tokens)"
            )
        if self.step_seconds(1) <= 0:
            raise SettingsError(
                "a step takes no time: give weights, per_sequence, compute or overhead"
            )

    def step_seconds(self, running: int) -> float:
        """Seconds of one step over `running` requests."""
        memory = self.weights + self.per_sequence * running
        arithmetic = self.compute * running * (1 + self.draft_tokens)
        grown = (1 + self.slowdown * running) * (1 + self.draft_cost)
        return (max(memory, arithmetic) + self.overhead) * grown

    @property
    def ridge(self) -> int:
        """Requests at which arithmetic takes as long as all else; 1 to `slots`.

        Below it another request is nearly free. Where reading a request's keys and values takes
        longer than its arithmetic the two never meet, and the ridge is `slots`.
        """
        surplus = self.compute * (1 + self.draft_tokens) - self.per_sequence
        if surplus <= 0:
            return self.slots
        return max(1, min(self.slots, int((self.weights + self.overhead) / surplus + 1e-9)))


def roofline(
    *,
    name: str,
    parameters: float,
    kv_bytes: float,
    bandwidth: float,
    flops: float,
    memory: float,
    context: int = 1024,
    own: int = 256,
    overhead: float = 1.5e-3,
    most: int = 256,
) -> Hardware:
    """Derive a step time from a model's and a device's published numbers, in 16-bit weights.

    A step reads all weights (2 bytes a parameter) and each request's keys and values, and does two
    floating-point operations a parameter and token. As many requests run as their own keys and
    values fit into what the weights leave of 90 % of the memory, at most `most`.

    Args:
        name: For reports.
        parameters: Of the model.
        kv_bytes: Keys and values of one token: 2 * layers * key-value heads * head size * 2 bytes.
        bandwidth: Peak, bytes a second.
        flops: Peak, dense 16-bit operations a second.
        memory: Bytes on the device.
        context: Tokens a request attends to.
        own: Tokens of it that no other request shares.
        overhead: Seconds.
        most: Cap on the slots.

    Example:
        >>> kv_bytes = 2 * 32 * 8 * 128 * 2
        >>> card = {"bandwidth": 3.35e12, "flops": 989e12, "memory": 80e9}
        >>> roofline(name="h100-8b", parameters=8.03e9, kv_bytes=kv_bytes, **card).slots
        256
    """
    weight_bytes = 2 * parameters
    fit = (0.9 * memory - weight_bytes) / (kv_bytes * own)
    return Hardware(
        name=name,
        slots=min(most, int(fit)),
        weights=weight_bytes / bandwidth,
        per_sequence=kv_bytes * context / bandwidth,
        compute=2 * parameters / flops,
        overhead=overhead,
    )


HARDWARE: Mapping[str, Hardware] = MappingProxyType(
    {
        hardware.name: hardware
        for hardware in (
            # A 7B model on one GPU: 20 ms a step up to the ridge at 96 requests.
            Hardware(name="paper-7b", slots=96, weights=0.020, compute=0.020 / 96, slowdown=0.0008),
            # An API that takes any number of requests, at 50 tokens a second for each.
            Hardware(name="api", slots=100_000, weights=0.020),
            # SmolLM2-135M on two CPU cores, fitted to measured throughput at 1 to 16 requests.
            Hardware(name="cpu-135m", slots=16, compute=0.037, overhead=0.160),
            # Llemma 34B (48 layers, 8 key-value heads of 128) on an A100 SXM of 80 GB: reading the
            # weights 33.1 ms, keys and values 0.099 ms a request, arithmetic 0.216 ms a token.
            # They would meet at 294 requests; 4.6 GB beside the weights hold 91.
            roofline(
                name="a100-34b",
                parameters=33.7e9,
                kv_bytes=2 * 48 * 8 * 128 * 2,
                bandwidth=2.039e12,
                flops=312e12,
                memory=80e9,
            ),
            # Llama 3.1 8B (32 layers, 8 key-value heads of 128) on an H100 SXM of 80 GB: reading
            # the weights 4.79 ms, keys and values 0.040 ms a request, arithmetic 0.016 ms a token,
            # so memory always decides. One request: 158 tokens/s, as SGLang publishes for it.
            roofline(
                name="h100-8b",
                parameters=8.03e9,
                kv_bytes=2 * 32 * 8 * 128 * 2,
                bandwidth=3.35e12,
                flops=989e12,
                memory=80e9,
            ),
        )
    }
)
"""The presets by name."""
