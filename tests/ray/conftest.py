"""A cluster of three machines, which are three raylets on this one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

STORE_BYTES = 160 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster that all tests share."""
    with _cluster() as made:
        yield made


@pytest.fixture
def breakable() -> Iterator[Any]:
    """A cluster of one's own. Ray goes on placing actors on a dead machine for seconds, which others would feel."""
    with _cluster() as made:
        yield made


@contextmanager
def _cluster() -> Iterator[Any]:
    """A head, on which the tests run, and two machines with a `place` each."""
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES})
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=STORE_BYTES, resources={"place": 1})
        made.wait_for_nodes()
        try:
            yield made
        finally:
            made.shutdown()
