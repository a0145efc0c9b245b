"""The seeded sampler, by itself."""

from __future__ import annotations

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


def test_draws_follow_the_distribution() -> None:
    probs = distribution(VOCABULARY)
    number = 40_000
    seeds = torch.arange(number) - number // 2
    drawn = draw(probs.expand(number, -1), seeds, torch.full((number,), 17))
    found = torch.bincount(drawn.long(), minlength=VOCABULARY) / number
    # Five standard deviations.
    assert ((found - probs).abs() <= 5 * (probs * (1 - probs) / number).sqrt() + 1e-6).all()


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
