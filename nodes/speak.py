"""Says what is to be said: to a sound card, a WAV file, the console. A thread of its own keeps it from delaying others.

The most urgent comes first and interrupts what is less so; what has become too old is dropped, never said late.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, monotonic_ns
from typing import Any, Literal, TextIO

from graph import Node, Stamp
from graph.errors import nearest
from nodes.messages import Utterance
from nodes.ops import checks, espeak
from nodes.ops.playback import Card, Sound, WavFile, panned
from nodes.phrases import languages

log = logging.getLogger(__name__)
MOST_WAITING = 8
FINISH_S = 5.0
CACHED_PHRASES = 200
NO_VOICE = "no espeak-ng here, so nothing sounds; install the package espeakng-loader, or Debian's espeak-ng"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An utterance that has not been said yet."""

    utterance: Utterance
    stamp: Stamp


class Speak(Node):
    """Speaks utterances.

    Args:
        language: What `narrate` speaks by default; each utterance says its own.
        rate_wpm: Words a minute.
        card: "auto" plays where there is a sound card; true insists on one; false does not look for one.
        wav: File for the sound, on the timeline of the captures; null: none.
        log: File for what was said, a line of JSON each; null: none.
        console: Whether to log the words, too.
        in_process: Whether espeak-ng (GPL-3.0) may be loaded into this process; else it runs as a separate program.
    """

    def __init__(
        self,
        language: str = "en",
        *,
        rate_wpm: int = 190,
        card: Literal["auto"] | bool = False,
        wav: str | None = None,
        log: str | None = None,
        console: bool = False,
        in_process: bool = False,
    ) -> None:
        self.language, self.rate_wpm, self.card_wanted = language, rate_wpm, card
        self.console, self.in_process = console, in_process
        self.wav = WavFile(Path(wav)) if wav else None
        self.log_path = Path(log) if log else None
        self.log_file: TextIO | None = None
        self.card: Card | None = None
        self.voice: espeak.Synthesiser | None = None
        self.waiting: list[Waiting] = []
        self.changed = Condition()
        self.closing = self.speaking = False
        self.priority = 3
        self.first_ns: int | None = None
        self.until_ns = 0
        self.expired = 0
        self.words = ""
        self.sounds: dict[tuple[str, str], bytes] = {}
        self.thread: Thread | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        language = params.get("language", "en")
        if language not in languages():
            yield f"language: is {language!r}{nearest(language, languages())}"
        yield from checks.word_problems(params, "card", ("auto", True, False))
        yield from checks.number_problems({"rate_wpm": 190, **params}, "rate_wpm", low=80, high=450)

    def setup(self) -> None:
        """Find a voice and the outputs, and start the thread."""
        self.voice = espeak.find(in_process=self.in_process)
        if self.voice is None:
            log.warning("%s", NO_VOICE)
        if self.card_wanted:
            self.card = self._find_card()
        if self.log_path is not None:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self.log_file = self.log_path.open("w", encoding="utf-8", buffering=1)
        self.thread = Thread(target=self._speak_all, name="cauce-speaker", daemon=True)
        self.thread.start()

    def _find_card(self) -> Card | None:
        try:
            return Card()
        except ImportError:
            why = "the package sounddevice is not installed; install the extra: uv sync --extra audio"
        except Exception as e:  # PortAudio's own class of errors needs its import to be named
            why = f"no sound card answers: {e}"
        if self.card_wanted is True:
            raise OSError(f"{why}; or choose speech=wav")
        log.warning("%s; speech goes on without it", why)
        return None

    def process(self, utterance: Utterance, stamp: Stamp) -> None:
        """Leave it to the thread."""
        with self.changed:
            if self.first_ns is None:
                self.first_ns = stamp.captured_ns
            same = utterance.key
            self.waiting = [w for w in self.waiting if not same or w.utterance.key != same]
            self.waiting.append(Waiting(utterance, stamp))
            self.waiting.sort(key=lambda w: (w.utterance.priority, w.stamp.captured_ns))
            self.expired += len(self.waiting[MOST_WAITING:])
            del self.waiting[MOST_WAITING:]
            self.changed.notify_all()

    def _speak_all(self) -> None:
        while (next_ := self._next()) is not None:
            try:
                self._speak(next_)
            except Exception as e:
                log.warning("cannot say %r: %s", next_.utterance.text, e)
            with self.changed:
                self.speaking = False
                self.changed.notify_all()

    def _next(self) -> Waiting | None:
        """The next to be said, when it is time for it; None at the end."""
        with self.changed:
            while True:
                if self.closing:
                    return None
                rest_s = self._rest_s()
                if self.waiting and rest_s <= 0:
                    self.speaking = True
                    return self.waiting.pop(0)
                self.changed.wait(rest_s if self.waiting else None)

    def _rest_s(self) -> float:
        """How long what is being said still takes for the first that waits; 0 when that may interrupt."""
        if not self.waiting:
            return 0.0
        first = self.waiting[0]
        is_lossless = first.stamp.offset_ns != 0  # media time does not pass by itself
        if is_lossless or first.utterance.priority < self.priority:
            return 0.0
        return (self.until_ns - first.stamp.now_ns()) / 1e9

    def _speak(self, w: Waiting) -> None:
        """Say one: at its capture's time or when the one before is over, unless that is too late."""
        u, stamp = w.utterance, w.stamp
        interrupts = u.priority < self.priority
        if stamp.offset_ns:
            start_ns = stamp.captured_ns if interrupts else max(stamp.captured_ns, self.until_ns)
        else:
            start_ns = stamp.now_ns()
        if start_ns - stamp.captured_ns > u.max_age_ms * 1e6:
            self.expired += 1
            return
        sound = self._sound(u)
        start_ns = start_ns if stamp.offset_ns else stamp.now_ns()
        assert self.first_ns is not None
        if self.card is not None:
            self.card.play(sound)
        if self.wav is not None and len(sound):
            self.wav.add(max(0, start_ns - self.first_ns) / 1e9, sound)
        self.priority = u.priority
        self.until_ns = start_ns + int(len(sound) / espeak.SAMPLE_RATE * 1e9)
        self._tell(u, stamp, start_ns)

    def _sound(self, u: Utterance) -> Sound:
        key = (u.language, u.text)
        if key not in self.sounds and self.voice is not None:
            if len(self.sounds) >= CACHED_PHRASES:
                self.sounds.pop(next(iter(self.sounds)))
            self.sounds[key] = self.voice.synthesise(u.text, voice=u.language, rate_wpm=self.rate_wpm)
        return panned(self.sounds.get(key, b""), u.bearing_deg)

    def _tell(self, u: Utterance, stamp: Stamp, spoken_ns: int) -> None:
        self.words = u.text
        if self.console:
            log.info("says: %s", u.text)
        if self.log_file is not None:
            line = {
                "captured_ns": stamp.captured_ns,
                "spoken_ns": spoken_ns,
                "text": u.text,
                "language": u.language,
                "priority": u.priority,
                "why": u.why,
            }
            self.log_file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def status(self) -> str:
        """The last words."""
        return f'"{self.words}"' if self.words else ""

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """See `Node.facts`."""
        card = "yes" if self.card is not None else "no"
        return {"speech": {"voice": self.voice.name if self.voice else "none", "card": card}}

    def finish(self) -> None:
        """Let what waits be said, and be heard where there is a card."""
        deadline = monotonic() + FINISH_S
        with self.changed:
            while (self.waiting or self.speaking) and monotonic() < deadline:
                self.changed.wait(0.1)
            rest_s = (self.until_ns - monotonic_ns()) / 1e9 if self.card is not None else 0
            if rest_s > 0:
                self.changed.wait(min(rest_s, deadline - monotonic()))

    def close(self) -> None:
        """Fall silent, and complete the files."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        if self.thread is not None:
            self.thread.join(0.5)
        for part in (self.card, self.voice, self.wav, self.log_file):
            if part is not None:
                part.close()
