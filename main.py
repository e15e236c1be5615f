"""Composes a configuration from `conf/`, checks it, and executes the chosen command.

python main.py source=video source.path=clip.mp4      run the default graph on a video
python main.py plan graph=video                       show what would run (the same as command=plan)
python main.py doctor                                 what works on this machine
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

COMMANDS = tuple(path.stem for path in sorted((Path(__file__).parent / "conf" / "command").glob("*.yaml")))


def with_command(argv: list[str]) -> list[str]:
    """`main.py plan a=b` as Hydra wants it: `main.py command=plan a=b`."""
    if len(argv) < 2 or argv[1] not in COMMANDS:
        return argv
    rest = argv[2:]
    # All overrides must stand together, so the command goes before the first of them.
    at = next((i for i, word in enumerate(rest) if "=" in word and not word.startswith("-")), len(rest))
    return [argv[0], *rest[:at], f"command={argv[1]}", *rest[at:]]


def execute(config: dict[str, Any], *, plugins: list[str]) -> float | None:
    """Execute the command of a composed configuration; the figure that sweeps optimise."""
    from graph.build import Builder
    from graph.compose import checked

    command = Builder().instantiate(config["command"])
    graph = checked(config, allowed=plugins) if getattr(command, "needs_graph", True) else None
    score: float | None = command.score(command.execute(graph))
    return score


def main() -> None:
    """The command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    sys.argv = with_command(sys.argv)

    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def app(cfg: DictConfig) -> float | None:
        from graph.errors import CauceError

        logging.captureWarnings(True)
        job = HydraConfig.get()
        try:
            config = OmegaConf.to_container(cfg, resolve=True)
            assert isinstance(config, dict)
            if job.mode == RunMode.MULTIRUN:
                config["out"] = str(Path(str(config["out"])) / str(job.job.num))
            typed = [o.partition("=")[0].lstrip("+") for o in job.overrides.task]
            return execute(
                {str(k): v for k, v in config.items()}, plugins=list(cfg.plugins) if "plugins" in typed else []
            )
        except (CauceError, OmegaConfBaseException) as e:
            print(f"error: {e}", file=sys.stderr)
            sys.exit(1)

    app()


if __name__ == "__main__":
    main()
