"""The seeded sampler, by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

VOCABULARY = 50


def info(rows: int, seeds: Any, **settings: Any) -> Any:
    """What SGLang hands to its sampler, for equal rows."""
    top_k = settings.get("top_k", VOCABULARY)
    return SimpleNamespace(
        sampling_seed=seeds,
        max_top_k=top_k,
        need_top_k_sampling="top_k" in settings,
        need_top_p_sampling="top_p" in settings,
        need_min_p_sampling="min_p" in settings,
        is_any_greedy=top_k == 1,
        top_ks=torch.full((rows,), top_k),
        top_ps=torch.full((rows,), settings.get("top_p", 1.0)),
        min_ps=torch.full((rows,), settings.get("min_p", 0.0)),
    )


def distribution(*shape: int) -> Any:
    return torch.softmax(torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 2, -1)


def draw(probs: Any, seeds: Any, positions: Any, **settings: Any) -> Any:
    from spex_agents.server.plugin.seeded import sample  # noqa: PLC0415 (torch)

    return sample(probs, info(len(probs), seeds, **settings), positions)


@pytest.mark.parametrize("settings", [{}, {"top_k": 10}, {"top_p": 0.8}, {"min_p": 0.05}])
def test_a_draw_does_not_depend_on_the_batch(settings: dict[str, Any]) -> None:
    probs = distribution(8, VOCABULARY)
    seeds, positions = torch.arange(8) * 7, torch.arange(8) + 100
    together = draw(probs, seeds, positions, **settings)
    alone = [
        draw(probs[i : i + 1], seeds[i : i + 1], positions[i : i + 1], **settings) for i in range(8)
    ]
    assert together.tolist() == torch.cat(alone).tolist()


def test_draws_of_two_threads_at_once_are_those_of_one() -> None:
    """SGLang draws in one thread, on one stream. Nothing here is shared, should that change."""
    probs = distribution(8, VOCABULARY)
    seeds = torch.arange(8)

    def one(position: int) -> list[int]:
        positions = torch.full((8,), position)
        drawn: list[int] = draw(probs, seeds, positions, top_k=10, top_p=0.9).tolist()
        return drawn

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(one, range(200)))
    assert together == [one(position) for position in range(200)]


def test_draws_follow_the_distribution() -> None:
    probs = distribution(VOCABULARY)
    number = 40_000
    seeds = torch.arange(number) - number // 2
    drawn = draw(probs.expand(number, -1), seeds, torch.full((number,), 17))
    found = torch.bincount(drawn.long(), minlength=VOCABULARY) / number
    # Five standard deviations.
    assert ((found - probs).abs() <= 5 * (probs * (1 - probs) / number).sqrt() + 1e-6).all()


def expected(probs: Any, top_k: int = VOCABULARY, top_p: float = 1, min_p: float = 0) -> Any:
    """The distribution by its definition, one token at a time."""
    kept = [
        float(p)
        if int((probs > p).sum()) < top_k
        and (top_p >= 1 or float(probs[probs > p].sum()) <= top_p)
        and p >= probs.max() * min_p
        else 0.0
        for p in probs
    ]
    return torch.tensor(kept, dtype=torch.float64) / sum(kept)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_k": 7},
        {"top_p": 0.8},
        {"min_p": 0.05},
        {"top_k": 12, "top_p": 0.7},
        {"top_k": 20, "top_p": 0.9, "min_p": 0.02},
    ],
    ids=str,
)
@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "whole"])
def test_draws_pass_a_chi_square_test(
    settings: dict[str, Any], bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy.stats import chisquare  # noqa: PLC0415 (there with SGLang)

    from spex_agents.server.plugin import seeded  # noqa: PLC0415 (torch)

    monkeypatch.setattr(seeded, "TIES", 0 if bounded else VOCABULARY)
    monkeypatch.setattr(seeded, "AT_ONCE", 1 << 18)
    number = 40_000
    probs = distribution(VOCABULARY)
    right = expected(probs, **settings) * number
    seeds = torch.arange(number) * 3 - number
    drawn = draw(probs.expand(number, -1).contiguous(), seeds, torch.arange(number), **settings)
    found = torch.bincount(drawn.long(), minlength=VOCABULARY)
    assert not found[right == 0].any()
    often = right >= 5  # rarer ones are one class
    classes = [[*count[often].tolist(), float(count[~often].sum())] for count in (found, right)]
    wanted = [pair for pair in zip(*classes, strict=True) if pair[1] > 0]
    assert chisquare(*map(list, zip(*wanted, strict=True))).pvalue > 0.001


def test_what_ties_is_kept_together_however_the_rest_of_the_batch_is_bounded() -> None:
    """Half-precision logits tie; the k-th place then has several tokens."""
    wide = 400
    logits = torch.randn(wide, generator=torch.Generator().manual_seed(2)).mul(8).round() / 4
    probs = torch.softmax(logits, -1)
    number = 500
    seeds, positions = torch.arange(number), torch.arange(number)
    rows = probs.expand(number, -1).contiguous()
    alone = draw(rows, seeds, positions, top_k=8)
    beside = info(number + 1, torch.arange(number + 1), top_k=8)
    beside.max_top_k, beside.top_ks = None, beside.top_ks.clone()
    beside.top_ks[-1] = 1 << 30
    from spex_agents.server.plugin.seeded import sample  # noqa: PLC0415 (torch)

    more = torch.cat([rows, rows[:1]]), torch.arange(number + 1)
    assert sample(more[0], beside, more[1])[:number].tolist() == alone.tolist()
    kept = int((probs > probs.sort(descending=True).values[7]).sum())
    ties = int((probs == probs.sort(descending=True).values[7]).sum())
    assert len(set(alone.tolist())) == kept + ties > 8


@pytest.mark.parametrize("width", [4095, 4096, 4111, 20_000])
@pytest.mark.parametrize("ties", [False, True], ids=["apart", "ties"])
def test_the_likeliest_tokens_of_a_wide_row_are_those_that_a_sort_finds(
    width: int, ties: bool
) -> None:
    from spex_agents.server.plugin.seeded import _likeliest  # noqa: PLC0415 (torch)

    logits = torch.randn(5, width, generator=torch.Generator().manual_seed(width)) * 3
    logits[0] = logits[0].sort().values  # all in the last block, and beyond the last whole one
    probs = torch.softmax((logits * 4).round() / 4 if ties else logits, -1)
    size = 60
    values, tokens = _likeliest(probs, size)
    assert values.tolist() == probs.sort(descending=True).values[:, :size].tolist()
    assert values.tolist() == probs.gather(1, tokens).tolist()
    assert all(len(set(row)) == size for row in tokens.tolist())


def test_a_wide_vocabulary_draws_what_a_walk_over_all_of_it_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spex_agents.server.plugin import seeded  # noqa: PLC0415 (torch)

    probs = distribution(64, 20_003)
    seeds, positions = torch.arange(64), torch.arange(64)
    fast = [draw(probs, seeds, positions + n, top_k=20, top_p=0.95).tolist() for n in range(5)]
    monkeypatch.setattr(seeded, "TIES", 20_003)  # bounds nothing
    slow = [draw(probs, seeds, positions + n, top_k=20, top_p=0.95).tolist() for n in range(5)]
    assert fast == slow


def test_rows_that_ask_for_no_seed_draw_anew_and_leave_the_others_alone() -> None:
    from spex_agents.server.plugin.seeded import NO_SEED, seeds_of  # noqa: PLC0415 (torch)

    requests = [
        SimpleNamespace(sampling_params=SimpleNamespace(sampling_seed=seed))
        for seed in (5, None, 6, None)
    ]
    assert seeds_of(requests[1::2], "cpu", pin=False) is None
    seeds = seeds_of(requests, "cpu", pin=False)
    assert seeds is not None
    assert seeds.tolist() == [5, NO_SEED, 6, NO_SEED]
    requests[0].sampling_params.sampling_seed = NO_SEED  # SGLang takes it for a seed
    smallest = seeds_of(requests[:1], "cpu", pin=False)
    assert smallest is not None
    assert smallest.tolist() != [NO_SEED]
    probs, positions = distribution(4, VOCABULARY), torch.full((4,), 9)
    many = torch.stack([draw(probs, seeds, positions) for _ in range(60)])
    assert [len(set(column.tolist())) > 3 for column in many.T] == [False, True, False, True]
    alone = draw(probs[:1], seeds[:1], positions[:1])
    assert set(many[:, 0].tolist()) == set(alone.tolist())


def test_a_greedy_row_takes_the_first_best_token_beside_others() -> None:
    probs = torch.full((2, VOCABULARY), 1 / VOCABULARY)
    mixed = info(2, torch.arange(2), top_k=1)
    mixed.top_ks[1], mixed.max_top_k = VOCABULARY, VOCABULARY
    from spex_agents.server.plugin.seeded import sample  # noqa: PLC0415 (torch)

    for position in range(20):
        assert int(sample(probs, mixed, torch.full((2,), position))[0]) == 0


def test_positions_draw_apart() -> None:
    probs = distribution(VOCABULARY).expand(2000, -1)
    drawn = draw(probs, torch.full((2000,), 5), torch.arange(2000))
    assert len(set(drawn.tolist())) > VOCABULARY // 2


def test_filters_hold() -> None:
    probs = distribution(VOCABULARY)
    best = probs.argsort(descending=True)
    rows = probs.expand(3000, -1)
    seeds, positions = torch.arange(3000), torch.arange(3000)
    assert set(draw(rows, seeds, positions, top_k=3).tolist()) == set(best[:3].tolist())
    assert set(draw(rows, seeds, positions, top_k=1).tolist()) == {int(best[0])}
    likely = (probs >= probs.max() * 0.5).nonzero().view(-1).tolist()
    assert set(draw(rows, seeds, positions, min_p=0.5).tolist()) == set(likely)
