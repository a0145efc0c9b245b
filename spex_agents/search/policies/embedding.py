"""Vectors of texts, in which texts that say the same lie close together."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from spex_agents.errors import PolicyError

if TYPE_CHECKING:
    import numpy as np

Embedder: TypeAlias = Callable[[Sequence[str]], Any]
"""Texts to vectors: n texts in, an array of shape (n, d) or the like out.

It must be pure: the vector of a text depends on nothing else, the texts beside it included. It is
called in a worker thread, by one at a time.
"""

KEPT = 4096
"""Vectors remembered, the last asked for."""


class Vectors:
    """An embedder's vectors, each asked for once while it is remembered."""

    def __init__(self, embed: Embedder) -> None:
        self._embed = embed
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        """The vector of each text; None for a blank one, which says nothing.

        Raises:
            PolicyError: The embedder failed, or gave something else than a vector for each text
                that has a direction.
        """
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text.strip() and text not in self._kept]
            vectors = dict(zip(new, self._ask(new), strict=True)) if new else {}
            for text in texts:
                if text in self._kept:
                    self._kept.move_to_end(text)
                    vectors[text] = self._kept[text]
            self._kept.update(vectors)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return [vectors.get(text) for text in texts]

    def _ask(self, texts: list[str]) -> np.ndarray:
        import numpy as np  # noqa: PLC0415 (optional)

        remedy = "mend it, or leave embed out for the model that comes with spex-agents[ets]"
        try:
            vectors = np.asarray(self._embed(texts), dtype=float)
        except Exception as error:
            raise PolicyError(f"embed failed on {len(texts)} texts: {error!r}; {remedy}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise PolicyError(
                f"embed gave an array of shape {vectors.shape} for {len(texts)} texts: must be "
                f"({len(texts)}, d), a vector for each; {remedy}"
            )
        for text, vector in zip(texts, vectors, strict=True):
            if not np.isfinite(vector).all() or not vector.any():
                raise PolicyError(
                    f"embed gave a vector of zeros, or one that is not finite, for {text!r}: it "
                    f"has no direction to compare; {remedy}"
                )
        return vectors


def missing(embed: Embedder | None) -> str | None:
    """A package that clustering texts lacks here, if one; None for `embed` is `static_vectors`."""
    needed = ("scipy",) if embed is not None else ("scipy", "wordllama")
    return next((package for package in needed if find_spec(package) is None), None)


def static_vectors(texts: Sequence[str]) -> np.ndarray:
    """Mean token vectors of WordLlama, a small static model that comes with its package."""
    import numpy as np  # noqa: PLC0415 (optional)

    model = _wordllama()
    # One at a time: padding must not touch what a vector is made of.
    return np.concatenate([model.embed([text]) for text in texts])


@cache
def _wordllama() -> Any:
    # The package sets up the root logger when it is imported, unless that has a handler.
    guard = logging.NullHandler()
    logging.getLogger().addHandler(guard)
    try:
        import wordllama  # noqa: PLC0415 (a second)
    finally:
        logging.getLogger().removeHandler(guard)
    # It looks for its tokenizer in a cache it would download to: the package's folder is one.
    home = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=home, disable_download=True)
