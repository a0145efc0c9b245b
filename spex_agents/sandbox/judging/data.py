"""Values as data, between the tests and the program that they test.

Values of Python's own
types are copied, with what they share and with cycles, and what a call has changed of its arguments
is copied back. Anything else stays where it is and is spoken for by a number. Nothing that comes in
is executed, looked up by name, or compared by code of the other end.
"""

import collections
import sys
from collections.abc import Callable, Iterable
from typing import Any

MODULES = {"abc", "array", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses"}
MODULES |= {"datetime", "decimal", "enum", "fractions", "functools", "heapq", "itertools", "json"}
MODULES |= {"math", "numbers", "operator", "random", "re", "statistics", "string", "textwrap"}
MODULES |= {"time", "typing"}
"""Modules that the tests have because the program imports them: their own, not the program's."""

KINDS: dict[str, Any] = {
    "list": list,
    "dict": dict,
    "set": set,
    "bytearray": bytearray,
    "deque": collections.deque,
    "Counter": collections.Counter,
    "OrderedDict": collections.OrderedDict,
}
DICTS = ("dict", "Counter", "OrderedDict")
TEXTS = {
    "Decimal": ("decimal", str),
    "Fraction": ("fractions", str),
    "date": ("datetime", "isoformat"),
    "datetime": ("datetime", "isoformat"),
    "time": ("datetime", "isoformat"),
}
"""Types that have a text each: their modules, slow to load, and what makes the text."""


class Broken(Exception):
    """The other end has gone, or does not keep to the form."""


class Encoder:
    """Values to a table of nodes.

    Args:
        speak: The number of what cannot be copied, and what kind it is.
        known: Containers that the other end has: by identity, their nodes in its own table.
    """

    def __init__(
        self, speak: Callable[[Any], list[Any]], known: dict[int, int] | None = None
    ) -> None:
        self.nodes: list[list[Any]] = []
        self.objects: list[Any] = []
        self._speak = speak
        self._known = known or {}
        self._seen: dict[int, int] = {}

    def roots(self, values: Iterable[Any]) -> list[int]:
        places = [self._place(value) for value in values]
        self._fill()
        return places

    def content(self, container: Any) -> list[Any]:
        """What a container that is known holds now."""
        node = self._node(container)
        self._fill()
        return node

    def _fill(self) -> None:
        for index, node in enumerate(self.nodes):  # grows meanwhile
            if not node:
                self.nodes[index] = self._node(self.objects[index])

    def _place(self, value: Any) -> int:
        if (index := self._seen.get(id(value))) is None:
            self._seen[id(value)] = index = len(self.nodes)
            self.objects.append(value)  # lives on, so that its identity stays its own
            known = self._known.get(id(value))
            self.nodes.append([] if known is None else ["known", known])
        return index

    def _node(self, value: Any) -> list[Any]:  # noqa: PLR0912
        kind = type(value)
        if value is None or kind is bool:
            return ["value", value]
        if isinstance(value, str):
            return ["value", str.__str__(value)]
        if isinstance(value, int):
            return ["int", hex(int.__int__(value))]
        if isinstance(value, float):
            return ["float", float.__float__(value).hex()]
        if kind is complex:
            return ["complex", value.real.hex(), value.imag.hex()]
        if isinstance(value, bytes):
            return ["bytes", bytes.hex(value)]
        if isinstance(value, bytearray):
            return ["bytearray", bytearray.hex(value)]
        for name in ("Counter", "OrderedDict", "dict"):
            if isinstance(value, KINDS[name]):
                pairs = [[self._place(k), self._place(v)] for k, v in dict.items(value)]
                return [name, pairs]
        if isinstance(value, tuple):
            items = [self._place(item) for item in tuple.__iter__(value)]
            if fields := getattr(kind, "_fields", None):
                return ["named", kind.__name__, list(fields), items]
            return ["tuple", items]
        for name in ("list", "set", "deque"):
            if isinstance(value, KINDS[name]):
                return [name, [self._place(item) for item in KINDS[name].__iter__(value)]]
        if isinstance(value, frozenset):
            return ["frozenset", [self._place(item) for item in value]]
        if kind is range:
            return ["range", *(hex(part) for part in (value.start, value.stop, value.step))]
        if kind is slice:
            return ["slice", *(self._place(part) for part in (value.start, value.stop, value.step))]
        name = kind.__name__
        if name in TEXTS and kind is getattr(sys.modules.get(TEXTS[name][0]), name, None):
            make = TEXTS[name][1]
            return ["text", name, str(value) if make is str else value.isoformat()]
        if name == "timedelta" and kind.__module__ == "datetime":
            return ["timedelta", value.days, value.seconds, value.microseconds]
        if value is Ellipsis or value is NotImplemented:
            return ["constant", repr(value)]
        if kind is type(sys) and value.__name__ in MODULES:
            return ["module", value.__name__]
        if isinstance(value, type) and getattr(value, "__module__", "") in (*MODULES, "builtins"):
            return ["type", value.__module__, value.__qualname__]
        return self._speak(value)


class Decoder:
    """A table of nodes to values; the inverse.

    Args:
        nodes: The table.
        find: What a node stands for that is spoken for by a number.
        known: Containers of a table of ours, by their nodes in it.
    """

    def __init__(
        self,
        nodes: list[list[Any]],
        find: Callable[[list[Any]], Any],
        known: list[Any] | None = None,
    ) -> None:
        self._nodes = nodes
        self._find = find
        self._known = known or []
        self.objects: dict[int, Any] = {}
        self._open: list[tuple[Any, list[Any]]] = []

    def value(self, index: int) -> Any:
        found = self._get(index)
        self._fill()
        return found

    def update(self, container: Any, node: list[Any]) -> None:
        """Give a container of ours what the other end's copy of it holds now."""
        if type(container) is bytearray and node[0] == "bytearray":
            container[:] = bytes.fromhex(node[1])
        elif KINDS.get(node[0]) is type(container):
            items = [self._item(node[0], item) for item in node[1]]
            self._fill()
            container.clear()
            if node[0] in DICTS:
                dict.update(container, items)
            elif node[0] == "set":
                container.update(items)
            else:
                container.extend(items)
        else:
            raise Broken("the program changes a value's type")

    def _item(self, kind: str, item: Any) -> Any:
        if kind in DICTS:
            return self._get(item[0]), self._get(item[1])
        return self._get(item)

    def _fill(self) -> None:
        while self._open:
            container, node = self._open.pop()
            items = [self._item(node[0], item) for item in node[1]]
            if node[0] in DICTS:
                dict.update(container, items)
            elif node[0] == "set":
                container.update(items)
            else:
                container.extend(items)

    def _get(self, index: int) -> Any:
        if index not in self.objects:
            node = self._nodes[index]
            made = self._make(node)
            self.objects[index] = made
            if node[0] in KINDS and node[0] != "bytearray":
                self._open.append((made, node))
        return self.objects[index]

    def _make(self, node: list[Any]) -> Any:  # noqa: PLR0912
        tag, *rest = node
        if tag == "value":
            if rest[0] is None or isinstance(rest[0], str | bool):
                return rest[0]
        elif tag == "int":
            return int(rest[0], 16)
        elif tag == "float":
            return float.fromhex(rest[0])
        elif tag == "complex":
            return complex(float.fromhex(rest[0]), float.fromhex(rest[1]))
        elif tag in ("bytes", "bytearray"):
            return (bytes if tag == "bytes" else bytearray).fromhex(rest[0])
        elif tag in KINDS:
            return KINDS[tag]()
        elif tag in ("tuple", "frozenset"):
            return (tuple if tag == "tuple" else frozenset)(self._get(item) for item in rest[0])
        elif tag == "named":
            name, fields, items = rest
            return collections.namedtuple(name, fields)(*map(self._get, items))
        elif tag == "range":
            return range(*(int(part, 16) for part in rest))
        elif tag == "slice":
            return slice(*map(self._get, rest))
        elif tag == "text":
            made = getattr(__import__(TEXTS[rest[0]][0]), rest[0])
            return made(rest[1]) if TEXTS[rest[0]][1] is str else made.fromisoformat(rest[1])
        elif tag == "timedelta":
            return __import__("datetime").timedelta(*map(int, rest))
        elif tag == "constant":
            return {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}[rest[0]]
        elif tag == "module" and rest[0] in MODULES:
            return __import__(rest[0])
        elif tag == "type" and rest[0] in (*MODULES, "builtins"):
            found = getattr(__import__(rest[0]), rest[1])
            if isinstance(found, type) or rest[0] == "typing":
                return found
        elif tag == "known":
            return self._known[rest[0]]
        elif tag in ("mine", "yours", "error", "coroutine"):
            return self._find(node)
        raise Broken(f"the program answers with {tag!r}")


MUTABLE = tuple(KINDS.values())
