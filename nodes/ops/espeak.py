"""Speech from the library espeak-ng, as samples; run as a program, for another process that asks for it.

espeak-ng is under the GPL-3.0, so whoever runs this file as a program keeps it out of the own process. The program
first answers with the version, then reads requests from its standard input, a line of JSON each, and answers each with
samples. An answer is four bytes of length (little endian) and that many bytes; a negative length is that of an error
message. It ends when its input does. This file imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import tempfile
from pathlib import Path
from threading import Lock

SAMPLE_RATE = 22_050
LONGEST_PATH = 150  # espeak-ng copies the path of its data into 160 bytes
_SYNCHRONOUS, _UTF8, _BY_CHARACTER, _RATE = 2, 1, 1, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Library:
    """espeak-ng in this process, through ctypes; it keeps its state in global variables, so make one at a time."""

    def __init__(self) -> None:
        import espeakng_loader

        self._link: tempfile.TemporaryDirectory[str] | None = None
        self._lock = Lock()
        self._is_closed = False
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self._declare()
        rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, self._short(espeakng_loader.get_data_path()), 0)
        if rate != SAMPLE_RATE:
            raise OSError(f"espeak-ng gives {rate} samples a second; expected {SAMPLE_RATE}")
        self._chunks: list[bytes] = []
        self._callback = _Callback(self._take)  # kept, or the library would call into freed memory
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voice = ""
        self.version = self._lib.espeak_Info(None).decode()
        self.name = f"espeak-ng {self.version} (in this process)"

    def _declare(self) -> None:
        c, lib = ctypes, self._lib
        lib.espeak_Initialize.argtypes = [c.c_int, c.c_int, c.c_char_p, c.c_int]
        lib.espeak_SetSynthCallback.argtypes = [_Callback]
        lib.espeak_SetVoiceByName.argtypes = [c.c_char_p]
        lib.espeak_SetParameter.argtypes = [c.c_int, c.c_int, c.c_int]
        lib.espeak_Synth.argtypes = [
            c.c_char_p, c.c_size_t, c.c_uint, c.c_int, c.c_uint, c.c_uint, c.c_void_p, c.c_void_p,
        ]  # fmt: skip
        lib.espeak_Info.argtypes = [c.c_void_p]
        lib.espeak_Info.restype = c.c_char_p

    def _short(self, data_path: str) -> bytes:
        """A path to the same folder that espeak-ng can hold."""
        path = os.fsencode(data_path)
        if len(path) <= LONGEST_PATH:
            return path
        self._link = tempfile.TemporaryDirectory(prefix="espeak")
        link = Path(self._link.name) / "espeak-ng-data"
        link.symlink_to(data_path)
        return os.fsencode(link)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """Samples of `text`: int16, mono, `SAMPLE_RATE`; ValueError for a voice that there is not."""
        with self._lock:
            if self._is_closed:
                raise OSError("espeak-ng is closed")
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
        """Release the library; waits for a synthesis under way, which takes milliseconds."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._lib.espeak_Terminate()
            if self._link is not None:
                self._link.cleanup()


def _answer(content: bytes, *, is_error: bool = False) -> None:
    size = -len(content) if is_error else len(content)
    sys.stdout.buffer.write(struct.pack("<i", size) + content)
    sys.stdout.buffer.flush()


def _serve() -> None:
    library = Library()
    _answer(library.version.encode())
    for line in sys.stdin.buffer:
        try:
            _answer(library.synthesise(**json.loads(line)))
        except ValueError as e:
            _answer(str(e).encode(), is_error=True)
    library.close()


if __name__ == "__main__":
    _serve()
