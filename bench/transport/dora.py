"""A peer: dora-rs with its defaults. This file is the driver, and the program of its two nodes too.

Only the hop: dora brings a runner of its own, and what one frame costs with it is the question.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":  # dora starts this file by its path
    sys.path[0] = str(ROOT)

from bench.transport.contender import NO_USE, Run, folder, read
from bench.transport.frames import Feed, Shutter, Taker, Use, fill, private

PROGRAM = Path(sys.executable).with_name("dora")
UP_S = 1.0
STOP_S = 10.0


class Dora:
    """dora-rs, started by `dora run` for each run."""

    name = "dora-rs"

    def hop(self, feed: Feed, *, readers: int = 1, use: Use = NO_USE, newest: bool = False) -> Run:
        """See `Contender.hop`; where a reader is slow, dora drops its oldest frames."""
        with folder() as path:
            nodes = [_node("producer", path, feed, outputs=["frame"])]
            nodes += [_node(f"consumer{i}", path, feed, inputs={"frame": "producer/frame"}) for i in range(readers)]
            flow = path / "flow.yml"
            flow.write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
            with (path / "said").open("w") as said:
                words = [_program(), "run", str(flow)]
                started = subprocess.Popen(
                    words, cwd=path, stdout=said, stderr=said, env={**os.environ, "PATH": _path()}
                )
                trouble = _await(started, 60 + 2 * (feed.n / feed.fps if feed.fps else feed.seconds))
            return read(path, trouble)

    def graph(self, feed: Feed, *, work_s: float) -> Run:
        """See `Contender.graph`; not built for this peer."""
        raise NotImplementedError("dora-rs takes part in hops alone; leave it out of the graph")


def installed() -> list[Dora]:
    """dora-rs where it can run here; prints where it cannot."""
    if find_spec("dora") and find_spec("pyarrow") and _program():
        return [Dora()]
    print("dora-rs: not installed: skipped")
    return []


def _program() -> str | None:
    from shutil import which

    return which("dora", path=_path())


def _path() -> str:
    """Where programs are looked for: dora starts its nodes by the first `python` there, which must be this one."""
    return os.pathsep.join([str(PROGRAM.parent), *sys.path, os.environ.get("PATH", "")])


def _node(name: str, path: Path, feed: Feed, **ports: Any) -> dict[str, Any]:
    env = {"ROLE": name, "FOLDER": str(path), "FEED": json.dumps(asdict(feed))}
    return {"id": name, "path": str(Path(__file__).resolve()), "env": env, **ports}


def _await(process: subprocess.Popen[bytes], timeout_s: float) -> str:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return f"did not end within {timeout_s:.0f} s"
    return f"exit code {process.returncode}" if process.returncode else ""


def produce(node: Any, feed: Feed, path: Path) -> None:
    import pyarrow

    own, shutter = private(feed.size), Shutter(feed, path)
    time.sleep(UP_S)
    while (due := shutter.wait()) is not None:
        # The array is wrapped; `send_output` copies it into shared memory.
        frame, t0_ns = fill(lambda: own, own, "in place", *due)
        shutter.made(t0_ns)
        node.send_output("frame", pyarrow.array(frame))
    shutter.save()
    time.sleep(UP_S)


def consume(node: Any, name: str, path: Path) -> None:
    taker = Taker(path, name)
    for event in node:
        if event["type"] == "INPUT":
            taker.take(event["value"].to_numpy(zero_copy_only=True))
        elif event["type"] == "STOP":
            break
    taker.save()


def main() -> None:
    from dora import Node

    role, path, feed = os.environ["ROLE"], Path(os.environ["FOLDER"]), Feed(**json.loads(os.environ["FEED"]))
    if role == "producer":
        produce(Node(), feed, path)
    else:
        consume(Node(), role, path)


if __name__ == "__main__":
    main()
