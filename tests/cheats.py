"""Programs that shall score nothing by cheating, and honest ones that shall score as they did."""

TESTS = "assert double(2) == 4\nassert double(-3) == -6"
"""What the cheats are judged by."""

EQUAL = """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __hash__(self): return 0
    def __getattr__(self, name): return lambda *a, **n: True
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
"""
REPORT = '{"passed": 9, "total": 9, "failures": []}'
FOUND = f"""
import os, sys
def double(x):
    for file in range(1024):
        try:
            os.write(file, {REPORT!r}.encode())
        except OSError:
            pass
    return 1
"""

CHEATS = {
    "secret of the main module": "import __main__\n__main__.given['secret']\n"
    "def double(x): return 1",
    "secrets of frames": """
import sys
def double(x):
    frame, found = sys._getframe(), []
    while frame:
        found += [v for v in frame.f_locals.values() if isinstance(v, str) and "assert" in v]
        frame = frame.f_back
    return eval(found[0].split("==")[1])
""",
    "secrets of all objects": """
import gc
def double(x):
    for one in gc.get_objects():
        if isinstance(one, dict) and any("assert" in str(v)[:60] for v in one.values()):
            one.clear()
    return 1
""",
    "equal to all": f"{EQUAL}\ndef double(x): return Any()",
    "equal to all, as a class": f"{EQUAL}\nclass double(Any):\n    def __init__(self, x): pass",
    "equal to all, as a number": """
class Number(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def double(x): return Number(1)
""",
    "equal to all, as a text": """
class Text(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def double(x): return Text("1")
""",
    "equal to all, as a list": """
class List(list):
    def __eq__(self, other): return True
def double(x): return List()
""",
    "equal to all, in a class of all classes": """
class Meta(type):
    def __eq__(self, other): return True
    __hash__ = type.__hash__
class double(metaclass=Meta):
    def __new__(cls, x): return cls
""",
    "patched assert": "import builtins\nclass AssertionError(Exception): pass\n"
    "builtins.AssertionError = AssertionError\ndef double(x): return 1",
    "patched builtins": """
import builtins
for name in ("eval", "exec", "compile", "isinstance", "repr", "max", "len", "all"):
    setattr(builtins, name, lambda *a, **n: True)
def double(x): return 1
""",
    "patched names of the tests": "globals()['check assertion'] = lambda *a: None\n"
    "def double(x): return 1",
    "patched modules": """
import sys
for name in ("json", "ast", "operator", "struct"):
    module = __import__(name)
    for part in dir(module):
        if part[0] != "_":
            setattr(module, part, lambda *a, **n: 4)
def double(x): return 1
""",
    "exit hook": f"import atexit\natexit.register(print, {REPORT!r})\ndef double(x): return 1",
    "early exit": "import os\nos._exit(0)",
    "polite exit": "import sys\nsys.exit()",
    "exit when asked": "import os\ndef double(x): os._exit(0)",
    "exit as an answer": "def double(x): raise SystemExit(0)",
    "printed report": f"print({REPORT!r})\ndef double(x): return 1",
    "report in every file": FOUND,
    "reading the tests": """
import os
def double(x):
    for place in ("/code", "/sandbox", "/tmp", "/proc/self", "/proc/1"):
        for name in os.listdir(place) if os.path.isdir(place) else ():
            text = open(os.path.join(place, name), errors="replace").read()
            if "assert double(2)" in text:
                return 4 if x == 2 else -6
    return 1
""",
    "changing the tests": """
import os
def double(x):
    for name in os.listdir("/code"):
        try:
            open("/code/" + name, "w").write("print()")
        except OSError:
            pass
    return 1
""",
    "its standard input": "import sys\ndef double(x): return int(sys.stdin.read().split('==')[1])",
    "memory of the tests": """
import ctypes, os
def double(x):
    libc = ctypes.CDLL(None)
    for pid in range(1, 20):
        libc.ptrace(16, pid, 0, 0)
        libc.process_vm_writev(pid, 0, 0, 0, 0, 0)
    return 1
""",
    "killing all others": "import os\ndef double(x): os.kill(-1, 9)",
    "signals to the tests": """
import os, signal
def double(x):
    for pid in range(1, 20):
        if pid != os.getpid():
            for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
    return 1
""",
    "stopped time": "import time\ntime.monotonic = time.time = time.perf_counter = lambda: 0\n"
    "def double(x): return 1",
    "thread left behind": f"""
import os, threading, time
def write():
    while True:
        for file in range(3, 64):
            try:
                os.write(file, {REPORT!r}.encode())
            except OSError:
                pass
threading.Thread(target=write, daemon=True).start()
def double(x): return 1
""",
    "process left behind": """
import os, time
if os.fork() == 0:
    time.sleep(60)
def double(x): return 1
""",
    "an error that is none": "class E(AssertionError):\n    def __bool__(self): return True\n"
    "def double(x): raise E",
    "names of the language": "def abs(x): return 0\nlen = all = min = max = abs\n"
    "def double(x): return 1",
    "another's module": "import sys\nsys.modules['tests'] = sys.modules[__name__] = None\n"
    "def double(x): return 1",
}

