"""Upload, kernel and priorities on a real GPU."""

import numpy as np
import pytest

from engines import nvidia
from engines.base import EngineError, Fit, Place
from engines.cuda import open_device
from engines.device.streams import CudaContext
from engines.device.upload import Uploader
from nodes.ops.letterbox import ImageTensor

PROBLEM = nvidia.load_problem("libcuda.so.1")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(PROBLEM), reason=str(PROBLEM))]


@pytest.fixture
def device():
    device = open_device(0)
    device.use()
    yield device
    device.close()


def fetched(device, stream, address, shape, dtype):
    host = device.allocate_host(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    done = device.open_event(spin=False)
    device.download(host, address, stream)
    device.record(done, stream)
    device.wait(done)
    values = host.view(dtype).reshape(shape).copy()
    device.close_event(done)
    device.free_host(host)
    return values


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("anchor", ["centre", None])
@pytest.mark.parametrize("shape", [(1408, 1408, 3), (480, 640), (33, 77, 3)])
def test_the_kernel_writes_what_the_host_writes_to_one_gray_level(device, dtype, anchor, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    tensor = ImageTensor((640, 384), colour="bgr", scale=(1.0, 1.0, 1.0))
    upload = Uploader()
    with CudaContext(priority="high") as stream:
        upload.open()
        _, fit = tensor.fit((shape[1], shape[0]), anchor=anchor)
        address = device.allocate(tensor.values.size * np.dtype(dtype).itemsize)
        place = Place("cuda:0", address, tensor.values.shape, np.dtype(dtype), stream.handle)
        for _ in range(5):
            upload.upload(pixels).write(place, fit)
        values = fetched(device, stream.handle, address, place.shape, dtype)
        device.free(address)
        upload.close()
    if anchor is None:
        tensor.stretch(pixels)
    else:
        tensor.letterbox(pixels, anchor=anchor)
    assert np.abs(values.astype("f4") - tensor.values).max() <= 1


def test_high_priority_is_as_high_as_the_gpu_has_it(device):
    last, first = device.priorities()
    assert first <= last
    with CudaContext(priority="high") as stream:
        assert stream.priority == first
        assert device.call("cuStreamGetPriority", stream.handle) == first


def test_an_image_that_is_lent_says_where_it_is_and_is_not_opened_where_it_was_made(device):
    upload = Uploader(share=True)
    with CudaContext() as stream:
        upload.open()
        pixels = np.zeros((480, 640, 3), np.uint8)
        lent = upload.upload(pixels).lend()
        assert (len(lent.memory), len(lent.whole), len(lent.gpu)) == (64, 64, 16)
        place = Place("cuda:0", 0, (1, 3, 480, 640), np.dtype("f4"), stream.handle)
        with pytest.raises(EngineError, match="very process"):
            lent.open(pixels).write(place, Fit((640, 480), (0, 0), False, (1, 1, 1), (0, 0, 0), 0))
        upload.close()
