"""The program's process: runs the program, then does what the tests ask of it.

The program may do here what it likes: this process has no tests, and what it answers is data.
"""

import io
import operator
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from spex_agents.sandbox.judging.wire import Peer, Pipe

_NAMES = ["eq", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
_NAMES += ["neg", "pos", "abs", "getitem", "setitem", "contains"]
OPERATIONS: dict[str, Callable[..., Any]] = {name: getattr(operator, name) for name in _NAMES}
OPERATIONS |= {"iter": iter, "next": next, "len": len, "bool": bool, "str": str, "repr": repr}
OPERATIONS |= {"hash": hash, "isinstance": isinstance, "float": float, "int": int, "round": round}
OPERATIONS |= {"get": getattr, "set": setattr, "call": lambda what, *a, **n: what(*a, **n)}


class Theirs:
    """Something of the tests' that the program was given: a function, or an object of their own."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.__dict__["_peer"], self.__dict__["_number"] = peer, number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._peer.ask("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self, name, value)

    def __iter__(self) -> Any:
        return self._peer.ask("iter", self)

    def __next__(self) -> Any:
        return self._peer.ask("next", self)

    def __len__(self) -> Any:
        return self._peer.ask("len", self)

    def __bool__(self) -> bool:
        return bool(self._peer.ask("bool", self))

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("getitem", self, key)

    def __eq__(self, other: object) -> Any:
        return self is other or self._peer.ask("eq", self, other)

    def __lt__(self, other: object) -> Any:
        return self._peer.ask("lt", self, other)

    def __hash__(self) -> int:
        return int(self._number)


class Program(Peer):
    """Answers for the program."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(pipe, lambda peer, node: Theirs(peer, int(node[1])))
        self.names: dict[str, Any] = {"__name__": "program"}
        self._heard = sys.stdout = io.StringIO()

    def number_of(self, value: Any) -> int | None:
        return value.__dict__["_number"] if type(value) is Theirs else None

    def kind_of(self, value: Any) -> list[Any]:
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["error", value.__name__, self._base(value)]
        kind = "coroutine" if isinstance(value, types.CoroutineType) else "mine"
        name = value.__name__ if hasattr(value, "__name__") else type(value).__name__
        return [kind, str(name)]

    def perform(self, what: str, target: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        if what == "run":
            exec(compile(target, "program", "exec"), self.names)  # noqa: S102 (what it is for)
            return {name: value for name, value in self.names.items() if name[:2] != "__"}
        if what == "await":
            import asyncio  # noqa: PLC0415 (slow to load, and seldom needed)

            return asyncio.run(target)
        return OPERATIONS[what](target, *arguments, **named)

    def failed(self, error: BaseException) -> dict[str, Any]:
        kind = type(error)
        return {
            "error": kind.__name__,
            "number": self._numbers.get(id(kind)),
            "base": self._base(kind),
        }

    def printed(self) -> str:
        text = self._heard.getvalue() if self._heard is sys.stdout else ""
        self._heard = sys.stdout = io.StringIO()
        return text

    @staticmethod
    def _base(kind: type) -> str:
        return next(base.__name__ for base in kind.__mro__ if base.__module__ == "builtins")


def main() -> None:
    reads, writes = map(int, sys.argv[1:])
    sys.modules["program"] = types.ModuleType("program")
    Program(Pipe(reads, writes)).serve()


if __name__ == "__main__":
    try:
        main()
    finally:
        os._exit(0)
