import os

import pytest

from engines.base import EngineError
from engines.device.ipc import OpenedPool, PoolOffer, SharedPool
from tests.engines.devices import opened
from tests.engines.standin_cuda import CUresult, CUuuid, StandInDriver


@pytest.fixture
def writer():
    return StandInDriver(schedule="late")


@pytest.fixture
def reader(writer):
    """The driver of another process, on the same GPU."""
    return StandInDriver(beside=writer)


def connected(writer, reader, *, count=2, size=1000):
    """Both sides, as a connection between two processes would leave them."""
    pool = SharedPool(opened(writer), size, count)
    offer = pool.offer()
    other = OpenedPool(opened(reader), from_another_process(offer))
    pool.admit("reader", other.offer())
    return pool, other


def from_another_process(offer: PoolOffer) -> PoolOffer:
    return PoolOffer(os.getpid() + 1, offer.gpu, offer.memory, offer.slot_bytes, offer.step, offer.written)


def write(pool, driver, slot, stream, value):
    with pool.writing(slot, stream) as address:
        driver.enqueue(lambda: memory_at(driver, pool, address).__setitem__(0, value), stream)


def memory_at(driver, pool, address):
    return driver.memory[pool._address][address - pool._address :]


def read(other, pool, writer, reader, slot, stream, seen):
    with other.reading(slot, stream) as address:
        reader.enqueue(lambda: seen.append(int(memory_at(writer, pool, address)[0])), stream)


def test_a_slot_is_read_where_it_was_written_after_it_was_written(writer, reader):
    pool, other = connected(writer, reader)
    streams, seen = (pool._device.open_stream(0), other._device.open_stream(0)), []
    slot = pool.take()
    write(pool, writer, slot, streams[0], 5)
    pool.sent(slot, ["reader"])
    read(other, pool, writer, reader, slot, streams[1], seen)
    assert writer.host_waits == reader.host_waits == 0
    reader.queues.finish_stream(streams[1])
    assert seen == [5]


def test_a_released_slot_is_written_again_only_after_the_work_that_reads_it(writer, reader):
    pool, other = connected(writer, reader, count=1)
    streams, seen = (pool._device.open_stream(0), other._device.open_stream(0)), []
    slot = pool.take()
    write(pool, writer, slot, streams[0], 1)
    pool.sent(slot, ["reader"])
    assert pool.take() is None
    read(other, pool, writer, reader, slot, streams[1], seen)
    pool.released(slot, "reader")
    write(pool, writer, pool.take(), streams[0], 2)
    writer.queues.finish_stream(streams[0])
    assert seen == [1]


def test_slots_take_turns(writer, reader):
    pool, _ = connected(writer, reader, count=3)
    stream, taken = pool._device.open_stream(0), []
    for value in range(6):
        taken.append(pool.take())
        write(pool, writer, taken[-1], stream, value)
    assert taken == [0, 1, 2, 0, 1, 2]


def test_handles_are_made_once_and_a_frame_costs_none(writer, reader):
    pool, other = connected(writer, reader)
    streams = (pool._device.open_stream(0), other._device.open_stream(0))
    for value in range(20):
        slot = pool.take()
        write(pool, writer, slot, streams[0], value)
        pool.sent(slot, ["reader"])
        read(other, pool, writer, reader, slot, streams[1], [])
        pool.released(slot, "reader")
    # Memory once, and two events of each side: made by one, opened by the other.
    assert sum(call.startswith("cuIpc") for driver in (writer, reader) for call in driver.calls) == 2 + 4 + 4
    assert writer.calls.count("cuMemAlloc") == 1


def test_a_reader_that_was_killed_is_forgotten_and_leaves_no_slot_held(writer, reader):
    pool, _ = connected(writer, reader)
    events = len(writer.events)
    for slot in range(2):
        pool.sent(slot, ["reader"])
    assert pool.take() is None
    pool.forget("reader")
    assert pool.take() == 0
    assert len(writer.events) == events - 2
    pool.sent(0, ["reader"])  # told of it too late
    assert pool.take() == 0


def test_all_memory_is_one_allocation_of_whole_pieces_that_holds_nothing_else(writer):
    pool = SharedPool(opened(writer), 1000, 3)
    assert [len(array) for array in writer.memory.values()] == [2 << 20]
    assert pool.step == 1024


def test_both_sides_give_everything_back(writer, reader):
    pool, other = connected(writer, reader)
    for side in (other, pool):
        side.close()
        side._device.close()
    assert writer.held == reader.held == 0


def test_the_process_that_owns_the_pool_does_not_open_it(writer):
    device = opened(writer)
    pool = SharedPool(device, 10, 1)
    with pytest.raises(EngineError, match=r"^the pool is of this very process"):
        OpenedPool(device, pool.offer())


def test_a_pool_of_another_gpu_is_refused_by_what_it_is_not_by_its_number(writer, reader, monkeypatch):
    offer = from_another_process(SharedPool(opened(writer), 10, 1).offer())
    monkeypatch.setattr(CUuuid, "bytes", b"another GPU here")
    with pytest.raises(EngineError, match="is not the GPU that the pool lies on; give both processes the same device"):
        OpenedPool(opened(reader), offer)


def test_a_process_that_was_forked_is_told_so(writer, monkeypatch):
    pool = SharedPool(opened(writer), 10, 1)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(EngineError, match="forked from it cannot use CUDA; use spawn"):
        pool.take()


def test_a_system_that_cannot_share_memory_says_what_to_do(writer):
    pool = SharedPool(opened(writer), 10, 1)
    writer.fail["cuIpcGetMemHandle"] = CUresult.CUDA_ERROR_NOT_SUPPORTED
    with pytest.raises(
        EngineError, match=r"cannot be shared between processes here: .*; place both nodes in one process"
    ):
        pool.offer()


def test_an_answer_that_does_not_fit_is_refused(writer, reader):
    pool = SharedPool(opened(writer), 10, 2)
    other = OpenedPool(opened(reader), from_another_process(SharedPool(opened(writer), 10, 1).offer()))
    with pytest.raises(EngineError, match=r"^reader offers 1 events; the pool has 2 slots$"):
        pool.admit("reader", other.offer())


def test_a_pool_that_cannot_be_opened_leaves_nothing(writer, reader):
    offer = from_another_process(SharedPool(opened(writer), 10, 2).offer())
    reader.fail["cuEventCreate"] = CUresult.CUDA_ERROR_INVALID_VALUE
    device = opened(reader)
    with pytest.raises(EngineError):
        OpenedPool(device, offer)
    device.close()
    assert reader.held == 0
