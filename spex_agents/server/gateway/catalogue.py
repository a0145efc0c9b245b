"""Model names: which engine and which policy a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from spex_agents.engines.base import Engine
from spex_agents.errors import SettingsError
from spex_agents.search.registry import POLICIES, sizes
from spex_agents.server.gateway.errors import ApiError

DEFAULT = "spex"
"""The name of a gateway's engine where none is given."""

_ENGINE = re.compile(r"[\w.-]+")
_MODEL = re.compile(r"(?P<engine>[\w.-]+)/(?P<policy>[a-z-]+?)(?:-(?P<size>[1-9]\d{0,5}))?")


@dataclass(frozen=True, slots=True)
class Model:
    """What a model name stands for: `size` is one of the policy's, by its name, or nothing."""

    engine: Engine
    policy: str
    size: Mapping[str, int]


class Catalogue:
    """The models of a gateway: ``ENGINE/POLICY-SIZE``, any size, or none for the policy's own.

    The size is the number of rollouts of a policy that has some, else its width.

    Args:
        engines: By the names that models begin with.

    Raises:
        SettingsError: There is no engine, or a name is not a word.

    Example:
        >>> from spex_agents.engines.simulated import SimulatedEngine
        >>> models = Catalogue({"spex": SimulatedEngine()})
        >>> models.names()[0], dict(models.find("spex/rstar-10").size)
        ('spex/rebase-16', {'rollouts': 10})
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        if not engines:
            raise SettingsError("engines={}: give at least one")
        for name in engines:
            if not _ENGINE.fullmatch(name):
                raise SettingsError(
                    f"engine {name!r}: a name has letters, digits, and . - _ only: spex"
                )
        self.engines = dict(engines)

    def names(self) -> list[str]:
        """All engines and policies, each of the policy's own size."""
        return [
            f"{engine}/{policy}-{sizes(policy)[_size_of(policy)]}"
            for engine in self.engines
            for policy in POLICIES
        ]

    def find(self, name: str) -> Model:
        """What `name` stands for.

        Raises:
            ApiError: Nothing; 404, as OpenAI has it.
        """
        if (
            (found := _MODEL.fullmatch(name)) is None
            or found["engine"] not in self.engines
            or found["policy"] not in POLICIES
        ):
            raise ApiError(
                404,
                f"model={name!r}: must be ENGINE/POLICY-SIZE, with an engine among "
                f"{', '.join(self.engines)} and a policy among {', '.join(POLICIES)}; "
                f"for example {self.names()[0]}",
                param="model",
                code="model_not_found",
            )
        policy = found["policy"]
        size = {_size_of(policy): int(found["size"])} if found["size"] else {}
        return Model(self.engines[found["engine"]], policy, size)


def _size_of(policy: str) -> str:
    return "rollouts" if "rollouts" in sizes(policy) else "width"
