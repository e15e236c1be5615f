"""Runs the table; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec

from bench import report
from bench.transport import __doc__ as about
from bench.transport import dora, faults, workloads
from bench.transport.frames import FRAME_BYTES
from bench.transport.ours import KIND, Ours
from bench.transport.peers import installed
from bench.transport.table import SAMPLES, Scale, Table

PACKAGES = ("numpy", "iceoryx2", "dora-rs")
WORKLOADS: Mapping[str, Callable[[Table], None]] = {
    "hop": workloads.hop,
    "saturated": workloads.saturated,
    "message": workloads.message,
    "fanout": workloads.fanout,
    "graph": workloads.graph,
    "slow": workloads.slow,
    "blocked": workloads.blocked,
    "first": workloads.first,
    "killed": faults.killed,
    "swept": faults.swept,
}


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute: few frames, one repeat")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a limit is missed")
    parser.add_argument("--only", default=",".join(WORKLOADS), help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--kind", default=KIND, help="what our workers are, as in the config group `placement`")
    parser.add_argument("--without", default="", help="peers to leave out, such as iceoryx2,dora-rs")
    parser.add_argument("--frames", type=int, help="frames of a run at 30 a second")
    parser.add_argument("--seconds", type=float, help="length of a run as fast as it goes")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--frame-bytes", type=int, default=FRAME_BYTES)
    given = parser.parse_args(words)
    unknown = [name for name in given.only.split(",") if name not in WORKLOADS]
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; expected some of {', '.join(WORKLOADS)}")
    return given


def scale(given: argparse.Namespace) -> Scale:
    found = Scale(n=20, seconds=0.4, repeats=1, starts=2) if given.quick else Scale()
    chosen = {"n": given.frames, "seconds": given.seconds, "repeats": given.repeats, "frame_bytes": given.frame_bytes}
    return replace(found, **{key: value for key, value in chosen.items() if value is not None})


def main(words: Sequence[str] | None = None) -> int:
    given = arguments(words)
    report.header("Frames from process to process", packages=PACKAGES)
    without = given.without.split(",")
    peers = [p for p in (*installed(), *dora.installed()) if p.name not in without]
    if given.kind == KIND and find_spec("iceoryx2") and SAMPLES.name not in without:
        peers.append(SAMPLES)
    table = Table(Ours(given.kind), peers, scale(given))
    for name in given.only.split(","):
        WORKLOADS[name](table)
    print(f"\nlimits missed: {len(table.missed)}" + "".join(f"\n  {what}" for what in table.missed))
    return 1 if given.strict and table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
