"""What the documentation shows is true: commands compose, YAML is what it says, Python runs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import main
from graph.compose import CONF, with_ladders

ROOT = Path(__file__).parents[2]
OPTION_FILES = ("# detector/", "# placement/")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of all code blocks of a language."""
    found = []
    for page in PAGES:
        texts = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        found += [(page.name, text) for text in texts]
    return found


def commands() -> list[str]:
    """All shown calls of main.py."""
    text = "\n".join(page.read_text() for page in PAGES)
    calls = re.findall(r"(?:python|uv run) main\.py[^`#\n]*", text)
    return sorted({c.split("main.py", 1)[1].strip() for c in calls})


@pytest.mark.parametrize("words", [c for c in commands() if "my_conf" not in c and "-sc" not in c and "..." not in c])
def test_a_command_composes(words):
    GlobalHydra.instance().clear()
    argv = main.with_command(["main.py", *shlex.split(words)])
    overrides = [w for w in argv[1:] if w != "-m" and "=" in w]
    assert all(w == "-m" or "=" in w for w in argv[1:]), argv
    if "-m" in argv:
        overrides = [re.sub(r"=([^\[,]*),.*", r"=\1", w) for w in overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("config", with_ladders(overrides))["nodes"]


def test_there_are_commands_to_try():
    assert len(commands()) >= 10


@pytest.mark.parametrize(("page", "text"), [b for b in blocks("yaml") if not b[1].startswith(OPTION_FILES)])
def test_yaml_is_a_graph_or_a_part_of_one(page, text):
    content = yaml.safe_load(text)
    assert set(content) <= {"defaults", "nodes"}
    for node in content["nodes"].values():
        assert isinstance(node, dict)


@pytest.mark.parametrize(("page", "text"), [b for b in blocks("python") if "clip.mp4" not in b[1]])
def test_python_runs(page, text):
    names: dict[str, object] = {}
    exec(compile(text, page, "exec"), names)  # our own documentation
    assert len(names) > 1


def test_the_user_graph_of_the_docs_runs_as_shown(tmp_path, monkeypatch):
    """docs/node.md from top to bottom: a package and a graph of one's own."""
    from graph import load
    from tests.media import clip

    ((_, code),) = [b for b in blocks("python") if "class LightMeter" in b[1]]
    ((_, graph),) = [b for b in blocks("yaml") if "my_nodes" in b[1]]
    (tmp_path / "my_nodes").mkdir()
    (tmp_path / "my_nodes" / "__init__.py").touch()
    (tmp_path / "my_nodes" / "light_meter.py").write_text(code)
    (tmp_path / "my_conf" / "graph").mkdir(parents=True)
    (tmp_path / "my_conf" / "graph" / "dusk.yaml").write_text(graph)
    monkeypatch.syspath_prepend(tmp_path)
    video = clip(tmp_path / "clip.avi", 10, picture=lambda i: np.full((48, 64, 3), 90 if i < 5 else 5, np.uint8))
    out = tmp_path / "out"
    words = [f"source.path={video}", "source.realtime=false", "detector=none", "metrics=none", f"out={out}"]
    off = ["nodes.fuse._target_=null", "nodes.narrate._target_=null", "nodes.record._target_=null"]
    summary = load("dusk", [*words, *off], config_dir=tmp_path / "my_conf", plugins=["my_nodes"]).run(status=False)
    assert summary["frames"] == 10
    assert '"text": "It is dark."' in (out / "utterances.jsonl").read_text()


def test_the_model_of_ones_own_is_one_file_as_shown(tmp_path):
    """docs/backends.md: a new ONNX model by configuration alone."""
    from graph import load
    from tests.engines.models import conv

    for _, text in blocks("yaml"):
        if text.startswith(OPTION_FILES):
            path = tmp_path / "my_conf" / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(re.sub(r"weights: \{.*", f"weights: {conv(tmp_path / 'mine.onnx')}", text))
    plan = load("demo", ["detector=mine", "metrics=none"], config_dir=tmp_path / "my_conf").plan
    assert plan.nodes["detector"].spec.params["name"] == "mine"


def test_every_file_of_the_framework_is_in_the_reading_order():
    listed = (ROOT / "README.md").read_text()
    missing = [p.name for p in (ROOT / "graph").glob("*.py") if p.name not in listed and p.name != "__init__.py"]
    assert missing == []


def test_a_graph_can_be_loaded_and_planned_from_python():
    from graph import load

    plan = load("video", ["source=webcam", "detector=none", "nodes.fuse._target_=null", "nodes.narrate._target_=null",
                          "nodes.record._target_=null", "speech=none"]).plan  # fmt: skip
    assert list(plan.nodes) == ["camera", "view"]
