"""LoRA adapters, merged into a copy of the model: llama.cpp's bindings for Python attach none.

Source: LoRA (Hu et al., 2021, arXiv 2106.09685). Files are those that llama.cpp's
`convert_lora_to_gguf.py` writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from gguf import (
    GGMLQuantizationType,
    GGUFReader,
    GGUFValueType,
    GGUFWriter,
    quant_shape_to_byte_shape,
)
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

from spex_agents.errors import SettingsError

_PLAIN = {GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16}
_EMBEDDING = "token_embd.weight"  # looked up by rows, so its pair is the other way round


def merged(model: Path, adapters: Mapping[Path, float]) -> Path:
    """A copy of the model with the adapters in its weights.

    A weight W becomes ``W + scale * alpha / rank * B @ A``, as plain numbers where it is such, else
    in 8 bits (Q8_0), for fewer would lose what is added. The others stay as they are. The copy is
    kept under ``$XDG_CACHE_HOME/spex-agents`` (``~/.cache``) and merged anew if a file changes.

    Args:
        model: A GGUF file.
        adapters: GGUF files, each with its scale.

    Raises:
        SettingsError: A file is no adapter that can be merged, or one of another model.
    """
    place = _place(model, adapters)
    if place.exists():
        return place
    source = GGUFReader(model)
    changes: dict[str, list[_Change]] = {}
    for path, scale in adapters.items():
        for change in _read(path, scale, architecture=_told(source, "general.architecture")):
            changes.setdefault(change.name, []).append(change)
    _check(source, changes)
    place.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: other processes may look for it.
    with NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as part:
        written = Path(part.name)
    try:
        _write(source, changes, written)
        written.replace(place)
    finally:
        written.unlink(missing_ok=True)
    return place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What an adapter adds to one weight: ``scale * up @ down``."""

    path: Path
    name: str
    up: NDArray[np.float32]
    down: NDArray[np.float32]
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.up.shape[:-1], self.down.shape[-1])

    def added(self) -> NDArray[np.float32]:
        return (self.up @ self.down) * np.float32(self.scale)


def _place(model: Path, adapters: Mapping[Path, float]) -> Path:
    told = []
    for path, scale in ((model, 1.0), *adapters.items()):
        found = path.stat()
        told.append(f"{path.resolve()} {found.st_size} {found.st_mtime_ns} {scale!r}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    digest = sha256("\n".join(told).encode()).hexdigest()[:16]
    return cache / "spex-agents" / f"{model.stem}-{digest}.gguf"


def _told(source: GGUFReader, key: str) -> Any:
    field = source.get_field(key)
    return None if field is None else field.contents()


def _read(path: Path, scale: float, *, architecture: str) -> Iterator[_Change]:
    try:
        adapter = GGUFReader(path)
    except (ValueError, OSError) as error:
        raise SettingsError(f"adapters={str(path)!r}: is no GGUF file: {error}") from error
    if (kind := _told(adapter, "adapter.type")) != "lora":
        raise SettingsError(
            f"adapters={str(path)!r}: must be a LoRA adapter (adapter.type 'lora', not {kind!r}), "
            "as llama.cpp's convert_lora_to_gguf.py writes it"
        )
    if (other := _told(adapter, "general.architecture")) != architecture:
        raise SettingsError(
            f"adapters={str(path)!r}: is for a model of {other}, and this one is of {architecture}"
        )
    if adapter.get_field("adapter.alora.invocation_tokens") is not None:
        raise SettingsError(
            f"adapters={str(path)!r}: acts from certain tokens on (aLoRA), which cannot be merged"
        )
    halves = {tensor.name: tensor for tensor in adapter.tensors}
    for name in sorted({name.removesuffix(".lora_a").removesuffix(".lora_b") for name in halves}):
        if not halves.keys() >= {f"{name}.lora_a", f"{name}.lora_b"}:
            raise SettingsError(f"adapters={str(path)!r}: {name} has no pair of lora_a and lora_b")
        down, up = (_numbers(halves[f"{name}.{half}"]) for half in ("lora_a", "lora_b"))
        rank = up.shape[-1]
        if name == _EMBEDDING:
            up, down = down, up.T
        if down.shape[-2] != up.shape[-1]:
            raise SettingsError(
                f"adapters={str(path)!r}: lora_a {down.shape} and lora_b {up.shape} of {name} do "
                "not go together"
            )
        alpha = _told(adapter, "adapter.lora.alpha") or rank
        yield _Change(path=path, name=name, up=up, down=down, scale=scale * alpha / rank)


def _numbers(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def _check(source: GGUFReader, changes: Mapping[str, list[_Change]]) -> None:
    shapes = {tensor.name: _shape(tensor) for tensor in source.tensors}
    for change in (each for several in changes.values() for each in several):
        if shapes.get(change.name) != change.shape:
            raise SettingsError(
                f"adapters={str(change.path)!r}: is for another model: {change.name} is of shape "
                f"{shapes.get(change.name)} in this one, and of {change.shape} in the adapter's"
            )


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in reversed(tensor.shape))


def _write(source: GGUFReader, changes: Mapping[str, list[_Change]], path: Path) -> None:
    writer = GGUFWriter(path, _told(source, "general.architecture"))
    writer.data_alignment = source.alignment
    for field in source.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # the writer's own
        of = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=of)
    for tensor in source.tensors:
        if tensor.name in changes:
            layout, kind = _laid_out(_shape(tensor), _kind(tensor)), _kind(tensor)
        else:
            data = tensor.data
            layout, kind = (data.shape, data.dtype, data.nbytes), tensor.tensor_type
        writer.add_tensor_info(tensor.name, *layout, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in source.tensors:  # one at a time: a model may be larger than the memory
        data = tensor.data
        if tensor.name in changes:
            weight = _numbers(tensor)
            for change in changes[tensor.name]:
                weight = weight + change.added()
            data = quantize(weight, _kind(tensor))
        writer.write_tensor_data(data)
    writer.close()


def _kind(tensor: Any) -> GGMLQuantizationType:
    """What a weight is written as that an adapter changes."""
    kind = tensor.tensor_type
    return kind if kind in _PLAIN else GGMLQuantizationType.Q8_0


def _laid_out(
    shape: tuple[int, ...], kind: GGMLQuantizationType
) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type of number and bytes, as a writer of GGUF wants them."""
    if kind == GGMLQuantizationType.F32:
        dtype: np.dtype[Any] = np.dtype(np.float32)
    elif kind == GGMLQuantizationType.F16:
        dtype = np.dtype(np.float16)
    else:
        shape, dtype = quant_shape_to_byte_shape(shape, kind), np.dtype(np.uint8)
    return shape, dtype, int(np.prod(shape)) * dtype.itemsize
