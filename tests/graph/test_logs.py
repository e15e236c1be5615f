"""Log records of workers are the run's."""

import logging
import subprocess
import sys

from graph import logs

SCRIPT = """
import logging
from graph import logs
logging.basicConfig(level="DEBUG")
logs.hand_over(logging.INFO, print)
logging.getLogger("a.b").debug("too little")
logging.getLogger("a.b").warning("%d of %s", 3, "it")
"""


def test_records_of_the_level_and_above_are_handed_over_with_their_text():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("a.b 30 3 of it\n", "")


def test_the_run_logs_them_with_the_worker_that_they_come_from(caplog):
    logs.take_over("gpu", ("a.b", logging.WARNING, "100 % of it"))
    assert caplog.record_tuples == [("a.b", logging.WARNING, "[gpu] 100 % of it")]
