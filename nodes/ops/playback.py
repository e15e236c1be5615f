"""Sound outputs: a sound card, and a WAV file on the timeline of the captures. Samples are float32 (n, 2), -1..1."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nodes.ops.espeak import SAMPLE_RATE

Sound = npt.NDArray[np.float32]

HEAD_RADIUS_M = 0.0875
SPEED_OF_SOUND_M_S = 343.0
FADE = SAMPLE_RATE // 100  # 10 ms: a sound that is cut without it clicks
LATENCY_S = 0.05  # less would click where another thread keeps Python from filling the buffer in time
HEADER_BYTES, SAMPLE_BYTES = 44, 4
LONGEST_WAV = (2**32 - HEADER_BYTES) // SAMPLE_BYTES  # the format counts bytes in 32 bits: 13.5 hours


def panned(samples: bytes, bearing_deg: float) -> Sound:
    """Mono int16 `samples` as stereo from the side of `bearing_deg`.

    Constant power between the ears, and the delay that a head makes (Woodworth: r/c (sin a + a)).
    """
    mono = np.frombuffer(samples, np.int16).astype(np.float32) / 32768
    angle = np.radians(np.clip(bearing_deg, -90, 90))
    delay = int(HEAD_RADIUS_M / SPEED_OF_SOUND_M_S * (abs(np.sin(angle)) + abs(angle)) * SAMPLE_RATE)
    position = (angle / (np.pi / 2) * 0.8 + 1) * np.pi / 4  # 0.8: nothing is silent in one ear
    near, far = np.pad(mono, (0, delay)), np.pad(mono, (delay, 0))
    left, right = (far, near) if bearing_deg > 0 else (near, far)
    return np.column_stack([left * np.cos(position), right * np.sin(position)]).astype(np.float32)


def cut(sound: Sound, count: int) -> Sound:
    """The first `count` samples, faded out."""
    if count >= len(sound):
        return sound
    part = sound[: max(0, count)].copy()
    n = min(FADE, len(part))
    if n:
        part[-n:] *= np.linspace(1, 0, n, dtype=np.float32)[:, None]
    return part


class WavFile:
    """Sounds at their times, silence between; the file gets its name when it is complete.

    Until then it is a valid file beside it, under a name that begins with a dot. Silence is left out of the file as a
    hole where the file system has such, so a long run takes no more room than what was said.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: BinaryIO | None = None
        self._written = 0
        self._last: tuple[int, Sound] | None = None

    def add(self, start_s: float, sound: Sound) -> None:
        """Let `sound` begin at `start_s`; what is still sounding then is cut. OSError when the file is full."""
        start = max(0, int(start_s * SAMPLE_RATE))
        self._flush(until=start)
        if start + len(sound) > LONGEST_WAV:
            raise OSError(f"{self.path} is full at {start_s / 3600:.1f} hours; WAV holds no more")
        self._last = start, sound

    def _flush(self, until: int = LONGEST_WAV) -> None:
        if self._last is None:
            return
        start, sound = self._last
        self._last = None
        sound = cut(sound, until - start)
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        start = max(start, self._written)
        self._file.seek(HEADER_BYTES + SAMPLE_BYTES * start)
        self._file.write((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
        self._written = start + len(sound)
        self._file.seek(0)
        self._file.write(_wav_header(self._written))
        self._file.flush()

    def close(self) -> None:
        """Complete the file; there is none if nothing was added."""
        self._flush()
        if self._file is not None:
            self._file.close()
            self._part.replace(self.path)
            self._file = None


def _wav_header(count: int) -> bytes:
    """The header of `count` samples: int16, two channels (RIFF WAVE, format 1)."""
    size = SAMPLE_BYTES * count
    form = struct.pack("<HHIIHH", 1, 2, SAMPLE_RATE, SAMPLE_BYTES * SAMPLE_RATE, SAMPLE_BYTES, 16)
    riff = struct.pack("<4sI4s", b"RIFF", HEADER_BYTES - 8 + size, b"WAVE")
    return riff + struct.pack("<4sI", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", size)


class Card:
    """A sound card: plays one sound at a time; a new one, or `stop`, fades the old one out."""

    def __init__(self) -> None:
        import sounddevice

        self._sound: Sound = np.zeros((0, 2), np.float32)
        self._lock = Lock()
        self._stream: Any = sounddevice.OutputStream(
            samplerate=SAMPLE_RATE, channels=2, dtype="float32", latency=LATENCY_S, callback=self._fill
        )
        self._stream.start()
        self.latency_ns = int(self._stream.latency * 1e9)
        """From `play` to what is heard, as the driver says."""

    def play(self, sound: Sound) -> None:
        """Play `sound` from now on."""
        with self._lock:
            fading = cut(self._sound, FADE)
            mixed = np.zeros((max(len(sound), len(fading)), 2), np.float32)
            mixed[: len(sound)] = sound
            mixed[: len(fading)] += fading
            self._sound = mixed

    def stop(self) -> None:
        """Fall silent."""
        with self._lock:
            self._sound = cut(self._sound, FADE)

    def _fill(self, out: Sound, frames: int, _time: Any, _status: Any) -> None:
        with self._lock:
            now, self._sound = self._sound[:frames], self._sound[frames:]
        out[: len(now)] = now
        out[len(now) :] = 0

    def close(self) -> None:
        """Release the card; what it has taken already is played to its end."""
        self._stream.stop()
        self._stream.close()
