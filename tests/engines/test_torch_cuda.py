"""What models share on a GPU, with functions in place of PyTorch's that only remember: no GPU is needed."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from engines.torch import cuda as torch_cuda  # noqa: E402

TOTAL = 1000 << 20


class Gpu:
    """Stands in for torch.cuda: keeps the share that it is given."""

    def __init__(self, monkeypatch):
        self.share, self.streams = 1.0, 0
        for name in ("get_device_properties", "get_per_process_memory_fraction", "set_per_process_memory_fraction",
                     "mem_get_info", "memory_reserved", "Stream"):  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def get_device_properties(self, number):
        return SimpleNamespace(total_memory=TOTAL)

    def get_per_process_memory_fraction(self, number):
        return self.share

    def set_per_process_memory_fraction(self, share, number):
        self.share = share

    def mem_get_info(self, number):
        return 900 << 20, TOTAL

    def memory_reserved(self, number):
        return 90 << 20

    def Stream(self, device, priority):
        self.streams += 1
        return SimpleNamespace(device=device, number=self.streams)


@pytest.fixture
def gpu(monkeypatch):
    return Gpu(monkeypatch)


def test_a_limit_stays_where_the_model_loads(gpu):
    with torch_cuda.limited("cuda:0", 100):
        pass
    assert gpu.share == pytest.approx(0.1)


def test_a_limit_that_was_too_small_goes_again(gpu):
    with torch_cuda.limited("cuda:0", 500):
        pass
    seen = []

    def fails():
        with torch_cuda.limited("cuda:0", 10):
            seen.append(gpu.share)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert seen == [pytest.approx(0.01)]
    assert gpu.share == pytest.approx(0.5)


def test_no_limit_leaves_that_of_others(gpu):
    gpu.share = 0.5
    with torch_cuda.limited("cuda:0", None):
        pass
    assert gpu.share == 0.5


def test_a_limit_beyond_the_gpu_is_all_of_it(gpu):
    with torch_cuda.limited("cuda:0", 5000):
        assert gpu.share == 1.0


def test_what_is_free_names_the_limit_only_where_there_is_one(gpu):
    assert torch_cuda.free_memory("cuda:0") == "900 of 1000 MB free"
    gpu.share = 0.1
    assert torch_cuda.free_memory("cuda:0") == "900 of 1000 MB free, of 100 MB that are allowed 90 taken"


def test_a_stream_goes_to_the_next_model_of_the_same_device_and_priority(gpu):
    streams, device = torch_cuda.Streams(), torch.device("cuda:0")
    first, second = streams.take(device, 0), streams.take(device, 0)
    assert first is not second
    streams.give(first, 0)
    assert streams.take(device, -1) is not first
    assert streams.take(torch.device("cuda:1"), 0) is not first
    assert streams.take(device, 0) is first
    assert gpu.streams == 4


def test_a_full_memory_is_seen_behind_another_error():
    failed = RuntimeError("the capture failed")
    failed.__context__ = torch.cuda.OutOfMemoryError("full")  # as when a context manager fails at its end
    assert torch_cuda.is_out_of_memory(failed)
    assert not torch_cuda.is_out_of_memory(RuntimeError("other"))
