import pytest

from engines import nvidia
from nodes.measuring import machine


@pytest.mark.parametrize("device", ["cpu", "gpu:0", "npu", "cuda:7", "cuda:x"])
def test_what_is_no_gpu_of_nvidia_has_nothing_to_tell(device, monkeypatch):
    monkeypatch.setattr(nvidia, "devices", lambda: ["Some GPU"])
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: "13.0")
    assert machine.gpu(device) is None


def test_a_gpu_tells_name_memory_and_driver(monkeypatch):
    monkeypatch.setattr(nvidia, "devices", lambda: ["Some GPU", "Another GPU"])
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: "13.0")
    monkeypatch.setattr(nvidia, "free_memory", lambda: "5000 of 6144 MB free")
    assert machine.gpu("cuda:1") == {"name": "Another GPU", "memory": "5000 of 6144 MB free", "driver": "CUDA 13.0"}


def test_a_driver_that_is_not_there_is_no_error(monkeypatch):
    def missing() -> list[str]:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(nvidia, "devices", missing)
    assert machine.gpu("cuda:0") is None
