"""The hooks for a CPU compute what SGLang computes."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

HEADS, GROUPS, WIDTH, SLOTS = 6, 2, 16, 200


@pytest.fixture
def backend() -> Any:
    module = pytest.importorskip("sglang.srt.layers.attention.torch_native_backend")
    return module.TorchNativeAttnBackend.__new__(module.TorchNativeAttnBackend)


def cached(lengths: list[int]) -> dict[str, Any]:
    """A cache with sequences scattered over it."""
    draw = torch.Generator().manual_seed(0)
    table = torch.zeros(len(lengths) + 2, 64, dtype=torch.int32)
    order = torch.randperm(SLOTS, generator=draw).to(torch.int32)
    rows = torch.arange(1, len(lengths) + 1)
    for row, length in zip(rows.tolist(), lengths, strict=True):
        table[row, :length], order = order[:length], order[length:]
    return {
        "keys": torch.randn(SLOTS, GROUPS, WIDTH, generator=draw),
        "values": torch.randn(SLOTS, GROUPS, WIDTH, generator=draw),
        "table": table,
        "rows": rows,
        "lengths": torch.tensor(lengths),
    }


@pytest.mark.parametrize("lengths", [[5], [9, 1, 30], [17, 17, 17, 17]])
def test_decoding_attends_as_before(backend: Any, lengths: list[int]) -> None:
    from spex_agents.server.cpu.fast import decode  # noqa: PLC0415 (needs torch)

    cache = cached(lengths)
    query = torch.randn(len(lengths), HEADS, WIDTH)
    before, after = torch.empty_like(query), torch.empty_like(query)
    arguments = (*cache.values(), None)
    settings = {"scaling": 0.3, "enable_gqa": True}
    original = type(backend)._run_sdpa_forward_decode
    original(backend, query, before, *arguments, **settings)
    decode(partial(pytest.fail, "not hooked"), backend, query, after, *arguments, **settings)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(
    ("prefixes", "news"), [([0], [7]), ([12], [1]), ([3, 0, 20], [5, 4, 11]), ([0, 0], [1, 2])]
)
def test_prefill_attends_as_before(backend: Any, prefixes: list[int], news: list[int]) -> None:
    from spex_agents.server.cpu.fast import extend  # noqa: PLC0415 (needs torch)

    cache = cached([prefix + new for prefix, new in zip(prefixes, news, strict=True)])
    query = torch.randn(sum(news), HEADS, WIDTH)
    before, after = torch.empty_like(query), torch.empty_like(query)
    arguments = (*cache.values(), torch.tensor(prefixes), torch.tensor(news), None)
    settings = {"scaling": 0.3, "enable_gqa": True, "causal": True}
    original = type(backend)._run_sdpa_forward_extend
    original(backend, query, before, *arguments, **settings)
    extend(partial(pytest.fail, "not hooked"), backend, query, after, *arguments, **settings)
    torch.testing.assert_close(after, before)


def test_what_is_not_plain_attention_is_left_to_sglang(backend: Any) -> None:
    from spex_agents.server.cpu.fast import decode  # noqa: PLC0415 (needs torch)

    def original(*_: Any, **__: Any) -> str:
        return "left alone"

    query = torch.randn(1, HEADS, WIDTH)
    arguments = (query, torch.empty_like(query), *cached([5]).values(), None)
    assert decode(original, backend, *arguments, sliding_window_size=4) == "left alone"
    assert decode(original, backend, *arguments, is_cross_attn=True) == "left alone"
    assert decode(original, backend, *arguments[:-1], torch.tensor([3])) == "left alone"


@pytest.mark.parametrize("bias", [None, torch.ones(24)])
def test_linear_layers_multiply_as_before_and_notice_new_weights(bias: Any) -> None:
    from spex_agents.server.cpu.fast import linear  # noqa: PLC0415 (needs torch)

    layer = SimpleNamespace(weight=torch.nn.Parameter(torch.randn(24, 16), requires_grad=False))
    x = torch.randn(3, 16)
    for _ in range(2):
        found = linear(partial(pytest.fail, "not hooked"), None, layer, x, bias)
        torch.testing.assert_close(found, torch.nn.functional.linear(x, layer.weight, bias))
        layer.weight.copy_(torch.randn(24, 16))
