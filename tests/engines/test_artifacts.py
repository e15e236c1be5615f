import errno
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from engines import artifacts
from engines.base import EngineError
from engines.cache import Cache

KEY = {"source": "ab" * 32, "precision": "fp16", "size_wh": [640, 640], "versions": {"onnx": "1.18"}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "cauce" / "artifacts"


class Maker:
    def __init__(self, content: bytes = b"engine") -> None:
        self.content, self.calls = content, 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_bytes(self.content)


def obtain(make, key=KEY) -> Path:
    return artifacts.obtain(key, ".onnx", make, title="yolo12n fp16")


def test_it_is_made_once_and_found_again(cache):
    make = Maker()
    path = obtain(make)
    assert obtain(make) == path
    assert (make.calls, path.read_bytes(), path.parent) == (1, b"engine", cache)
    assert path.name.startswith("yolo12n_fp16-")
    assert artifacts.find(KEY, ".onnx", title="yolo12n fp16") == path


@pytest.mark.parametrize("change", [{"precision": "fp32"}, {"size_wh": [320, 320]}, {"versions": {"onnx": "1.19"}}])
def test_whatever_it_depends_on_makes_another_one(change):
    make = Maker()
    assert obtain(make) != obtain(make, KEY | change)
    assert make.calls == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"enginE"),
        lambda path: path.write_bytes(b"eng"),
        lambda path: path.unlink(),
        lambda path: Path(f"{path}.json").unlink(),
        lambda path: Path(f"{path}.json").write_text("{"),
        lambda path: Path(f"{path}.json").write_text("[1]"),
    ],
    ids=["another byte", "cut", "gone", "no sidecar", "cut sidecar", "foreign sidecar"],
)
def test_what_is_damaged_is_made_again_and_never_given(damage):
    make = Maker()
    path = obtain(make)
    damage(path)
    assert artifacts.find(KEY, ".onnx", title="yolo12n fp16") is None
    assert obtain(make).read_bytes() == b"engine"
    assert make.calls == 2


def test_a_file_of_another_key_in_its_place_is_not_taken():
    other = obtain(Maker(b"other"), KEY | {"precision": "fp32"})
    path = obtain(Maker())
    path.write_bytes(other.read_bytes())
    Path(f"{path}.json").write_text(Path(f"{other}.json").read_text())
    assert obtain(Maker()).read_bytes() == b"engine"


def test_a_maker_that_fails_leaves_nothing_behind(cache):
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise EngineError("the builder refuses it")

    with pytest.raises(EngineError, match="the builder refuses it"):
        obtain(fail)
    assert [p for p in cache.iterdir() if p.suffix != ".lock"] == []


def test_a_maker_that_writes_nothing_is_an_error():
    with pytest.raises(EngineError, match="nothing was written"):
        obtain(lambda path: None)


def test_a_full_disk_is_one_clear_error(cache):
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(EngineError, match=r"^yolo12n fp16: cannot keep .*: the disk is full; free some"):
        obtain(full)
    assert [p for p in cache.iterdir() if p.suffix != ".lock"] == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="set XDG_CACHE_HOME to a folder that can be written"):
        obtain(Maker())


def _slowly(calls: Path) -> None:
    def make(path: Path) -> None:
        with open(calls, "a") as file:
            file.write("x")
        path.write_bytes(b"half")
        time.sleep(0.5)
        path.write_bytes(b"engine")

    assert obtain(make).read_bytes() == b"engine"


def test_of_two_processes_one_makes_it_and_both_have_it(tmp_path):
    calls = tmp_path / "calls"
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_slowly, args=(calls,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert calls.read_text() == "x"


def _dies(path: Path) -> None:
    path.write_bytes(b"half")
    os._exit(9)


def test_a_process_that_dies_while_making_blocks_nobody(cache):
    process = multiprocessing.get_context("spawn").Process(target=obtain, args=(_dies,))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert len(list(cache.glob(".*.part*"))) == 1
    assert obtain(Maker()).read_bytes() == b"engine"
    assert list(cache.glob(".*.part*")) == []


def test_what_nobody_asks_for_again_is_swept_when_it_is_old(cache):
    process = multiprocessing.get_context("spawn").Process(target=obtain, args=(_dies,))
    process.start()
    process.join(30)
    (half,) = cache.glob(".*.part*")
    assert artifacts.sweep() == []
    os.utime(half, (1, 1))
    assert artifacts.sweep() == [half]


def test_cache_lists_verifies_and_prunes(cache, capsys):
    assert Cache().execute(None)["kept"] == 0
    first, second = obtain(Maker()), obtain(Maker(b"x" * 3_000_000), KEY | {"precision": "int8"})
    os.utime(f"{first}.json", (time.time() - 40 * 86400,) * 2)
    assert Cache().execute(None)["kept"] == 2
    assert "yolo12n fp16" in capsys.readouterr().out
    second.write_bytes(b"y" * 3_000_000)
    assert Cache(verify=True).execute(None)["damaged"] == 1
    assert "its bytes are not those that were written" in capsys.readouterr().out
    figures = Cache(prune=True).execute(None)
    assert (figures["kept"], figures["removed"]) == (0, 2)
    assert [p.name for p in cache.iterdir() if not p.name.startswith(".")] == []


def test_prune_keeps_what_was_used_last_within_the_limit():
    old, new = obtain(Maker(bytes(2_000_000))), obtain(Maker(bytes(2_000_001)), KEY | {"precision": "int8"})
    os.utime(f"{old}.json", (time.time() - 60,) * 2)
    Cache(prune=True, max_mb=3).execute(None)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("params", [{"max_mb": -1}, {"older_than_days": "x"}, {"max_mb": True}])
def test_wrong_limits_are_refused(params):
    with pytest.raises(EngineError, match=r"^command\.\w+: is .*; expected a number, 0 or more, or null"):
        Cache(**params)


def test_the_sidecar_says_what_it_is(cache):
    path = obtain(Maker())
    sidecar = json.loads(Path(f"{path}.json").read_text())
    assert sidecar["key"] == KEY
    assert sidecar["bytes"] == 6
