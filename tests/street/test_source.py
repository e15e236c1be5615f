"""The source as a node."""

from contextlib import suppress

import numpy as np
import pytest

from graph import EndOfStream
from nodes.street import Street, stage
from nodes.street.source import SCENES, Streams

SMALL = {"scene": {"seed": 1, "furnished": False, "duration_s": 1.0}, "size_px": 96, "fps": 10, "threads": 1}


def streams(**params) -> list[Streams]:
    node = Street(**{**SMALL, "realtime": False, **params})
    node.setup()
    out = []
    try:
        while True:
            out.append(node.process())
    except EndOfStream:
        return out
    finally:
        node.close()


def test_without_haste_every_frame_comes_with_the_scenes_own_times():
    out = streams()
    assert [s.rgb.seq for s in out] == list(range(10))
    assert [s.rgb.captured_ns for s in out] == [int(i * 1e8) for i in range(10)]
    for s in out:
        assert s.truth.captured_ns == s.rgb.captured_ns
        assert (s.depth, s.slam_left, s.slam_right, s.imu) == (None, None, None, None)


def test_frames_are_what_the_contract_says():
    contracts = Street.emits(SMALL, {})
    (first, *_) = streams(slam_fps=5, imu_hz=100, true_depth=True)
    for name in ("rgb", "slam_left", "slam_right"):
        assert dict(getattr(first, name).message.contract()) == dict(contracts[name])
    assert first.depth.message.values.shape == (48, 48)
    assert np.isnan(first.depth.message.values).any()  # sky


def test_side_cameras_and_samples_come_at_their_own_rates():
    out = streams(slam_fps=5, imu_hz=100)
    assert [s.slam_left is not None for s in out] == [True, False] * 5
    counts = [len(s.imu.message.time_ns) for s in out]
    assert counts == [1, *[10] * 9]
    times = np.concatenate([s.imu.message.time_ns for s in out])
    assert (np.diff(times) == 10_000_000).all()


def test_what_cannot_be_drawn_in_time_is_passed_over(monkeypatch):
    clock = [10**9]
    monkeypatch.setattr("nodes.street.source.monotonic_ns", lambda: clock[0])
    monkeypatch.setattr("nodes.street.source.monotonic", lambda: clock[0] / 1e9)
    node = Street(**SMALL)
    node.setup()
    draw = node.studio.shoot

    def slow(*args, **options):
        clock[0] += 250_000_000
        return draw(*args, **options)

    monkeypatch.setattr(node.studio, "shoot", slow)
    monkeypatch.setattr(node.woken, "wait", lambda s: clock.__setitem__(0, clock[0] + int(s * 1e9)) or False)
    seqs = []
    with suppress(EndOfStream):
        while True:
            seqs.append(node.process().rgb.seq)
    node.close()
    assert 2 < len(seqs) < 6
    assert np.diff(seqs).min() >= 2


def test_the_end_comes_also_from_outside():
    node = Street(**SMALL)
    node.setup()
    node.interrupt()
    with pytest.raises(EndOfStream):
        node.process()
    node.close()


def test_a_street_that_is_being_built_is_left_when_the_run_stops(monkeypatch):
    node = Street(**SMALL)
    pieces = []

    def city(*args, **options):
        for piece in city_of(*args, **options):
            pieces.append(piece)
            node.interrupt()
            yield piece

    city_of = stage.city
    monkeypatch.setattr(stage, "city", city)
    node.setup()
    assert len(pieces) == 1
    with pytest.raises(EndOfStream):
        node.process()
    assert node.facts()["source"]["name"] == "street, seed 1"
    node.close()


def test_frames_drawn_beforehand_are_kept_and_have_the_same_truth(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain, drawn = streams(), streams(prerender=True)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 10
    written = [f.stat().st_mtime_ns for f in files]
    again = streams(prerender=True)
    assert [f.stat().st_mtime_ns for f in files] == written
    for a, b, c in zip(plain, drawn, again, strict=True):
        np.testing.assert_array_equal(a.truth.message.detections.xyxy, b.truth.message.detections.xyxy)
        np.testing.assert_array_equal(b.rgb.message.pixels, c.rgb.message.pixels)
        difference = a.rgb.message.pixels.astype(int) - b.rgb.message.pixels
        assert np.abs(difference).mean() < 3


def test_a_damaged_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    streams(prerender=True)
    victim = sorted(tmp_path.rglob("*.npz"))[3]
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{victim.name}: is damaged .*; remove it, it is drawn again"):
        streams(prerender=True)


def test_all_mistakes_are_told():
    params = {"scene": {"sed": 1, "actors": [{"kind": "persn", "path": [[0, 1]]}]}, "size_px": 2000, "fps": 0}
    told = list(Street.check(params | {"night": 2, "slam_fps": "x", "threads": 0}))
    parts = ["did you mean 'seed'", "actors[0].kind: is 'persn'; did you mean 'person'", "actors[0].path",
             "night: is 2", "size_px: is 2000", "fps: is 0", "slam_fps: is 'x'", "threads: is 0"]  # fmt: skip
    for part in parts:
        assert any(part in line for line in told), part
    (line,) = Street.check({"scene": "dmeo"})
    assert line == "scene: there is no file 'dmeo', and no scene of that name; did you mean 'demo'?"


@pytest.mark.parametrize("path", sorted(SCENES.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_scene_that_is_shipped_is_right(path):
    assert list(Street.check({"scene": path.stem})) == []
