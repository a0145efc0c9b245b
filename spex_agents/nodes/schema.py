"""Answers of a given form: found as JSON, checked against a schema, voted on field by field."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from spex_agents.answers.votes import Ballot, Vote, elect
from spex_agents.errors import SettingsError
from spex_agents.nodes.json_schema import fits_schema
from spex_agents.nodes.settings import SearchSettings
from spex_agents.search.tree import Path

logger = logging.getLogger(__name__)


class AnswerSchema:
    """The form of an answer.

    Args:
        schema: A Pydantic model, a dataclass, a TypedDict, or a JSON schema of an object.

    Raises:
        SettingsError: It is none of these, or no schema of an object.

    Example:
        >>> schema = AnswerSchema({"type": "object", "properties": {"sum": {"type": "integer"}}})
        >>> schema.extract('It is this: {"sum": 12}')
        '{"sum": 12}'
    """

    def __init__(self, schema: Any) -> None:
        self.schema, self._check = _json_schema(schema), _checker(schema)
        if self.schema.get("type") != "object":
            raise SettingsError(f"answer_schema={schema!r}: must describe an object with fields")

    @property
    def asks(self) -> str:
        """What the model is told."""
        return f"End with a JSON object that fits this JSON schema: {json.dumps(self.schema)}"

    def extract(self, text: str) -> str | None:
        """The last object in a text that fits, in canonical form."""
        found = None
        for value in objects_in(text):
            if (fitting := self._check(value)) is not None:
                found = _canonical(fitting)
        return found

    def elect(self, ballots: Sequence[Ballot], vote: Vote) -> tuple[dict[str, Any], Path] | None:
        """The object of the values that win field by field, and the leaf that is most like it.

        Where these values do not fit together, the object that wins as a whole.
        """
        objects = [json.loads(ballot.answer) for ballot in ballots]
        if not objects:
            logger.warning(
                "no answer: no path ends with an object that fits answer_schema=; say in the "
                "template or the question how the model shall end, or let paths be longer"
            )
            return None
        merged: dict[str, Any] = {}
        for name in dict.fromkeys(name for value in objects for name in value):
            votes = [
                replace(ballot, answer=_canonical(value[name]) if name in value else "")
                for ballot, value in zip(ballots, objects, strict=True)
            ]
            if elected := elect(votes, vote):
                merged[name] = json.loads(elected)
        answer = self._check(merged)
        if answer is None:
            answer = json.loads(elect(ballots, vote) or "{}")

        def likeness(index: int) -> tuple[int, float]:
            same = sum(objects[index].get(name) == value for name, value in answer.items())
            return same, ballots[index].reward

        best = max(range(len(ballots)), key=likeness)
        return answer, ballots[best].path


def schema_settings(settings: SearchSettings, schema: AnswerSchema) -> SearchSettings:
    """`settings` of a search whose answers have the form of `schema`.

    Raises:
        SettingsError: They say otherwise how answers are found.
    """
    if clash := [name for name in ("extract", "canonical", "free_text") if name in settings]:
        raise SettingsError(f"answer_schema=, {clash[0]}=: the schema says both; leave one out")
    own: SearchSettings = {"extract": schema.extract, "canonical": str, "free_text": False}
    return {"termination": None, **settings, **own}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def objects_in(text: str) -> Iterator[Any]:
    """The JSON objects in a text, outermost ones, in order."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            end = at + 1
        else:
            yield value
        at = text.find("{", end)


def _json_schema(schema: Any) -> dict[str, Any]:
    if isinstance(schema, Mapping):
        return dict(schema)
    try:
        return TypeAdapter(schema).json_schema()
    except Exception as error:
        raise SettingsError(
            f"answer_schema={schema!r}: must be a Pydantic model, a dataclass, a TypedDict or a "
            f"JSON schema: {error}"
        ) from error


def _checker(schema: Any) -> Callable[[Any], dict[str, Any] | None]:
    """Checks a JSON value: what it is as an object of the schema, or None."""
    if isinstance(schema, Mapping):
        fits = fits_schema(schema)
        return lambda value: value if fits(value) else None
    adapter = TypeAdapter(schema)

    def check(value: Any) -> dict[str, Any] | None:
        try:
            found = adapter.validate_python(value)
        except ValidationError:
            return None
        dumped: dict[str, Any] = adapter.dump_python(found, mode="json")
        return dumped

    return check
