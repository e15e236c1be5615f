import gc
from random import Random
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.base import EngineError
from engines.device.arrays import Pool
from engines.device.streams import CudaContext, current_stream
from tests.engines.devices import Context, Upload, opened
from tests.engines.models import conv, spec
from tests.engines.standin_cuda import StandInDriver
from tests.engines.trt_on_standin import TrtOnStandIn

SIZE = 64


@pytest.fixture
def driver():
    return StandInDriver(schedule="late", strict=True)


@pytest.fixture
def device(driver):
    return opened(driver)


def fill(device, driver, array, stream, value):
    """Put work on the stream that fills the array."""
    with array.writing(stream) as address:
        driver.enqueue(lambda: driver.memory[address].__setitem__(slice(None), value), stream)


def read(device, driver, array, stream, seen):
    """Put work on the stream that notes what the array holds."""
    with array.reading(stream) as address:
        driver.enqueue(lambda: seen.append(int(driver.memory[address][0])), stream)


def test_a_reader_on_another_stream_sees_what_was_written_and_the_host_never_waits(device, driver):
    writer, reader, seen = device.open_stream(0), device.open_stream(0), []
    array = Pool(device, SIZE).take((SIZE,), np.uint8)
    fill(device, driver, array, writer, 7)
    read(device, driver, array, reader, seen)
    assert driver.host_waits == 0
    assert seen == []
    driver.queues.finish_stream(reader)
    assert seen == [7]


def test_without_the_event_the_stand_in_shows_the_memory_as_it_was_before(device, driver):
    writer, reader, seen = device.open_stream(0), device.open_stream(0), []
    array = Pool(device, SIZE).take((SIZE,), np.uint8)
    fill(device, driver, array, writer, 7)
    driver.enqueue(lambda: seen.append(int(driver.memory[array.block.address][0])), reader)
    driver.queues.finish_stream(reader)
    assert seen == [0xAA]


def test_memory_that_is_used_again_is_written_after_its_readers_have_read(device, driver):
    writer, reader, seen = device.open_stream(0), device.open_stream(0), []
    pool = Pool(device, SIZE, count=1, most=1)
    array = pool.take((SIZE,), np.uint8)
    fill(device, driver, array, writer, 1)
    read(device, driver, array, reader, seen)
    del array
    fill(device, driver, pool.take((SIZE,), np.uint8), writer, 2)
    driver.queues.finish_stream(writer)
    assert seen == [1]
    assert driver.host_waits == 0


def test_a_held_array_keeps_its_memory_and_one_that_nobody_holds_gives_it_to_the_next(device):
    pool = Pool(device, SIZE, count=2, most=3)
    held = [pool.take((SIZE,), np.uint8) for _ in range(2)]
    first = held[0].block
    third = pool.take((SIZE,), np.uint8)
    assert pool.made == 3
    assert third.block not in {array.block for array in held}
    assert pool.take((SIZE,), np.uint8) is None
    held.pop(0)
    gc.collect()
    assert pool.take((SIZE,), np.uint8).block is first


def test_a_pool_takes_memory_and_events_once(device, driver):
    stream, pool = device.open_stream(0), Pool(device, SIZE)
    for i in range(20):
        fill(device, driver, pool.take((SIZE,), np.uint8), stream, i)
    assert driver.calls.count("cuMemAlloc") == 2
    assert driver.calls.count("cuEventCreate") == 2


def test_a_closed_pool_gives_everything_back_and_its_arrays_say_so(device, driver):
    stream = device.open_stream(0)
    pool = Pool(device, SIZE)
    array = pool.take((SIZE,), np.uint8)
    fill(device, driver, array, stream, 1)
    pool.close()
    with pytest.raises(EngineError, match="memory was given back"), array.reading(stream):
        pass
    del array
    device.close_stream(stream)
    device.close()
    assert driver.held == 0


@given(
    st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=3)), max_size=25)
)
@settings(deadline=None, max_examples=60)
def test_whatever_runs_when_every_reader_sees_its_own_array(seed, story):
    """Arrays are written on one of three streams, read on others, and dropped, with work running at any time."""
    driver = StandInDriver(schedule=Random(seed))
    device = opened(driver)
    streams = [device.open_stream(0) for _ in range(3)]
    pool, seen, expected = Pool(device, SIZE, count=1, most=2), [], []
    for number, (writer, readers) in enumerate(story):
        array = pool.take((SIZE,), np.uint8)
        fill(device, driver, array, streams[writer], number)
        for reader in readers:
            note = []
            read(device, driver, array, streams[reader], note)
            seen.append(note)
            expected.append([number])
        del array
    driver.queues.finish()
    assert seen == expected
    assert driver.host_waits == 0
    assert pool.made <= 2


def test_numpy_reads_an_array_of_the_stand_in_where_it_lies(device, driver):
    stream = device.open_stream(0)
    pool = Pool(device, SIZE)
    array = pool.take((4, 16), np.uint8)
    fill(device, driver, array, stream, 9)
    view = np.from_dlpack(array)
    assert view.shape == (4, 16)
    assert (view == 9).all()
    assert view.ctypes.data == array.block.address


def test_a_view_of_another_library_keeps_the_memory_from_being_used_again(device, driver):
    pool = Pool(device, SIZE, count=1, most=1)
    view = np.from_dlpack(pool.take((SIZE,), np.uint8))
    assert pool.take((SIZE,), np.uint8) is None
    del view
    assert pool.take((SIZE,), np.uint8) is not None


def test_a_capsule_that_nobody_reads_lets_go_of_the_array(device):
    pool = Pool(device, SIZE, count=1, most=1)
    capsule = pool.take((SIZE,), np.uint8).__dlpack__()
    assert pool.take((SIZE,), np.uint8) is None
    del capsule
    assert pool.take((SIZE,), np.uint8) is not None