CLOSE = "import math\nassert math.isclose(double(2), 4)\nassert abs(double(-3) + 6) < 1e-9"
MORE_CHEATS = {
    "arithmetic with all": (
        "class Any:\n    def __sub__(self, other): return 0.0\n    __add__ = __rsub__ = __sub__\n"
        "    def __float__(self): return 1.0\ndef double(x): return Any()",
        CLOSE,
    ),
    "a module of its own": (
        "class math:\n    isclose = staticmethod(lambda *a: True)\nabs = lambda x: 0\n"
        "def double(x): return 1",
        CLOSE,
    ),
    "a container of all": (
        f"{EQUAL}\ndef double(x): return Any()",
        "assert 4 in double(2)\nassert double(2) in [4]\nassert double(2) < 5",
    ),
}

HONEST = {
    "numbers": ("def f(x): return x * 2", "assert f(2) == 4\nassert f(2.5) == 5.0", 1),
    "large numbers": ("def f(n): return 2 ** n", "assert f(20000) == 2 ** 20000", 1),
    "texts": ("def f(s): return s[::-1]", "assert f('grüße') == 'eßürg'\nassert f('') == ''", 1),
    "half": ("def f(x): return 4", "assert f(2) == 4\nassert f(3) == 6", 0.5),
    "nothing right": ("def f(x): return None", "assert f(2) == 4\nassert f(3) == 6", 0),
    "lists": ("def f(x): return sorted(x)", "assert f([3, 1]) == [1, 3]\nassert f([]) == []", 1),
    "tuples and none": ("def f(x): return (x, None)", "assert f(1) == (1, None)", 1),
    "dicts": (
        "def f(t): return {c: t.count(c) for c in t}",
        "assert f('aab') == {'a': 2, 'b': 1}",
        1,
    ),
    "sets": ("def f(x): return set(x)", "assert f([1, 1, 2]) == {1, 2}\nassert 2 in f([2])", 1),
    "counters": (
        "from collections import Counter\ndef f(x): return Counter(x)",
        "assert f('aab') == {'a': 2, 'b': 1}\nassert f('aab').most_common(1) == [('a', 2)]",
        1,
    ),
    "bytes": ("def f(b): return b + b'!'", "assert f(b'a') == b'a!'", 1),
    "decimals": (
        "from decimal import Decimal\ndef f(x): return Decimal(x) / 4",
        "from decimal import Decimal\nassert f(1) == Decimal('0.25')",
        1,
    ),
    "dates": (
        "import datetime\ndef f(d): return d + datetime.timedelta(days=1)",
        "import datetime\nassert f(datetime.date(2024, 2, 28)) == datetime.date(2024, 2, 29)",
        1,
    ),
    "infinities": ("def f(): return float('inf')", "assert f() == float('inf')\nassert f() > 1", 1),
    "booleans": ("def f(x): return x > 1", "assert f(2)\nassert not f(1)\nassert f(2) is True", 1),
    "changed arguments": (
        "def f(x): x.sort(); x.append(9)",
        "a = [2, 1]\nf(a)\nassert a == [1, 2, 9]",
        1,
    ),
    "changed dicts": (
        "def f(x):\n    for k in list(x): x[k.upper()] = x.pop(k)",
        "a = {'x': [1]}\ninner = a['x']\nf(a)\nassert a == {'X': [1]}\nassert a['X'] is inner",
        1,
    ),
    "cycles": ("def f(x): return x[0] is x", "a = []\na.append(a)\nassert f(a)", 1),
    "errors": (
        "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x",
        "try:\n    f(-1)\nexcept ValueError as error:\n    assert str(error) == 'negative'",
        1,
    ),
    "errors of its own": (
        "class Wrong(KeyError): pass\ndef f(x): raise Wrong(x)",
        "try:\n    f(1)\nexcept Wrong as error:\n    assert error.args == (1,)\n"
        "try:\n    f(1)\nexcept KeyError:\n    assert True",
        1,
    ),
    "functions as arguments": (
        "def f(g, xs): return [g(x) for x in xs]",
        "seen = []\nassert f(lambda x: seen.append(x) or x + 1, [1, 2]) == [2, 3]\n"
        "assert seen == [1, 2]",
        1,
    ),
    "functions as results": ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5", 1),
    "generators": (
        "def f():\n    n = 0\n    while True:\n        yield n\n        n += 1",
        "import itertools\nassert list(itertools.islice(f(), 3)) == [0, 1, 2]\n"
        "g = f()\nassert (next(g), next(g)) == (0, 1)",
        1,
    ),
    "classes": (
        "class Stack:\n    def __init__(self): self.items = []\n"
        "    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()\n"
        "    def __len__(self): return len(self.items)",
        "s = Stack()\ns.push(1)\ns.push(2)\nassert len(s) == 2\nassert s.pop() == 2\n"
        "assert s.items == [1]\nassert isinstance(s, Stack)",
        1,
    ),
    "objects that are equal": (
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n    y: int\n"
        "    def __add__(self, o): return Point(self.x + o.x, self.y + o.y)",
        "assert Point(1, 2) + Point(1, 1) == Point(2, 3)\nassert Point(1, 2) != Point(2, 1)",
        1,
    ),
    "named tuples": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "assert f() == (1, 2)\nassert f().y == 2",
        1,
    ),
    "objects of the tests": (
        "def f(node):\n    total = 0\n    while node: total += node.value; node = node.next\n"
        "    return total",
        "class Node:\n    def __init__(self, v, n=None): self.value, self.next = v, n\n"
        "assert f(Node(1, Node(2))) == 3",
        1,
    ),
    "coroutines": (
        "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1",
        "import asyncio\nassert asyncio.run(f(1)) == 2",
        1,
    ),
    "what it prints": (
        "def f(x): print(x)",
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    f('hi')\n"
        "assert out.getvalue() == 'hi\\n'",
        1,
    ),
    "helpers and constants": (
        "LIMIT = 3\ndef g(x): return x\ndef f(x): return min(g(x), LIMIT)",
        "assert f(9) == LIMIT\nassert g(2) == 2",
        1,
    ),
    "names of the language": ("def sum(xs): return 7", "assert sum([1]) == 7", 1),
    "imports that the tests use": (
        "import math\ndef f(x): return math.sqrt(x)",
        "assert math.isclose(f(2) ** 2, 2)",
        1,
    ),
    "functions test_*": (
        "def f(x): return x",
        "def test_f():\n    assert f(1) == 1\n\ndef test_g():\n    assert f(2) == 3",
        0.5,
    ),
    "assertions in loops": (
        "def f(x): return x * x",
        "def check(g):\n    for x in (0, 1, 2):\n"
        "        assert g(x) == 2 * x\n    assert g(5) == 10\n\ncheck(f)",
        0.5,
    ),
    "what is never reached": (
        "def f(x): raise KeyError(x)",
        "def check(g):\n    g(1)\n    assert g(1) == 1\n    assert g(2) == 2\n\ncheck(f)",
        0,
    ),
}
"""Program, tests, and the share that passes."""
