"""How long `python main.py plan` takes, beside the least Hydra application there is.

    uv run python bench/startup.py

Interleaved. Limit: 1.5 s.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic_ns

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report

REPEATS = 7
LEAST = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(cfg): pass
main()
"""


def timed(*command: str, cwd: str) -> int:
    begin = monotonic_ns()
    subprocess.run([sys.executable, *command], cwd=cwd, check=True, capture_output=True)
    return monotonic_ns() - begin


def main() -> None:
    report.header("Start-up", packages=("hydra-core", "omegaconf", "numpy"))
    plan, least, bare = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "least.py").write_text(LEAST)
        for _ in range(REPEATS):
            plan.append(timed(str(ROOT / "main.py"), "plan", "source=webcam", cwd=folder))
            least.append(timed("least.py", cwd=folder))
            bare.append(timed("-c", "import numpy, cv2", cwd=folder))
    median = report.row("python main.py plan", plan)
    report.row("the least Hydra application", least)
    report.row("python -c 'import numpy, cv2'", bare)
    report.limit("python main.py plan", median, at_most=1.5e9)


if __name__ == "__main__":
    main()
