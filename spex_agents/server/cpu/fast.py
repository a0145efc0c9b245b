"""SGLang made faster on a CPU without AMX, by its own hooks; what it computes stays the same.

Attention runs over the whole batch at once, and over no query twice, instead of sequence by
sequence; linear layers keep their weights in the layout that oneDNN multiplies fastest, at the
price of a second copy. Sums are taken in another order: results differ by rounding.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from spex_agents.server.switch import is_on

logger = logging.getLogger(__name__)

PLUGIN = "spex-cpu"
"""Its name: of the entry point, and on the switch."""

PACKED_FOR = 8
"""Rows the layout of the weights is chosen for; it serves more and fewer well."""

_ATTENTION = "sglang.srt.layers.attention.torch_native_backend.TorchNativeAttnBackend"


def register() -> None:
    """Hook into this process; SGLang calls it through the entry point ``sglang.srt.plugins``."""
    if not is_on(PLUGIN):
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType  # noqa: PLC0415

    for target, hook in HOOKS.items():
        try:
            pkgutil.resolve_name(target)
        except (ImportError, AttributeError) as error:
            logger.warning("not faster: SGLang has no %s any more (%s)", target, error)
        else:
            HookRegistry.register(target, hook, HookType.AROUND)


def decode(original: Callable[..., Any], backend: Any, *args: Any, **kwargs: Any) -> Any:
    """One new token for each sequence, all in one attention over padded keys and values."""
    if not _is_plain(args, kwargs, tensors=8):
        return original(backend, *args, **kwargs)
    query, output, keys, values, table, rows, lengths, _ = args
    longest = int(lengths.max())
    slots = table[rows, :longest].long()
    seen = torch.arange(longest) < lengths.unsqueeze(1)
    slots.masked_fill_(~seen, 0)  # stay within what is warm
    sequences, heads, width = query.shape
    groups = keys.shape[1]
    found = scaled_dot_product_attention(
        query.view(sequences, groups, heads // groups, width),
        _gather(keys, slots, query.dtype),
        _gather(values, slots, query.dtype),
        attn_mask=seen[:, None, None, :],
        scale=kwargs.get("scaling"),
    )
    output.copy_(found.reshape(sequences, heads, -1))
    return output


def extend(original: Callable[..., Any], backend: Any, *args: Any, **kwargs: Any) -> Any:
    """New tokens of each sequence behind a prefix whose queries are not computed again."""
    if not _is_plain(args, kwargs, tensors=10) or not kwargs.get("causal"):
        return original(backend, *args, **kwargs)
    query, output, keys, values, table, rows, lengths, prefixes, news, _ = args
    begin = 0
    for row, length, prefix, new in zip(
        rows.tolist(), lengths.tolist(), prefixes.tolist(), news.tolist(), strict=True
    ):
        slots = table[row, :length].long().unsqueeze(0)
        # the last of the new tokens sees all, each one before it one less
        seen = torch.ones(new, length, dtype=torch.bool).tril(prefix) if prefix else None
        found = scaled_dot_product_attention(
            query[begin : begin + new].movedim(0, 1).unsqueeze(0),
            _gather(keys, slots, query.dtype),
            _gather(values, slots, query.dtype),
            attn_mask=seen,
            is_causal=seen is None,
            scale=kwargs.get("scaling"),
            enable_gqa=kwargs.get("enable_gqa", False),
        )
        output[begin : begin + new] = found.squeeze(0).movedim(1, 0)
        begin += new
    return output


def linear(
    original: Callable[..., Any], method: Any, layer: Any, x: torch.Tensor, bias: Any = None
) -> Any:
    """A linear layer without quantisation."""
    if not _can_pack(layer, x):
        return original(method, layer, x, bias)
    return _multiply(layer, x, bias)


def logits(
    original: Callable[..., Any],
    processor: Any,
    hidden: torch.Tensor,
    head: Any,
    embedding_bias: Any = None,
    **kwargs: Any,
) -> Any:
    """The output layer, whose weights may be those of the embedding."""
    plain = type(getattr(head, "quant_method", None)).__name__ in (
        "NoneType",
        "UnquantizedEmbeddingMethod",
    )
    if embedding_bias is not None or not plain or hasattr(head, "apply_lora"):
        return original(processor, hidden, head, embedding_bias, **kwargs)
    if not _can_pack(head, hidden):
        return original(processor, hidden, head, embedding_bias, **kwargs)
    return _multiply(head, hidden, None)


HOOKS: dict[str, Callable[..., Any]] = {
    f"{_ATTENTION}._run_sdpa_forward_decode": decode,
    f"{_ATTENTION}._run_sdpa_forward_extend": extend,
    "sglang.srt.layers.quantization.unquant.UnquantizedLinearMethod.apply": linear,
    "sglang.srt.layers.logits_processor.LogitsProcessor._compute_lm_head": logits,
}


def _is_plain(args: tuple[Any, ...], kwargs: dict[str, Any], *, tensors: int) -> bool:
    """Whether it is attention of a decoder to all before it, with as wide values as keys."""
    return (
        len(args) == tensors
        and args[-1] is None  # lengths of an encoder's inputs
        and not kwargs.get("is_cross_attn")
        and kwargs.get("sliding_window_size") is None
        and args[0].device.type == "cpu"
        and args[0].shape == args[1].shape
    )


def _gather(cache: torch.Tensor, slots: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is cached at `slots` (sequences, tokens), as (sequences, heads, tokens, width)."""
    found = cache.index_select(0, slots.view(-1)).view(*slots.shape, *cache.shape[1:])
    return found.to(dtype).transpose(1, 2)


def _can_pack(layer: Any, x: torch.Tensor) -> bool:
    weight = getattr(layer, "weight", None)
    return (
        isinstance(weight, torch.Tensor)
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.dim() == 2
        and torch.backends.mkldnn.is_available()
    )


def _multiply(layer: Any, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    weight = layer.weight
    state = (weight.data_ptr(), weight._version)  # an update of the weights changes it
    packed = getattr(layer, "spex_packed", None)
    if packed is None or packed[0] != state:
        layout = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), PACKED_FOR)
        packed = layer.spex_packed = (state, layout)
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed[1], bias, "none", [], "")
    return found
