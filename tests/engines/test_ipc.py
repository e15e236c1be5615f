"""Frames on a GPU that models in another process read: nothing is copied, and nobody writes what is still read.

Both processes are this one, with a driver each that know of the same GPU; which of them runs, `Processes.here` says.
"""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from engines.base import EngineError, Lender, Place
from engines.device import ipc, lent
from engines.device.streams import CudaContext
from graph.node import Stamp
from graph.transport import packer, wire
from nodes.messages import DeviceFrame, Frame
from nodes.ops.letterbox import ImageTensor
from nodes.upload import Upload
from tests.engines.devices import Context
from tests.engines.devices import Upload as StandInUpload
from tests.engines.standin_cuda import CUresult, CUuuid, StandInDevice, StandInDriver
from tests.graph.test_transport import SLOT, Edge, RingSpec

SIDE = 64
STAMP = Stamp("camera", 1, 1)


class Processes:
    """The writer (pid 1) and a reader (pid 2), with an edge between them."""

    def __init__(self, monkeypatch, most=3) -> None:
        self.here, self.dead = 1, set()
        self.writer = StandInDriver(schedule="late")
        self.reader = StandInDriver(beside=self.writer)
        monkeypatch.setattr(os, "getpid", lambda: self.here)
        monkeypatch.setattr(lent, "_is_alive", lambda pid: pid not in self.dead)
        monkeypatch.setattr(lent, "open_device", lambda number: StandInDevice(self.reader, number))
        monkeypatch.setattr(lent, "_readers", {})
        self.upload = Upload(StandInUpload(self.writer, most=most, share=True))
        self.upload.setup()
        self.edge = Edge(capacity=8, spec=RingSpec(8, SLOT, 0))
        self.context: CudaContext = Context(self.reader)
        self.stream = self.context.__enter__().handle
        self.tensor = ImageTensor((SIDE, SIDE), colour="rgb")
        device = StandInDevice(self.reader, 0)
        device.use()
        self.address = device.allocate(self.tensor.values.nbytes)
        self.device = device

    def send(self, value: int) -> None:
        self.here = 1
        frame = self.upload.process(Frame(np.full((SIDE, SIDE, 3), value, np.uint8)))
        self.edge.offer(value, frame)

    def receive(self) -> Frame:
        self.here = 2
        return self.edge.take()

    def write(self, frame: Frame) -> None:
        """Put a frame into the input of a model of the reader."""
        _, fit = self.tensor.fit(frame.size_wh, anchor=None)
        place = Place("cuda:0", self.address, self.tensor.values.shape, np.dtype("f4"), self.stream)
        frame.image.write(place, fit)

    def seen(self) -> float:
        """What the model would see."""
        self.reader.queues.finish_stream(self.stream)
        values = self.reader.memory[self.address].view("f4")
        assert (values == values[0]).all()
        return round(float(values[0]) * 255)

    def close(self) -> None:
        self.edge.close()
        self.upload.close()
        self.device.free(self.address)
        self.device.close()
        self.context.__exit__(None, None, None)


@pytest.fixture
def both(monkeypatch):
    both = Processes(monkeypatch)
    yield both
    both.close()


def test_a_model_of_another_process_sees_the_frame_where_it_was_uploaded(both):
    for value in (5, 9, 200, 31, 7):
        both.send(value)
        frame = both.receive()
        assert isinstance(frame, DeviceFrame)
        assert (frame.pixels == value).all()
        both.write(frame)
        assert both.writer.host_waits == both.reader.host_waits == 0
        assert both.seen() == value
    assert both.reader.calls.count("cuMemcpyHtoDAsync") == 0


def test_memory_and_events_are_opened_once_and_a_frame_costs_nothing(both):
    for value in range(1, 21):
        both.send(value)
        both.write(both.receive())
        assert both.seen() == value
    calls = [call for driver in (both.writer, both.reader) for call in driver.calls if call.startswith("cuIpc")]
    events = calls.count("cuIpcGetEventHandle")
    assert events <= 3
    assert calls.count("cuIpcOpenEventHandle") == events
    assert (calls.count("cuIpcGetMemHandle"), calls.count("cuIpcOpenMemHandle")) == (1, 1)
    assert both.writer.calls.count("cuMemAlloc") == 1
    assert both.upload.without_room == 0


def test_an_image_is_written_again_only_when_nobody_reads_it_any_more(both):
    """Three images: one that is held, two whose work is still under way though their frames are dropped."""
    both.send(1)
    held = both.receive()
    for value in (2, 3):
        both.send(value)
        both.write(both.receive())
    both.edge.link.drain()
    both.send(4)
    assert both.upload.without_room == 1
    last = both.receive()
    assert not isinstance(last, DeviceFrame)
    assert (last.pixels == 4).all()
    assert both.seen() == 3
    both.write(held)  # looks what is done by now
    assert both.seen() == 1
    both.edge.link.drain()
    both.send(5)
    both.write(both.receive())
    assert both.seen() == 5
    assert both.upload.without_room == 1


def test_a_frame_that_no_model_looks_at_comes_back_and_needs_no_gpu(both):
    both.reader.calls.clear()
    for value in range(10):
        both.send(value)
        frame = both.receive()
        assert frame.image.device == "cuda:0"
        del frame
    assert both.upload.without_room == 0
    assert both.reader.calls == []


