"""What stands at the end of a run."""

from graph import Node, report
from graph.commands.run import _closing_lines
from tests.graph.helpers import drops, run, toy
from tests.graph.toys import Number


class Counts(Node):
    """A sink that knows at the end how many there were."""

    def __init__(self) -> None:
        self.count = 0

    def process(self, x: Number) -> None:
        self.count += 1

    def facts(self):
        return {"figures": {"seen": str(self.count), "in all": "5"}} if self.count else {}


def test_what_a_node_has_counted_closes_the_summary():
    node = {"_target_": "tests.graph.test_report.Counts", "inputs": {"x": "src"}}
    result, runtime = run(src=toy("Count", n=5), count=node)
    summary = report.summary(runtime, result, seconds=1.0, out=None, command=[])
    assert summary["facts"]["count"] == {"figures": {"seen": "5", "in all": "5"}}
    assert "  count: seen 5, in all 5" in _closing_lines(summary).splitlines()


def test_what_all_outputs_of_a_device_miss_is_lost_once():
    node = {"_target_": "tests.graph.test_report.Counts", "inputs": {"x": "src.left"}}
    _, runtime = run(src=toy("Lossy", n=8, lost=[3, 4, 6]), count=node)
    assert drops(runtime)["source_gap"] == 3
