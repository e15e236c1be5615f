"""Speech: real sound from espeak-ng, in order of urgency, never late, never in anybody's way."""

import json
import os
import signal
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from graph import Stamp
from nodes.messages import Utterance
from nodes.ops import espeak
from nodes.ops.playback import SAMPLE_RATE, WavFile, cut, panned
from nodes.speak import Speak

PHRASES = {"en": "person, two metres, slightly left", "es": "persona, a dos metros"}


@pytest.fixture(params=[False, True], ids=["separate program", "in process"])
def voice(request):
    found = espeak.find(in_process=request.param)
    assert found is not None
    yield found
    found.close()


@pytest.mark.parametrize("language", PHRASES)
def test_a_phrase_sounds(voice, language):
    samples = np.frombuffer(voice.synthesise(PHRASES[language], voice=language, rate_wpm=190), np.int16)
    assert 0.5 < len(samples) / SAMPLE_RATE < 4
    assert np.sqrt((samples / 32768.0) ** 2).mean() > 0.01


def test_a_voice_that_there_is_not_is_named(voice):
    with pytest.raises(ValueError, match="espeak-ng has no voice 'qq'"):
        voice.synthesise("x", voice="qq", rate_wpm=190)


def test_a_program_that_was_killed_is_started_again():
    program = espeak.Program()
    program.synthesise("one", voice="en", rate_wpm=190)
    before = program.pid
    os.kill(before, signal.SIGKILL)
    time.sleep(0.05)
    assert program.synthesise("two", voice="en", rate_wpm=190)
    assert program.pid != before
    program.close()


def test_the_program_ends_with_its_input():
    program = espeak.Program()
    program.synthesise("one", voice="en", rate_wpm=190)
    program._process.stdin.close()
    assert program._process.wait(2) == 0
    program._process.stdout.close()


def spoken(tmp_path: Path, *utterances: tuple[float, Utterance], offset_ns: int = 1, **options):
    """What a lossless run says of utterances at their seconds: the lines of the log, and the node."""
    node = Speak(wav=str(tmp_path / "speech.wav"), log=str(tmp_path / "said.jsonl"), **options)
    node.setup()
    for second, utterance in utterances:
        captured_ns = int(second * 1e9)
        stamp = Stamp("camera", 0, captured_ns, captured_ns - time.monotonic_ns() or offset_ns)
        node.process(utterance, stamp)
        time.sleep(0.2)
    node.finish()
    node.close()
    lines = (tmp_path / "said.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], node


def test_what_is_said_is_logged_and_sounds_at_its_time(tmp_path):
    lines, node = spoken(tmp_path, (10, Utterance("car ahead", why="new")), (15, Utterance("dog ahead")))
    assert lines[0] == {
        "captured_ns": 10 * 10**9,
        "spoken_ns": 10 * 10**9,
        "text": "car ahead",
        "language": "en",
        "priority": 3,
        "why": "new",
    }
    assert lines[1]["spoken_ns"] == 15 * 10**9
    assert node.status() == '"dog ahead"'
    with wave.open(str(tmp_path / "speech.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, SAMPLE_RATE)
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2) / 32768
    loud = np.abs(samples).max(axis=1) > 0.02
    assert loud[: SAMPLE_RATE // 2].any()
    assert not loud[3 * SAMPLE_RATE : int(4.9 * SAMPLE_RATE)].any()
    assert loud[5 * SAMPLE_RATE :].any()


def test_one_waits_for_the_other_and_the_urgent_for_nobody(tmp_path):
    long = "a person, a car, a bicycle, a dog and a bench, all of them straight ahead of you, three metres"
    lines, _ = spoken(
        tmp_path, (0, Utterance(long, 2)), (0.5, Utterance("bench", 2, max_age_ms=9000)), (1, Utterance("stop", 1))
    )
    starts = {line["text"]: line["spoken_ns"] / 1e9 for line in lines}
    assert starts["bench"] > 3
    assert starts["stop"] == 1


def test_what_has_become_too_old_is_dropped_not_said_late(tmp_path):
    long = "a person, a car, a bicycle, a dog and a bench, all of them straight ahead of you, three metres"
    lines, node = spoken(tmp_path, (0, Utterance(long, 2)), (0.5, Utterance("bench", 2, max_age_ms=1000)))
    assert [line["text"] for line in lines] == [long]
    assert node.expired == 1


def test_a_newer_one_on_the_same_thing_replaces_the_one_that_waits():
    node = Speak()
    now = time.monotonic_ns()
    for i in range(20):
        node.process(Utterance(f"car {i}", key="car"), Stamp("c", i, now))
        node.process(Utterance(f"thing {i}", key=f"{i}"), Stamp("c", i, now))
    texts = [w.utterance.text for w in node.waiting]
    assert len(texts) == 8
    assert sum(t.startswith("car") for t in texts) <= 1


def test_process_only_leaves_it_to_the_thread(tmp_path):
    class Slow:
        name = "slow"

        def synthesise(self, text, *, voice, rate_wpm):
            time.sleep(1)
            return b""

        def close(self):
            pass

    node = Speak()
    node.setup()
    node.voice.close()
    node.voice = Slow()
    started = time.monotonic()
    for i in range(50):
        node.process(Utterance(f"thing {i}"), Stamp("c", i, time.monotonic_ns()))
    assert time.monotonic() - started < 0.5
    node.close()


def test_without_a_sound_card_it_goes_on_or_says_what_to_do(tmp_path, caplog):
    node = Speak(card="auto")
    node.setup()
    node.close()
    assert "speech goes on without it" in caplog.text
    insisting = Speak(card=True)
    with pytest.raises(OSError, match="or choose speech=wav"):
        insisting.setup()
    insisting.close()


def test_sound_comes_from_its_side():
    samples = (np.sin(np.arange(4000) / 5) * 20000).astype(np.int16).tobytes()
    left, right = (np.abs(panned(samples, 60)) ** 2).mean(axis=0)
    assert right > 4 * left
    sides = (panned(samples, 0) ** 2).mean(axis=0)
    assert sides[0] == pytest.approx(sides[1])


def test_a_cut_sound_fades_out():
    sound = np.ones((1000, 2), np.float32)
    assert cut(sound, 500)[-1].max() == 0
    assert len(cut(sound, 500)) == 500


def test_a_wav_file_without_sound_is_not_made(tmp_path):
    WavFile(tmp_path / "x.wav").close()
    assert list(tmp_path.iterdir()) == []
