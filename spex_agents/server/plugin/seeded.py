"""Seeded sampling: the same seed and prefix draw the same token, whatever else is in the batch.

The Gumbel-max trick with noise that is a hash of (seed, position, token id): plain tensor
arithmetic, so it runs on every backend, and rounding in the logits changes a token only where the
two best candidates all but tie. SGLang's own seeded sampler needs a GPU and deterministic kernels.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import torch

_GOLDEN = -7046029254386353131  # splitmix64's constants, as signed numbers
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685


def seeds_of(requests: list[Any], device: Any) -> torch.Tensor:
    """The seed of each request; one that has none gets one from its id.

    Not from a random generator: the ranks of a tensor-parallel group must agree.
    """
    seeds = []
    for request in requests:
        seed = request.sampling_params.sampling_seed
        if seed is None:
            digest = blake2b(str(request.rid).encode(), digest_size=8).digest()
            seed = int.from_bytes(digest, "big", signed=True)
        seeds.append(seed)
    return torch.tensor(seeds, dtype=torch.int64, device=device)


def gumbel(seeds: torch.Tensor, positions: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Gumbel noise, a pure function of its arguments.

    Args:
        seeds: One of each row.
        positions: Where in the sequence each row's token goes.
        tokens: Ids, (rows, candidates) or (candidates,).

    Returns:
        (rows, candidates), float64.
    """
    key = _mix(seeds + _GOLDEN * (positions.to(torch.int64) + 1))
    bits = _mix(key.unsqueeze(1) + _GOLDEN * (tokens.to(torch.int64) + 1))
    uniform = (_shift(bits, 11).to(torch.float64) + 0.5) * 2.0**-53
    return -torch.log(-torch.log(uniform))


def sample(probs: torch.Tensor, info: Any, positions: torch.Tensor) -> torch.Tensor:
    """Draw a token for each row, under the top-k, top-p and min-p of `info`.

    Args:
        probs: (rows, vocabulary), after temperature.
        info: SGLang's `SamplingBatchInfo`, with `sampling_seed` set.
        positions: Where in the sequence each row's token goes.

    Returns:
        Token ids, int32.
    """
    limit = info.max_top_k if info.need_top_k_sampling else None
    if limit is not None and limit < probs.shape[1]:
        values, tokens = torch.topk(probs, limit, dim=-1)
    elif info.need_top_k_sampling or info.need_top_p_sampling or info.need_min_p_sampling:
        values, tokens = probs.sort(dim=-1, descending=True)
    else:
        values, tokens = probs, torch.arange(probs.shape[1], device=probs.device)
    kept = torch.ones_like(values, dtype=torch.bool)
    if info.need_top_k_sampling:
        ranks = torch.arange(values.shape[1], device=probs.device)
        kept &= ranks < info.top_ks.unsqueeze(1)
    if info.need_top_p_sampling:
        kept &= values.cumsum(dim=-1) - values <= info.top_ps.unsqueeze(1)
    if info.need_min_p_sampling:
        kept &= values >= values[:, :1] * info.min_ps.unsqueeze(1)
    scores = torch.log(values.to(torch.float64)) + gumbel(info.sampling_seed, positions, tokens)
    best = scores.masked_fill(~kept, -torch.inf).argmax(dim=-1, keepdim=True)
    chosen = best if tokens.dim() == 1 else torch.gather(tokens, 1, best)
    return chosen.view(-1).to(torch.int32)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """The finaliser of splitmix64; overflow wraps."""
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right: torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
