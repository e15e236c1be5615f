"""What is said when, on a clock of the test's own."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from graph import Stamp
from nodes.messages import Utterance
from nodes.ops.agenda import MOST_WAITING, Agenda, Item

S = 10**9


def item(at_s: float, text: str = "x", **options) -> Item:
    return Item(Utterance(text, **options), Stamp("camera", 0, int(at_s * S), 0))


def begun(agenda: Agenda, by_s: float, *, duration_s: float = 2.0) -> list[tuple[str, float]]:
    """What begins by a moment, and when."""
    out = []
    while (taken := agenda.take(int(by_s * S))) is not None:
        if agenda.begin(*taken, duration_ns=int(duration_s * S)):
            out.append((taken[0].utterance.text, taken[1] / S))
    return out


def test_one_waits_for_the_other():
    agenda = Agenda()
    agenda.add(item(0, "car"))
    agenda.add(item(0.5, "bench"))
    assert begun(agenda, 1.9) == [("car", 0)]
    assert agenda.due_ns() == 2 * S
    assert begun(agenda, 2) == [("bench", 2)]


def test_the_urgent_interrupts_everything_also_the_urgent():
    agenda = Agenda()
    agenda.add(item(0, "car", priority=2))
    assert begun(agenda, 0) == [("car", 0)]
    agenda.add(item(0.5, "stop", priority=1))
    assert begun(agenda, 0.5) == [("stop", 0.5)]
    agenda.add(item(0.8, "step", priority=1, max_age_ms=700))
    assert begun(agenda, 0.8) == [("step", 0.8)]


def test_the_same_urgent_words_are_not_begun_anew():
    agenda = Agenda()
    agenda.add(item(0, "stop", priority=1))
    assert begun(agenda, 0) == [("stop", 0)]
    agenda.add(item(0.5, "stop", priority=1, max_age_ms=3000))
    assert begun(agenda, 1) == []
    assert begun(agenda, 2) == [("stop", 2)]


def test_priority_two_waits_but_goes_before_three():
    agenda = Agenda()
    agenda.add(item(0, "car", priority=3))
    assert begun(agenda, 0) == [("car", 0)]
    agenda.add(item(0.1, "bench", priority=3))
    agenda.add(item(0.2, "dog", priority=2))
    assert begun(agenda, 1) == []
    assert begun(agenda, 2.5) == [("dog", 2)]


def test_what_is_too_old_is_dropped_and_counted():
    agenda = Agenda()
    agenda.add(item(0, "car"))
    agenda.add(item(0.5, "bench", max_age_ms=1000))
    assert begun(agenda, 9) == [("car", 0)]
    assert (agenda.dropped, agenda.waiting) == (1, [])


def test_a_newer_one_with_the_same_key_replaces_the_one_that_waits():
    agenda = Agenda()
    for i in range(3):
        agenda.add(item(i, f"car {i}", key="car"))
    assert [w.utterance.text for w in agenda.waiting] == ["car 2"]
    assert agenda.dropped == 0


def test_of_too_many_the_least_urgent_and_oldest_goes():
    agenda = Agenda()
    agenda.add(item(0, "stop", priority=1))
    for i in range(MOST_WAITING):
        agenda.add(item(i + 1, f"car {i}"))
    assert [w.utterance.text for w in agenda.waiting] == ["stop", *(f"car {i}" for i in range(1, MOST_WAITING))]
    assert agenda.dropped == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * S), st.sampled_from([1, 2, 3]), st.integers(100, 4000), st.integers(1, 3 * S)),
        max_size=30,
    )
)
def test_nothing_is_late_or_lost_and_only_the_urgent_interrupts(arrivals):
    agenda, now_ns, said = Agenda(), 0, []
    durations = {}

    def advance(by_ns):
        while (taken := agenda.take(by_ns)) is not None:
            duration_ns = durations[taken[0].utterance.text]
            if agenda.begin(*taken, duration_ns=duration_ns):
                said.append((taken[1], taken[0], duration_ns))

    for i, (pause_ns, priority, max_age_ms, duration_ns) in enumerate(arrivals):
        now_ns += pause_ns
        durations[f"{i}"] = duration_ns
        advance(now_ns)
        agenda.add(item(now_ns / S, f"{i}", priority=priority, max_age_ms=max_age_ms))
        advance(now_ns)
    advance(10**15)
    assert len(said) + agenda.dropped == len(arrivals)
    for start_ns, one, _ in said:
        assert 0 <= start_ns - one.stamp.captured_ns <= one.utterance.max_age_ms * 1e6
    for (start_ns, one, duration_ns), (next_ns, after, _) in pairwise(said):
        is_newer = after.stamp.captured_ns > one.stamp.captured_ns
        interrupts = after.utterance.priority == 1 and (one.utterance.priority != 1 or is_newer)
        assert next_ns >= (start_ns if interrupts else start_ns + duration_ns)
