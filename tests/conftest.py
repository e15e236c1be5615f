"""Fixtures that all tests share."""

import os
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
