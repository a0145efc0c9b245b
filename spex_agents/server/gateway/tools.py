"""Tools that a client offers: a search ends with a call of one of them, or with an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

from spex_agents.answers.equivalence import canonical
from spex_agents.answers.extract import extract_answer
from spex_agents.nodes.schema import objects_in
from spex_agents.server.gateway.errors import ApiError

_NOT_MATCHED = "patterns are not matched here: leave them out"


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

    Attributes:
        functions: As OpenAI has them: `name`, `description`, `parameters`.
        required: Whether nothing but a call is an answer.

    Example:
        >>> tools = Tools(({"name": "add", "parameters": {"required": ["a"]}},), required=False)
        >>> found = tools.extract('So: {"name": "add", "arguments": {"a": 5}}')
        >>> tools.call_in(found)
        Call(name='add', arguments='{"a": 5}')
        >>> tools.extract("The answer is 12."), tools.extract('{"name": "add", "arguments": {}}')
        ('12', None)
    """

    functions: tuple[Mapping[str, Any], ...]
    required: bool

    @cached_property
    def _checks(self) -> Mapping[str, Callable[[Any], bool]]:
        return {one["name"]: _checker(one.get("parameters")) for one in self.functions}

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
        """The last call in a text; if there is none, and none is required, its answer."""
        found = None
        for value in objects_in(text):
            name, arguments = value.get("name"), value.get("arguments")
            if isinstance(name, str) and (fits := self._checks.get(name)) and fits(arguments):
                found = json.dumps({"name": name, "arguments": arguments}, sort_keys=True)
        if found is None and not self.required:
            return extract_answer(text, cut=cut)
        return found

    def canonical(self, answer: str) -> str:
        """The form in which calls and answers are counted."""
        return canonical(answer) if self.call_in(answer) is None else answer

    def call_in(self, answer: str | None) -> Call | None:
        """The call that an answer is, if it is one."""
        try:
            called = json.loads(answer or "")
        except ValueError:
            return None
        if not isinstance(called, dict) or called.keys() != {"name", "arguments"}:
            return None
        if called["name"] not in [function["name"] for function in self.functions]:
            return None
        return Call(called["name"], json.dumps(called["arguments"]))


def functions_in(tools: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    """The functions among what a client offers; what else there is cannot be called here."""
    found = [tool.get("function") for tool in tools if isinstance(tool, dict)]
    return tuple(
        {name: one[name] for name in ("name", "description", "parameters") if one.get(name)}
        for one in found
        if isinstance(one, dict) and isinstance(one.get("name"), str) and one["name"]
    )


def check_schema(schema: Any, where: str) -> None:
    """Refuse a schema that would make its reader fetch something, or compute for ever.

    Raises:
        ApiError: It does.
    """
    for value in [schema, *schema.values()] if isinstance(schema, dict) else schema:
        if isinstance(value, dict):
            reference = value.get("$ref", value.get("$dynamicRef", "#"))
            if not (isinstance(reference, str) and reference.startswith("#")):
                raise ApiError(400, f"{where}: $ref must be within the schema: #/...", param=where)
            if isinstance(value.get("pattern"), str) or "patternProperties" in value:
                raise ApiError(400, f"{where}: {_NOT_MATCHED}", param=where)
        if isinstance(value, (dict, list)) and value is not schema:
            check_schema(value, where)


def _checker(schema: Any) -> Callable[[Any], bool]:
    if not isinstance(schema, dict):
        return _is_object
    kind = validator_for(schema)
    try:
        check_schema(schema, "parameters")
        kind.check_schema(schema)
    except (ApiError, SchemaError):
        return _is_object
    validator = kind(schema)

    def fits(value: Any) -> bool:
        try:
            return isinstance(value, dict) and validator.is_valid(value)
        except Exception:  # a reference to nothing, or to itself
            return False

    return fits


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
