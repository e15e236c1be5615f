"""Speech: at its time, in order of urgency, never in anybody's way."""

import json
import os
import signal
import time
import wave
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from graph import Stamp
from nodes import speak
from nodes.messages import Utterance
from nodes.ops import voices
from nodes.ops.playback import SAMPLE_RATE
from nodes.speak import Speak

S = 10**9
LONG = "a person, a car, a bicycle, a dog and a bench, all of them straight ahead of you, three metres"


class SlowVoice:
    """Takes until it is closed."""

    name = "slow"

    def __init__(self):
        self.begun, self.closed = Event(), Event()

    def synthesise(self, text, *, voice, rate_wpm):
        self.begun.set()
        self.closed.wait(10)
        raise OSError("closed")

    def close(self):
        self.closed.set()


class FakeCard:
    """Remembers what it was given to play."""

    latency_ns = 7_000_000

    def __init__(self):
        self.played, self.stopped, self.closed = [], False, False

    def play(self, sound):
        self.played.append(len(sound))

    def stop(self):
        self.stopped = True

    def close(self):
        self.closed = True


def live() -> Stamp:
    return Stamp("camera", 0, time.monotonic_ns())


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lossless(folder: Path, *utterances: tuple[float, Utterance], **options):
    """What a lossless run says of utterances captured at given seconds: the lines of the log, and the node."""
    node = Speak(wav=str(folder / "speech.wav"), log=str(folder / "said.jsonl"), **options)
    node.setup()
    for second, utterance in utterances:
        node.process(utterance, Stamp("camera", 0, int(second * S), -123))
    node.finish()
    node.close()
    return lines(folder / "said.jsonl"), node


def line(second: int, text: str, priority: int, language: str, why: str) -> dict:
    what = {"text": text, "language": language, "priority": priority, "why": why}
    return {"captured_ns": second * S, "spoken_ns": second * S, **what}


def loud(path: Path) -> np.ndarray:
    with wave.open(str(path)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2)
    return np.abs(samples).max(axis=1) > 700


