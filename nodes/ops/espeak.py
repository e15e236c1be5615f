"""Speech from espeak-ng, as samples: in this process, or from a separate program.

espeak-ng is under the GPL-3.0, so it is not loaded into our process unless its user asks for that. Run as a program,
this file is the separate one: it reads requests from its standard input, a line of JSON each, and writes samples to its
standard output, each answer as four bytes of length (little endian) and that many bytes. It ends when its input does.
It imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Protocol

SAMPLE_RATE = 22_050
LONGEST_PATH = 150  # espeak-ng copies the path of its data into 160 bytes
_SYNCHRONOUS, _UTF8, _BY_CHARACTER, _RATE = 2, 1, 1, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Synthesiser(Protocol):
    """Turns text into sound."""

    name: str

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """Samples of `text`: int16, mono, `SAMPLE_RATE`."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Library:
    """espeak-ng in this process, through ctypes."""

    def __init__(self) -> None:
        import espeakng_loader

        self.name = "espeak-ng (in this process)"
        self._link: tempfile.TemporaryDirectory[str] | None = None
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self._declare()
        data_path = os.fsencode(self._short(espeakng_loader.get_data_path()))
        rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data_path, 0)
        if rate != SAMPLE_RATE:
            raise OSError(f"espeak-ng gives {rate} samples a second; expected {SAMPLE_RATE}")
        self._chunks: list[bytes] = []
        self._callback = _Callback(self._take)  # kept, or the library would call into freed memory
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _declare(self) -> None:
        c, lib = ctypes, self._lib
        lib.espeak_Initialize.argtypes = [c.c_int, c.c_int, c.c_char_p, c.c_int]
        lib.espeak_SetSynthCallback.argtypes = [_Callback]
        lib.espeak_SetVoiceByName.argtypes = [c.c_char_p]
        lib.espeak_SetParameter.argtypes = [c.c_int, c.c_int, c.c_int]
        lib.espeak_Synth.argtypes = [
            c.c_char_p, c.c_size_t, c.c_uint, c.c_int, c.c_uint, c.c_uint, c.c_void_p, c.c_void_p,
        ]  # fmt: skip

    def _short(self, data_path: str) -> str:
        if len(data_path) <= LONGEST_PATH:
            return data_path
        self._link = tempfile.TemporaryDirectory(prefix="espeak")
        link = Path(self._link.name) / "espeak-ng-data"
        link.symlink_to(data_path)
        return str(link)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """See `Synthesiser.synthesise`; ValueError for a voice that there is not."""
        if voice != self._voice:
            if self._lib.espeak_SetVoiceByName(voice.encode()):
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._voice = voice
        self._lib.espeak_SetParameter(_RATE, rate_wpm, 0)
        self._chunks.clear()
        data = text.encode() + b"\0"
        if self._lib.espeak_Synth(data, len(data), 0, _BY_CHARACTER, 0, _UTF8, None, None):
            raise OSError(f"espeak-ng cannot say {text!r}")
        return b"".join(self._chunks)

    def close(self) -> None:
        """See `Synthesiser.close`."""
        self._lib.espeak_Terminate()
        if self._link is not None:
            self._link.cleanup()


class Program:
    """espeak-ng in a program of its own, which is started again once it has died."""

    def __init__(self) -> None:
        self.name = "espeak-ng (separate program)"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the one who speaks through it, who then closes its input.
        return subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """See `Synthesiser.synthesise`; OSError when the program died twice on it."""
        request = json.dumps({"text": text, "voice": voice, "rate_wpm": rate_wpm}).encode() + b"\n"
        try:
            return self._ask(request)
        except (OSError, EOFError):
            self.close()
            self._process = self._start()
        try:
            return self._ask(request)
        except (OSError, EOFError) as e:
            raise OSError(f"the program that speaks has ended twice on {text!r}") from e

    def _ask(self, request: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(request)
        stdin.flush()
        header = stdout.read(4)
        if len(header) < 4:
            raise EOFError
        (size,) = struct.unpack("<i", header)
        if size < 0:
            raise ValueError(stdout.read(-size).decode())
        samples: bytes = stdout.read(size)
        return samples

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def close(self) -> None:
        """See `Synthesiser.close`."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # what was still to be written to a dead program
        self._process.wait()


class Command:
    """The command `espeak-ng`, run once a phrase."""

    def __init__(self, path: str) -> None:
        self.name = "espeak-ng (command)"
        self._path = path

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """See `Synthesiser.synthesise`."""
        import wave

        words = [self._path, "--stdout", "-v", voice, "-s", str(rate_wpm), "--", text]
        done = subprocess.run(words, capture_output=True, timeout=10, check=False)
        if done.returncode:
            raise OSError(f"espeak-ng cannot say {text!r}: {done.stderr.decode(errors='replace').strip()}")
        with wave.open(BytesIO(done.stdout)) as sound:
            samples: bytes = sound.readframes(sound.getnframes())
        return samples

    def close(self) -> None:
        """See `Synthesiser.close`."""


def find(*, in_process: bool = False) -> Synthesiser | None:
    """The best there is on this machine; None where there is none."""
    ways: list[tuple[bool, Callable[[], Synthesiser]]] = [
        (find_spec("espeakng_loader") is not None, Library if in_process else Program),
        (shutil.which("espeak-ng") is not None, lambda: Command(str(shutil.which("espeak-ng")))),
    ]
    return next((make() for is_there, make in ways if is_there), None)


def _serve() -> None:
    library = Library()
    for line in sys.stdin.buffer:
        try:
            answer = library.synthesise(**json.loads(line))
            sys.stdout.buffer.write(struct.pack("<i", len(answer)) + answer)
        except ValueError as e:
            text = str(e).encode()
            sys.stdout.buffer.write(struct.pack("<i", -len(text)) + text)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
