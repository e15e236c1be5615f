"""Turns messages into datagrams, as `wire` says they are, and finds places for their arrays."""

from __future__ import annotations

import copyreg
import io
import marshal
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.node import Stamp, of_fields
from graph.transport import flat, lending
from graph.transport.flat import SMALL
from graph.transport.form import Form, form_of
from graph.transport.memory import Writer
from graph.transport.ring import ALIGNMENT, Bytes, Ref
from graph.transport.wire import DATAGRAM, FLAT, FORM, INLINE, PICKLED, VERSION, Encoded, NoSlot, TooBig

MOST_FORMS = 8  # of messages of a class and origin, one after the other: then they are told whole
MOST_ARRAYS = 1000  # of one message; so their table fits into a datagram too


class Packer:
    """Turns messages into datagrams, one at a time, and finds places for their arrays."""

    def __init__(self, ring: Writer) -> None:
        self.ring = ring
        self._loans = ring.loans
        self._forms: dict[tuple[type, str], Form] = {}
        self._tries: dict[tuple[type, str], tuple[int, int]] = {}
        """The number of the form of a class and origin, and how often it has changed."""
        self.held: list[int] = []
        self.slots: list[int] = []
        self.at = 0
        """Where the slot acquired last is free from."""
        self.is_frugal = False
        """Whether only slots are acquired that have pages."""

    def in_form(self, stamp: Stamp, message: Any, sent_ns: int, *, has_ticket: bool) -> Encoded | None:
        """Put into bytes what is new in `message`; None where it has no form, or arrays that are in no slot yet."""
        form = self._forms.get((type(message), stamp.origin))
        if form is None or (told := form.told(stamp, message, sent_ns, has_ticket, self._loans)) is None:
            return None
        return of_fields(Encoded, (*told, (), (), form, False))

    def whole(self, stamp: Stamp, message: Any, sent_ns: int, *, has_ticket: bool, form: Form | None = None) -> Encoded:
        """Put the arrays of `message` into slots, unless they lie there already, and the rest into bytes.

        `form`: what `in_form` found to be its form, for a consumer that was not told of that.

        Raises:
            NoSlot: All slots are in use.
            TooBig: An array needs more than a slot, or there are too many arrays.
        """
        self.held, self.slots = [], []
        try:
            parts = flat.taken_apart(message, self.placed)
            if form is None:
                form = self._new_form(stamp.origin, message, parts)
            kind, what = (FLAT, parts) if form is None else (FORM, (form.number, parts))
            data = marshal.dumps((kind, has_ticket, *stamp, sent_ns, what), VERSION)
            if len(data) <= DATAGRAM:
                return of_fields(Encoded, (data, self.slots, self.held, (), form, True))
        except ValueError:  # there is something in it that is not plain
            pass
        except BaseException:
            self.undo()
            raise
        self.undo()
        self.held, self.slots = [], []
        try:
            with lending.collecting() as kept:
                parts = self.pickled(message)
            data = marshal.dumps((PICKLED, has_ticket, *stamp, sent_ns, parts), VERSION)
            return Encoded(data, self.slots, self.held, kept)
        except BaseException:
            self.undo()
            raise

    def _new_form(self, origin: str, message: Any, parts: flat.Parts) -> Form | None:
        """The form of a message, in place of that of earlier ones of its class and origin; None if it changes often."""
        key = type(message), origin
        number, tries = self._tries.get(key, (len(self._tries), 0))
        if tries > MOST_FORMS:
            return None
        self._tries[key] = number, tries + 1
        form = None if tries == MOST_FORMS else form_of(number, message, parts)
        if form is None:
            self._forms.pop(key, None)
        else:
            self._forms[key] = form
        return form

    def undo(self) -> None:
        """Give back what was acquired."""
        for slot in self.held:
            self.ring.release(slot)

    def pickled(self, value: object) -> tuple[Any, ...]:
        """The fields, where each array lies, and those that lie nowhere else. Null for fields that are an array too."""
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = pickle.Pickler(file, 5, buffer_callback=buffers.append)
        pickler.dispatch_table = {**copyreg.dispatch_table, np.ndarray: self.reduced}
        pickler.dump(value)
        fields: bytes | None = file.getvalue()
        refs: list[Ref] = []
        small: list[bytes] = []
        if len(file.getvalue()) > DATAGRAM // 2:
            refs.append(self.copied(np.frombuffer(file.getvalue(), np.uint8)))
            fields = None
        room = DATAGRAM // 4
        for buffer in buffers:
            raw = buffer.raw()
            if raw.nbytes <= SMALL and raw.nbytes <= room:
                room -= raw.nbytes
                small.append(raw.tobytes())
                refs.append(Ref(INLINE, 0, raw.nbytes))
            else:
                array = np.frombuffer(raw, np.uint8)
                refs.append(self.ring.find(array) or self.copied(array))
        if len(refs) > MOST_ARRAYS:
            raise TooBig(
                f"it has {len(refs)} arrays, and at most {MOST_ARRAYS} can be told of; put them into one array"
            )
        self.slots = list({ref.slot for ref in refs if ref.slot != INLINE})
        return fields, [tuple(ref) for ref in refs], small

    def reduced(self, array: npt.NDArray[Any]) -> Any:
        """How an array is pickled: by its buffer. One with gaps is first copied, a large one into a slot."""
        if not array.flags.forc and not array.dtype.hasobject:
            if array.nbytes > SMALL:
                dense = self.ring.view(self.place(array.nbytes)).view(array.dtype).reshape(array.shape)
                np.copyto(dense, array)
                array = dense
            else:
                array = array.copy()
        return array.__reduce_ex__(5)

    def placed(self, array: npt.NDArray[Any]) -> tuple[int, int]:
        """Where an array lies, or was copied to; NotFlat for one with gaps."""
        place = self._loans.get(id(array)) or self._found(array)
        self.slots.append(place[0])
        return place

    def _found(self, array: npt.NDArray[Any]) -> tuple[int, int]:
        if not array.flags.c_contiguous:
            raise flat.NotFlat(array.strides)
        return (self.ring.find(array) or self.copied(np.frombuffer(array, np.uint8)))[:2]

    def copied(self, array: Bytes) -> Ref:
        """Where a copy of these bytes lies."""
        ref = self.place(array.nbytes)
        self.ring.view(ref)[:] = array
        return ref

    def place(self, size: int) -> Ref:
        """Room for `size` bytes, in the slot acquired last or in a new one."""
        slot_bytes = self.ring.spec.slot_bytes
        if not self.held or self.at + size > slot_bytes:
            if size > slot_bytes:
                raise TooBig(f"{size} bytes do not fit into a slot of {slot_bytes} bytes")
            slot = self.ring.acquire(is_frugal=self.is_frugal)
            if slot is None:
                raise NoSlot
            self.held.append(slot)
            self.at = 0
        ref = Ref(self.held[-1], self.held[-1] * slot_bytes + self.at, size)
        self.at += -(-size // ALIGNMENT) * ALIGNMENT
        return ref