def test_what_is_said_is_logged_and_sounds_at_its_time(tmp_path):
    said, node = lossless(
        tmp_path, (10, Utterance("car ahead", why="new")), (15, Utterance("perro, a la vista", 2, "es"))
    )
    assert said == [line(10, "car ahead", 3, "en", "new"), line(15, "perro, a la vista", 2, "es", "")]
    assert node.status() == '"perro, a la vista"'
    sounds = loud(tmp_path / "speech.wav")
    assert sounds[: SAMPLE_RATE // 2].any()
    assert not sounds[3 * SAMPLE_RATE : int(4.99 * SAMPLE_RATE)].any()
    assert sounds[5 * SAMPLE_RATE :].any()


def test_in_a_lossless_run_one_waits_for_the_other_and_the_urgent_for_nobody(tmp_path):
    bench = Utterance("bench", 2, max_age_ms=20000)
    said, _ = lossless(tmp_path, (0, Utterance(LONG, 2)), (0.5, bench), (1, Utterance("stop", 1)))
    assert [line["text"] for line in said] == [LONG, "stop", "bench"]
    assert said[1]["spoken_ns"] == 1 * S
    assert 1.2 * S < said[2]["spoken_ns"] < 2 * S


def test_of_two_dangers_the_newer_is_said_at_once_and_does_not_expire_behind_the_older(tmp_path):
    first, second = Utterance(LONG, 1, key="car", max_age_ms=700), Utterance("stop", 1, key="person", max_age_ms=700)
    said, node = lossless(tmp_path, (1, first), (2, second), (2.1, second))
    assert [(line["text"], line["spoken_ns"]) for line in said[:2]] == [(LONG, 1 * S), ("stop", 2 * S)]
    assert node.facts()["speech"]["dropped"] == "0"


def test_two_lossless_runs_say_the_same_to_the_bit(tmp_path):
    utterances = [(i * 0.7, Utterance(f"car {i}", 1 + i % 3, bearing_deg=i * 10 - 30)) for i in range(8)]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        lossless(folder, *utterances)
    for name in ("said.jsonl", "speech.wav"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_has_become_too_old_is_dropped_not_said_late(tmp_path):
    said, node = lossless(tmp_path, (0, Utterance(LONG, 2)), (0.5, Utterance("bench", 2, max_age_ms=1000)))
    assert [line["text"] for line in said] == [LONG]
    assert node.facts()["speech"]["dropped"] == "1"


def test_live_speech_is_said_when_it_comes_and_the_urgent_interrupts(tmp_path):
    node = Speak(wav=str(tmp_path / "speech.wav"), log=str(tmp_path / "said.jsonl"))
    node.setup()
    node.process(Utterance(LONG, 2), live())
    wait_for(lambda: node.words == LONG)
    stamp = live()
    node.process(Utterance("stop", 1), stamp)
    wait_for(lambda: node.words == "stop")
    node.process(Utterance("bench", 2), live())
    node.finish()
    node.close()
    said = lines(tmp_path / "said.jsonl")
    assert [line["text"] for line in said] == [LONG, "stop", "bench"]
    assert 0 < said[1]["spoken_ns"] - stamp.captured_ns < S
    assert said[2]["spoken_ns"] - said[1]["spoken_ns"] > 0.2 * S


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_the_card_plays_and_its_delay_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(speak, "Card", FakeCard)
    node = Speak(card=True, log=str(tmp_path / "said.jsonl"))
    node.setup()
    stamp = live()
    node.process(Utterance("car"), stamp)
    node.finish()
    node.close()
    assert node.facts()["speech"]["card"] == "yes"
    assert len(node.card.played) == 1
    assert (node.card.stopped, node.card.closed) == (True, True)
    (one,) = lines(tmp_path / "said.jsonl")
    assert one["spoken_ns"] - stamp.captured_ns > FakeCard.latency_ns


def test_a_lossless_run_leaves_the_card_silent_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(speak, "Card", FakeCard)
    said, node = lossless(tmp_path, (1, Utterance("car")), (2, Utterance("dog")), card="auto")
    assert len(said) == 2
    assert node.card.played == []
    assert [r.message for r in caplog.records] == [
        "the sound card stays silent, because the run is lossless; for a live one: source.realtime=true"
    ]


def test_process_never_waits_for_the_voice(tmp_path, monkeypatch):
    voice = SlowVoice()
    monkeypatch.setattr(voices, "find", lambda *, in_process: voice)
    node = Speak(wav=str(tmp_path / "speech.wav"))
    node.setup()
    for i in range(50):
        node.process(Utterance(f"thing {i}"), live())
    assert voice.begun.wait(5)
    assert not voice.closed.is_set()
    assert len(node.agenda.waiting) <= 8
    node.close()
    assert not node.thread.is_alive()


def test_a_voice_that_fails_costs_its_phrase_and_nothing_else(tmp_path, monkeypatch, caplog):
    node = Speak(wav=str(tmp_path / "speech.wav"), log=str(tmp_path / "said.jsonl"))
    node.setup()
    node.process(Utterance("uno", language="qq"), live())
    node.process(Utterance("two", 2), live())
    os.kill(node.voice.pid, signal.SIGKILL)
    node.process(Utterance("three", 2), live())
    node.finish()
    node.close()
    assert {line["text"] for line in lines(tmp_path / "said.jsonl")} == {"two", "three"}
    assert [r.message for r in caplog.records] == ["cannot say 'uno': espeak-ng has no voice 'qq'"]


def test_words_alone_need_no_voice(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(voices, "find", lambda *, in_process: pytest.fail("it looked for a voice"))
    caplog.set_level("INFO")
    node = Speak(log=str(tmp_path / "said.jsonl"), console=True)
    node.setup()
    node.process(Utterance("car"), live())
    node.finish()
    node.close()
    assert [line["text"] for line in lines(tmp_path / "said.jsonl")] == ["car"]
    assert caplog.messages == ["says: car"]


def test_without_a_voice_the_words_are_still_said_in_writing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(voices, "find", lambda *, in_process: None)
    said, node = lossless(tmp_path, (0, Utterance("car")))
    assert len(said) == 1
    assert not (tmp_path / "speech.wav").exists()
    assert node.facts()["speech"] == {"engine": "none", "card": "no", "dropped": "0"}
    assert caplog.messages == [speak.NO_VOICE]


def test_without_a_sound_card_it_goes_on_or_says_what_to_do(monkeypatch, caplog):
    def no_card():
        raise RuntimeError("Error querying device -1")

    monkeypatch.setattr(speak, "Card", no_card)
    node = Speak(card="auto")
    node.setup()
    node.close()
    assert caplog.messages == ["no sound card answers: Error querying device -1; speech goes on without it"]
    with pytest.raises(OSError, match="no sound card answers: Error querying device -1; or choose speech=wav"):
        Speak(card=True).setup()


def test_all_mistakes_are_told_before_anything_starts(monkeypatch):
    monkeypatch.setattr(speak, "find_spec", lambda _: None)
    assert list(Speak.check({"language": "fr", "card": True, "rate_wpm": 20})) == [
        "language: is 'fr'; there is: en, es",
        "rate_wpm: is 20; expected a number, 80 to 450",
        "card: the package sounddevice is not installed; install the extra: uv sync --extra audio; "
        "or choose speech=wav",
    ]
    assert list(Speak.check({"card": "yes"})) == ["card: is 'yes'; expected one of auto, True, False"]
    assert list(Speak.check({})) == []


def test_nothing_said_leaves_an_empty_log_and_no_sound(tmp_path):
    said, node = lossless(tmp_path)
    assert (said, node.status()) == ([], "")
    assert [p.name for p in tmp_path.iterdir()] == ["said.jsonl"]
