"""Seeded sampling: the same seed and prefix draw the same token, whatever else is in the batch.

A race: each token's time is exponential with its probability as rate, and the first one wins (the
Gumbel-max trick without its logarithms). What is random in it is a hash of (seed, position, token
id): plain tensor arithmetic, so it runs on every backend, and rounding changes a token only where
the two first ones all but tie. SGLang's own seeded sampler needs deterministic kernels.

Top-k and top-p keep a token by what is strictly more probable than it: fewer than k tokens, and
no more than p of mass. So tokens of equal probability, which half-precision logits are full of, are
kept or dropped together, and the order in which a kernel sorts them does not matter.
"""

from __future__ import annotations

from typing import Any

import torch

NO_SEED = -(2**63)
"""The seed of a request that asked for none, in a batch where another did."""

TIES = 64
"""Candidates beyond the k most probable ones, so that those that tie with the last are there."""

BLOCK = 16
"""Tokens of which only the most probable one is compared, until it is known to matter."""

AT_ONCE = 1 << 22
"""Probabilities that one step works on where nothing bounds the candidates."""

_ONE = 0x3F800000  # 1.0, as the integer that has its bits

_GOLDEN = -7046029254386353131  # splitmix64's constants, as signed numbers
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685


def seeds_of(requests: list[Any], device: Any, *, pin: bool) -> torch.Tensor | None:
    """The seed of each request; None if nobody asked for one.

    Args:
        requests: SGLang's.
        device: Where the seeds go.
        pin: Whether to copy from pinned memory, so that nobody waits for the copy.
    """
    seeds = [request.sampling_params.sampling_seed for request in requests]
    if all(seed is None for seed in seeds):
        return None
    numbers = [NO_SEED if seed is None else max(seed, NO_SEED + 1) for seed in seeds]
    held = torch.tensor(numbers, dtype=torch.int64, pin_memory=pin)
    return held.to(device, non_blocking=True)


def no_seeds(rows: int, device: Any) -> torch.Tensor:
    """What `seeds_of` gives for rows of which none asked, beside others that did."""
    return torch.full((rows,), NO_SEED, dtype=torch.int64, device=device)


