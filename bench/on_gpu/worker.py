"""One process of `processes.py`: loads a network, waits for a line, calls it for some time, and says how often.

Ends with its model open, as an application does that is stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.on_gpu import models
from bench.on_gpu.run import Run


def main(which: str, device: str, seconds: str, size: str) -> None:
    """See above; the words are those of the command line."""
    run = Run(Path(), device=device, minutes=1, small=size == "small")
    what = models.case(run, which)
    half = {"precision": "fp16", "mode": "graph"} if run.cuda else {}
    model = models.load(run, what, **half)
    given = models.images(what, 1)
    model(given)
    print("ready", flush=True)
    sys.stdin.readline()
    count, begin = 0, perf_counter()
    while perf_counter() < begin + float(seconds):
        model(given)
        count += 1
    print(json.dumps({"rate": count / (perf_counter() - begin)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
