"""From the README's first command to the first spoken words: a fresh clone, a fresh environment, an empty cache.

    uv run python bench/first_words.py

Prints when the packages are there, when the first frame entered, and when the first words were said. Goal: 2 minutes on
a fast link. The packages come over whatever link there is: the figure is of this machine and this hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report

GOAL_S = 120.0
MOMENTS = {"metrics on": "packages there", "runs on": "models loaded", "says:": "first words"}


def main() -> None:
    report.header("From the first command to the first words", packages=("uv",))
    with tempfile.TemporaryDirectory() as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        venv = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        environment |= {"UV_CACHE_DIR": str(Path(folder) / "cache"), "HOME": str(home), "PYTHONUNBUFFERED": "1"}
        environment["XDG_CACHE_HOME"] = str(home / ".cache")
        home.mkdir()
        begin = monotonic()
        seen: dict[str, float] = {}
        process = subprocess.Popen(
            ["uv", "run", "main.py", "command.frames=200"],
            cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(f"  {monotonic() - begin:6.1f} s  {line.rstrip()[:110]}")
            for word, name in MOMENTS.items():
                if word in line:
                    seen.setdefault(name, monotonic() - begin)
        code = process.wait()
    print()
    for name, seconds in seen.items():
        print(f"{name:<44}{seconds:>10.1f} s")
    print(f"exit code {code}; goal {GOAL_S:g} s: {'within' if seen.get('first words', 1e9) <= GOAL_S else 'MISSED'}")


if __name__ == "__main__":
    main()
