"""Loads and unloads one network by one backend after the other, and prints what the process holds after each.

python -m tests.engines.switching ROUNDS onnx openvino torch    a line of JSON for each model that was closed
"""

import ctypes
import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from engines.base import ModelSpec, Weights

ENGINES = {"onnx": "engines.onnx.Onnx", "openvino": "engines.openvino.OpenVino", "torch": "engines.torch.Torch"}
SPEC = ModelSpec("street_yolo12n", Weights("shipped:street_yolo12n.onnx"), {"": (1, 3, 320, 320)})


def held() -> dict[str, int]:
    """Kilobytes in memory (a share of what others hold too), threads, and open files of this process."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return {"pss_kb": pss, "threads": len(os.listdir("/proc/self/task")), "files": len(os.listdir("/proc/self/fd"))}


def load_and_close(name: str) -> None:
    module, _, engine = ENGINES[name].rpartition(".")
    model = getattr(import_module(module), engine)().load(SPEC)
    model(np.zeros((1, 3, 320, 320), np.float32))
    model.close()


def main() -> None:
    rounds, names = int(sys.argv[1]), sys.argv[2:]
    for _ in range(rounds):
        for name in names:
            load_and_close(name)
            print(json.dumps({"backend": name, **held()}), flush=True)


if __name__ == "__main__":
    main()
