"""Figures against those computed by hand."""

from math import comb

import numpy as np
import pytest

from nodes.measuring.figures import interval, interval_ranks, percentile, summary, warnings


def test_a_summary_of_samples_computed_by_hand():
    figures = summary([4_000_000, 1_000_000, 3_000_000, 2_000_000])
    assert (figures["n"], figures["min"], figures["max"]) == (4, 1.0, 4.0)
    assert (figures["mean"], figures["median"]) == (2.5, 2.5)
    assert figures["variation"] == pytest.approx(np.sqrt(5 / 3) / 2.5)


def test_percentiles_lie_between_samples():
    # 1..101: the percentile p is the sample number p, counted from 0.
    figures = summary([i * 1_000_000 for i in range(1, 102)])
    assert [figures[k] for k in ("median", "p90", "p95", "p99")] == pytest.approx([51, 91, 96, 100])


@pytest.mark.parametrize(("n", "told"), [(9, []), (10, ["p90"]), (20, ["p90", "p95"]), (100, ["p90", "p95", "p99"])])
def test_a_percentile_is_told_only_of_enough_samples(n, told):
    figures = summary(range(1, n + 1))
    assert [k for k in ("p90", "p95", "p99", "p99.9") if figures[k] is not None] == told


def test_p99_9_is_never_told_below_ten_thousand():
    assert percentile(range(9_999), 99.9) is None
    assert percentile(range(10_001), 99.9) == pytest.approx(9_990)


def test_no_samples_are_an_error():
    with pytest.raises(ValueError, match="no samples"):
        summary([])


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (100, 40, 61)])
def test_the_interval_of_the_median_is_that_of_the_tables(n, low, high):
    assert interval(range(1, n + 1), 0.5) == (low, high)


def test_too_few_samples_have_no_interval():
    assert interval(range(5), 0.5) is None
    assert interval(range(367), 0.99) is None
    assert interval(range(368), 0.99) == (359, 367)


@pytest.mark.parametrize("n", [6, 17, 50, 368, 400])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_an_interval_holds_at_least_95_percent_and_is_no_wider_than_needed(n, quantile):
    ranks = interval_ranks(n, quantile)
    if ranks is None:
        assert quantile**n > 0.025 or (1 - quantile) ** n > 0.025
        return
    chance = [comb(n, k) * quantile**k * (1 - quantile) ** (n - k) for k in range(n + 1)]
    low, high = ranks
    # The quantile is above sample `low` where more than `low` samples lie below it.
    assert sum(chance[: low + 1]) <= 0.025
    assert sum(chance[high + 1 :]) <= 0.025
    assert sum(chance[: low + 2]) > 0.025
    assert sum(chance[high:]) > 0.025


def part(median, variation=0.0):
    return {"median": median, "variation": variation}


def test_what_is_steady_and_spends_its_time_in_the_engine_is_not_warned_of():
    assert warnings(part(3), part(10, 0.025), part(5)) == []
    assert warnings(part(3), part(10), part(5), part(8)) == []


def test_what_is_doubtful_is_said():
    (unsteady,) = warnings(part(1), part(10, 0.03), part(1))
    (host,) = warnings(part(4), part(10), part(4.1))
    (enqueue,) = warnings(part(1), part(10), part(1), part(8.1))
    assert unsteady.startswith("unsteady: the engine's time varies by 3.0%")
    assert host.startswith("host-bound: 8.10 ms before and after the engine, 10.00 ms in it")
    assert enqueue.startswith("enqueue-bound: 8.10 of the engine's 10.00 ms")
