"""Video: frames, times, and what is said of files that are none."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from graph import EndOfStream
from nodes.video import Video, shown


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """20 frames of 64 x 48 at 25 a second; each is as bright as its number times 10, and red."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for i in range(20):
        writer.write(np.full((48, 64, 3), (0, 0, 10 * i), np.uint8))
    writer.release()
    return path


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


def test_a_truncated_file_ends_with_a_warning(tmp_path, caplog):
    path = tmp_path / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    noise = np.random.default_rng(1)
    for _ in range(20):
        writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    frames = played(Video(str(path), realtime=False))
    assert 5 < len(frames) < 15
    assert "of the 20 frames that it announces; it is damaged or cut off" in caplog.text


def test_a_file_without_a_frame_is_an_error(tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(bytes(range(256)) * 40)
    node = Video(str(path))
    with pytest.raises(ValueError, match=r"noise.mp4: cannot be opened as a video; is it complete"):
        node.setup()
    node.close()


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
    with pytest.raises(ValueError, match="webcam 77: cannot be opened; there is: "):
        node.setup()
    node.close()


def test_passwords_are_not_shown():
    assert shown("rtsp://me:secret@10.0.0.1/live") == "rtsp://***@10.0.0.1/live"


@pytest.mark.data
def test_a_real_video_has_all_its_frames(data):
    assert len(played(Video(str(data / "videos/vtest_480x360.avi"), realtime=False), most=2000)) == 795
