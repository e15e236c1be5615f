"""From the name of a graph to a plan: composes the configuration and checks it. The same for main.py and for Python.

graph.load("video", ["source.path=clip.mp4", "backend=onnx"]).run()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from graph.build import Builder
from graph.each import expanded
from graph.errors import ConfigError, nearest
from graph.plan import Plan
from graph.planner import make_plan

CONF = Path(__file__).parents[1] / "conf"


@dataclass(frozen=True, slots=True)
class Graph:
    """A composed and checked graph."""

    config: Mapping[str, Any]
    plan: Plan
    builder: Builder

    def run(self, **options: Any) -> Mapping[str, Any]:
        """Run it to its end and return the summary; `options` are those of graph.commands.run.Run."""
        from graph.commands.run import Run

        return Run(**options).execute(self)


def load(
    name: str | None = None,
    overrides: Sequence[str] = (),
    *,
    config_dir: str | Path | None = None,
    plugins: Sequence[str] = (),
) -> Graph:
    """Compose the graph `name` with `overrides`, as the command line would, and check it.

    Args:
        name: A file of conf/graph, without .yaml; None: the default of conf/config.yaml.
        overrides: What would be typed after `main.py`, such as "backend.device=cuda:0".
        config_dir: A folder of yours with further groups and options.
        plugins: Packages of yours whose nodes and engines the graph may instantiate.

    Raises:
        ConfigError: With all mistakes.
    """
    words = [*([f"graph={name}"] if name else []), *overrides]
    if config_dir is not None:
        words.append(f"hydra.searchpath=[file://{Path(config_dir).resolve()}]")
    if plugins:
        words.append(f"plugins=[{','.join(plugins)}]")
    return checked(composed(words)[0], allowed=plugins)


def composed(words: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """The configuration that `words` of the command line compose, and whether it asks for a sweep over several.

    Raises:
        ConfigError: For an unknown group, option or key, and for words that are no overrides.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("config", with_ladders(words), return_hydra_config=True)
        is_sweep = str(cfg.hydra.mode).endswith("MULTIRUN")
        with open_dict(cfg):
            del cfg["hydra"]
        config = OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException) as e:
        raise ConfigError([_told(e)]) from e
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}, is_sweep


def with_ladders(words: Sequence[str]) -> list[str]:
    """`backend=[a,b]` is the ladder of that group: `backend=ladder backend.steps=[a,b]`."""
    found = []
    for word in words:
        group, _, value = word.partition("=")
        is_list = value.startswith("[") and value.endswith("]")
        if is_list and (CONF / group / "ladder.yaml").is_file():
            found += [f"{group}=ladder", f"{group}.steps={value}"]
        else:
            found.append(word)
    return found


def checked(config: Mapping[str, Any], *, allowed: Sequence[str]) -> Graph:
    """The graph of a composed configuration; ConfigError with all mistakes.

    `allowed` are the packages named by the user in person; a file that names others may come from anywhere.
    """
    named = config.get("plugins") or []
    foreign = [p for p in named if p not in allowed]
    if foreign:
        raise ConfigError(
            [
                f"plugins: {', '.join(foreign)} is named by a file; a file may not widen what is instantiated; "
                f"if you trust it, say plugins=[{','.join(map(str, foreign))}] on the command line"
            ]
        )
    builder = Builder(allowed)
    config = expanded(config)
    return Graph(config, make_plan(config.get("nodes"), config.get("placement"), builder), builder)


def default_out() -> str:
    """The folder of a run that names none."""
    return f"runs/{datetime.now():%Y-%m-%d_%H%M%S}"


def _told(e: Exception) -> str:
    """What Hydra says, with the nearest right word where a key was wrong."""
    lines = [line.strip() for line in str(e).strip().splitlines() if line.strip()]
    lines = lines[: next((i for i, line in enumerate(lines) if line.startswith("Config search path")), None)]
    cause: BaseException | None = e
    while cause is not None and not getattr(cause, "key", None):
        cause = cause.__cause__
    parent, key = getattr(cause, "parent_node", None), getattr(cause, "key", None)
    if parent is not None and key is not None:
        where = getattr(cause, "full_key", None) or key
        return f"{where}: there is no such key{nearest(key, [str(k) for k in parent])}"
    return "\n    ".join(lines)