def sample(probs: torch.Tensor, info: Any, positions: torch.Tensor) -> torch.Tensor:
    """Draw a token for each row, under the top-k, top-p and min-p of `info`.

    Nothing here waits for the device. Where all rows bound their candidates by top-k, the work is
    on that many; elsewhere rows are taken some at a time.

    Args:
        probs: (rows, vocabulary), float32, after temperature.
        info: SGLang's `SamplingBatchInfo`, with `sampling_seed` set.
        positions: Where in the sequence each row's token goes.

    Returns:
        Token ids, int32.
    """
    seeds = info.sampling_seed
    # Ranks of a tensor-parallel group agree: SGLang seeds their generators alike.
    fresh = torch.randint(NO_SEED, 2**63 - 1, seeds.shape, device=seeds.device)
    seeds = torch.where(seeds == NO_SEED, fresh, seeds)
    keys = _mix(seeds + _GOLDEN * (positions.to(torch.int64) + 1))
    width = probs.shape[1]
    size = 2 * info.max_top_k + TIES if info.need_top_k_sampling and info.max_top_k else width
    if size < width:
        chosen = _bounded(probs, size, info, keys)
    else:
        step = max(1, AT_ONCE // width)
        parts = [
            _whole(probs[first : first + step], info, slice(first, first + step), keys)
            for first in range(0, len(probs), step)
        ]
        chosen = torch.cat(parts) if len(parts) > 1 else parts[0]
    if info.is_any_greedy:
        chosen = torch.where(info.top_ks <= 1, probs.argmax(dim=-1), chosen)
    return chosen.to(torch.int32)


def _bounded(probs: torch.Tensor, size: int, info: Any, keys: torch.Tensor) -> torch.Tensor:
    """The winners among the most probable `size` tokens of each row."""
    values, tokens = _likeliest(probs, size)
    above = torch.searchsorted(-values, -values)  # how many are strictly more probable
    kept = above < info.top_ks.unsqueeze(1)
    if info.need_top_p_sampling:
        mass = (values.cumsum(dim=-1) - values).gather(1, above)
        kept &= mass <= _bound(info.top_ps).unsqueeze(1)
    if info.need_min_p_sampling:
        kept &= values >= values[:, :1] * info.min_ps.unsqueeze(1)
    best = _winner(values, kept, keys, tokens)
    return tokens.gather(1, best.unsqueeze(1)).squeeze(1)


def _likeliest(probs: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`torch.topk`, without its walk over all of a wide row.

    A block that has one of the `size` largest values is among the `size` blocks of the largest
    maxima, and a maximum over all tokens costs little more than to read them.

    Example:
        >>> _likeliest(torch.tensor([[0.1, 0.6, 0.3]]), 2)[1].tolist()
        [[1, 2]]
    """
    width = probs.shape[1]
    blocks = width // BLOCK
    if blocks < 4 * size:
        every, where = torch.topk(probs, size, dim=-1)
        return every, where
    # A block's tokens are `blocks` apart: maxima are taken of rows of memory, not within them.
    first = torch.arange(0, blocks * BLOCK, blocks, device=probs.device)
    maxima = probs[:, : blocks * BLOCK].unflatten(1, (BLOCK, blocks)).amax(dim=1)
    chosen = torch.topk(maxima, size, dim=-1, sorted=False).indices
    tokens = (chosen.unsqueeze(1) + first.unsqueeze(1)).flatten(1)
    rest = torch.arange(blocks * BLOCK, width, device=probs.device)
    tokens = torch.cat([tokens, rest.expand(len(probs), -1)], dim=-1)
    values, found = torch.topk(probs.gather(1, tokens), size, dim=-1)
    return values, tokens.gather(1, found)


def _whole(probs: torch.Tensor, info: Any, rows: slice, keys: torch.Tensor) -> torch.Tensor:
    """The winners among all tokens; `rows` are those of `info` that `probs` has."""
    kept = None
    if info.need_top_k_sampling or info.need_top_p_sampling:
        least = _least(probs, info.top_ks[rows], _bound(info.top_ps[rows]))
        kept = probs >= least.unsqueeze(1)
    if info.need_min_p_sampling:
        likely = probs >= probs.amax(dim=-1, keepdim=True) * info.min_ps[rows].unsqueeze(1)
        kept = likely if kept is None else kept.logical_and_(likely)
    tokens = torch.arange(probs.shape[1], device=probs.device)
    return _winner(probs, kept, keys[rows], tokens)


def _bound(top_ps: torch.Tensor) -> torch.Tensor:
    """Top-p, and no bound where it is 1: sums of rounded numbers pass 1."""
    return top_ps.masked_fill(top_ps >= 1, torch.inf)


def _least(probs: torch.Tensor, top_ks: torch.Tensor, top_ps: torch.Tensor) -> torch.Tensor:
    """The smallest probability that each row keeps, by halving: no sort, and no copy.

    Probabilities are ordered as the integers that have their bits.
    """
    low = torch.zeros(len(probs), dtype=torch.int32, device=probs.device)
    high = torch.full_like(low, _ONE)
    for _ in range(_ONE.bit_length()):
        middle = (low + high) >> 1
        above = probs > middle.view(torch.float32).unsqueeze(1)
        mass = torch.where(above, probs, 0).sum(dim=-1)
        enough = (above.sum(dim=-1) < top_ks) & (mass <= top_ps)
        low, high = torch.where(enough, low, middle + 1), torch.where(enough, middle, high)
    return high.view(torch.float32)


def _winner(
    values: torch.Tensor, kept: torch.Tensor | None, keys: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Where the first token of each row's race is: the largest probability by its waiting time."""
    speed = _waiting(keys, tokens).reciprocal_().mul_(values)
    if kept is not None:
        speed.masked_fill_(~kept, -1)
    return speed.argmax(dim=-1)


def _waiting(keys: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Exponential times of mean 1, a pure function of their arguments.

    Short ones decide, and are exact: they come from a number near 0, not near 1.

    Args:
        keys: One of each row.
        tokens: Ids, (rows, candidates) or (candidates,).

    Returns:
        (rows, candidates), float32.
    """
    bits = _mix(keys.unsqueeze(1) + _GOLDEN * (tokens.to(torch.int64) + 1))
    uniform = _shift(bits.bitwise_not_(), 11).to(torch.float32).add_(0.5).mul_(2.0**-53)
    return uniform.clamp_(max=1 - 2.0**-24).neg_().log1p_().neg_()


def _mix(x: torch.Tensor) -> torch.Tensor:
    """The finaliser of splitmix64, in place; overflow wraps."""
    x.bitwise_xor_(_shift(x, 30)).mul_(_FIRST)
    x.bitwise_xor_(_shift(x, 27)).mul_(_SECOND)
    return x.bitwise_xor_(_shift(x, 31))


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right: torch's own keeps the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)
