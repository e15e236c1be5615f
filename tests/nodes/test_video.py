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


def test_a_file_of_varying_rate_keeps_its_own_times_also_when_it_begins_again(tmp_path):
    path = media.retime(media.clip(tmp_path / "phone.mp4"), [(10, 0.5), (10, 1.5)])
    frames = played(Video(str(path), realtime=False, loop=True), most=22)
    steps_ms = np.diff([f.captured_ns for f in frames]) / 1e6
    assert steps_ms.tolist() == [20] * 10 + [60] * 9 + [40, 20]


def test_a_given_rate_takes_the_place_of_the_times_in_the_file(clip):
    frames = played(Video(str(clip), realtime=False, fps=10))
    assert [f.captured_ns for f in frames] == [i * 100_000_000 for i in range(20)]


def test_start_frame_keeps_the_numbers_and_times_of_the_file(clip):
    frames = played(Video(str(clip), realtime=False, start_frame=15))
    assert [f.seq for f in frames] == [15, 16, 17, 18, 19]
    assert frames[0].captured_ns == 15 * 40_000_000
    assert frames[0].message.pixels[0, 0, 0] == pytest.approx(150, abs=10)


def test_start_frame_beyond_the_end_is_an_error(clip):
    with pytest.raises(ValueError, match=r"clip.avi: start_frame is 20, but there are 20 frames"):
        Video(str(clip), start_frame=20).setup()


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


def test_a_loop_in_real_time_goes_on_behind_a_slow_reader(clip):
    node = Video(str(clip), loop=True)
    node.setup()
    numbers = []
    for _ in range(4):
        numbers.append(node.process().seq)
        time.sleep(0.3)
    node.close()
    assert numbers[-1] >= 20
    assert (np.diff(numbers) >= 6).all()


def test_interrupt_wakes_up_who_waits_for_the_next_frame(tmp_path):
    node = Video(str(media.clip(tmp_path / "slow.avi", fps=0.1)))
    node.setup()
    node.process()
    Timer(0.05, node.interrupt).start()
    with pytest.raises(EndOfStream):
        node.process()
    with pytest.raises(EndOfStream):
        node.process()
    node.close()


def test_facts_tell_what_is_read_and_how_much_of_it_there_was(clip):
    node = Video(str(clip), realtime=False)
    node.setup()
    facts = {"name": str(clip), "size": "64x48", "fps": "25", "announced": "20"}
    assert node.facts() == {"source": facts}
    assert media.exhaust(node) == 20
    assert node.facts() == {"source": {**facts, "frames": "20"}}
    node.close()


def test_the_plan_knows_the_size_of_a_file(clip):
    assert Video.emits({"path": str(clip)}, {})[""]["size_wh"] == (64, 48)
    assert "size_wh" not in Video.emits({"index": 0}, {})[""]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "path: no video given; type graph=video source.path=clip.mp4, or graph=video source=webcam"),
        ({"path": "clip.mp4", "index": 0}, "index: is 0, but path is 'clip.mp4'; expected one of the two"),
        ({"index": -1}, "index: is -1; expected a whole number, 0 or more"),
        ({"index": 0, "realtime": False}, "realtime: is False, but a camera cannot wait; expected True, or a file"),
        ({"index": 0, "fps": 0}, "fps: is 0; expected a number, 0.01 to 1000"),
        ({"index": 0, "size_wh": [640]}, "size_wh: is [640]; expected width and height in pixels, such as [640, 480]"),
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


def test_all_mistakes_are_told_at_once(tmp_path):
    params = {"path": str(tmp_path / "no.mp4"), "index": 0, "start_frame": 1.5, "hfov_deg": "wide"}
    keys = [problem.split(":")[0] for problem in Video.check(params)]
    assert keys == ["index", "path", "start_frame", "hfov_deg"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rtsp://me:secret@10.0.0.1/live", "rtsp://***@10.0.0.1/live"),
        ("http://me:sec@ret@cam/live?user=me&pwd=secret", "http://***@cam/live?***"),
        ("clips/what?.mp4", "clips/what?.mp4"),
    ],
)
def test_passwords_are_not_shown(path, text):
    assert shown(path) == text


@pytest.mark.data
def test_a_real_video_has_all_its_frames(data):
    assert len(played(Video(str(data / "videos/vtest_480x360.avi"), realtime=False), most=2000)) == 795


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "size_wh", "step_ms"),
    [("egoblur_aria_gen2_table.mp4", (2560, 1920), 100), ("vtest_480x360.avi", (480, 360), 100)],
)
def test_real_videos_tell_their_size_and_even_times(data, name, size_wh, step_ms):
    path = str(data / "videos" / name)
    frames = played(Video(path, realtime=False), most=14)
    assert Video.emits({"path": path}, {})[""]["size_wh"] == size_wh == frames[0].message.size_wh
    assert [f.captured_ns for f in frames] == [i * step_ms * 1_000_000 for i in range(14)]
