r"""Formulas, in LaTeX or as on a calculator, as sympy's expressions: all of a text or nothing.

A recursive descent over tokens, so that each sign binds as people read it: `2^3^2` is 512, `1/2 x`
half of x, `1/xy` one over xy, and of `\cos 60^\circ` the angle is in degrees. What is not known,
such as an arrow, is no formula; a reader that skips it would take `5+` for 5.
"""

from __future__ import annotations

from functools import partial

import sympy

from spex_agents.answers.vocabulary import (
    ANGLES,
    CONSTANTS,
    FUNCTIONS,
    GREEK,
    INVERSE,
    MARKS,
    SEVERAL,
    NotRead,
    logarithm,
    tokens,
)

_DIVIDED, _TIMES = ("/", "\\div"), ("*", "\\cdot", "\\times")
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}
_GROWING = frozenset("fghFGH")


def formula(text: str) -> sympy.Expr:
    r"""The expression that a text is, evaluated no further than sympy does by itself.

    Raises:
        NotRead: It is none, or something in it is not known.

    Example:
        >>> formula("2^3^2").doit(), formula("1/2 x"), formula(r"\cos 60^\circ")
        (512, x/2, 1/2)
    """
    return _Formula(text).whole()


class _Formula:
    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0
        self._angle = (
            False  # whether an angle is wanted, so that degrees are told from plain numbers
        )
        self._vectors = any(value in ("vec", "overrightarrow") for _, value in self._tokens)
        self._inside = 0  # how many absolute values are open

    def whole(self) -> sympy.Expr:
        found = self._sum()
        if self._at < len(self._tokens):
            raise NotRead(self._next[1])
        return found

    @property
    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self, *signs: str) -> str | None:
        kind, value = self._next
        if kind == "sign" and value in signs:
            self._at += 1
            return value
        return None

    def _must(self, sign: str) -> None:
        if self._take(sign) is None:
            raise NotRead(f"{sign} is missing")

    def _sum(self) -> sympy.Expr:
        sign = self._take("+", "-")
        found = self._product()
        found = -found if sign == "-" else found
        while sign := self._take("+", "-"):
            part = self._product()
            found = found - part if sign == "-" else found + part
        return found

    def _product(self) -> sympy.Expr:
        numeral = self._next[0] == "number"
        found = self._signed()
        while True:
            if self._take(*_DIVIDED):
                # 2/3 x is two thirds of x; 1/xy is one over xy.
                if numeral and self._next[0] == "number":
                    found = found / self._power()
                else:
                    found = found / self._row(self._signed())
            elif sign := self._take(*_TIMES):
                if sign == "\\times" and self._vectors:
                    raise NotRead("a product of vectors")
                found = found * self._signed()
            elif self._begins():
                found = found * self._power()
            else:
                return found
            numeral = False

    def _row(self, found: sympy.Expr) -> sympy.Expr:
        """Factors without a sign between them."""
        while self._begins():
            found = found * self._power()
        return found

    def _signed(self) -> sympy.Expr:
        sign = self._take("+", "-")
        found = self._signed() if self._next[1] in ("+", "-") else self._power()
        return -found if sign == "-" else found

    def _begins(self) -> bool:
        """Whether another factor follows without a sign."""
        kind, value = self._next
        if kind == "number":  # 5 3 is no product, and 2(3)4 is none that anybody writes
            return self._at > 0 and self._tokens[self._at - 1] in (("sign", ")"), ("sign", "]"))
        if kind == "sign":
            return value in (*_BRACKETS, "floor(", "ceil(") or (value == "|" and not self._inside)
        return kind in ("letter", "command", "quotient")

    def _power(self) -> sympy.Expr:
        base = self._followed(self._atom())
        if self._take("^", "**") is None:
            return base
        if self._take("\\circ"):
            return self._followed(self._degrees(base))
        return self._followed(_power(base, self._exponent()))

    def _exponent(self) -> sympy.Expr:
        """What stands high: of powers without brackets, the last is the first to be taken."""
        braces = self._next == ("sign", "{")
        sign = self._take("+", "-")
        found = self._followed(self._atom())
        if not braces and self._take("^", "**"):
            found = _power(found, self._exponent())
        return -found if sign == "-" else found

    def _followed(self, found: sympy.Expr) -> sympy.Expr:
        while sign := self._take("!", "!!", "%"):
            if sign == "!":
                found = sympy.factorial(found, evaluate=False)
            elif sign == "!!":
                found = sympy.factorial2(found, evaluate=False)
            else:
                found = found / 100
        return found

    def _degrees(self, found: sympy.Expr) -> sympy.Expr:
        return found * sympy.pi / 180 if self._angle else found

    def _atom(self) -> sympy.Expr:
        kind, value = self._next
        self._at += 1
        if kind == "number":
            return sympy.Rational(value.replace(",", ""))
        if kind == "letter":
            return self._letter(value)
        if kind == "quotient":
            return sympy.Symbol(value)
        if kind == "command":
            return self._command(value)
        if value in _BRACKETS:
            return self._until(_BRACKETS[value])
        if value in ("floor(", "ceil("):
            name = value[:-1]
            return FUNCTIONS[name](self._until(f"){name}"))
        if value == "|":
            self._inside += 1
            found = self._sum()
            self._must("|")
            self._inside -= 1
            return sympy.Abs(found)
        raise NotRead(value or "the end")

    def _until(self, closed: str) -> sympy.Expr:
        inside, self._inside = self._inside, 0
        found = self._sum()
        self._inside = inside
        self._must(closed)
        return found

    def _letter(self, letter: str) -> sympy.Expr:
        name = self._named(letter)
        if letter in _GROWING and self._next == ("sign", "("):
            self._at += 1
            return sympy.Function(name)(*self._several(")"))
        return CONSTANTS[name] if name in ("e", "i") else sympy.Symbol(name)

    def _named(self, name: str) -> str:
        """A name with its index and its primes."""
        if self._take("_"):
            name += f"_{self._index()}"
        while self._take("'"):
            name += "'"
        if self._tokens[self._at : self._at + 3] == [
            ("sign", "^"),
            ("sign", "{"),
            ("sign", "'"),
        ]:
            self._at += 2
            while self._take("'"):
                name += "'"
            self._must("}")
        return name

    def _index(self) -> str:
        if self._take("{") is None:
            self._at += 1
            return self._tokens[self._at - 1][1] if self._at <= len(self._tokens) else ""
        return "".join(self._verbatim())

    def _verbatim(self) -> list[str]:
        """The tokens up to the brace that closes, unread."""
        depth, begun = 1, self._at
        while depth:
            kind, value = self._next
            if not kind:
                raise NotRead("} is missing")
            depth += (value == "{") - (value == "}") if kind == "sign" else 0
            self._at += 1
        return [value for _, value in self._tokens[begun : self._at - 1]]

    def _command(self, name: str) -> sympy.Expr:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in GREEK:
            return sympy.Symbol(self._named(name))
        if name == "frac":
            return self._argument() / self._argument()
        if name == "sqrt":
            root = self._until("]") if self._take("[") else sympy.Integer(2)
            return sympy.Pow(self._argument(), 1 / root, evaluate=False)
        if name in ("binom", "dbinom", "tbinom") and self._next == ("sign", "{"):
            return sympy.binomial(self._argument(), self._argument(), evaluate=False)
        if name in SEVERAL:
            self._must("(")
            return SEVERAL[name](*self._several(")"))
        if name in MARKS:
            self._take("{")
            rest = (
                self._verbatim() if self._tokens[self._at - 1][1] == "{" else self._row_of_names()
            )
            return sympy.Symbol(f"{name} {''.join(rest)}")
        if name in FUNCTIONS:
            return self._function(name)
        raise NotRead(name)

    def _row_of_names(self) -> list[str]:
        begun = self._at
        while self._next[0] == "letter":
            self._at += 1
        if begun == self._at:
            raise NotRead("a name is missing")
        return [value for _, value in self._tokens[begun : self._at]]

    def _argument(self) -> sympy.Expr:
        r"""What a command takes: a group, or a single sign, as in \frac12."""
        kind, value = self._next
        if kind == "number" and len(value) > 1 and self._tokens[self._at - 1][1] != "sqrt":
            self._tokens[self._at] = (kind, value[1:])
            return sympy.Integer(value[0])
        return self._atom()

    def _several(self, closed: str) -> list[sympy.Expr]:
        found = [self._sum()]
        while self._take(","):
            found.append(self._sum())
        self._must(closed)
        return found

    def _function(self, name: str) -> sympy.Expr:
        function = FUNCTIONS[name]
        if name == "log" and self._take("_"):
            base = self._argument()
            function = partial(logarithm, base)
        power = self._exponent() if self._take("^") else None
        if power == -1 and name in INVERSE:
            function, power = INVERSE[name], None
        before, self._angle = self._angle, name in ANGLES
        if self._next[1] in _BRACKETS:
            found = self._followed(self._atom())
        else:  # sin 2x, and sin x cos x are two
            sign = self._take("-")
            found = self._power()
            while self._begins() and self._next[1] not in (*FUNCTIONS, *_BRACKETS):
                found = found * self._power()
            found = -found if sign else found
        self._angle = before
        value = function(found)
        return value if power is None else value**power


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    return sympy.Pow(base, exponent, evaluate=False)
