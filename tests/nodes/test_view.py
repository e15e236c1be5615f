"""View: what ends up in the video and the pictures, at which rate, size and time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from graph import Stamp
from nodes.messages import DepthMap, Detections, Frame, Hazard, Hazards, Utterance
from nodes.view import View, _hazard_mark

SIZE = (320, 240)
GROUND = 60


def frame(size_wh: tuple[int, int] = SIZE) -> Frame:
    return Frame(np.full((size_wh[1], size_wh[0], 3), GROUND, np.uint8))


def hazards() -> Hazards:
    return Hazards((Hazard("person", 0, (100, 60, 180, 200), 0.9, 1, 2.1),), SIZE)


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    n = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(n, 4)
    return Detections(xyxy, np.full(n, 0.5, np.float32), np.zeros(n, np.int32), ("cat",), SIZE)


def depth() -> DepthMap:
    return DepthMap(np.linspace(1, 9, 48 * 64, dtype=np.float32).reshape(48, 64), "metres", SIZE)


def stamp(i: int, step_ms: float = 100) -> Stamp:
    return Stamp("camera", i, round(i * step_ms * 1e6), offset_ns=1)


def size_wh(video: cv2.VideoCapture) -> tuple[float, float]:
    return video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)


def pictures(path: Path) -> list[np.ndarray]:
    """All pictures of a video, RGB."""
    video, found = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        found.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return found


def is_drawn_on(part: np.ndarray) -> bool:
    return bool(np.abs(part.astype(int) - GROUND).max() > 60)


def shown(path: Path, n: int, **inputs) -> cv2.VideoCapture:
    node = View(str(path))
    node.setup()
    for i in range(n):
        node.process(frame(), stamp(i), **inputs)
    assert not path.exists()
    node.close()
    return cv2.VideoCapture(str(path))


def test_a_video_has_all_frames_at_the_rate_of_the_captures(tmp_path):
    video = shown(tmp_path / "new" / "a.mp4", 35, hazards=hazards())
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 35
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert size_wh(video) == SIZE
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_with_depth_there_is_a_second_picture_beside_it(tmp_path):
    assert size_wh(shown(tmp_path / "a.mp4", 20, depth=depth())) == (640, 240)


@pytest.mark.parametrize(("first", "size"), [(20, (640, 240)), (40, SIZE)])
def test_depth_that_comes_late_never_changes_the_size(tmp_path, first, size):
    node = View(str(tmp_path / "a.mp4"))
    for i in range(50):
        node.process(frame(), stamp(i), depth=depth() if i >= first else None)
    node.close()
    drawn = pictures(tmp_path / "a.mp4")
    assert len(drawn) == 50
    assert drawn[0].shape[1::-1] == size
    assert is_drawn_on(drawn[49][10:70, -90:-10])
    assert not is_drawn_on(drawn[0][100:200, 100:200])


def test_a_gap_in_time_is_a_picture_that_stands(tmp_path):
    node = View(str(tmp_path / "a.mp4"))
    for t_ms in [*range(0, 2000, 100), 5000]:
        node.process(frame(), Stamp("camera", 0, t_ms * 10**6))
    node.close()
    assert len(pictures(tmp_path / "a.mp4")) == 51


def test_a_leap_of_the_clock_is_no_hour_of_standing(tmp_path):
    node = View(str(tmp_path / "a.mp4"))
    for t_s in [*range(40), 7200, 7201, 10, 11]:
        node.process(frame(), Stamp("camera", 0, t_s * 10**9))
    node.close()
    assert len(pictures(tmp_path / "a.mp4")) == 44


def test_frames_of_other_sizes_are_fitted_into_that_of_the_first(tmp_path):
    node = View(str(tmp_path / "a.mp4"))
    for i, size in enumerate([SIZE, (100, 300), (1, 1), (2000, 100)]):
        node.process(frame(size), stamp(i), detections=detections((0, 0, *size)))
    node.close()
    assert [p.shape for p in pictures(tmp_path / "a.mp4")] == [(240, 320, 3)] * 4


@pytest.mark.parametrize(
    ("size", "video"), [((2560, 1920), (1280, 960)), ((641, 481), (640, 480)), ((1, 1), (2, 2)), ((64, 47), (64, 48))]
)
def test_pictures_are_no_wider_than_wanted_and_even(tmp_path, size, video):
    node = View(str(tmp_path / "a.mp4"))
    node.process(frame(size), stamp(0))
    node.close()
    assert pictures(tmp_path / "a.mp4")[0].shape[1::-1] == video


def test_a_run_of_few_frames_is_written_too_and_none_makes_no_file(tmp_path):
    assert shown(tmp_path / "a.mp4", 2).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    View(str(tmp_path / "b.mp4")).close()
    assert not (tmp_path / "b.mp4").exists()


def test_pngs_are_named_by_the_number_of_the_frame(tmp_path):
    node = View(str(tmp_path / "a.mp4"), png_every=5)
    for i in range(20):
        node.process(frame(), stamp(3 * i), depth=depth() if i > 3 else None)
    node.close()
    names = sorted(p.name for p in (tmp_path / "frames").iterdir())
    assert names == ["000000.png", "000015.png", "000030.png", "000045.png"]
    assert cv2.imread(str(tmp_path / "frames" / "000000.png")).shape == (240, 640, 3)


def test_the_input_is_not_drawn_on(tmp_path):
    f = frame()
    node = View(str(tmp_path / "a.mp4"))
    node.process(f, stamp(0), hazards=hazards(), utterance=Utterance("person"))
    node.close()
    assert (f.pixels == GROUND).all()


def test_words_stand_for_some_seconds_after_they_came_however_often_they_are_handed_in(tmp_path):
    node, words = View(str(tmp_path / "a.mp4")), Utterance("person, two metres")
    for i in range(60):
        node.process(frame(), stamp(i), utterance=words if i >= 10 else None)
    node.close()
    with_words = [i for i, p in enumerate(pictures(tmp_path / "a.mp4")) if is_drawn_on(p[215:235, 100:220])]
    assert with_words == list(range(10, 35))


def test_detections_are_drawn_where_there_are_no_hazards(tmp_path):
    shown(tmp_path / "a.mp4", 3, detections=detections((10, 50, 90, 120)))
    assert is_drawn_on(pictures(tmp_path / "a.mp4")[0][80:100, 7:14])


def test_hazards_are_drawn_instead_of_detections(tmp_path):
    shown(tmp_path / "a.mp4", 3, detections=detections((10, 50, 90, 120)), hazards=Hazards((), SIZE))
    assert not is_drawn_on(pictures(tmp_path / "a.mp4")[0][40:])


def test_the_urgent_tells_how_soon_it_will_be_here():
    box = np.array([10.0, 20, 30, 40])
    labels = [
        _hazard_mark(Hazard("person", 0, (0, 0, 1, 1), 0.9, priority, 3.3, ttc_s=ttc), box).label
        for priority, ttc in ((1, 1.24), (1, float("inf")), (2, 1.24))
    ]
    assert labels == ["person 3.3 m, 1.2 s", "person 3.3 m", "person 3.3 m"]


def test_boxes_that_are_no_numbers_or_far_outside_do_no_harm(tmp_path):
    video = shown(tmp_path / "a.mp4", 1, detections=detections((np.nan, 0, np.inf, 10), (-1e12, 0, 1e12, 10)))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 1


def test_gray_frames_are_shown_as_they_are(tmp_path):
    node = View(str(tmp_path / "a.mp4"))
    node.process(Frame(np.full((240, 320), 200, np.uint8)), stamp(0))
    node.close()
    assert pictures(tmp_path / "a.mp4")[0][120, 160].tolist() == pytest.approx([200] * 3, abs=6)


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    node = View(str(tmp_path / "out" / "a.mp4"))
    with pytest.raises(FileExistsError, match="out"):
        node.setup()
    node.close()


def test_an_encoder_that_this_opencv_lacks_is_named(tmp_path):
    path = tmp_path / "a.xyz"
    node = View(str(path))
    node.process(frame(), stamp(0))
    with pytest.raises(
        OSError, match=r"cannot write .*a\.xyz: no encoder for mp4v in this OpenCV, or no such folder to"
    ):
        node.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"path": "a.mp4", "png_every": -1}, "png_every: is -1; expected a whole number: 0 for none, 1 for all"),
        ({"path": None, "png_every": 5}, "png_every: is 5, but path is null; set path, beside which they go"),
        ({"path": "a.mp4", "max_width": 10}, "max_width: is 10; expected a number, 64 or more"),
        ({"path": "a.mp4", "codec": "h265"}, "codec: is 'h265'; expected one of mp4v, avc1"),
    ],
)
def test_mistakes_show_before_anything_is_opened(params, message):
    assert list(View.check(params)) == [message]
