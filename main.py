"""Composes a configuration from `conf/`, checks it, and executes the chosen command.

python main.py                                        a walk down a computed street: needs nothing
python main.py graph=video source.path=clip.mp4       what is on a video
python main.py plan graph=video                       show what would run (the same as command=plan)
python main.py doctor                                 what works on this machine
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_S = 0.01  # until an exit that nobody could catch is asked for again
COMMANDS = tuple(path.stem for path in sorted((Path(__file__).parent / "conf" / "command").glob("*.yaml")))


def with_command(argv: list[str]) -> list[str]:
    """`main.py -m plan a=b` as Hydra wants it: `main.py -m command=plan a=b`."""
    named = next((i for i, word in enumerate(argv[1:], 1) if not word.startswith("-")), None)
    if named is None or argv[named] not in COMMANDS:
        return argv
    rest = argv[named + 1 :]
    # All overrides must stand together, so the command goes before the first of them.
    at = next((i for i, word in enumerate(rest) if "=" in word and not word.startswith("-")), len(rest))
    return [*argv[:named], *rest[:at], f"command={argv[named]}", *rest[at:]]


def execute(config: dict[str, Any], words: list[str]) -> float | None:
    """Execute the command of a composed configuration; the figure that sweeps optimise."""
    from graph.build import Builder
    from graph.compose import checked

    typed = any(word.lstrip("+").startswith("plugins=") for word in words)
    allowed = config["plugins"] if typed else []
    command = Builder(allowed).instantiate(config["command"])
    graph = checked(config, allowed=allowed) if getattr(command, "needs_graph", True) else None
    if _exit.was_asked:
        sys.exit(0)
    _exit.clears_up = True
    score: float | None = command.score(command.execute(graph))
    return score


def once(words: list[str]) -> bool:
    """Compose and execute once. False: the configuration asks for a sweep instead."""
    from graph.compose import composed

    config, is_sweep = composed(words)
    if not is_sweep:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        execute(config, words)
    return not is_sweep


def by_hydra() -> None:
    """Everything that has a flag: sweeps (-m), --cfg, --help, --config-dir, completion."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    failed: list[int] = []

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def app(cfg: DictConfig) -> float | None:
        job = HydraConfig.get()
        words = list(job.overrides.task)
        is_sweep = job.mode == RunMode.MULTIRUN
        if is_sweep:
            cfg.sweep = {"folder": str(cfg.out), "number": int(job.job.num), "words": words}
            cfg.out = str(Path(str(cfg.out)) / str(job.job.num))
        config: Any = OmegaConf.to_container(cfg, resolve=True)
        try:
            with told():
                return execute(config, words)
        except SystemExit as e:
            # The other jobs of a sweep are as good as before.
            if not is_sweep or e.code != 1:
                raise
            failed.append(job.job.num)
            return None

    from graph.compose import with_ladders

    sys.argv = with_ladders(sys.argv)
    app()
    if failed:
        sys.exit(1)


class Exit:
    """Ends the program where a signal asks for that and no run listens.

    Until a command begins there is nothing to clear up, and the program is left at once: most of that time goes into
    imports, where an exception may come up in a callback of the interpreter, or in a library that goes on all the same.
    """

    clears_up = False
    was_asked = False

    def __call__(self, number: int, _: object) -> None:
        """Handle the signal."""
        if not self.clears_up:
            os._exit(0)
        self.was_asked = True
        sys.exit(0)

    def hears_of(self, unraisable: UnraisableHookArgs) -> None:
        """Ask again for an exit that came up where nobody could catch it; tell of all else."""
        if self.was_asked and isinstance(unraisable.exc_value, SystemExit):
            Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            sys.__unraisablehook__(unraisable)


_exit = Exit()


@contextmanager
def told() -> Iterator[None]:
    """Errors whose text is for people are told in their own words, as the last line, without a traceback."""
    try:
        yield
    except Exception as e:
        if _exit.was_asked:  # a library's own clearing up has failed over the exit that a signal raised in it
            sys.exit(0)
        from graph.errors import translated

        if not getattr(error := translated(e), "is_for_people", False):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def main() -> None:
    """The command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    sys.unraisablehook = _exit.hears_of
    sys.argv = with_command(sys.argv)
    words = sys.argv[1:]
    with told():
        # Hydra's own entry composes twice, to find out whether it is to sweep; one composition is enough.
        if not any(word.startswith("-") for word in words) and once(words):
            return
    by_hydra()


if __name__ == "__main__":
    main()
