"""Says what is to be said: to a sound card, a WAV file, the console. A thread of its own keeps it from delaying others.

The most urgent comes first and interrupts; what has become too old is dropped, never said late. A lossless run has no
present that anybody could listen in: its speech is laid out on the time of the captures, the same each time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, monotonic_ns
from typing import Any, Literal, TextIO

from graph import Node, Stamp
from graph.errors import nearest
from nodes.messages import Utterance
from nodes.ops import checks, voices
from nodes.ops.agenda import Agenda, Item
from nodes.ops.espeak import SAMPLE_RATE
from nodes.ops.playback import Card, Sound, WavFile, panned
from nodes.phrases import languages

log = logging.getLogger(__name__)
FINISH_S = 5.0
CLOSE_S = 0.2
CACHED_PHRASES = 200
END_NS = 2**63 - 1
NO_VOICE = "there is no espeak-ng, so nothing sounds; install the package espeakng-loader, or Debian's espeak-ng"
NO_SOUNDDEVICE = "the package sounddevice is not installed; install the extra: uv sync --extra audio"


class Speak(Node):
    """Speaks utterances.

    Args:
        language: What `narrate` speaks by default; each utterance says its own.
        rate_wpm: Words a minute.
        card: "auto" plays where there is a sound card; true insists on one; false does not look for one. A lossless
            run plays nothing.
        wav: File for the sound, stereo, on the timeline of the captures, from the first utterance on; null: none.
        log: File for what was said, a line of JSON each; null: none. The keys of a line: captured_ns, spoken_ns (when
            the sound began, on the clock of captured_ns), text, language, priority, why.
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
        self.language, self.rate_wpm, self.card_wanted = language, int(rate_wpm), card
        self.console, self.in_process = console, in_process
        self.wav = WavFile(Path(wav)) if wav else None
        self.log_path = Path(log) if log else None
        self.log_file: TextIO | None = None
        self.card: Card | None = None
        self.voice: voices.Synthesiser | None = None
        self.sounds: dict[tuple[str, str], bytes] = {}
        self.agenda = Agenda()
        self.changed = Condition()
        self.closing = self.speaking = False
        self.first_ns: int | None = None
        self.words = ""
        self.thread: Thread | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        language = params.get("language", "en")
        if language not in languages():
            yield f"language: is {language!r}{nearest(language, languages())}"
        yield from checks.word_problems(params, "card", ("auto", True, False))
        yield from checks.number_problems({"rate_wpm": 190, **params}, "rate_wpm", low=80, high=450)
        if params.get("card") is True and find_spec("sounddevice") is None:
            yield f"card: {NO_SOUNDDEVICE}; or choose speech=wav"

    def setup(self) -> None:
        """Find the outputs and a voice."""
        if self.card_wanted:
            self.card = self._find_card()
        if self.card is not None or self.wav is not None:
            self.voice = self._find_voice()
        if self.log_path is not None:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self.log_file = self.log_path.open("w", encoding="utf-8", buffering=1)

    def _find_card(self) -> Card | None:
        try:
            return Card()
        except ImportError:
            why = NO_SOUNDDEVICE
        except Exception as e:  # PortAudio's own class of errors needs its import to be named
            why = f"no sound card answers: {e}"
        if self.card_wanted is True:
            raise OSError(f"{why}; or choose speech=wav")
        log.warning("%s; speech goes on without it", why)
        return None

    def _find_voice(self) -> voices.Synthesiser | None:
        try:
            voice = voices.find(in_process=self.in_process)
        except OSError as e:
            log.warning("%s; nothing sounds", e)
            return None
        if voice is None:
            log.warning("%s", NO_VOICE)
        return voice

    def process(self, utterance: Utterance, stamp: Stamp) -> None:
        """Leave it to the thread; in a lossless run lay it out at once."""
        if self.first_ns is None:
            self._begin(stamp)
        if self.thread is None:
            self._lay_out(stamp.captured_ns)
        with self.changed:
            self.agenda.add(Item(utterance, stamp))
            self.changed.notify_all()
        if self.thread is None:
            self._lay_out(stamp.captured_ns)

    def _begin(self, stamp: Stamp) -> None:
        """The first utterance tells when the sound begins, and whether the run is live, so that it needs the thread."""
        self.first_ns = stamp.captured_ns
        if not stamp.offset_ns:
            self.thread = Thread(target=self._speak_live, name="cauce-speaker", daemon=True)
            self.thread.start()
        elif self.card is not None:
            log.warning(
                "the sound card stays silent, because the run is lossless; for a live one: source.realtime=true"
            )

    def _lay_out(self, until_ns: int) -> None:
        """Say all that may begin by `until_ns`, a capture time, of a lossless run."""
        while (taken := self.agenda.take(until_ns)) is not None:
            self._say(*taken)

    def _speak_live(self) -> None:
        while (item := self._next()) is not None:
            self._say(item)
            with self.changed:
                self.speaking = False
                self.changed.notify_all()

    def _next(self) -> Item | None:
        """The next to be said live, when it is time for it; None at the end."""
        with self.changed:
            while not self.closing:
                now_ns = monotonic_ns()
                if (taken := self.agenda.take(now_ns)) is not None:
                    self.speaking = True
                    return taken[0]
                due_ns = self.agenda.due_ns()
                self.changed.wait(None if due_ns is None else (due_ns - now_ns) / 1e9)
        return None

    def _say(self, item: Item, start_ns: int | None = None) -> None:
        """Say one now, or at `start_ns` of a lossless run, unless that is too late; what goes wrong is logged."""
        try:
            sound = self._sound(item.utterance)
            duration_ns = int(len(sound) / SAMPLE_RATE * 1e9)
            with self.changed:
                is_live = start_ns is None
                start_ns = item.stamp.now_ns() if start_ns is None else start_ns
                if self.closing or not self.agenda.begin(item, start_ns, duration_ns=duration_ns):
                    return
            if self.card is not None and is_live:
                self.card.play(sound)
                start_ns += self.card.latency_ns
            self._tell(item, start_ns)
            if self.wav is not None and self.first_ns is not None and len(sound):
                self.wav.add((start_ns - self.first_ns) / 1e9, sound)
        except Exception as e:
            if not self.closing:
                log.warning("cannot say %r: %s", item.utterance.text, e)

    def _sound(self, u: Utterance) -> Sound:
        key = (u.language, u.text)
        if key not in self.sounds and self.voice is not None:
            if len(self.sounds) >= CACHED_PHRASES:
                self.sounds.pop(next(iter(self.sounds)))
            self.sounds[key] = self.voice.synthesise(u.text, voice=u.language, rate_wpm=self.rate_wpm)
        return panned(self.sounds.get(key, b""), u.bearing_deg)

    def _tell(self, item: Item, spoken_ns: int) -> None:
        u = item.utterance
        self.words = u.text
        if self.console:
            log.info("says: %s", u.text)
        if self.log_file is not None:
            line = {
                "captured_ns": item.stamp.captured_ns,
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
        """See `Node.facts`; `dropped` counts what was never said, being too late or too much."""
        card = "yes" if self.card is not None else "no"
        engine = self.voice.name if self.voice is not None else "none"
        return {"speech": {"engine": engine, "card": card, "dropped": str(self.agenda.dropped)}}

    def finish(self) -> None:
        """Let what waits be said, and be heard where there is a card."""
        deadline = monotonic() + FINISH_S
        if self.thread is None:
            self._lay_out(END_NS)
        with self.changed:
            while (self.agenda.waiting or self.speaking) and monotonic() < deadline:
                self.changed.wait(0.1)
            rest_s = self.agenda.rest_ns(monotonic_ns()) / 1e9 if self.card is not None else 0.0
            if rest_s > 0:
                self.changed.wait(min(rest_s, deadline - monotonic()))

    def close(self) -> None:
        """Fall silent, and complete the files."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        if self.card is not None:
            self.card.stop()
        if self.voice is not None:
            self.voice.close()  # ends a synthesis under way, which the thread may wait for
        if self.thread is not None:
            self.thread.join(CLOSE_S)
        for part in (self.card, self.wav, self.log_file):
            if part is not None:
                part.close()
