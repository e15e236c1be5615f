"""Real sound from espeak-ng: in a program of its own, in this process, and what happens when it fails."""

import os
import signal
import struct
import subprocess
import sys
import time
from importlib.resources import files

import numpy as np
import pytest

from nodes.ops import espeak, voices
from nodes.ops.espeak import LONGEST_PATH, SAMPLE_RATE

PHRASES = {"en": "person, two metres, slightly left", "es": "persona, a dos metros, un poco a la izquierda"}


@pytest.fixture(params=[False, True], ids=["separate program", "in process"])
def voice(request):
    found = voices.find(in_process=request.param)
    assert found is not None
    yield found
    found.close()


@pytest.fixture
def program():
    program = voices.Program()
    yield program
    program.close()


def say(voice, text, language="en"):
    return np.frombuffer(voice.synthesise(text, voice=language, rate_wpm=190), np.int16)


@pytest.mark.parametrize("language", PHRASES)
def test_a_phrase_sounds(voice, language):
    samples = say(voice, PHRASES[language], language)
    assert 0.5 < len(samples) / SAMPLE_RATE < 4
    assert np.sqrt(((samples / 32768) ** 2).mean()) > 0.02


def test_a_phrase_is_as_long_each_time_and_in_each_way(voice, program):
    say(voice, PHRASES["es"], "es")
    lengths = [len(say(v, PHRASES["en"])) for v in (voice, voice, program)]
    assert lengths == pytest.approx([lengths[0]] * 3, rel=0.01)


def test_a_voice_that_there_is_not_is_named_and_the_next_phrase_sounds(voice):
    with pytest.raises(ValueError, match="espeak-ng has no voice 'qq'"):
        say(voice, "x", "qq")
    assert len(say(voice, "ahead"))


def test_the_name_says_version_and_way(voice, program):
    assert program.name == "espeak-ng 1.52.0 (separate program)"
    assert voice.name.startswith("espeak-ng 1.52.0 (")


def test_a_closed_library_fails_instead_of_crashing():
    library = espeak.Library()
    library.close()
    library.close()
    with pytest.raises(OSError, match="espeak-ng is closed"):
        say(library, "x")


def test_a_program_that_was_killed_is_started_again(program):
    before = program.pid
    os.kill(before, signal.SIGKILL)
    assert len(say(program, "two"))
    assert program.pid != before


def test_a_program_that_hangs_is_ended_and_started_again(program, monkeypatch):
    monkeypatch.setattr(voices, "ANSWER_S", 1.0)
    before = program.pid
    os.kill(before, signal.SIGSTOP)
    assert len(say(program, "two"))
    assert program.pid != before


def test_a_program_that_keeps_ending_gives_an_error_with_its_last_words(program, monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no library here')")
    monkeypatch.setattr(espeak, "__file__", str(broken))
    os.kill(program.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="the program that speaks has ended twice on 'two': no library here"):
        say(program, "two")
    with pytest.raises(OSError, match="the program that speaks does not start: no library here"):
        voices.Program()


def test_the_program_ends_with_its_input(program):
    program._process.stdin.close()
    assert program._process.wait(2) == 0


def test_the_program_ends_when_its_parent_is_killed():
    code = "import time; from nodes.ops.voices import Program; print(Program().pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline, "the program is still there"
        time.sleep(0.02)


def is_running(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"  # nobody may be there to reap an orphan
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_ctrl_c_is_not_for_the_program(program):
    assert os.getsid(program.pid) != os.getsid(0)


def test_closing_leaves_no_process(program):
    program.close()
    assert program._process.returncode == 0
    with pytest.raises((OSError, ValueError)):
        say(program, "x")


def test_data_behind_a_long_path_is_found(tmp_path, monkeypatch):
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    (deep / "espeakng_loader").symlink_to(str(files("espeakng_loader")))
    monkeypatch.delitem(sys.modules, "espeakng_loader", raising=False)
    monkeypatch.syspath_prepend(deep)
    import espeakng_loader

    assert len(espeakng_loader.get_data_path()) > LONGEST_PATH
    library = espeak.Library()
    link = library._link.name
    assert len(say(library, "ahead"))
    library.close()
    assert not os.path.exists(link)
    monkeypatch.delitem(sys.modules, "espeakng_loader")


def test_the_command_does_where_the_package_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert voices.find() is None
    # Into a pipe espeak-ng writes a header before it knows the length.
    form = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    header = b"RIFF\x24\xf0\xff\x7fWAVEfmt \x10\0\0\0" + form + b"data\0\xf0\xff\x7f"
    script = tmp_path / "espeak-ng"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "assert sys.argv[1:] == ['--stdout', '-v', 'es', '-s', '190', '--', '-hola'], 'wrong words'\n"
        f"sys.stdout.buffer.write({header!r} + b'ab' * 9)\n"
    )
    script.chmod(0o755)
    command = voices.find()
    assert command.name == "espeak-ng (command)"
    assert command.synthesise("-hola", voice="es", rate_wpm=190) == b"ab" * 9
    with pytest.raises(OSError, match=r"espeak-ng cannot say 'x': [\s\S]*AssertionError: wrong words"):
        command.synthesise("x", voice="es", rate_wpm=190)
