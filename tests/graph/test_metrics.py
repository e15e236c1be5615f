"""What Prometheus reads, from a real server of a real run."""

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from graph import Node
from graph.errors import ServerError
from graph.metrics import Server
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, plan, toy
from tests.graph.toys import Number

DOC = Path(__file__).parents[2] / "docs" / "metrics.md"


class Modelled(Node):
    """Has a model, as a detector has."""

    def process(self, x: Number) -> Number:
        return x

    def facts(self):
        keys = ("name", "backend", "requested_device", "device", "provider", "precision", "reason", "fallback")
        return {"model": {k: k.upper() for k in keys}, "figures": {"words, and a space": "1 of 2"}}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """Metric families of a run that has dropped, failed and restarted, by name."""
    out = tmp_path_factory.mktemp("run") / "out"
    runtime = Runtime(
        plan(
            "inline",
            src=toy("Count", n=10, gap_at=5),
            net={"_target_": "tests.graph.test_metrics.Modelled", "inputs": {"x": "src"}},
            bad=toy("Fail", at=[4], on_error="skip", inputs={"x": "net"}),
            sink=toy("WriteNumber", path=str(out), inputs={"word": "bad"}),
        ),
        BUILDER,
    )
    server = Server(runtime, host="127.0.0.1", port=0)
    runtime.run()
    with urllib.request.urlopen(server.url) as answer:
        text = answer.read().decode()
    server.close()
    return {f.name: f for f in text_string_to_metric_families(text)}


def value(family, **labels):
    (found,) = [s.value for s in family.samples if s.labels == labels]
    return found


def test_the_table_in_the_docs_is_the_list_of_metrics(scraped):
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", DOC.read_text(), flags=re.MULTILINE)
    documented = {
        name.removesuffix("_total"): (kind, {w.strip() for w in labels.split(",")}) for name, kind, labels in rows
    }
    served = {
        name: (f.type, {label for s in f.samples for label in s.labels} - {"le"})
        for name, f in scraped.items()
        if name.startswith("cauce_")
    }
    assert served == documented


def test_counts_are_those_of_the_run(scraped):
    assert value(scraped["cauce_steps"], node="src") == 9
    assert value(scraped["cauce_steps"], node="bad") == 8
    assert value(scraped["cauce_errors"], node="bad") == 1
    assert value(scraped["cauce_drops"], edge="src", cause="source_gap") == 1
    assert value(scraped["cauce_deliveries"], edge="bad->sink.word") == 8
    (count,) = [s.value for s in scraped["cauce_age_seconds"].samples if s.name.endswith("_count")]
    assert count == 8


def test_a_model_shows_where_it_was_asked_to_run_and_where_it_runs(scraped):
    (sample,) = scraped["cauce_model_info"].samples
    assert sample.labels["requested_device"] == "REQUESTED_DEVICE"
    assert sample.labels["device"] == "DEVICE"
    assert sample.value == 1


def test_a_port_is_free_again_after_close_and_taken_before():
    runtime = Runtime(plan("inline", src=toy("Count")), BUILDER)
    server = Server(runtime, host="127.0.0.1", port=0)
    port = int(server.url.split(":")[2].split("/")[0])
    with pytest.raises(ServerError, match=f"cannot serve the metrics on 127.0.0.1:{port}"):
        Server(runtime, host="127.0.0.1", port=port)
    server.close()
    Server(runtime, host="127.0.0.1", port=port).close()
