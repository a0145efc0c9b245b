"""Which stream holds what: texts are found again, and never one that is not there."""

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from spex_agents.engines.embedded.llama import Llama
from spex_agents.engines.embedded.prefixes import Streams


class Cells:
    """What llama.cpp would have in each stream."""

    def __init__(self, count: int) -> None:
        self.texts: list[list[int]] = [[] for _ in range(count)]

    def share(self, source: int, target: int, length: int) -> None:
        assert length <= len(self.texts[source])
        self.texts[target] = self.texts[source][:length]

    def forget(self) -> None:
        self.texts = [[] for _ in self.texts]


def read(streams: Streams, cells: Cells, stream: int, tokens: list[int], busy: int) -> int:
    """Read a prompt in `stream`, the lowest `busy` being taken; how much of it was there."""
    idle = range(busy, len(cells.texts))
    filled = streams.begin(stream, tokens, 0, idle)
    assert cells.texts[stream] == tokens[:filled]
    assert filled < len(tokens)
    cells.texts[stream] += tokens[filled:]
    streams.extend(stream, tokens[filled:])
    return filled


tokens = st.lists(st.integers(0, 2), min_size=1, max_size=60)


@given(st.lists(st.tuples(st.integers(0, 5), tokens, st.booleans(), st.integers(0, 5))))
def test_what_a_prompt_starts_from_is_its_own_beginning(
    calls: list[tuple[int, list[int], bool, int]],
) -> None:
    cells = Cells(6)
    streams = Streams(cast("Llama", cells), 6)
    for stream, prompt, moves, target in calls:
        read(streams, cells, stream, prompt, stream + 1)
        if moves and target != stream:
            idle = [other for other in range(6) if other != stream]
            streams.move(stream, target, len(prompt), idle)
            assert cells.texts[target] == prompt
    streams.forget()
    assert read(streams, cells, 0, list(range(40)), 1) == 0


@given(st.permutations(range(4)), st.integers(1, 4))
def test_each_branch_is_found_whoever_has_its_stream(order: list[int], busy: int) -> None:
    cells = Cells(8)
    streams = Streams(cast("Llama", cells), 8)
    prompt = list(range(100, 140))
    branches = [[*prompt, *[branch] * 20] for branch in range(4)]
    for stream, text in enumerate(branches):
        read(streams, cells, stream, text, 4)
    for seat, branch in enumerate(order):
        text = [*branches[branch], 7]
        assert read(streams, cells, seat % busy, text, busy) == len(branches[branch])


def test_the_text_used_longest_ago_makes_room() -> None:
    cells = Cells(3)
    streams = Streams(cast("Llama", cells), 3)
    old, young, new = ([kind] * 30 for kind in (1, 2, 3))
    for text in (old, young, new):
        read(streams, cells, 0, text, 1)
    read(streams, cells, 0, [4] * 30, 1)
    assert sorted(text[0] for text in cells.texts) == [2, 3, 4]
    assert read(streams, cells, 0, [*young, 9], 1) == 30
    assert read(streams, cells, 0, [*old, 9], 1) == 0
