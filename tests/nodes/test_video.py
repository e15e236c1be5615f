"""Video: frames, their times, and what is said of parameters that make no sense. Damaged files: tests/faults."""

import time
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from graph import EndOfStream
from nodes.ops.capture import shown
from nodes.video import Video
from tests import media


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return media.clip(tmp_path / "clip.avi")


def played(node: Video, most: int = 1000):
    node.setup()
    frames = []
    try:
        while len(frames) < most:
            frames.append(node.process())
    except EndOfStream:
        pass
    node.close()
    return frames


def test_a_lossless_file_gives_every_frame_with_media_time(clip):
    frames = played(Video(str(clip), realtime=False))
    assert [f.seq for f in frames] == list(range(20))
    assert [f.captured_ns for f in frames] == [i * 40_000_000 for i in range(20)]
    assert frames[0].message.size_wh == (64, 48)
    assert frames[0].message.camera.size_wh == (64, 48)


def test_pixels_are_rgb(clip):
    red, green, blue = played(Video(str(clip), realtime=False))[15].message.pixels.reshape(-1, 3).mean(axis=0)
    assert red > 120
    assert max(green, blue) < 30


def test_a_live_file_is_paced_and_stamped_with_the_time_at_which_a_camera_would_have_seen_it(clip):
    started = time.monotonic_ns()
    frames = played(Video(str(clip)), most=6)
    steps = np.diff([f.captured_ns for f in frames]) / 40e6
    assert frames[0].captured_ns >= started
    assert np.allclose(steps, np.round(steps), atol=1e-3)
    assert time.monotonic_ns() >= frames[-1].captured_ns


def test_what_nobody_fetched_in_time_is_lost_and_shows_as_a_gap(clip):
    node = Video(str(clip))
    node.setup()
    first = node.process()
    time.sleep(0.25)
    second = node.process()
    node.close()
    assert second.seq - first.seq >= 5
    assert second.captured_ns - first.captured_ns == (second.seq - first.seq) * 40_000_000


def test_loop_goes_on_with_time_and_numbers(clip):
    frames = played(Video(str(clip), realtime=False, loop=True), most=45)
    assert [f.seq for f in frames] == list(range(45))
    assert frames[44].captured_ns == 44 * 40_000_000
    assert (frames[44].message.pixels == frames[4].message.pixels).all()


def test_interrupt_wakes_it_up(clip):
    node = Video(str(clip))
    node.setup()
    node.process()
    node.interrupt()
    with pytest.raises(EndOfStream):
        node.process()
    node.close()


def test_the_plan_knows_the_size_of_a_file(clip):
    assert Video.emits({"path": str(clip)}, {})[""]["size_wh"] == (64, 48)
    assert "size_wh" not in Video.emits({"index": 0}, {})[""]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "path: no video given; type source=video source.path=clip.mp4, or source=webcam"),
        ({"path": "clip.mp4", "index": 0}, "index: is 0, but path is 'clip.mp4'; expected one of the two"),
        ({"index": 0, "hfov_deg": 200}, "hfov_deg: is 200; expected a number, 1 to 179"),
    ],
)
def test_mistakes_show_before_anything_is_opened(params, message):
    assert message in list(Video.check(params))


def test_a_missing_file_is_named_with_the_nearest_there_is(clip):
    wrong = clip.with_name("clib.avi")
    assert list(Video.check({"path": str(wrong)})) == [f"path: there is no file {wrong}; did you mean 'clip.avi'?"]
    assert "is a folder; expected a video file" in next(iter(Video.check({"path": str(clip.parent)})))


def test_a_webcam_that_is_not_there_is_named():
    node = Video(index=77)
    with pytest.raises(ConnectionError, match="webcam 77: cannot be opened; there is: "):
        node.setup()
    node.close()


def test_passwords_are_not_shown():
    assert shown("rtsp://me:secret@10.0.0.1/live") == "rtsp://***@10.0.0.1/live"


@pytest.mark.data
def test_a_real_video_has_all_its_frames(data):
    assert len(played(Video(str(data / "videos/vtest_480x360.avi"), realtime=False), most=2000)) == 795
