"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings; skips where it is absent."""
    folder = Path(os.environ.get("CAUCE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "SOURCES.tsv").is_file():
        pytest.skip(f"no real recordings in {folder}; set CAUCE_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_user_cache(tmp_path_factory) -> Iterator[None]:
    """What the tests make and keep is neither found in the user's cache nor left there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
