"""Processes that send frames copy them past the processor's cache."""

import platform
import subprocess
import sys

import pytest

from graph.transport import copies
from tests.graph.helpers import run, toy

ASKED = "glibc.cpu.x86_non_temporal_threshold="
ONLY_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the C library copies so on x86-64")


@ONLY_X86
def test_what_the_user_has_set_stays():
    assert copies.environment({"HOME": "/home/me"}) == {"HOME": "/home/me", "GLIBC_TUNABLES": f"{ASKED}0x200000"}
    other = copies.environment({"GLIBC_TUNABLES": "glibc.malloc.check=1"})
    assert other == {"GLIBC_TUNABLES": f"glibc.malloc.check=1:{ASKED}0x200000"}
    own = {"GLIBC_TUNABLES": f"{ASKED}0x5000:glibc.malloc.check=1"}
    assert copies.environment(own) == own


def test_other_processors_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert copies.environment({"HOME": "/home/me"}) == {"HOME": "/home/me"}


@ONLY_X86
def test_the_c_library_knows_what_it_is_asked():
    env = copies.environment({"PATH": ""})
    loader = "/lib64/ld-linux-x86-64.so.2"
    try:
        listed = subprocess.run([loader, "--list-tunables"], env=env, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("another C library")
    if listed.returncode:
        pytest.skip("this glibc lists no tunables")
    assert "glibc.cpu.x86_non_temporal_threshold: 0x200000" in listed.stdout
    assert not subprocess.run([sys.executable, "-c", ""], env=env, capture_output=True).stderr


@ONLY_X86
def test_the_processes_of_a_graph_are_asked(tmp_path):
    result, _ = run(
        "processes",
        src=toy("Count", n=1, worker="a"),
        env=toy("Environment", variable="GLIBC_TUNABLES", inputs={"x": "src"}, worker="b"),
        out=toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "env"}),
    )
    assert result.end == "finished", result.error
    assert f"{ASKED}0x200000" in (tmp_path / "out").read_text()
