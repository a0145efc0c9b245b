"""The gateway as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse

from spex_agents.engines.base import Engine
from spex_agents.errors import SettingsError
from spex_agents.server.gateway import access, chat, errors, responses, routes, texts
from spex_agents.server.gateway.access import OPERATOR, Gateway, Parts
from spex_agents.server.gateway.answering import SEARCH_ID
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import MEMORY, open_database
from spex_agents.server.gateway.guard import REQUEST_ID, Guard
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.keyring import Keyring
from spex_agents.server.gateway.offences import Offences
from spex_agents.server.gateway.readiness import Checks, Readiness
from spex_agents.server.gateway.searches import Searches
from spex_agents.server.gateway.settings import Agent
from spex_agents.server.gateway.watch import Watch

READY_SECONDS = 5.0

health = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str


@health.get("/healthz")
async def healthz() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@health.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(gateway: Gateway) -> JSONResponse:
    """Whether requests are worth sending: it stays, can save, and has an engine that answers."""
    found = await gateway.checks.readiness()
    return JSONResponse(found.model_dump(), 200 if found.status == "ok" else 503)


@health.get(
    "/metrics",
    response_class=PlainTextResponse,
    dependencies=[OPERATOR],
    responses={200: {"description": "For Prometheus."}, **access.errors(401, 403)},
)
async def metrics(gateway: Gateway) -> PlainTextResponse:
    """Requests, searches, tokens by key, speculation, and the engines: who answers, their load.

    With a key of its own kind, if there are keys: it names them all.
    """
    found = await gateway.checks.readiness()
    for name, engine in gateway.searches.catalogue.engines.items():
        if found.engines[name] != "ok":
            continue
        with suppress(Exception):  # it may end to answer just now
            async with asyncio.timeout(READY_SECONDS):
                gateway.searches.runs.metrics.load(name, await engine.load())
    return PlainTextResponse(gateway.searches.runs.metrics.page())


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The schema; FastAPI's own 422 is left out, for what is not valid is a 400 here."""
        if self.openapi_schema is None:
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    answer = operation["responses"].get("422", {})
                    if "HTTPValidationError" in str(answer):
                        del operation["responses"]["422"]
        return super().openapi()


def create_gateway(
    engines: Mapping[str, Engine],
    *,
    agents: Mapping[str, Agent] | None = None,
    require_keys: bool = False,
    database: str = MEMORY,
    hosting: Hosting | None = None,
) -> FastAPI:
    """Build the application; engines and database are opened with it and closed with it.

    Args:
        engines: By the names that models begin with: ``{"spex": engine}`` for ``spex/rebase-8``.
        agents: Graphs that answer in place of a plain search: ``{"coder": agent}`` for
            ``spex/coder``.
        require_keys: Whether requests need a key even if the database has none; else, as long as
            it has none, anybody may ask.
        database: A SQLite file, or a PostgreSQL URL; by default nothing outlives the process.
        hosting: Limits; None for the usual ones.

    Raises:
        SettingsError: There is no engine, or a name is not a word, or an agent has a policy's.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> app = create_gateway({"spex": SimulatedEngine()})
        >>> sorted(app.openapi()["paths"])[-1]
        '/v1/searches/{id}/view'
    """
    catalogue, hosting = Catalogue(engines, agents), hosting or Hosting()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:  # undone in reverse, engines last
            for engine in catalogue.engines.values():
                stack.push_async_callback(engine.aclose)
            try:
                opened = await stack.enter_async_context(open_database(database))
            except SettingsError as error:
                app.state.refused = error  # uvicorn tells its caller no more than that it failed
                raise
            known = await stack.enter_async_context(Keyring(opened, required=require_keys))
            searches = await stack.enter_async_context(Searches(catalogue, opened, hosting, known))
            checks = Checks(
                catalogue.engines,
                opened,
                lambda: searches.runs.leaving or searches.runs.draining,
                searches.runs.metrics,
            )
            app.state.parts = Parts(searches=searches, keys=known, hosting=hosting, checks=checks)
            await checks.ask_engines()  # one that is away is no reason not to start, but to be told
            yield

    app = _Application(
        title="spex gateway",
        version=version("spex-agents"),
        description="Tree-of-thought searches behind OpenAI's protocol.",
        lifespan=lifespan,
        docs_url=None,  # its page runs scripts of another site, at the place where keys are typed
        redoc_url=None,
    )
    app.state.hosting = hosting
    app.add_middleware(
        Guard,
        keys=lambda: app.state.parts.keys,
        open_paths=("/metrics",) if hosting.open_metrics else (),
        hosts=hosting.hosts,
        body_bytes=hosting.body_bytes,
        body_seconds=hosting.body_seconds,
        offences=Offences(hosting.refusals),
    )
    if hosting.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=hosting.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID, SEARCH_ID, "Retry-After"],
        )
    app.add_middleware(Watch, metrics=lambda: app.state.parts.searches.runs.metrics)
    errors.install(app)
    for router in (chat.router, texts.router, responses.router, routes.router, health):
        app.include_router(router)
    return app
