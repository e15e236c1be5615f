"""The card tells of the files that are there, and of no others."""

from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "engines" / "shipped").glob("street_*.onnx"))


@pytest.mark.skipif(not SHIPPED, reason="no networks of the street in engines/shipped; make them: python main.py train")
def test_the_card_names_the_files_by_their_sha256():
    card = (ROOT / "docs" / "models.md").read_text()
    assert {path.name for path in SHIPPED if sha256(path.read_bytes()).hexdigest() not in card} == set()


@pytest.mark.skipif(not SHIPPED, reason="no networks of the street in engines/shipped; make them: python main.py train")
def test_both_files_together_are_small_enough_to_ship():
    assert sum(path.stat().st_size for path in SHIPPED) < 10_000_000
