"""The tests' process: runs them one assertion at a time, and asks the program by a pipe.

It starts the program in a process of its own, which has neither the tests nor a way to this one:
no memory, file or output in common. What a program answers is data, and what is not data is never
compared by the program's own code with what a test expects.
"""

import ast
import builtins
import io
import json
import os
import signal
import subprocess
import sys
import types
from typing import Any

from spex_agents.sandbox.judging.data import MODULES, Broken
from spex_agents.sandbox.judging.wire import Peer, Pipe

MOST_SHOWN = 300  # characters of a value
MOST_FAILURES = 3


class Theirs:
    """Something of the program's: a function, a class, or an object of one."""

    def __init__(self, peer: "Tests", number: int, name: str) -> None:
        self.__dict__.update(_peer=peer, _number=number, _name=name)

    def __repr__(self) -> str:
        return f"<{self._name} of the program>"

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._peer.ask("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name in ("__name__", "__qualname__"):
            return self._name
        return self._peer.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self, name, value)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, Theirs) and bool(self._peer.ask("isinstance", value, self))

    def __eq__(self, other: object) -> Any:
        return isinstance(other, Theirs) and self._peer.ask("eq", self, other)

    def __hash__(self) -> int:
        return int(self._peer.ask("hash", self))

    def __iter__(self) -> Any:
        return self._peer.ask("iter", self)

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("setitem", self, key, value)

    def __contains__(self, item: Any) -> bool:
        if isinstance(item, Theirs):
            return bool(self._peer.ask("contains", self, item))
        return any(one == item for one in self)


def _asks(name: str, *, of_its_own: bool) -> Any:
    def method(self: Theirs, *arguments: Any) -> Any:
        if of_its_own and not isinstance(arguments[0], Theirs):
            return NotImplemented
        return self._peer.ask(name, self, *arguments)

    return method


for _name in ("next", "len", "bool", "str", "float", "int", "round", "neg", "pos", "abs"):
    setattr(Theirs, f"__{_name}__", _asks(_name, of_its_own=False))
for _name in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Theirs, f"__{_name}__", _asks(_name, of_its_own=True))


class Tests(Peer):
    """Asks for the tests.

    Args:
        pipe: To the program.
        functions: Names that the program may have although the language has them too.
    """

    def __init__(self, pipe: Pipe, functions: list[str]) -> None:
        super().__init__(pipe, Tests.stand_in)
        self._functions = functions
        self._errors: dict[int, type[Exception]] = {}
        self.names: dict[str, Any] = {"__name__": "tests"}

    def run(self, program: str) -> None:
        """Have the program run, and take the names that it has defined.

        A name that the language has is the language's own, unless it is what is tested; and a
        module is the one that it is called by. A program cannot put others in their place.
        """
        for name, value in self.ask("run", program).items():
            if name in MODULES:
                self.names[name] = __import__(name)
            elif name in self._functions or not hasattr(builtins, name):
                self.names[name] = value

    @staticmethod
    def stand_in(peer: Any, node: list[Any]) -> Any:
        kind, number, name, *rest = node
        number, name = int(number), str(name)
        if kind == "error":
            return peer.error(number, name, str(rest[0]))
        theirs = Theirs(peer, number, name)
        if kind != "coroutine":
            return theirs

        async def awaited() -> Any:
            return peer.ask("await", theirs)

        return awaited()

    def error(self, number: int | None, name: str, base: str) -> type[Exception]:
        found = getattr(builtins, base, Exception)
        if not (isinstance(found, type) and issubclass(found, Exception)):
            found = Exception
        if number is None:
            return found if name == base else type(name, (found,), {})
        return self._errors.setdefault(number, type(name, (found,), {"_number": number}))

    def number_of(self, value: Any) -> int | None:
        if type(value) is Theirs:
            return int(value._number)
        if isinstance(value, type) and value in self._errors.values():
            return int(value._number)  # type: ignore[attr-defined]
        return None

    def perform(self, what: str, target: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        """What the program asks of what it was given: calls, and what the tests' objects have."""
        if what == "call" and not isinstance(target, str | type) and callable(target):
            return target(*arguments, **named)
        own = type(target).__module__ == "tests"
        if what in ("get", "set") and own and str(arguments[0])[0] != "_":
            return (getattr if what == "get" else setattr)(target, *arguments)
        asked: dict[str, Any] = {"iter": iter, "next": next, "len": len, "bool": bool}
        if what in asked:
            return asked[what](target)
        if what in ("getitem", "eq", "lt") and own:
            return getattr(type(target), f"__{what}__")(target, *arguments)
        raise TypeError(f"the tests do not let the program {what} this")

    def failed(self, error: BaseException) -> dict[str, Any]:
        kind = type(error)
        base = next(base.__name__ for base in kind.__mro__ if base.__module__ == "builtins")
        return {"error": kind.__name__, "number": None, "base": base}

    def raised(self, message: dict[str, Any]) -> BaseException:
        number = message["number"]
        kind = self.error(
            int(number) if number is not None else None, str(message["error"]), str(message["base"])
        )
        return kind(*message["arguments"])


class Score:
    def __init__(self) -> None:
        self.passed = self.tried = 0
        self.failures: list[str] = []

    def fail(self, what: str) -> None:
        self.tried += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(what)

    def check(self, source: str, holds: Any, value: Any) -> None:
        """Stands in a test for ``assert``: what fails is noted, and the tests go on."""
        try:
            if holds():
                self.passed += 1
                self.tried += 1
                return
            said = f": it is {shown(value())}" if value is not None else ""
        except Broken:
            raise
        except BaseException as error:
            said = f": {told(error)}"
        self.fail(f"{source} fails{said}")


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:MOST_SHOWN].rstrip(": ")


