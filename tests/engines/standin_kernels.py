"""Runs the kernels of engines/device/fit.cu on the CPU: the C compiler takes the very file that NVIDIA's takes."""

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from engines.device.compile import SOURCE

AROUND = """
#include <string.h>
typedef struct {{ int x, y, z; }} Three;
static __thread Three blockIdx, blockDim, threadIdx;
#define __global__
#define __device__
typedef unsigned short half_bits;
static half_bits as_half(float x)
{{
    _Float16 h = (_Float16)x;
    half_bits bits;
    memcpy(&bits, &h, sizeof bits);
    return bits;
}}
#include "{source}"
"""
RUN = """
void run_{name}(int gx, int gy, int bx, int by, {parameters})
{{
    blockDim.x = bx, blockDim.y = by;
    for (blockIdx.y = 0; blockIdx.y < gy; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gx; blockIdx.x++)
            for (threadIdx.y = 0; threadIdx.y < by; threadIdx.y++)
                for (threadIdx.x = 0; threadIdx.x < bx; threadIdx.x++)
                    {name}({names});
}}
"""


@cache
def library() -> ctypes.CDLL:
    """The kernels, compiled; skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    parameters = re.search(r"void name\((.*?)\)", SOURCE.read_text().replace("\\\n", " "), re.DOTALL)[1]
    names = ", ".join(re.search(r"(\w+)$", p.strip())[1] for p in parameters.split(","))
    text = AROUND.format(source=SOURCE)
    for name, kind in (("fit_float32", "float"), ("fit_float16", "half_bits")):
        text += RUN.format(name=name, parameters=parameters.replace("type*", f"{kind}*"), names=names)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "kernels.c"), Path(folder, "kernels.so")
        source.write_text(text)
        options = ["-O2", "-ffp-contract=off", "-shared", "-fPIC"]
        subprocess.run([compiler, *options, "-o", str(made), str(source)], check=True)
        return ctypes.CDLL(str(made))


def run(name: str, grid: tuple[int, int], block: tuple[int, int], values: tuple, types: tuple) -> None:
    """One launch."""
    function = getattr(library(), f"run_{name}")
    function.argtypes, function.restype = [*[ctypes.c_int] * 4, *types], None
    function(*grid, *block, *values)
