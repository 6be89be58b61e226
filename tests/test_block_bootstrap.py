"""Resamples of blocks: how often places are drawn, and whether the intervals hold where neighbours are alike."""

import numpy as np
import pytest

from pipelines import scoring


@pytest.mark.parametrize(("places", "block"), [(1, 1), (7, 1), (10, 3), (10, 10), (29, 7)])
def test_every_resample_draws_as_many_as_there_are_and_every_place_alike(places: int, block: int) -> None:
    weights = scoring.block_weights(np.random.default_rng(0), 4_000, places, block)
    assert (weights.sum(axis=1) == places).all()
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.12)


def test_a_block_is_neighbours_and_goes_on_at_the_start() -> None:
    weights = scoring.block_weights(np.random.default_rng(1), 500, 10, 4)
    # Blocks of 4, 4 and 2: the runs of one resample add up to these, so a place is never alone.
    first = scoring.block_weights(np.random.default_rng(1), 500, 4, 4)
    assert (first == 1).all(), "one block of all places"
    lonely = (weights > 0) & (np.roll(weights, 1, axis=1) == 0) & (np.roll(weights, -1, axis=1) == 0)
    assert not lonely.any()
    assert ((weights[:, 0] > 0) & (weights[:, -1] > 0)).any()


def test_what_shares_a_place_is_drawn_together_and_parts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.scoring import blocks

    where = np.array([0, 0, 1, 2, 2, 3, 4, 5])
    whole = np.concatenate(list(scoring.resampled_blocks(where, 2, 50, seed=3)))
    assert whole.shape == (50, 8)
    assert (whole[:, 0] == whole[:, 1]).all()
    assert (whole[:, 3] == whole[:, 4]).all()
    again = np.concatenate(list(scoring.resampled_blocks(where, 2, 50, seed=3)))
    assert (whole == again).all()
    monkeypatch.setattr(blocks, "WEIGHTS", 80)
    assert [len(part) for part in scoring.resampled_blocks(where, 2, 25, seed=3)] == [10, 10, 5]


def test_block_length() -> None:
    assert scoring.block_length(2_785, 96) == 96
    assert scoring.block_length(1_000, 1) == 10, "the cube root"
    assert scoring.block_length(3, 96) == 3
    assert scoring.block_length(1, 1) == 1


def test_blocks_hold_where_single_draws_promise_too_much() -> None:
    """Means of moving averages of 20 steps: of 95 % intervals by blocks most hold the truth, by single places few."""
    rng = np.random.default_rng(7)
    length, overlap = 800, 20
    held = {1: 0, overlap: 0}
    for _ in range(100):
        noise = rng.normal(size=length + overlap - 1)
        values = np.convolve(noise, np.ones(overlap) / overlap, "valid")
        for block in held:
            means = scoring.block_weights(rng, 200, length, block) @ values / length
            low, high = np.percentile(means, (2.5, 97.5))
            held[block] += low <= 0 <= high
    assert held[overlap] >= 85
    assert held[1] <= 60
