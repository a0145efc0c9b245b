"""Hooks of SGLang's sampler: rows whose request asked for a seed are drawn by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any


def give_seeds(info: Any, cls: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
    from sglang.srt.utils.common import is_pin_memory_available  # noqa: PLC0415

    from spex_agents.server.plugin.seeded import seeds_of  # noqa: PLC0415 (torch)

    if info.sampling_seed is None and batch.spec_algorithm.is_none():
        pin = is_pin_memory_available(info.device)
        info.sampling_seed = seeds_of(batch.reqs, info.device, pin=pin)
    return info


def merge(original: Callable[..., Any], info: Any, other: Any) -> Any:
    """SGLang joins seeds where both batches have them: one that has none gets rows without."""
    from spex_agents.server.plugin.seeded import no_seeds  # noqa: PLC0415 (torch)

    for one, beside in ((info, other), (other, info)):
        if one.sampling_seed is None and beside.sampling_seed is not None:
            one.sampling_seed = no_seeds(len(one), one.device)
    return original(info, other)


def merge_unseeded(original: Callable[..., Any], info: Any, other: Any) -> Any:
    """Without the feature: no row keeps a seed that others lack."""
    if info.sampling_seed is None or other.sampling_seed is None:
        info.sampling_seed = other.sampling_seed = None
    return original(info, other)


def draw(
    original: Callable[..., Any],
    sampler: Any,
    probs: Any,
    info: Any,
    positions: Any,
    *args: Any,
    **kwargs: Any,
) -> Any:
    from spex_agents.server.plugin.seeded import sample  # noqa: PLC0415 (torch)

    if sampler.enable_deterministic or info.sampling_seed is None:
        return original(sampler, probs, info, positions, *args, **kwargs)
    if info.sampling_mask_batch_indices is not None:  # its caller wants more than a token
        unseeded = replace(info, sampling_seed=None)
        return original(sampler, probs, unseeded, positions, *args, **kwargs)
    return sample(probs, info, positions), None


def draw_unseeded(
    original: Callable[..., Any], sampler: Any, probs: Any, info: Any, *args: Any, **kwargs: Any
) -> Any:
    """Without the feature: seeds that were given while it was on are no business of SGLang's."""
    if not sampler.enable_deterministic and info.sampling_seed is not None:
        info = replace(info, sampling_seed=None)
    return original(sampler, probs, info, *args, **kwargs)
