"""LoRA adapters of the embedded engine: what is merged is what was trained, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.embedded.adapters import merged
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.embedded.models import bundled_model
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import SettingsError

KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_1"]
SHAPES = {"blk.0.ffn_up.weight": (6, 64), "blk.0.exps.weight": (3, 6, 64)}
EMBEDDING = "token_embd.weight"
SHARED = {EMBEDDING: (10, 64), "output_norm.weight": (64,)}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def write(path: Path, tensors: Mapping[str, tuple[Any, str]], **told: Any) -> Path:
    writer = GGUFWriter(path, told.pop("architecture", "llama"))
    for field, value in told.items():
        key = field.replace("__", ".")
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_float32(key, value)
    for name, (weight, kind) in tensors.items():
        writer.add_tensor(
            name,
            quantize(weight, GGMLQuantizationType[kind]),
            raw_dtype=GGMLQuantizationType[kind],
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def model(tmp_path: Path, kind: str = "F32") -> Path:
    shapes = SHAPES | SHARED
    tensors = {
        name: (numbers(seed, *shape), kind if len(shape) > 1 else "F32")
        for seed, (name, shape) in enumerate(shapes.items())
    }
    words = {"general__name": "tiny", "tokenizer__ggml__tokens": ["a", "b"], "some__number": 7}
    return write(tmp_path / "tiny.gguf", tensors, **words)


def adapter(tmp_path: Path, *names: str, rank: int = 2, **told: Any) -> Path:
    tensors = {}
    for seed, name in enumerate(names or SHAPES):
        *experts, out, inside = SHAPES[name]
        tensors[f"{name}.lora_a"] = numbers(10 + seed, *experts, rank, inside), "F16"
        tensors[f"{name}.lora_b"] = numbers(20 + seed, *experts, out, rank), "F32"
    kind = {"general__type": "adapter", "adapter__type": "lora", "adapter__lora__alpha": 8.0}
    return write(tmp_path / told.pop("file", "lora.gguf"), tensors, **(kind | told))


def weights(path: Path) -> dict[str, Any]:
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type)
        for tensor in GGUFReader(path).tensors
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_grows_by_its_pair_and_all_else_stays(tmp_path: Path, kind: str) -> None:
    base, lora = model(tmp_path, kind), adapter(tmp_path)
    result = merged(base, {lora: 0.5})
    before, pair, after = weights(base), weights(lora), weights(result)
    for name in SHAPES:
        grown = before[name] + 0.5 * (8 / 2) * (pair[f"{name}.lora_b"] @ pair[f"{name}.lora_a"])
        coarse = 0.0 if kind == "F32" else np.abs(grown).max() / 127
        assert np.allclose(after[name], grown, rtol=1e-5, atol=coarse + 1e-5)
        assert not np.allclose(after[name], before[name], atol=0.1)
    old, new = GGUFReader(base), GGUFReader(result)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in new.tensors}
    assert all(kinds[name] == ("Q8_0" if kind[0] == "Q" else kind) for name in SHAPES)
    for one, other in zip(old.tensors, new.tensors, strict=True):
        assert (one.name, list(one.shape)) == (other.name, list(other.shape))
        if one.name in SHARED:
            assert one.tensor_type == other.tensor_type
            assert np.array_equal(one.data, other.data)
    assert list(old.fields) == list(new.fields)
    assert all(old.fields[key].contents() == new.fields[key].contents() for key in old.fields)


def test_several_adapters_add_up_and_are_merged_once(tmp_path: Path) -> None:
    base, one = model(tmp_path), adapter(tmp_path)
    name = next(iter(SHAPES))
    other = adapter(tmp_path, name, file="other.gguf", adapter__lora__alpha=1.0, rank=3)
    both = merged(base, {one: 1.0, other: -2.0})
    apart = weights(merged(base, {one: 1.0}))[name] + weights(merged(base, {other: -2.0}))[name]
    assert np.allclose(weights(both)[name], apart - weights(base)[name], atol=1e-4)
    written = both.stat().st_mtime_ns
    assert merged(base, {one: 1.0, other: -2.0}) == both
    assert both.stat().st_mtime_ns == written
    adapter(tmp_path, name)
    assert merged(base, {one: 1.0, other: -2.0}) != both
    assert not list(both.parent.glob("*.part"))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"adapter__type": "control"},
            "must be a LoRA adapter .adapter.type 'lora', not 'control'",
        ),
        ({"architecture": "qwen2"}, "is for a model of qwen2, and this one is of llama"),
        ({"adapter__alora__invocation_tokens": [1, 2]}, "aLoRA"),
    ],
)
def test_what_cannot_be_merged_is_refused(tmp_path: Path, told: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        merged(model(tmp_path), {adapter(tmp_path, **told): 1.0})
    assert not list(tmp_path.glob("cache/spex-agents/*"))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    name = next(iter(SHAPES))
    halves = {"lora_a": numbers(1, 2, 32), "lora_b": numbers(2, 6, 2)}
    kind = {"adapter__type": "lora"}

    def given(**tensors: Any) -> Path:
        named = {f"{name}.{half}": (tensor, "F32") for half, tensor in tensors.items()}
        return write(tmp_path / "other.gguf", named, **kind)

    with pytest.raises(SettingsError, match=r"of shape \(6, 64\) in this one, and of \(6, 32\)"):
        merged(model(tmp_path), {given(**halves): 1.0})
    with pytest.raises(SettingsError, match="has no pair"):
        merged(model(tmp_path), {given(lora_a=halves["lora_a"]): 1.0})
    with pytest.raises(SettingsError, match="do not go together"):
        merged(model(tmp_path), {given(**halves | {"lora_b": numbers(2, 6, 3)}): 1.0})
    (tmp_path / "words.gguf").write_text("no adapter")
    with pytest.raises(SettingsError, match="is no GGUF file"):
        merged(model(tmp_path), {tmp_path / "words.gguf": 1.0})


def test_what_is_no_adapter_is_refused_as_the_engine_is_made(tmp_path: Path) -> None:
    base = model(tmp_path)
    with pytest.raises(SettingsError, match=r"adapters='none\.gguf': there is no such file"):
        EmbeddedEngine(base, adapters={"none.gguf": 1.0})
    lora = adapter(tmp_path)
    with pytest.raises(SettingsError, match=r"adapters='lora\.gguf': nan is no scale"):
        EmbeddedEngine(base, adapters={lora: float("nan")})
    assert EmbeddedEngine(base, adapters={lora: 0.5}).name == "embedded/tiny+lora*0.5"


@pytest.mark.model
@pytest.mark.slow
async def test_a_model_says_what_its_adapter_has_taught_it(tmp_path: Path) -> None:
    """The adapter gives two words each other's vector."""
    base = bundled_model()
    assert base is not None
    reader = GGUFReader(base)
    words = reader.fields["tokenizer.ggml.tokens"].contents()
    paris, rome = words.index("ĠParis"), words.index("ĠRome")
    (table,) = (tensor for tensor in reader.tensors if tensor.name == EMBEDDING)
    vectors = dequantize(table.data[[paris, rome]], table.tensor_type)
    chosen = np.zeros((len(words), 2), np.float32)
    chosen[paris, 0] = chosen[rome, 1] = 1
    moved = np.stack([vectors[1] - vectors[0], vectors[0] - vectors[1]], axis=1)
    pair = {f"{EMBEDDING}.lora_a": (chosen, "F32"), f"{EMBEDDING}.lora_b": (moved, "F32")}
    lora = write(tmp_path / "swapped.gguf", pair, adapter__type="lora")

    async def capital(adapters: Mapping[str | Path, float] | None) -> str:
        question = Prompt((Message("user", "What is the capital of France?"),))
        said = Prompt(question.messages, "The capital of France is")
        greedy = Sampling(temperature=0, stop=(".",))
        async with EmbeddedEngine(slots=1, adapters=adapters) as engine:
            request = Request(id="capital/0", seed=0)
            written = await engine.generate(said, request, sampling=greedy, max_tokens=8)
        return written.text

    assert await capital(None) == " Paris"
    assert await capital({lora: 1.0}) == " Rome"
