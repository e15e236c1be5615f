"""Decides which packets a node processes together, and when: one capture on all its inputs, or the nearest in time.

Every origin tells its captures in order, and where inputs are combined it also tells which captures bring nothing.
So a capture is decided as soon as each input has told as far, and no input is ever waited for in vain.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, TypeAlias

from graph.expiry import Expiry
from graph.input import Input, is_among
from graph.matching import MatchingMailbox, is_long_ago
from graph.node import Stamp
from graph.packet import Packet
from graph.plan import PlannedEdge, PlannedNode

Taken: TypeAlias = tuple[Packet, dict[str, Any] | None]
"""The packet that drives a step, and the messages by port; None: its capture brings nothing, which is to be told on."""


class _Undecided(Exception):
    """An input has not told far enough yet."""


class JoinInbox:
    """The inbox of a node with several edges: merges, joins and samples."""

    def __init__(self, node: PlannedNode, mailboxes: Mapping[PlannedEdge, MatchingMailbox], lossless: bool) -> None:
        inputs: dict[str, list[Input]] = {}
        for edge in node.edges:
            inputs.setdefault(edge.port, []).append(Input(edge, mailboxes[edge]))
        assert node.anchor is not None
        self._anchors = inputs.pop(node.anchor)
        self._others = inputs
        self._all_others = [i for inputs_ in inputs.values() for i in inputs_]
        self._all = [*self._anchors, *self._all_others]
        self._required = {p for p, port in node.ports.inputs.items() if port.required}
        self._align_ns = node.spec.align_ms * 1e6
        self._lossless = lossless
        self._expiry = Expiry(self._anchors, self._all_others, align_ns=self._align_ns, lossless=lossless)
        self._origins = frozenset().union(*(a.edge.origins for a in self._anchors))
        matched = [i for i in self._all_others if i.edge.policy != "hold"]
        self._surplus = [i.mailbox for i in matched if self._origins < i.edge.origins]
        """Mailboxes where more comes than any anchor can ask for: each asks for its own origin, which is there."""
        self._has_several_origins = len({o for e in node.edges for o in e.origins}) > 1
        """Whether captures of one origin may be in the way of those of another."""
        self._is_tangled = not lossless and any(a.edge.repeats for a in self._anchors)
        """Whether what comes by one way may be in the way of the same captures by another, behind a live merge."""
        self._full_ns = 0
        """Since when there has been no room for anchors, and none could be taken."""
        self._newest_wins = bool(matched) and all(i.edge.policy == "latest" for i in self._anchors)
        self._meeting = [(i.edge.port, i.mailbox) for i in self._all] if node.meets else []
        """Ports and their mailboxes, the anchor's first, where the heads of all are nearly always of one capture."""

    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return all(a.mailbox.closed and a.mailbox.head() is None for a in self._anchors)

    def abandon(self) -> None:
        """The node has ended: what still comes by inputs that do not drive it must keep nobody waiting."""
        for i in self._all:
            i.mailbox.abandon()

    def head(self) -> Packet | None:
        """The packet that drives the next step, left where it is, or None as long as none is decided."""
        anchor = self._next_anchor()
        return None if anchor is None else anchor.mailbox.head()

    def take_absence(self) -> Packet | None:
        """The next packet, if all that it says is that its capture brings nothing; else None, and nothing is taken."""
        anchor = self._next_anchor()
        head = None if anchor is None else anchor.mailbox.head()
        if anchor is None or head is None or head.message is not None:
            return None
        anchor.mailbox.take_this(head)
        return head

    def take(self) -> Taken | None:
        """The next set of inputs, or None as long as nothing is decided."""
        if self._meeting and (met := self._met()) is not None:
            return met
        for mailbox in self._surplus:
            mailbox.keep_only(self._origins)
        anchor = self._next_anchor()
        taken = None if anchor is None else self._take_from(anchor)
        if taken is None and (anchor is None or self._has_several_origins or self._is_tangled):
            self._expiry.look()
            taken = self._take_other() or self._cut_circle()
        if taken is not None:
            self._full_ns = 0
        return taken

    def _take_other(self) -> Taken | None:
        """The inputs around the first capture of any live source, where no room is left for what the oldest needs."""
        is_crowded = self._has_several_origins and not all(i.mailbox.has_room() for i in self._all_others)
        if self._lossless or not (is_crowded or self._is_crammed()):
            return None
        firsts: dict[str, tuple[Input, Packet]] = {}
        for anchor in self._anchors:
            for packet in reversed(anchor.mailbox.newest_first()):
                origin = packet.stamp.origin
                if origin not in firsts or packet.stamp.seq < firsts[origin][1].stamp.seq:
                    firsts[origin] = anchor, packet
        for anchor, packet in firsts.values():
            if (taken := self._take_with(anchor, packet)) is not None:
                return taken
        return None

    def _is_crammed(self) -> bool:
        """Whether there is no room for anchors which may be those that the others wait for."""
        return self._is_tangled and not all(a.mailbox.has_room() for a in self._anchors)

    def _cut_circle(self) -> Taken | None:
        """After a while what there is around the oldest capture, where nobody else may be able to go on.

        Who has to tell of it may be waiting for a merge to take what it has sent, and the merge for room here, where it
        has sent by other ways what comes later.
        """
        if not self._is_crammed():
            self._full_ns = 0
        elif not self._full_ns:
            self._full_ns = monotonic_ns()
        elif is_long_ago(self._full_ns) and (anchor := self._next_anchor()) is not None:
            return self._take_with(anchor, anchor.mailbox.head(), waits=False)
        return None

    def _met(self) -> Taken | None:
        """What all inputs have of the same capture, where that comes next by each of them."""
        first, messages = None, {}
        for port, mailbox in self._meeting:
            if (packet := mailbox.head()) is None or packet.message is None:
                return None
            first = first or packet
            if packet.stamp.seq != first.stamp.seq:
                return None
            messages[port] = packet.message
        for _, mailbox in self._meeting:
            mailbox.take()
        assert first is not None
        return first, messages

    def _next_anchor(self) -> Input | None:
        """The anchor edge whose oldest packet is the oldest of all."""
        while (anchor := self._oldest()) is not None and self._lossless:
            head = anchor.mailbox.head()
            others = (a for a in self._anchors if a is not anchor)  # the anchor has told of its own packet
            if head is None or not all(a.has_told_until(head.stamp.captured_ns) for a in others):
                return None
            if self._oldest() is anchor:  # nothing older came while the others were asked
                break
        return anchor

    def _oldest(self) -> Input | None:
        heads = [
            (h.stamp.captured_ns, i, a) for i, a in enumerate(self._anchors) if (h := a.mailbox.head()) is not None
        ]
        return min(heads)[2] if heads else None

    def _take_from(self, anchor: Input) -> Taken | None:
        """The inputs around its oldest capture; with `latest` around the newest that is complete, if any is."""
        for packet in anchor.mailbox.newest_first() if self._newest_wins else ():
            if not all(self._is_there(port, packet.stamp) for port in self._others):
                continue
            if (taken := self._take_with(anchor, packet)) is not None:
                if taken[1] is not None:
                    anchor.mailbox.overwrite(packet.stamp)
                return taken
        return self._take_with(anchor, anchor.mailbox.head())

    def _is_there(self, port: str, stamp: Stamp) -> bool:
        """Whether a port has something of the capture `stamp`, and no edge before that may bring anything."""
        for i in self._others[port]:
            if i.edge.policy == "hold" or is_among(stamp, (p.stamp for p in i.mailbox.newest_first())):
                return True
            if not i.has_told(stamp):
                return False
        return False

    def _take_with(self, anchor: Input, packet: Packet | None, *, waits: bool = True) -> Taken | None:
        """The set of inputs around `packet`, or its absence; None while that is open."""
        if packet is None:
            return None
        stamp, age_ms = packet.stamp, anchor.edge.max_age_ms
        if packet.message is None:
            anchor.mailbox.take_this(packet)
            return packet, None
        if age_ms is not None and stamp.age_ns() > age_ms * 1e6:
            anchor.mailbox.take_this(packet, "stale")
            return packet, None
        found = self._found(packet, waits=waits)
        if found is None:
            return None
        if not self._required <= {*found, anchor.edge.port}:
            anchor.mailbox.take_this(packet, "unmatched")
            return packet, None
        anchor.mailbox.take_this(packet)
        messages = {anchor.edge.port: packet.message}
        for port, (source, what) in found.items():
            messages[port] = what.message
            if source.edge.policy != "hold":
                source.mailbox.take_this(what)
        return packet, messages

    def _found(self, anchor: Packet, *, waits: bool) -> dict[str, tuple[Input, Packet]] | None:
        """What the other ports contribute to the capture of `anchor`, where they do; None while that is open.

        Of several edges that bring the same capture the first counts, and no later one is waited for. Every input is
        looked at, also where another one is open: what it drops makes room, and who waits for that may be the one that
        has to tell.
        """
        found: dict[str, tuple[Input, Packet]] = {}
        is_open = False
        for port, inputs in self._others.items():
            for i in inputs:
                try:
                    packet = self._look(i, anchor)
                except _Undecided:
                    is_same = port in found and is_among(anchor.stamp, (found[port][1].stamp,))
                    is_open |= waits and not (is_same and anchor.stamp.origin in i.edge.origins)
                    continue
                if packet and (port not in found or packet.stamp.captured_ns > found[port][1].stamp.captured_ns):
                    found[port] = i, packet
        return None if is_open else found

    def _look(self, i: Input, anchor: Packet) -> Packet | None:
        stamp = anchor.stamp
        if i.edge.policy == "hold":
            if self._lossless and not i.has_told_until(stamp.captured_ns):
                raise _Undecided
            held = i.mailbox.sample(stamp.captured_ns)
            age_ms = i.edge.max_age_ms
            too_old = (
                held is not None and age_ms is not None and stamp.captured_ns - held.stamp.captured_ns > age_ms * 1e6
            )
            return None if too_old else held
        if stamp.origin in i.edge.origins:
            is_told = i.has_told(stamp)  # before the look: else it may come between the two
            found = i.mailbox.match(stamp, in_order=not self._is_tangled)
            if found is None and not is_told:
                raise _Undecided
            return found if found is not None and found.message is not None else None
        patient = self._lossless or monotonic_ns() - anchor.sent_ns < self._align_ns
        if patient and not i.has_told(stamp):
            i.mailbox.make_room(stamp.captured_ns, self._align_ns)
            raise _Undecided
        return i.mailbox.nearest(stamp.captured_ns, self._align_ns)
