"""Shortly before a message is due a worker plays one through: when, how often, and that nothing else notices."""

import gc
import os
import threading
from types import SimpleNamespace

import pytest

from graph import rehearsal
from graph.rehearsal import LEAD_NS, LONGEST_NS, REST_NS, Joiner, Listener, Loopback, Pace, Rehearsal
from tests.graph.helpers import books_balance, lines, run, toy

MS = 1_000_000
GAP = 33 * MS


def due_after(*began, took=0):
    """When a rehearsal is due of a node whose steps began then, in ms, and took so long."""
    pace = Pace()
    for ms in began:
        pace.look(ms * MS, (ms + took) * MS)
    return pace.due_ns / MS


def test_the_next_message_is_due_as_long_after_the_last_as_that_was_after_the_one_before():
    assert due_after(5000, 5033) == 5066 - LEAD_NS / MS


def test_of_the_last_two_gaps_the_shorter_one_counts():
    assert due_after(5000, 5010, 5043) == due_after(5000, 5033, 5043) == 5053 - LEAD_NS / MS


def test_nothing_is_due_after_one_message():
    assert due_after(5000) == 0


def test_who_has_worked_until_shortly_before_has_not_forgotten():
    least = (LEAD_NS + REST_NS) / MS
    assert due_after(5000, 5033, took=33 - least) == 0
    assert due_after(5000, 5033, took=33 - least - 1) > 0


def test_what_comes_seldom_does_not_come_by_a_clock():
    longest = LONGEST_NS // MS
    assert due_after(5000, 5000 + longest) == 0
    assert due_after(5000, 5000 + longest - 1) > 0


class Node:
    """A step, as far as rehearsals know it."""

    began_ns = 0
    planned = SimpleNamespace(edges=(None,))


@pytest.fixture
def clock(monkeypatch):
    """The time that rehearsals see, in a list."""
    now = [10_000 * MS]
    monkeypatch.setattr(rehearsal, "monotonic_ns", lambda: now[0])
    return now


@pytest.fixture
def worker():
    worker = Rehearsal()
    yield worker
    worker.close()


def step(worker, clock, node, after_ns=GAP):
    """Let the node make a step, and say when to look again, counted from there."""
    clock[0] += after_ns
    node.began_ns = clock[0]
    next_ns = worker.look()
    return next_ns and next_ns - clock[0]


def test_there_is_one_rehearsal_for_each_message(worker, clock):
    node = Node()
    worker.follow(node)
    assert step(worker, clock, node) == 0
    for n in range(5):
        assert step(worker, clock, node, GAP if n == 0 else LEAD_NS) == GAP - LEAD_NS
        assert worker.count == n
        clock[0] += GAP - LEAD_NS
        assert (worker.look(), worker.count) == (0, n + 1)


def test_a_worker_to_which_nothing_comes_sleeps(worker, clock):
    node = Node()
    worker.follow(node)
    step(worker, clock, node)
    step(worker, clock, node)
    for _ in range(5):
        clock[0] += GAP
        assert worker.look() == 0
    assert worker.count == 1


def test_a_message_that_comes_early_needs_no_rehearsal(worker, clock):
    node = Node()
    worker.follow(node)
    for after_ms in (33, 33, 20):
        step(worker, clock, node, after_ms * MS)
    assert worker.count == 0


def test_the_node_that_is_due_first_is_rehearsed_first(worker, clock):
    often, seldom = Node(), Node()
    worker.follow(often)
    worker.follow(seldom)
    step(worker, clock, seldom)
    step(worker, clock, often)
    step(worker, clock, often)
    assert step(worker, clock, seldom, 0) == GAP - LEAD_NS  # that of `often`; its own is 66 ms after
    clock[0] += GAP - LEAD_NS
    assert worker.look() - clock[0] == GAP
    assert worker.count == 1


def test_a_connection_made_anew_does_not_forget_the_pace(worker, clock):
    node = Node()
    worker.follow(node)
    step(worker, clock, node)
    step(worker, clock, node)
    worker.follow(node)
    assert worker.look() > 0


@pytest.mark.parametrize(("kind", "past_the_mailbox"), [(Listener, True), (Joiner, False)])
def test_what_is_played_comes_to_the_node(kind, past_the_mailbox):
    loopback = Loopback(kind)
    before = loopback.heard
    for n in range(100):
        loopback.play()
        assert loopback.heard == before + n + 1
    for _, link, inlet in loopback._ends:
        books = inlet._mailbox.tally
        assert (books.settled, books.lost, link.tally.lost) == (loopback.heard, 0, 0)
        assert books.handed == past_the_mailbox * loopback.heard
    loopback.close()


def test_a_rehearsal_leaves_no_handle_and_makes_no_thread():
    def held():
        gc.collect()  # what is mapped goes with the last array on it
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = held()
    loopback = Loopback(Joiner)
    assert held()[1] == before[1]
    loopback.play()
    loopback.close()
    del loopback
    assert held() == before


def rehearsals(runtime):
    """Of each worker of this process; None: it has none."""
    workers = runtime._here.assembly.workers.values()
    return [None if w.rehearsal is None else w.rehearsal.count for w in workers]


def test_a_graph_rehearses_for_what_comes_from_another_process_and_counts_what_came(tmp_path):
    n = 12
    source = toy("Count", n=n, realtime=True, period_ms=50, worker="a")
    result, runtime = run(
        "mixed", source=source, sink=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "source"})
    )
    assert result.end == "finished"
    (count,) = rehearsals(runtime)
    assert 0 < count < n
    assert len(lines(tmp_path / "out")) == n + len(("finish", "close"))
    assert books_balance(runtime)


def test_within_one_process_nothing_is_rehearsed(tmp_path):
    source = toy("Count", n=3, realtime=True, period_ms=20, worker="a")
    _, runtime = run(
        "threads", source=source, sink=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "source"})
    )
    assert rehearsals(runtime) == [None, None]