def test_who_takes_a_capsule_for_a_stream_reads_in_its_order_and_is_waited_for(device, driver):
    writer, reader, seen = device.open_stream(0), device.open_stream(0), []
    pool = Pool(device, SIZE, count=1, most=1)
    array = pool.take((SIZE,), np.uint8)
    fill(device, driver, array, writer, 3)
    capsule = array.__dlpack__(stream=reader)
    address = array.block.address
    driver.enqueue(lambda: seen.append(int(driver.memory[address][0])), reader)
    del array, capsule
    fill(device, driver, pool.take((SIZE,), np.uint8), writer, 4)
    driver.queues.finish_stream(writer)
    assert seen == [3]
    assert driver.host_waits == 0


def test_an_array_is_never_copied_for_a_reader(device):
    array = Pool(device, SIZE).take((SIZE,), np.uint8)
    with pytest.raises(BufferError, match="stays where it is"):
        array.__dlpack__(copy=True)


@pytest.mark.parametrize(("priority", "level"), [("high", -5), ("normal", -2), ("low", 0)])
def test_a_worker_has_a_stream_of_its_priority_in_its_own_thread(driver, priority, level):
    with Context(driver, priority) as stream:
        assert driver.priorities[stream.handle] == stream.priority == level
        assert current_stream(0) is stream
        assert current_stream(1) is None
        elsewhere = []
        thread = Thread(target=lambda: elsewhere.append(current_stream(0)))
        thread.start()
        thread.join()
        assert elsewhere == [None]
    assert current_stream(0) is None
    assert driver.held == 0


def test_what_a_worker_works_in_is_checked_without_a_gpu():
    assert list(CudaContext.check({"device": "cuda", "priority": "urgent"})) == [
        "device: is 'cuda'; expected cuda:0, cuda:1, ...",
        "priority: is 'urgent'; expected high, normal, low",
    ]


def test_onnx_runtime_is_told_the_stream_of_its_worker_and_none_elsewhere(driver):
    from engines.onnx import Onnx

    assert all("user_compute_stream" not in options for _, options in Onnx("cuda:0")._providers())
    with Context(driver) as stream:
        for provider in ("cuda", "tensorrt"):
            *on_gpu, (_, on_cpu) = Onnx("cuda:0", provider=provider)._providers()
            assert {options["user_compute_stream"] for _, options in on_gpu} == {str(stream.handle)}
            assert on_cpu == {}
        assert all("user_compute_stream" not in options for _, options in Onnx("cuda:1")._providers())


def test_a_model_of_tensorrt_runs_on_the_stream_of_its_worker_and_leaves_it_open(driver, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Context(driver, "high") as stream:
        model = TrtOnStandIn(driver=driver, priority=0).load(spec(conv(tmp_path / "m.onnx", batch=1)))
        assert driver.streams == {stream.handle}
        (place,) = model.places((1, 3, 8, 8))
        assert place.stream == stream.handle
        driver.enqueue(lambda: driver.memory[place.address].view("f4").__setitem__(slice(192), 2), stream.handle)
        (y,) = model.run_placed((1, 3, 8, 8))
        assert (y[0, 0] == 6).all()
        model.close()
        assert driver.streams == {stream.handle}
    assert driver.held == 0


def pictures(count, shape=(6, 8, 3)):
    return np.random.default_rng(0).integers(0, 255, (count, *shape), np.uint8)


def test_an_upload_returns_at_once_and_its_image_is_whole_for_whoever_waits_for_its_event(driver):
    with Context(driver):
        upload = Upload(driver)
        upload.open()
        (pixels,) = pictures(1)
        image = upload.upload(pixels)
        assert driver.queues.pending() == 1
        assert driver.host_waits == 0
        kept = pixels.copy()
        pixels[:] = 0
        assert (np.from_dlpack(image) == kept).all()
        del image
        upload.close()
    assert driver.held == 0


def test_pinned_buffers_take_turns_and_none_is_written_while_its_copy_is_under_way(driver):
    with Context(driver):
        upload = Upload(driver)
        upload.open()
        given = pictures(5)
        images = [upload.upload(pixels) for pixels in given]
        # With late streams no copy runs by itself: from the third on the host must wait for the one two before.
        assert upload.waits == 3
        assert driver.calls.count("cuMemHostAlloc") == 2
        for image, pixels in zip(images, given, strict=True):
            assert (np.from_dlpack(image) == pixels).all()
        del image, images
        upload.close()
    assert driver.held == 0


def test_copies_that_are_done_cost_no_wait():
    driver = StandInDriver(strict=True)
    with Context(driver):
        upload = Upload(driver)
        upload.open()
        for pixels in pictures(6):
            upload.upload(pixels)
        assert upload.waits == driver.host_waits == 0
        assert driver.calls.count("cuMemAlloc") == 2
        upload.close()


def test_images_of_two_sizes_have_buffers_of_their_own(driver):
    with Context(driver):
        upload = Upload(driver)
        upload.open()
        large, small = pictures(1)[0], pictures(1, (4, 4))[0]
        images = [upload.upload(large), upload.upload(small)]
        assert [image.shape for image in images] == [(6, 8, 3), (4, 4)]
        assert (np.from_dlpack(images[1]) == small).all()
        upload.close()


def test_off_a_cuda_worker_an_upload_has_a_stream_of_its_own(driver):
    upload = Upload(driver)
    upload.open()
    (pixels,) = pictures(1)
    assert (np.from_dlpack(upload.upload(pixels)) == pixels).all()
    upload.close()
    assert driver.held == 0
