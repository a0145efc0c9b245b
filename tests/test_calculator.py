"""The calculator reads sums as models write them: right ones pass, their wrong twins do not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.engines import Request
from spex_agents.rewards import Calculator
from spex_agents.search import Thought


async def score(*steps: str) -> float:
    path = [Thought(text=step, tokens=9) for step in steps]
    return await Calculator().score("How many?", path, Request(id="r", seed=7))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # Marks of Markdown and LaTeX.
        ("**Step 1:** 3 + 4 = 7", "**Step 1:** 3 + 4 = 8"),
        ("**3 + 4 = 7**", "**3 + 4 = 8**"),
        ("*3 + 4 = 7*", "*3 + 4 = 8*"),
        ("__3 + 4 = 7__", "__3 + 4 = 8__"),
        ("***3 + 4 = 7***", "***3 + 4 = 8***"),
        ("`3 + 4 = 7`", "`3 + 4 = 8`"),
        ("<b>3 + 4 = 7</b>", "<b>3 + 4 = 8</b>"),
        ("- **3 + 4 = 7**", "- **3 + 4 = 8**"),
        ("1. **3 + 4 = 7**", "1. **3 + 4 = 8**"),
        ("**1.** 3 + 4 = 7", "**1.** 3 + 4 = 8"),
        ("**Total:** 12 - 5 = 7", "**Total:** 12 - 5 = 8"),
        ("**Total**: 12 - 5 = 7", "**Total**: 12 - 5 = 8"),
        ("**12 ÷ 4 = 3**", "**12 ÷ 4 = 4**"),
        ("**12 - 5 = 7 apples**", "**12 - 5 = 8 apples**"),
        ("3 + 4 = **7**", "3 + 4 = **8**"),
        ("**3** + **4** = **7**", "**3** + **4** = **8**"),
        ("**Step 1: 3 + 4 = 7", "**Step 1: 3 + 4 = 8"),  # bold goes on in the next step
        ("*Step:* 3 * 4 = 12", "*Step:* 3 * 4 = 13"),
        ("3 *4* 5 = 60", "3 *4* 5 = 61"),
        ("3 *4 = 12 and 2 *5 = 10", "3 *4 = 12 and 2 *5 = 11"),
        ("2**3 = 8", "2**3 = 9"),
        (r"$3 + 4 = \boxed{7}$", r"$3 + 4 = \boxed{8}$"),
        (r"$$3 + 4 = \boxed{7 \text{ cm}}$$", r"$$3 + 4 = \boxed{8 \text{ cm}}$$"),
        (r"\boxed{3 + 4 = 7}", r"\boxed{3 + 4 = 8}"),
        (r"3 \times 4 = \mathbf{12}", r"3 \times 4 = \mathbf{13}"),
        # Grouped digits, numbering, and what stands between two sums.
        ("1 000 + 500 = 1 500", "1 000 + 500 = 1 600"),
        ("10 000 - 2 500 = 7 500", "10 000 - 2 500 = 7 600"),
        ("So 1 200 + 300 = 1 500", "So 1 200 + 300 = 1 600"),
        ("1'000 + 500 = 1'500", "1'000 + 500 = 1'600"),
        ("1\u202f000 + 500 = 1\u202f500", "1\u202f000 + 500 = 1\u202f600"),
        ("Step 1 100 + 20 = 120", "Step 1 100 + 20 = 130"),
        ("3 + 4 = 7 700 * 2 = 1400", "3 + 4 = 7 700 * 2 = 1500"),
        ("(1) 3 + 4 = 7", "(1) 3 + 4 = 8"),
        ("(1) 3 + 4 = 7, (2) 5 + 6 = 11", "(1) 3 + 4 = 7, (2) 5 + 6 = 12"),
        ("3 + 4 = 7 / 5 + 5 = 10", "3 + 4 = 7 / 5 + 5 = 11"),
        ("Ratio 6:3 = 2:1", "12:4 = 4"),
        # Units.
        ("2.5 h × 60 = 150 min", "2.5 h × 60 = 160 min"),  # noqa: RUF001
        ("150 min / 60 = 2.5 h", "150 min / 60 = 2 h"),
        ("2 h 30 min = 150 min", "2 h 30 min = 230 min"),
        ("15 min + 50 min = 1 h 5 min", "15 min + 50 min = 1 h 15 min"),
        ("3 apples + 4 apples = 7 apples", "3 apples + 4 apples = 8 apples"),
        ("5 apples - 3 = 2 apples", "5 apples - 3 = 3 apples"),
        (r"3\text{ apples} + 4\text{ apples} = 7", r"3 + 4\text{ apples} = 8\text{ apples}"),
        # Shares, roots, words and other signs.
        ("20% of 50 = 10", "20% of 50 = 12"),
        ("50% × 80 = 40", "50% × 80 = 30"),  # noqa: RUF001
        ("25% = 1/4", "25% = 1/5"),
        ("3/25 = 12%", "3/25 = 13%"),
        ("3/25 = 12%. The answer is 12%.", "3/25 = 12%. The answer is 13%."),
        ("1/2 of 48 = 24", "1/2 of 48 = 23"),
        ("sqrt(16) = 4", "sqrt(16) = 5"),
        ("sqrt 16 = 4", "sqrt 16 = 5"),
        ("5! = 120", "5! = 25"),
        ("4 + 3 = seven", "4 + 3 = eight"),
        ("3 + 4\n= 7", "3 + 4\n= 8"),
        ("4 + 3 ＝ 7", "4 + 3 ＝ 8"),  # noqa: RUF001
        ("4 + 3 := 7", "4 + 3 := 8"),
    ],
)
async def test_a_right_step_passes_and_its_wrong_twin_does_not(right: str, wrong: str) -> None:
    assert (await score(right), await score(wrong)) == (1, 0)


NUMBERS = st.builds(
    lambda form, value: form(value),
    st.sampled_from([lambda n: f"{n}", lambda n: f"{n:,}", lambda n: f"{n:,}".replace(",", " ")]),
    st.integers(1, 99_999),
)
AROUND = st.sampled_from(
    [
        "{}", "**{}**", "*{}*", "__{}__", "**Step 1:** {}", "**Step 2.** {}", "- **{}**", "1. {}",
        "(2) {}", "`{}`", "$${}$$", r"\({}\)", r"\boxed{{{}}}", "<b>{}</b>", "> {}",
        "### Step 1: {}", "So {}.", "{}, as said.", "Therefore, *{}*",
    ]
)  # fmt: skip
NOUNS = st.sampled_from(["", " apples", " cm", " €"])


@given(NUMBERS, NUMBERS, AROUND, NOUNS, st.sampled_from([1, -1, 10, 100]))
async def test_a_sum_holds_or_not_whatever_stands_around_it(
    one: str, other: str, around: str, noun: str, off: int
) -> None:
    first, last = (int(number.replace(",", "").replace(" ", "")) for number in (one, other))
    value, sign = (first + last, "+") if off % 2 else (first - last, "-")
    right, wrong = (
        around.format(f"{one}{noun} {sign} {other}{noun} = {result}{noun}")
        for result in (value, value + off)
    )
    assert (await score(right), await score(wrong)) == (1, 0)


@pytest.mark.parametrize("unit", ["\n", "1:2 ", "**a", "1 000 ", "= 1 / ", "(1) ", "50% of "])
async def test_long_thoughts_are_read_in_time(unit: str) -> None:
    began = time.process_time()
    await score(unit * (20_000 // len(unit)))
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "steps",
    [
        ["9:30 + 45 min = 10:15"],
        ["9:30 + 0:45 = 10:15", "The answer is 10:15."],
        ["5 boxes = 60 apples"],
        ["2 boxes + 3 apples = 27 apples"],
        ["80 + 20% = 96"],
        ["25% = 15, so 100% = 60"],
        ["5 != 3"],
        ["2x + 4 = 10, so x = 3.", "The answer is 3."],
        ["half of 6 = 3", "The answer is 3."],
    ],
)
async def test_what_cannot_be_read_for_sure_is_not_marked_wrong(steps: list[str]) -> None:
    assert await score(*steps) == 1
