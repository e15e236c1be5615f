"""Memory order that only one side pays for."""

import platform

import pytest

from graph.transport import fence


@pytest.fixture
def anew():
    """Nothing is known of this system yet, nor afterwards."""
    known = (fence.is_possible, fence.join, fence._membarrier)
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


@pytest.mark.usefixtures("anew")
def test_linux_has_it_and_it_can_be_called():
    assert fence.is_possible()
    fence.join()
    fence.put_in_order()


@pytest.mark.usefixtures("anew")
def test_a_processor_whose_calls_are_not_known_does_without(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    assert not fence.is_possible()
    fence.join()
    fence.put_in_order()
