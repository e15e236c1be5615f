import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from graph import EndOfStream
from nodes.images import Images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((24, 32, 3), (0, 0, 20 * i), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def shown(node: Images, most: int = 100):
    node.setup()
    frames = []
    try:
        while len(frames) < most:
            frames.append(node.process())
    except EndOfStream:
        pass
    node.close()
    return frames


def test_images_come_in_the_order_that_people_count_in(folder):
    frames = shown(Images(str(folder), realtime=False))
    assert [int(f.message.pixels[0, 0, 0]) for f in frames] == [20, 40, 200]
    assert [f.captured_ns for f in frames] == [0, 100_000_000, 200_000_000]


def test_a_pattern_chooses(folder):
    assert len(shown(Images(str(folder / "1*.png"), realtime=False))) == 2


def test_loop_begins_again(folder):
    frames = shown(Images(str(folder), realtime=False, loop=True), most=5)
    assert [f.seq for f in frames] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"hello", "it is no image that OpenCV can read"),
        (b"\xff\xd8abc", "the JPEG is cut off"),
    ],
)
def test_an_unreadable_image_is_named(folder, content, why):
    (folder / "3.jpg").write_bytes(content)
    node = Images(str(folder), realtime=False)
    message = f"{folder / '3.jpg'}: {why}; remove it, or set source.on_unreadable=skip"
    with pytest.raises(ValueError, match=re.escape(message)):
        shown(node)


def test_unreadable_images_may_be_skipped(folder, caplog):
    (folder / "3.jpg").write_bytes(b"")
    assert len(shown(Images(str(folder), realtime=False, on_unreadable="skip"))) == 3
    assert "the file is empty; skipped" in caplog.text


def test_mistakes_show_before_anything_is_opened(tmp_path):
    assert "path: no images given" in next(iter(Images.check({})))
    assert f"path: there is no image in {tmp_path}" in next(iter(Images.check({"path": str(tmp_path)})))
