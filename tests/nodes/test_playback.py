"""Sound from its side, and files with each sound at its time."""

import sys
import wave
from types import SimpleNamespace

import numpy as np
import pytest

from nodes.ops.playback import FADE, LONGEST_WAV, SAMPLE_RATE, Card, WavFile, cut, panned


def read(path):
    with wave.open(str(path)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (2, 2, SAMPLE_RATE)
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2) / 32767


def beep(seconds, level=0.5):
    return np.full((int(seconds * SAMPLE_RATE), 2), level, np.float32)


def test_sound_comes_from_its_side():
    samples = (np.sin(np.arange(4000) / 5) * 20000).astype(np.int16).tobytes()
    left, right = (panned(samples, 60) ** 2).mean(axis=0)
    assert right > 4 * left
    left, right = (panned(samples, 0) ** 2).mean(axis=0)
    assert left == pytest.approx(right)


@pytest.mark.parametrize("bearing_deg", [-90, -30, 0, 45, 90, 170])
def test_all_sides_are_as_loud(bearing_deg):
    samples = (np.sin(np.arange(4000) / 5) * 20000).astype(np.int16)
    power = (panned(samples.tobytes(), bearing_deg) ** 2).sum()
    assert power == pytest.approx(((samples / 32768) ** 2).sum(), rel=0.01)


def test_the_far_ear_hears_it_later():
    samples = np.full(1000, 9000, np.int16).tobytes()
    sound = panned(samples, -90)
    assert np.flatnonzero(sound[:, 0])[0] == 0
    assert np.flatnonzero(sound[:, 1])[0] / SAMPLE_RATE == pytest.approx(0.00066, abs=0.0001)


def test_nothing_to_pan_gives_nothing():
    assert panned(b"", 0).shape == (0, 2)


def test_a_cut_sound_fades_out():
    sound = np.ones((1000, 2), np.float32)
    assert len(cut(sound, 500)) == 500
    assert cut(sound, 500)[-1].max() == 0
    assert cut(sound, -5).shape == (0, 2)
    assert cut(sound, 1000) is sound


def test_sounds_lie_at_their_times_with_silence_between(tmp_path):
    file = WavFile(tmp_path / "made" / "x.wav")
    file.add(1, beep(0.5))
    file.add(3, beep(0.5))
    file.close()
    sound = read(tmp_path / "made" / "x.wav")
    loud = np.abs(sound[:, 0]) > 0.1
    edges = np.flatnonzero(np.diff(loud.astype(int))) / SAMPLE_RATE
    assert edges == pytest.approx([1, 1.5, 3], abs=0.001)
    assert len(sound) / SAMPLE_RATE == pytest.approx(3.5, abs=0.001)


def test_a_sound_is_cut_where_the_next_begins(tmp_path):
    file = WavFile(tmp_path / "x.wav")
    file.add(0, beep(2, 0.9))
    file.add(1, beep(1, 0.2))
    file.close()
    sound = read(tmp_path / "x.wav")[:, 0]
    assert len(sound) / SAMPLE_RATE == pytest.approx(2)
    assert sound[int(0.9 * SAMPLE_RATE)] == pytest.approx(0.9, abs=0.01)
    assert sound[int(1.1 * SAMPLE_RATE)] == pytest.approx(0.2, abs=0.01)


def test_an_unfinished_file_can_be_heard_too(tmp_path):
    file = WavFile(tmp_path / "x.wav")
    file.add(0, beep(1))
    file.add(5, beep(1))
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".x.wav.")
    assert len(read(part)) == SAMPLE_RATE
    file.close()
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]


def test_a_file_without_sound_is_not_made(tmp_path):
    WavFile(tmp_path / "x.wav").close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_full_says_so_and_stays_valid(tmp_path):
    file = WavFile(tmp_path / "x.wav")
    file.add(0, beep(1))
    with pytest.raises(OSError, match=r"x.wav is full at 13.5 hours; WAV holds no more"):
        file.add(LONGEST_WAV / SAMPLE_RATE, beep(1))
    file.close()
    assert len(read(tmp_path / "x.wav")) == SAMPLE_RATE


class FakeStream:
    """Stands for a driver: asks for samples when the test says so."""

    latency = 0.02

    def __init__(self, *, callback, **_options):
        self.callback, self.calls = callback, []

    def start(self):
        self.calls.append("start")

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")

    def pull(self, frames):
        out = np.full((frames, 2), 9, np.float32)
        self.callback(out, frames, None, None)
        return out[:, 0]


@pytest.fixture
def card(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(OutputStream=FakeStream))
    return Card()


def test_a_card_plays_a_sound_once_and_then_silence(card):
    card.play(beep(1)[:300])
    played = card._stream.pull(512)
    assert played[:300] == pytest.approx(0.5)
    assert not played[300:].any()
    assert not card._stream.pull(512).any()
    assert card.latency_ns == 20_000_000


@pytest.mark.parametrize("following", [0, 100, 2 * FADE])
def test_a_new_sound_fades_the_old_one_out_without_a_click(card, following):
    card.play(beep(1))
    card._stream.pull(512)
    card.play(beep(1, 0)[:following])
    played = card._stream.pull(512)
    assert played[0] == pytest.approx(0.5)
    assert np.abs(np.diff(played)).max() < 0.01
    assert not played[FADE:].any()


def test_a_stopped_card_falls_silent_within_ten_milliseconds(card):
    card.play(beep(1))
    card.stop()
    played = card._stream.pull(512)
    assert played[FADE // 2] == pytest.approx(0.25, abs=0.01)
    assert not played[FADE:].any()
    card.close()
    assert card._stream.calls == ["start", "stop", "close"]
