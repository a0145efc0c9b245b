"""Runs in the sandbox: a program, then its tests, one assertion at a time.

What it is given comes on standard input as JSON, and is read before the program begins; what it
found is its last line of output, after a secret that the program has not been told.
"""

import ast
import json
import sys
import types

MOST_SHOWN = 300  # characters of a value
MOST_FAILURES = 3


class Score:
    def __init__(self) -> None:
        self.passed = self.tried = 0
        self.failures: list[str] = []

    def fail(self, what: str) -> None:
        self.tried += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(what)

    def check(self, source: str, holds, value) -> None:  # type: ignore[no-untyped-def]
        """Stands in a test for ``assert``: what fails is noted, and the tests go on."""
        try:
            if holds():
                self.passed += 1
                self.tried += 1
                return
            said = f": it is {shown(value())}" if value is not None else ""
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


def judge(program: str, tests: str) -> dict[str, object]:
    """Run both; assertions that were never reached count as failed."""
    score = Score()
    tree = ast.parse(tests)
    checked = Checked("check assertion")  # no name that a program could have
    tree = checked.visit(tree)
    names: dict[str, object] = {"__name__": "program", checked.name: score.check}
    sys.modules["program"] = types.ModuleType("program")
    try:
        exec(compile(program, "program", "exec"), names)  # noqa: S102 (what the sandbox is for)
    except BaseException as error:
        score.failures.append(f"the program does not run: {told(error)}")
        return {"passed": 0, "total": max(1, checked.count), "failures": score.failures}
    for statement in tree.body:
        attempt(score, compile(ast.Module([statement], []), "tests", "exec"), names)
    for name, function in list(names.items()):
        if name.startswith("test") and isinstance(function, types.FunctionType):
            attempt(score, compile(f"{name}()", "tests", "eval"), names)
    total = max(1, checked.count, score.tried)
    return {"passed": score.passed, "total": total, "failures": score.failures}


def attempt(score: Score, code: types.CodeType, names: dict[str, object]) -> None:
    try:
        exec(code, names)  # noqa: S102 (as above)
    except BaseException as error:
        score.fail(told(error))


if __name__ == "__main__":
    given = json.load(sys.stdin)
    found = judge(given["program"], given["tests"])
    sys.__stdout__.write(f"\n{given['secret']}{json.dumps(found)}\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]
