"""Makes fit.ptx of fit.cu, with NVIDIA's compiler: python -m engines.device.compile

The result is text for every GPU from compute capability 7.5 on, which the driver translates for the one that is there
when it is loaded. So nobody who runs a model needs a compiler.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

SOURCE = Path(__file__).with_name("fit.cu")
RESULT = Path(__file__).with_name("fit.ptx")
LEAST = "6.3"
"""The version of PTX that knows compute capability 7.5: drivers of CUDA 10 and later read it."""


def fingerprint(source: Path = SOURCE) -> str:
    """What the result says of the file that it was made from."""
    return sha256(source.read_bytes()).hexdigest()


def main() -> None:
    """Compile, and let the assembler check that the result stays within `LEAST` for the GPUs of several years."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "fit.ptx")
        subprocess.run(["nvcc", "-ptx", "-arch=compute_75", "-o", str(made), str(SOURCE)], check=True)
        code = re.sub(r"^\.version .*$", f".version {LEAST}", made.read_text(), flags=re.MULTILINE)
        code = re.sub(r"^//.*\n", "", code, flags=re.MULTILINE).strip()
        made.write_text(f"// fit.cu {fingerprint()}\n{code}\n")
        for target in ("sm_75", "sm_86", "sm_89", "sm_90"):
            subprocess.run(["ptxas", f"-arch={target}", "-o", str(Path(folder, "out")), str(made)], check=True)
        RESULT.write_text(made.read_text())


if __name__ == "__main__":
    main()
