"""Tools that a client offers: a search ends with a call of one of them, or with an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spex_agents.answers.equivalence import canonical
from spex_agents.answers.extract import extract_answer
from spex_agents.errors import SettingsError
from spex_agents.nodes.json_schema import fits_schema
from spex_agents.nodes.schema import objects_in
from spex_agents.server.gateway.errors import ApiError

MOST_TOOLS = 128
"""In a request, as OpenAI has it."""

MOST_PARTS = 1000
"""Objects and lists in a schema."""


_CALL = {"name", "arguments"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; `arguments` is JSON, as OpenAI has it."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Tools:
    """Functions that a search may end with a call of.

    A call is what the paths vote on, as answers are: one function with the same arguments is the
    same call. These must fit their schema, unless that refers to other places or has patterns.

    A model of text is told of them, and calls one by an object in its text. A chat model is offered
    them, and may call several at once; a text of its own is then no call.

    Attributes:
        functions: As OpenAI has them: `name`, `description`, `parameters`.
        required: Whether nothing but a call is an answer.
        offered: Whether a chat model is offered them (`spex_agents.engines.Offer`).

    Example:
        >>> tools = Tools(({"name": "add", "parameters": {"required": ["a"]}},), required=False)
        >>> found = tools.extract('So: {"name": "add", "arguments": {"a": 5}}')
        >>> tools.calls_in(found)
        (Call(name='add', arguments='{"a": 5}'),)
        >>> tools.extract("The answer is 12."), tools.extract('{"name": "add", "arguments": {}}')
        ('12', None)
    """

    functions: tuple[Mapping[str, Any], ...]
    required: bool
    offered: bool = False

    @cached_property
    def _schemas(self) -> Mapping[str, Any]:
        return {one["name"]: one.get("parameters") for one in self.functions}

    @cached_property
    def _checks(self) -> dict[str, Callable[[Any], bool]]:
        return {}

    def _fits(self, name: Any, arguments: Any) -> bool:
        if not isinstance(name, str) or name not in self._schemas:
            return False
        if name not in self._checks:  # of many tools, few are ever called
            self._checks[name] = _checker(self._schemas[name])
        return self._checks[name](arguments)

    @property
    def asks(self) -> str:
        """What the model is told."""
        told = "\n".join(json.dumps(function) for function in self.functions)
        form = '{"name": NAME, "arguments": {...}}'
        if self.required:
            how = f"End with a call of one of these tools, a JSON object {form}"
        else:
            how = f"If you need one of these tools, end with a call of it, a JSON object {form}"
        return f"{how}:\n{told}"

    def extract(self, text: str, *, cut: bool = False) -> str | None:
        """The last calls in a text; if there are none, and none is required, its answer."""
        found = None
        for value in objects_in(text):
            calls = value.get("tool_calls") if self.offered else [value]
            if isinstance(calls, list) and calls and all(map(self._is_call, calls)):
                told = [{name: call[name] for name in ("name", "arguments")} for call in calls]
                found = json.dumps({"tool_calls": told} if self.offered else told[0])
        if found is None and not self.required:
            return extract_answer(text, cut=cut)
        return found

    def _is_call(self, value: Any) -> bool:
        return isinstance(value, dict) and self._fits(value.get("name"), value.get("arguments"))

    def canonical(self, answer: str) -> str:
        """The form in which calls and answers are counted; calls, whatever order they are in."""
        if not (calls := self.calls_in(answer)):
            return canonical(answer)
        told = [
            json.dumps([call.name, json.loads(call.arguments)], sort_keys=True) for call in calls
        ]
        return json.dumps(sorted(told))

    def calls_in(self, answer: str | None) -> tuple[Call, ...]:
        """The calls that an answer is, if it is any."""
        try:
            told = json.loads(answer or "")
        except ValueError:
            return ()
        if not isinstance(told, dict):
            return ()
        calls = told["tool_calls"] if told.keys() == {"tool_calls"} else [told]
        if not isinstance(calls, list) or not calls:
            return ()
        if not all(isinstance(call, dict) and call.keys() == _CALL for call in calls):
            return ()
        names = [call["name"] for call in calls]
        if not all(isinstance(name, str) and name in self._schemas for name in names):
            return ()
        return tuple(Call(call["name"], json.dumps(call["arguments"])) for call in calls)


def functions_in(tools: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    """The functions among what a client offers; what else there is cannot be called here.

    In chat completions a function is a part of a tool; in responses, and in what Cursor sends, it
    is the tool itself.
    """
    known = [tool for tool in tools if isinstance(tool, dict) and tool.get("type") == "function"]
    found = [tool.get("function", tool) for tool in known]
    return tuple(
        {name: one[name] for name in ("name", "description", "parameters") if one.get(name)}
        for one in found
        if isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"]
    )


def check_schema(schema: Any, where: str) -> None:
    """Refuse a schema that would make its reader fetch something, or compute for long.

    Raises:
        ApiError: It does.
    """
    left = [schema]
    seen = 0
    while left:
        value = left.pop()
        if (seen := seen + 1) > MOST_PARTS:
            raise ApiError(400, f"{where}: the schema has over {MOST_PARTS} parts", param=where)
        if isinstance(value, dict):
            reference = value.get("$ref", value.get("$dynamicRef", "#"))
            if not (isinstance(reference, str) and reference.startswith("#")):
                raise ApiError(400, f"{where}: $ref must be within the schema: #/...", param=where)
            if isinstance(value.get("pattern"), str) or "patternProperties" in value:
                raise ApiError(
                    400, f"{where}: patterns are not matched here: leave them out", param=where
                )
            if "unevaluatedProperties" in value or "unevaluatedItems" in value:
                raise ApiError(
                    400, f"{where}: what is unevaluated is not told here: leave it out", param=where
                )
        parts = value.values() if isinstance(value, dict) else value
        left += [part for part in parts if isinstance(part, (dict, list))]


def _checker(schema: Any) -> Callable[[Any], bool]:
    """Whether arguments fit; where their schema cannot be checked, whether they are an object."""
    if isinstance(schema, dict):
        try:
            check_schema(schema, "parameters")
            fits = fits_schema(schema)
        except (ApiError, SettingsError):
            return _is_object
        return lambda value: isinstance(value, dict) and fits(value)
    return _is_object


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
