"""A callback of Hydra that says after each job of a sweep what the process still holds."""

import json
from typing import Any

from hydra.experimental.callback import Callback

from tests.engines.switching import held


class Held(Callback):
    def on_job_end(self, **_: Any) -> None:
        print("held", json.dumps(held()), flush=True)
