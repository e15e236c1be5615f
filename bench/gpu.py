"""Checks and measures on an NVIDIA GPU whatever of ours needs one; see docs/gpu.md.

python bench/gpu.py --out results
python bench/gpu.py --out results --device cpu --minutes 0.5 --small    # without a GPU: does the script itself work?
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.on_gpu import (
    compiled,
    environment,
    full_graph,
    launches,
    onnx_files,
    parity,
    processes,
    safety,
    speed,
    together,
    transfers,
    workers,
)
from bench.on_gpu.run import Run

SECTIONS: dict[str, tuple[Callable[[Run], None], float, bool]] = {
    "environment": (environment.section, 10, False),
    "parity": (parity.section, 70, False),
    "safety": (safety.section, 45, False),
    "speed": (speed.section, 85, False),
    "full_graph": (full_graph.section, 50, False),
    "together": (together.section, 30, False),
    "workers": (workers.section, 30, True),
    "launches": (launches.section, 15, True),
    "transfers": (transfers.section, 15, True),
    "processes": (processes.section, 35, False),
    "exit": (processes.exits, 25, False),
    "onnx": (onnx_files.section, 25, False),
    "compile": (compiled.section, 200, True),
}
"""In the order of a run: the work, the most that it may take of 480 seconds, and whether it makes no sense on a CPU.

The last one takes what the others leave: nothing can interrupt a compiler, so nothing comes after it."""
GRACE_S = 60
"""A run that is longer over its time hangs: where, goes to the terminal, and the process ends."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything")
    parser.add_argument("--small", action="store_true", help="tiny networks: tests the script, measures nothing")
    parser.add_argument("--only", nargs="+", choices=sorted(SECTIONS), help="sections to run; all without it")
    given = parser.parse_args(argv)
    if given.minutes <= 0:
        parser.error(f"--minutes is {given.minutes:g}; expected more than 0")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections; 1 where a check failed or a section broke."""
    given = arguments(argv)
    try:
        import torch
    except ImportError as e:
        print(f"this needs the package torch: {e}; pip install torch")
        return 1
    if given.device != "cpu" and not torch.cuda.is_available():
        print(f"--device is {given.device}, but PyTorch finds no GPU; --device cpu --small tests the script itself")
        return 1
    if not given.small:  # which runs every section, however slow the machine is
        faulthandler.dump_traceback_later(given.minutes * 60 + GRACE_S, exit=True)
    run = Run(given.out, device=given.device, minutes=given.minutes, small=given.small)
    for name, (work, share_s, needs_gpu) in SECTIONS.items():
        if not given.only or name in given.only:
            run.section(name, work, share_s=share_s, needs_gpu=needs_gpu)
    run.finished = True
    run.save()
    faulthandler.cancel_dump_traceback_later()
    failures = run.failures()
    print(f"\n{run.path}: {'all checks are right' if not failures else 'WRONG: ' + '; '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
