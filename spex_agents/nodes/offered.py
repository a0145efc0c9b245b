"""What an agent offers its model beside the conversation."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain.agents.structured_output import OutputToolBinding, ProviderStrategy, ToolStrategy

from spex_agents.engines.chat_requests import tools_of


def offered(request: ModelRequest[Any]) -> list[Any]:
    """The definitions of an agent's tools, and of its output's form, as its model is sent them."""
    form: Any = request.response_format
    keywords: dict[str, Any] = {"tools": list(request.tools)}
    if isinstance(form, ProviderStrategy):
        keywords |= form.to_model_kwargs()
    elif form is not None:  # any other becomes a tool, or is about as long
        specs = ToolStrategy(getattr(form, "schema", form)).schema_specs
        keywords["tools"] += [OutputToolBinding.from_schema_spec(spec).tool for spec in specs]
    return tools_of(keywords)
