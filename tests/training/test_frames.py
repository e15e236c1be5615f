"""Frames are drawn once, the same each time, and hold what a network can be asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("numba", reason="the street is drawn with numba")

from nodes.training import frames
from nodes.training.frames import FARTHEST_M, SHOT_PX, SPLITS, FrameSettings
from tests.training.fake_street import FakeScene, FakeStudio, truth_of

SMALL = FrameSettings(scenes=3, per_scene=4, detector_px=64, depth_px=64)


@pytest.fixture(autouse=True)
def street(monkeypatch):
    monkeypatch.setattr(frames, "Scene", FakeScene)
    monkeypatch.setattr(frames, "Studio", FakeStudio)
    monkeypatch.setattr(frames, "ProcessPoolExecutor", lambda n, mp_context: ThreadPoolExecutor(1))
    FakeStudio.drawn = 0


def drawn(folder, settings=SMALL, split="train"):
    told = []
    paths = frames.render(split, settings, folder, workers=1, progress=lambda done, total: told.append((done, total)))
    return paths, told


def test_the_same_settings_give_the_same_frames(tmp_path):
    first, second = (frames.load(drawn(tmp_path / name)[0]) for name in ("a", "b"))
    assert len(first) == SMALL.scenes * SMALL.per_scene
    for name in ("images", "small", "depth", "boxes"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_what_is_there_is_not_drawn_again(tmp_path):
    paths, told = drawn(tmp_path)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    paths[1].unlink()
    before = FakeStudio.drawn
    _, told = drawn(tmp_path)
    assert (FakeStudio.drawn - before, told) == (SMALL.per_scene, [(2, 3), (3, 3)])


def test_other_settings_have_another_folder(tmp_path):
    one, other = (drawn(tmp_path, FrameSettings(1, 1, 64, 64, night))[0][0] for night in (0.1, 0.2))
    assert one.parent != other.parent


def test_an_interrupted_frame_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(frames.np, "savez", lambda file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawn(tmp_path)
    assert not list(tmp_path.rglob("*.npz"))


def test_no_scene_is_in_two_splits():
    seeds = {split: {frames.scene_of(split, i, SMALL).seed for i in range(500)} for split in SPLITS}
    assert all(not seeds[a] & seeds[b] for a in seeds for b in seeds if a != b)


def test_some_scenes_are_at_night_and_some_in_the_rain():
    scenes = [frames.scene_of("train", i, SMALL) for i in range(400)]
    for share in ([s.night > 0 for s in scenes], [s.rain > 0 for s in scenes]):
        assert 0.10 < np.mean(share) < 0.20


def test_moments_are_spread_over_the_scene():
    times = frames.times_of(FakeScene.random(5), 6)
    assert [int(t // 10) for t in times] == [0, 1, 2, 3, 4, 5]


def test_what_is_hidden_or_tiny_is_no_label():
    boxes = [[10, 20, 110, 220], [5, 5, 8, 200], [0, 0, 300, 300]]
    found = frames.labels(truth_of(boxes, [0, 1, 1], [0.25, 1.0, 0.24], SHOT_PX))
    assert found.tolist() == [pytest.approx([0, 10 / SHOT_PX, 20 / SHOT_PX, 110 / SHOT_PX, 220 / SHOT_PX])]


def test_boxes_name_their_frame_over_all_files(tmp_path):
    loaded = frames.load(drawn(tmp_path)[0])
    assert sorted(set(loaded.boxes[:, 0].astype(int))) == list(range(12))
    assert (loaded.boxes[:, 1] == 0).all()


def test_depth_is_that_of_the_middle_of_each_pixel(tmp_path):
    """Were it taken from a corner, the ground would be taught farther than it is."""
    depth = frames.load(drawn(tmp_path)[0]).depth[0].astype(float)
    half = SMALL.depth_px // 2
    middles = (np.arange(half) + 0.5) * SHOT_PX / half
    near = middles < FARTHEST_M - 1
    assert depth[half // 2, near] == pytest.approx(middles[near], abs=0.6)


def test_the_sky_is_farthest_and_outside_of_the_lens_is_unknown(tmp_path):
    depth = frames.load(drawn(tmp_path)[0]).depth[0]
    assert (depth[0] == FARTHEST_M).all()
    assert (depth[-1] == 0).all()
