"""What ``spex gateway`` serves, and by how many processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.given import is_address
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.named import TAKEN, load_named, make_engine

if TYPE_CHECKING:
    from fastapi import FastAPI

    from spex_agents.engines.openai.settings import ServerSettings
    from spex_agents.named import AnyEngine
    from spex_agents.server.gateway.settings import Agent


def application(
    engines: Callable[[], Mapping[str, AnyEngine]], agents: list[str], *, alone: bool, **given: Any
) -> FastAPI:
    """The application, with the engines and agents of these names."""
    from spex_agents.server.gateway.app import create_gateway  # noqa: PLC0415 (half a second)

    made = engines()
    if not alone and any(isinstance(one, EmbeddedEngine) for one in made.values()):
        raise SettingsError(
            "workers: each would load the embedded model; serve it once, and give its address: "
            "--engine http://127.0.0.1:8080/v1"
        )
    return create_gateway(made, agents=_agents(agents), **given)


def serve(
    make_app: Callable[[], FastAPI], host: str, port: int, *, workers: int, log_prompts: bool
) -> None:
    """Serve in this process, or by so many others, until SIGTERM."""
    from spex_agents.server.gateway.logs import log_to_stderr  # noqa: PLC0415 (half a second)
    from spex_agents.server.gateway.serve import listen  # noqa: PLC0415
    from spex_agents.server.gateway.serve import serve as serve_alone  # noqa: PLC0415
    from spex_agents.server.gateway.workers import Workers  # noqa: PLC0415

    app = make_app() if workers == 1 else None
    log_to_stderr(prompts=log_prompts)
    listening = listen(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"

    def ready() -> None:
        print(address, flush=True)

    if app is not None:
        serve_alone(app, [listening], ready=ready)
    else:
        Workers(make_app, listening, number=workers, log_prompts=log_prompts).serve(ready=ready)


def is_of_this_machine(host: str) -> bool:
    """Whether nobody elsewhere can reach that address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _agents(given: list[str]) -> Mapping[str, Agent]:
    from spex_agents.server.gateway.settings import Agent  # noqa: PLC0415 (only for a gateway)

    agents: dict[str, Agent] = {}
    for one in given:
        name, equals, place = one.partition("=")
        if not equals or ":" not in place:
            raise SettingsError(f"agent={one!r}: must be NAME=MODULE:ATTRIBUTE")
        if not isinstance(found := load_named("agent", place), Agent):
            raise SettingsError(f"agent={one!r}: {place} must be an Agent, and is {found!r}")
        agents[name] = found
    return agents


def engines_of(
    given: list[str],
    model: str | None,
    api_key: str | None,
    *,
    speed: float,
    server: ServerSettings,
    patience: float,
) -> Mapping[str, AnyEngine]:
    """Engines by the names that are given before them."""
    if model is not None and len(given) > 1:
        raise SettingsError(f"model={model!r}: goes with one engine, and there are {len(given)}")
    engines: dict[str, AnyEngine] = {}
    served = any(is_address(one.rpartition("=")[2]) for one in given)
    for one in given:
        name, equals, address = one.partition("=")
        if not equals or "/" in name:
            name, address = "spex", one
        if name in engines:
            raise SettingsError(f"engine={one!r}: {name!r} is another's name; write NAME={address}")
        own = server if not served else server.among(TAKEN.get(address, ()))
        if is_address(address):
            own = replace(server, patience=patience)
        made = make_engine(address, model, api_key, server=own)
        if isinstance(made, SimulatedEngine):
            made = SimulatedEngine(hardware=made.hardware, speed=speed)
        engines[name] = made
    return engines
