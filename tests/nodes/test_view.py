from pathlib import Path

import cv2
import numpy as np
import pytest

from graph import Stamp
from nodes.messages import DepthMap, Detections, Frame, Hazard, Hazards, Utterance
from nodes.ops import draw
from nodes.view import View

SIZE = (320, 240)


def frame() -> Frame:
    return Frame(np.full((240, 320, 3), 60, np.uint8))


def hazards() -> Hazards:
    return Hazards((Hazard("person", 0, (100, 60, 180, 200), 0.9, 1, 2.1),), SIZE)


def depth() -> DepthMap:
    return DepthMap(np.linspace(1, 9, 48 * 64, dtype=np.float32).reshape(48, 64), "metres", SIZE)


def shown(path: Path, n: int, step_ms: float = 100, **inputs) -> cv2.VideoCapture:
    node = View(str(path))
    for i in range(n):
        node.process(frame(), Stamp("camera", i, int(i * step_ms * 1e6)), **inputs)
    assert not path.exists()
    node.close()
    return cv2.VideoCapture(str(path))


def test_a_video_has_all_frames_at_the_rate_of_the_captures(tmp_path):
    video = shown(tmp_path / "a.mp4", 30, hazards=hazards())
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == SIZE
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_with_depth_there_is_a_second_picture_beside_it(tmp_path):
    video = shown(tmp_path / "a.mp4", 20, depth=depth())
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == 640


def test_a_gap_in_time_is_a_picture_that_stands(tmp_path):
    node = View(str(tmp_path / "a.mp4"))
    for t_ms in [*range(0, 2000, 100), 5000]:
        node.process(frame(), Stamp("camera", 0, t_ms * 10**6))
    node.close()
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 51


def test_a_run_of_few_frames_is_written_too_and_none_makes_no_file(tmp_path):
    assert shown(tmp_path / "a.mp4", 2).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    View(str(tmp_path / "b.mp4")).close()
    assert not (tmp_path / "b.mp4").exists()


def test_png_every(tmp_path):
    node = View(str(tmp_path / "a.mp4"), png_every=5)
    for i in range(20):
        node.process(frame(), Stamp("camera", i, i * 10**8), depth=depth() if i > 3 else None)
    node.close()
    names = sorted(p.name for p in (tmp_path / "frames").iterdir())
    assert names == ["000000.png", "000005.png", "000010.png", "000015.png"]
    assert cv2.imread(str(tmp_path / "frames" / "000000.png")).shape == (240, 320, 3)


def test_the_input_is_not_drawn_on():
    f = frame()
    View(None).process(f, Stamp("camera", 0, 0), hazards=hazards(), utterance=Utterance("person"))
    assert (f.pixels == 60).all()


def test_what_is_drawn_is_there():
    picture = np.full((240, 320, 3), 60, np.uint8)
    draw.box(picture, (100, 60, 180, 200), "person 2.1 m", draw.URGENT)
    assert np.abs(picture[120, 100].astype(int) - draw.URGENT).max() < 30
    draw.subtitle(picture, "persona, a dos metros, está aquí")
    assert (picture[-30:, 140:180] != 60).any()


def test_detections_are_drawn_where_there_are_no_hazards(tmp_path):
    d = Detections(
        np.array([[10, 10, 90, 90]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32), ("cat",), SIZE
    )
    video = shown(tmp_path / "a.mp4", 3, detections=d)
    _, picture = video.read()
    assert picture[50, 9:12].max() > 100


def test_near_is_bright_and_unknown_is_black():
    values = depth().values.copy()
    values[-1] = 0
    picture = draw.depth_picture(values, (64, 48), metres=True)
    assert picture[1].mean() > picture[40].mean() > picture[47].mean()
