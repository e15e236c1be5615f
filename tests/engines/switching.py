"""Loads and unloads one network by one backend after the other, and prints what the process holds after each.

python -m tests.engines.switching ROUNDS onnx openvino torch           a line of JSON for each model that was closed
python -m tests.engines.switching ROUNDS onnx openvino torch --keep    as if nobody had closed them
"""

import ctypes
import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import ModelSpec, Weights

ENGINES = {"onnx": "engines.onnx.Onnx", "openvino": "engines.openvino.OpenVino", "torch": "engines.torch.Torch"}
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
SPEC = ModelSpec("street_yolo12n", Weights("shipped:street_yolo12n.onnx"), {"": (1, 3, 320, 320)})


def held() -> dict[str, int]:
    """Kilobytes in memory (a share of what others hold too), threads, and open files of this process."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return {"pss_kb": pss, "threads": len(os.listdir("/proc/self/task")), "files": len(os.listdir("/proc/self/fd"))}


def load(name: str) -> Any:
    """A model that has run once."""
    module, _, engine = ENGINES[name].rpartition(".")
    model = getattr(import_module(module), engine)().load(SPEC)
    model(np.zeros((1, 3, 320, 320), np.float32))
    return model


def peaks(held: list[dict[str, int]], settling: int) -> tuple[int, int]:
    """The most memory after the first `settling` models up to the middle, the least after the last few, in kilobytes.

    What allocators keep goes up and down by a tenth for some rounds; what leaks only goes up.
    """
    memory = [state["pss_kb"] for state in held]
    return max(memory[settling : len(memory) // 2]), min(memory[-settling:])


def main() -> None:
    rounds, names = int(sys.argv[1]), [name for name in sys.argv[2:] if name != "--keep"]
    kept = []
    for _ in range(rounds):
        for name in names:
            model = load(name)
            if "--keep" in sys.argv:
                kept.append(model)
            else:
                model.close()
            del model
            print(json.dumps({"backend": name, **held()}), flush=True)


if __name__ == "__main__":
    main()
