"""Images of a folder: their order, times and kinds. Damaged ones: tests/faults."""

from pathlib import Path
from threading import Timer

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


def test_frames_are_rgb_or_gray_as_asked(folder):
    cv2.imwrite(str(folder / "20.png"), np.full((24, 32), 77, np.uint8))
    frames = shown(Images(str(folder), realtime=False))
    assert frames[2].message.pixels[0, 0].tolist() == [200, 0, 0]
    assert frames[3].message.pixels[0, 0].tolist() == [77, 77, 77]
    assert shown(Images(str(folder), realtime=False, colour="gray"))[3].message.pixels[0, 0] == 77
    assert Images.emits({}, {})[""] == {"channels": 3, "dtype": "uint8", "colour": "rgb", "upright": True}
    assert Images.emits({"colour": "gray"}, {})[""]["channels"] == 1


def test_each_image_has_the_camera_of_its_own_size(folder):
    cv2.imwrite(str(folder / "20.png"), np.zeros((48, 64, 3), np.uint8))
    frames = shown(Images(str(folder), realtime=False))
    assert [f.message.camera.size_wh for f in frames] == [(32, 24)] * 3 + [(64, 48)]


def test_in_real_time_an_image_counts_as_captured_when_it_is_due(folder):
    frames = shown(Images(str(folder), fps=50))
    assert (np.diff([f.captured_ns for f in frames]) >= 20_000_000 - 1).all()


def test_interrupt_ends_the_show(folder):
    node = Images(str(folder), fps=0.1)
    node.setup()
    node.process()
    Timer(0.05, node.interrupt).start()
    with pytest.raises(EndOfStream):
        node.process()
    node.close()


def test_mistakes_show_before_anything_is_opened(tmp_path):
    assert "path: no images given" in next(iter(Images.check({})))
    assert f"path: there is no image in {tmp_path}" in next(iter(Images.check({"path": str(tmp_path)})))
    problems = list(Images.check({"path": str(tmp_path), "fps": 0, "colour": "bgr", "on_unreadable": "ignore"}))
    assert problems[1:] == [
        "fps: is 0; expected a number, 0.01 to 1000",
        "colour: is 'bgr'; expected one of rgb, gray",
        "on_unreadable: is 'ignore'; expected one of stop, skip",
    ]


@pytest.mark.data
def test_all_real_photos_are_complete(data):
    assert len(shown(Images(str(data / "coco" / "images"), realtime=False))) == 64
