"""Where speech comes from: espeak-ng as a separate program, as a command, or in this process. Plays nothing."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import wave
from importlib.util import find_spec
from io import BytesIO
from threading import Timer
from typing import IO, Protocol

from nodes.ops import espeak

ANSWER_S = 3.0  # a phrase takes milliseconds; a program that takes longer hangs


class Synthesiser(Protocol):
    """Turns text into sound."""

    name: str

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """Samples of `text`: int16, mono, `espeak.SAMPLE_RATE`; OSError or ValueError where it cannot."""
        ...

    def close(self) -> None:
        """Release what it holds. Callable from any thread; a synthesis under way then fails."""
        ...


class Program:
    """espeak-ng in a program of its own, which is started again once it has died or does not answer."""

    def __init__(self) -> None:
        self._is_closed = False
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close
        self._process = self._start()
        try:
            self.name = f"espeak-ng {self._answer().decode()} (separate program)"
        except (OSError, EOFError) as e:
            reason = self._reason() or str(e)
            self.close()
            raise OSError(f"the program that speaks does not start: {reason}") from e

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: or the files beside it could be taken for modules of the standard library.
        # A session of its own: Ctrl-C is for the one who speaks through it, who then closes its input.
        return subprocess.Popen(
            [sys.executable, "-P", espeak.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """See `Synthesiser.synthesise`; OSError when the program ended twice on it."""
        request = json.dumps({"text": text, "voice": voice, "rate_wpm": rate_wpm}).encode() + b"\n"
        try:
            return self._ask(request)
        except (OSError, EOFError):
            if self._is_closed:
                raise
        try:
            self._end()
            self._process = self._start()
            self._answer()
            return self._ask(request)
        except (OSError, EOFError) as e:
            reason = self._reason()
            raise OSError(f"the program that speaks has ended twice on {text!r}{reason and f': {reason}'}") from e

    def _ask(self, request: bytes) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> bytes:
        """Its next answer; EOFError when it has ended, or had to be ended because none came."""
        stdout = self._process.stdout
        assert stdout is not None
        watch = Timer(ANSWER_S, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            header = stdout.read(4)
            size = struct.unpack("<i", header)[0] if len(header) == 4 else 0
            content: bytes = stdout.read(abs(size))
        finally:
            watch.cancel()
        if len(header) < 4 or len(content) < abs(size):
            raise EOFError("it has ended without an answer")
        if size < 0:
            raise ValueError(content.decode())
        return content

    def _reason(self) -> str:
        """The last line that it wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _end(self) -> None:
        """End the program: it ends with its input, or else is killed."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
        except OSError:
            pass  # what was still to be written to a dead program
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def close(self) -> None:
        """See `Synthesiser.close`."""
        self._is_closed = True
        self._end()
        self._errors.close()


class Command:
    """The command `espeak-ng`, run once a phrase."""

    def __init__(self, path: str) -> None:
        self.name = "espeak-ng (command)"
        self._path = path

    def synthesise(self, text: str, *, voice: str, rate_wpm: int) -> bytes:
        """See `Synthesiser.synthesise`."""
        words = [self._path, "--stdout", "-v", voice, "-s", str(rate_wpm), "--", text]
        try:
            done = subprocess.run(words, capture_output=True, timeout=ANSWER_S, check=False, start_new_session=True)
        except subprocess.TimeoutExpired as e:
            raise OSError(f"{self._path} took more than {ANSWER_S:g} s for {text!r}") from e
        if done.returncode:
            raise OSError(f"{self._path} cannot say {text!r}: {done.stderr.decode(errors='replace').strip()}")
        with wave.open(BytesIO(done.stdout)) as sound:
            samples: bytes = sound.readframes(sound.getnframes())
        return samples

    def close(self) -> None:
        """See `Synthesiser.close`."""


def find(*, in_process: bool = False) -> Synthesiser | None:
    """The best there is on this machine; None where there is none, OSError where it does not work."""
    if find_spec("espeakng_loader") is not None:
        return espeak.Library() if in_process else Program()
    path = shutil.which("espeak-ng")
    return Command(path) if path else None