def test_a_reader_that_was_killed_leaves_nothing_held(both):
    for value in (1, 2, 3):
        both.send(value)
    frames = [both.receive() for _ in range(3)]
    both.send(4)
    assert both.upload.without_room == 1
    both.edge.inlet.close()
    both.edge.link.drain()
    both.here = 1
    assert isinstance(both.upload.process(Frame(np.zeros((SIDE, SIDE, 3), np.uint8))), DeviceFrame)
    del frames


def test_two_edges_into_one_process_read_the_same_image(both):
    both.send(6)
    one = both.receive()
    other = DeviceFrame(one.pixels, image=one.image._lent.open(one.pixels))
    both.write(one)
    assert both.seen() == 6
    del one
    both.write(other)
    assert both.seen() == 6


def test_what_was_received_is_not_lent_on(both):
    both.send(6)
    frame = both.receive()
    assert not isinstance(frame.image, Lender)
    encoded = packer.Packer(both.edge.ring).whole(STAMP, frame, 0, has_ticket=False)
    assert encoded.kept == []


def test_what_goes_elsewhere_than_to_a_process_here_goes_without(both):
    frame = both.upload.process(Frame(np.full((SIDE, SIDE, 3), 3, np.uint8)))
    assert isinstance(frame.image, Lender)
    copy = pickle.loads(pickle.dumps(frame))
    assert type(copy) is Frame
    assert (copy.pixels == 3).all()


def test_small_pictures_travel_with_the_message_and_are_not_lent(both):
    both.edge.offer(0, both.upload.process(Frame(np.full((8, 8, 3), 3, np.uint8))))
    assert type(both.receive()) is Frame


def test_what_an_ended_writer_had_is_closed_when_another_one_comes(both, monkeypatch):
    both.send(1)
    both.write(both.receive())
    assert both.seen() == 1
    both.here = 1
    there = both.upload.process(Frame(np.full((SIDE, SIDE, 3), 8, np.uint8))).image.lend()
    both.dead.add(1)
    newer = b"newer" + there.memory[5:]
    both.writer.exported[newer] = both.writer.exported[there.memory]
    both.here = 2
    pixels = np.full((SIDE, SIDE, 3), 8, np.uint8)
    both.write(DeviceFrame(pixels, image=replace(there, pid=3, memory=newer).open(pixels)))
    assert both.seen() == 8
    assert both.reader.calls.count("cuIpcCloseMemHandle") == 1


def test_all_memory_is_one_allocation_of_whole_pieces_that_holds_nothing_else(monkeypatch):
    driver = StandInDriver()
    device = StandInDevice(driver, 0)
    device.use()
    pool = ipc.SharedPool(device, 1000, 3)
    assert [len(array) for array in driver.memory.values()] == [2 << 20]
    blocks = [pool.take((1000,), np.uint8) for _ in range(3)]
    assert pool.take((1000,), np.uint8) is None
    addresses = sorted(array.block.address for array in blocks)
    assert [address - addresses[0] for address in addresses] == [0, 1024, 2048]
    pool.close()
    device.close()
    assert driver.held == 0


def test_memory_that_was_lent_is_left_to_the_end_of_the_process(both):
    both.send(1)
    frame = both.receive()
    both.here = 1
    both.upload.close()
    assert len(both.writer.memory) == 1  # whoever has it open may still read it
    assert both.writer.events == set()
    both.upload.setup()
    del frame


def test_a_process_that_was_forked_is_told_so(both):
    both.send(1)
    both.here = 7
    with pytest.raises(EngineError, match="forked from it cannot use CUDA; use spawn"):
        both.upload.process(Frame(np.zeros((SIDE, SIDE, 3), np.uint8)))


def test_the_process_that_owns_the_image_does_not_open_it(both):
    both.send(1)
    frame = both.receive()
    both.here = 1
    with pytest.raises(EngineError, match=r"^the image is of this very process"):
        both.write(frame)


def test_an_image_on_another_gpu_is_refused_by_what_it_is_not_by_its_number(both, monkeypatch):
    both.send(1)
    monkeypatch.setattr(CUuuid, "bytes", b"another GPU here")
    with pytest.raises(EngineError, match="is not the GPU that the image lies on, cuda:0 of the process it is from"):
        both.write(both.receive())


def test_a_system_that_cannot_share_memory_says_what_to_do(both):
    both.writer.fail["cuIpcGetMemHandle"] = CUresult.CUDA_ERROR_NOT_SUPPORTED
    with pytest.raises(wire.Unsendable) as caught:
        both.send(1)
    assert "its DeviceFrame cannot go to another process (src->out.x): EngineError: memory of cuda:0" in str(
        caught.value
    )
    assert "place both nodes in one process, as cuda workers, or leave out `share` of the uploader" in str(caught.value)


def test_a_handle_that_is_none_is_refused(both):
    both.send(1)
    frame = both.receive()
    broken = replace(frame.image._lent, memory=b"short").open(frame.pixels)
    with pytest.raises(EngineError, match="a handle of 5 bytes came; expected 64"):
        both.write(DeviceFrame(frame.pixels, image=broken))
