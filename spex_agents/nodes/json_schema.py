"""Checks values against JSON schemas that anybody may have written, in bounded time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spex_agents.errors import SettingsError

MOST_REFERENCES = 2000
"""References that are followed for one value: some that lead to others, thirty at a time, would
take for ever."""


class _TooManyReferences(Exception):
    pass


def fits_schema(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """A function that tells whether a value fits a schema; what takes too long to tell does not.

    Raises:
        SettingsError: It is no JSON schema, or its references lead nowhere, to themselves, or to
            too many others.

    Example:
        >>> fits = fits_schema({"type": "object", "required": ["sum"]})
        >>> fits({"sum": 12}), fits({})
        (True, False)
    """
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 (a tenth of a second)
    from jsonschema.validators import extend, validator_for  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise SettingsError(f"answer_schema={dict(schema)!r}: {error.message}") from error
    left = 0

    def counted(follow: Any) -> Any:
        def following(*given: Any) -> Iterator[Any]:
            nonlocal left
            left -= 1
            if left < 0:
                raise _TooManyReferences
            yield from follow(*given) or ()

        return following

    known: Mapping[str, Any] = kind.VALIDATORS
    references = {name: counted(known[name]) for name in known if name.lower().endswith("ref")}
    validator = extend(kind, references)(schema)

    def fits(value: Any) -> bool:
        nonlocal left
        left = MOST_REFERENCES
        return bool(validator.is_valid(value))

    endless = (RecursionError, _TooManyReferences, Unresolvable)
    try:
        fits({})
    except endless as error:
        raise SettingsError(
            f"answer_schema={dict(schema)!r}: its references lead to nothing, to themselves, or to "
            "too many others"
        ) from error

    def checked(value: Any) -> bool:
        try:
            return fits(value)
        except (*endless, ArithmeticError):
            return False

    return checked
