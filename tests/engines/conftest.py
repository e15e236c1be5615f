"""Fixtures of the tests of engines."""

import pytest


@pytest.fixture(scope="session")
def rtx():
    """TensorRT for RTX, which builds without a GPU; skips where it is not installed."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")
    from engines.trt.api import open_package

    return open_package("tensorrt_rtx")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A folder for what is built, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cauce" / "artifacts"
