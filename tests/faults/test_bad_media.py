"""Videos, cameras and images that are damaged, absent or break off: what is said, and that nothing hangs."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from nodes.images import Images, is_cut_off
from nodes.video import Video
from tests import media


def taken(node: Video | Images) -> int:
    """How many frames there are."""
    node.setup()
    try:
        return media.exhaust(node)
    finally:
        node.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.jpg"), media.noise(i))
    return tmp_path


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 40])
def test_a_file_that_is_no_video_is_an_error(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    message = f"{path}: cannot be opened as a video; is it complete, and a format that FFmpeg reads?"
    with pytest.raises(ValueError, match=re.escape(message)):
        taken(Video(str(path)))
    assert list(Video.check({"path": str(path)})) == [f"path: {message}"]
    assert "size_wh" not in Video.emits({"path": str(path)}, {})[""]


def test_an_mp4_without_its_end_is_an_error(tmp_path):
    path = media.cut(media.clip(tmp_path / "clip.mp4", picture=media.noise))
    with pytest.raises(ValueError, match="cannot be opened as a video; is it complete"):
        taken(Video(str(path)))


def test_a_file_without_one_frame_is_an_error(tmp_path):
    path = media.clip(tmp_path / "clip.avi", picture=media.noise)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(ValueError, match=re.escape(f"{path}: not one frame could be decoded; is it a complete video?")):
        taken(Video(str(path), realtime=False))


def test_a_file_that_is_cut_off_ends_with_a_warning_and_a_fact(tmp_path, caplog):
    path = media.cut(media.clip(tmp_path / "clip.avi", picture=media.noise))
    node = Video(str(path), realtime=False)
    node.setup()
    n = media.exhaust(node)
    assert 5 < n < 15
    expected = f"{path}: ended after {n} of the 20 frames that it announces; it is damaged or cut off"
    assert [record.message for record in caplog.records] == [expected]
    assert (node.facts()["source"]["announced"], node.facts()["source"]["frames"]) == ("20", str(n))
    node.close()


def test_a_damaged_file_that_loops_warns_once(tmp_path, caplog):
    path = media.cut(media.clip(tmp_path / "clip.avi", picture=media.noise))
    node = Video(str(path), realtime=False, loop=True)
    node.setup()
    assert [node.process().seq for _ in range(50)] == list(range(50))
    node.close()
    assert len(caplog.records) == 1


def test_a_file_that_takes_longer_to_decode_than_to_play_is_played_more_slowly(tmp_path, caplog):
    path = media.clip(tmp_path / "clip.avi", 8, picture=lambda i: np.tile(media.noise(i), (3, 3, 1)))
    node = Video(str(path), fps=1000, loop=True)
    node.setup()
    while not caplog.records:
        node.process()
    frames = [node.process() for _ in range(3)]
    node.close()
    assert (np.diff([f.captured_ns for f in frames]) > 0).all()
    expected = f"{path}: decoding takes longer than playing; it is played more slowly"
    assert [record.message for record in caplog.records] == [expected]


def test_a_network_camera_that_breaks_off_is_opened_again(tmp_path, caplog):
    media.clip(tmp_path / "clip.avi", 5)
    with media.Server(tmp_path) as server:
        node = Video(f"http://me:secret@{server.address}/clip.avi", reconnects=1)
        node.setup()
        frames = [node.process() for _ in range(8)]
        node.close()
    assert all(f.seq is None for f in frames)
    assert (np.diff([f.captured_ns for f in frames]) > 0).all()
    expected = f"http://***@{server.address}/clip.avi: gives no frame; opening it again in 0.5 s"
    assert [record.message for record in caplog.records] == [expected]


def test_a_network_camera_that_stays_away_is_an_error_without_its_password(tmp_path):
    media.clip(tmp_path / "clip.avi", 2)
    with media.Server(tmp_path) as server:
        node = Video(f"http://me:secret@{server.address}/clip.avi", reconnects=1)
        node.setup()
        node.process()
        node.process()
    message = f"http://***@{server.address}/clip.avi: gives no more frames; is it connected, and not in use elsewhere?"
    with pytest.raises(ConnectionError, match=re.escape(message)):
        node.process()
    node.close()


def test_a_network_camera_that_is_not_there_is_an_error_without_its_password(tmp_path):
    with media.Server(tmp_path) as server:
        pass
    node = Video(f"http://me:secret@{server.address}/live")
    message = f"http://***@{server.address}/live: cannot be reached; check the address, the network and the password"
    with pytest.raises(ConnectionError, match=re.escape(message)):
        node.setup()
    node.close()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"hello", "it is no image that OpenCV can read"),
        (b"\xff\xd8abc", "the image is cut off"),
        (b"\x89PNGabc", "the image is cut off"),
    ],
)
def test_an_unreadable_image_ends_the_run_and_is_named(folder, content, why):
    (folder / "1.jpg").write_bytes(content)
    message = f"{folder / '1.jpg'}: {why}; remove it, or set source.on_unreadable=skip"
    with pytest.raises(ValueError, match=re.escape(message)):
        taken(Images(str(folder), realtime=False))


def test_unreadable_images_are_skipped_where_asked_with_one_warning_each(folder, caplog):
    media.cut(folder / "1.jpg")
    node = Images(str(folder), realtime=False, on_unreadable="skip", loop=True)
    node.setup()
    assert [node.process().seq for _ in range(5)] == [0, 2, 3, 5, 6]
    assert [record.message for record in caplog.records] == [f"{folder / '1.jpg'}: the image is cut off; skipped"]
    assert node.facts() == {"source": {"name": str(folder), "images": "3", "unreadable": "1"}}
    node.close()


@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_without_one_readable_image_is_an_error(folder, loop):
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="not one of 3 images can be read"):
        taken(Images(str(folder), realtime=False, on_unreadable="skip", loop=loop))


def test_the_end_of_a_preview_inside_a_jpeg_is_not_taken_for_its_end():
    preview, photo = (cv2.imencode(".jpg", picture(1))[1].tobytes() for picture in (media.red, media.noise))
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2) + preview
    assert b"\xff\xd9" in segment
    whole = photo[:2] + segment + photo[2:]
    assert not is_cut_off(whole)
    assert not is_cut_off(whole + b"what cameras append")
    assert is_cut_off(whole[:-500])