class Checked(ast.NodeTransformer):
    """Turns ``assert x == y`` into ``check("assert x == y", lambda: x == y, lambda: x)``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.count += 1
        value = node.test.left if isinstance(node.test, ast.Compare) else node.test
        calls = isinstance(value, ast.Call)
        call = ast.Call(
            func=ast.Name(id=self.name, ctx=ast.Load()),
            args=[
                ast.Constant(value=ast.unparse(ast.Assert(test=node.test))[:MOST_SHOWN]),
                _lambda(node.test),
                _lambda(value) if calls else ast.Constant(value=None),
            ],
            keywords=[],
        )
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(value=call), node))


def _lambda(body: ast.expr) -> ast.Lambda:
    none = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(args=none, body=body)


def judge(tests: str, program: str, peer: Tests) -> dict[str, Any]:
    """Run the tests; assertions that were never reached count as failed."""
    score, checked = Score(), Checked("check assertion")  # no name that a program could have
    tree = checked.visit(ast.parse(tests))
    names = peer.names
    sys.modules["tests"] = types.ModuleType("tests")
    try:
        try:
            peer.run(program)
        except Exception as error:
            score.failures.append(f"the program does not run: {told(error)}")
        else:
            names[checked.name] = score.check
            for statement in tree.body:
                _attempt(score, compile(ast.Module([statement], []), "tests", "exec"), names)
            for name, function in list(names.items()):
                if name.startswith("test") and isinstance(function, types.FunctionType):
                    _attempt(score, compile(f"{name}()", "tests", "eval"), names)
    except Broken as error:
        score.failures.append(str(error))
    total = max(checked.count, score.tried)
    if total == 0:  # no assertion: passed if all ran
        score.passed, total = int(not score.failures), 1
    return {"passed": score.passed, "total": total, "failures": score.failures}


def _attempt(score: Score, code: types.CodeType, names: dict[str, Any]) -> None:
    try:
        exec(code, names)  # noqa: S102 (as above)
    except Broken:
        raise
    except BaseException as error:
        score.fail(told(error))


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    given = json.load(sys.stdin)
    reads, answers = os.pipe()
    asked, writes = os.pipe()
    ends = [str(asked), str(answers)]
    command = [sys.executable, "-I", "-S", "-B", *sys.argv[1:], *ends]
    quiet = subprocess.DEVNULL
    program = subprocess.Popen(  # noqa: S603 (what the sandbox is for)
        command, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=[asked, answers]
    )
    os.close(asked)
    os.close(answers)
    report, sys.stdout = sys.stdout, io.StringIO()
    peer = Tests(Pipe(reads, writes), given["functions"])
    found = judge(given["tests"], given["program"], peer)
    program.kill()
    if program.wait() == -signal.SIGXCPU:  # its limit was reached: told as this process's own
        os.kill(os.getpid(), signal.SIGXCPU)
    report.write(json.dumps(found))
    report.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
