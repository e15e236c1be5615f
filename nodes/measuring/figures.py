"""Numbers of samples: percentiles, their confidence intervals, and how steady the samples are. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, lgamma, log
from typing import Any

import numpy as np

LEAST: Mapping[str, int] = {"p90": 10, "p95": 20, "p99": 100, "p99.9": 10_000}
"""A percentile is told from so many samples on: below, it would be the maximum by another name."""
CONFIDENCE = 0.95
NS_PER_MS = 1e6


def summary(samples_ns: Sequence[int]) -> dict[str, Any]:
    """Figures in milliseconds of durations in nanoseconds; ValueError where there are none.

    What the number of samples does not allow is None. `variation` is the coefficient of variance: the standard
    deviation over the mean.
    """
    if not len(samples_ns):
        raise ValueError("there are no samples; measure something first")
    ms = np.sort(np.asarray(samples_ns, np.float64)) / NS_PER_MS
    n, mean = len(ms), float(ms.mean())
    return {
        "n": n,
        "median": float(np.median(ms)),
        "median_interval": interval(ms, 0.5),
        **{name: percentile(ms, float(name[1:])) for name in LEAST},
        "p99_interval": interval(ms, 0.99),
        "min": float(ms[0]),
        "max": float(ms[-1]),
        "mean": mean,
        "variation": float(ms.std(ddof=1)) / mean if n > 1 and mean > 0 else None,
    }


def percentile(ordered: Sequence[float] | Any, share: float) -> float | None:
    """The percentile `share` (0..100), linear between samples; None where there are too few for it."""
    least = LEAST.get(f"p{share:g}", 1)
    return float(np.percentile(ordered, share)) if len(ordered) >= least else None


def interval(ordered: Sequence[float] | Any, quantile: float) -> tuple[float, float] | None:
    """95 % confidence interval of a quantile (0..1), of samples in order; None where there are too few.

    Order statistics, whatever the distribution: the number of samples below the true quantile is binomial (David and
    Nagaraja, Order Statistics, 7.1). Samples that depend on each other, as those of a throttling machine, make it too
    narrow.
    """
    ranks = interval_ranks(len(ordered), quantile)
    return None if ranks is None else (float(ordered[ranks[0]]), float(ordered[ranks[1]]))


def interval_ranks(n: int, quantile: float) -> tuple[int, int] | None:
    """Places (from 0) of the two samples that bound the quantile: at most 2.5 % chance beyond each of them."""
    tail = (1 - CONFIDENCE) / 2
    below = np.cumsum(_binomial(n, quantile))
    # The k-th smallest (from 1) lies above the quantile with the chance that fewer than k samples lie below it.
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return (low - 1, high - 1) if low >= 1 and high <= n else None


def _binomial(n: int, p: float) -> list[float]:
    """Chance of k successes of n, for k from 0 to n."""
    return [exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p))
            for k in range(n + 1)]  # fmt: skip


def warnings(
    pre: Mapping[str, Any], engine: Mapping[str, Any], post: Mapping[str, Any], enqueue: Mapping[str, Any] | None = None
) -> list[str]:
    """What makes the figures of one model doubtful, or shows where its time goes; limits as those of trtexec."""
    told = []
    variation = engine["variation"]
    if variation is not None and variation > 0.025:
        told.append(
            f"unsteady: the engine's time varies by {variation:.1%} (over 2.5 %): compare medians and their "
            "intervals; free the machine, fix its clocks"
        )
    host = pre["median"] + post["median"]
    if host > 0.8 * engine["median"]:
        told.append(
            f"host-bound: {host:.2f} ms before and after the engine, {engine['median']:.2f} ms in it: "
            "a faster engine alone gains little"
        )
    if enqueue is not None and enqueue["median"] > 0.8 * engine["median"]:
        told.append(
            f"enqueue-bound: {enqueue['median']:.2f} of the engine's {engine['median']:.2f} ms go into submitting "
            "its work: use a CUDA graph or larger batches"
        )
    return told
