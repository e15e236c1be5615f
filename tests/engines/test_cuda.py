import importlib
import inspect
import re

import numpy as np
import pytest

from engines import cuda_driver
from engines.base import EngineError, OutOfMemoryError
from engines.cuda import open_device
from engines.device import ipc, kernels, lent
from tests.engines.standin_cuda import CUresult, StandInDriver


@pytest.fixture
def driver():
    return StandInDriver((7, 5), name="Stand-in RTX", total=1 << 20)


@pytest.fixture
def device(driver):
    return open_device(0, driver=driver)


CALLS = sorted(name for name in vars(StandInDriver) if re.fullmatch(r"cu[A-Z]\w+", name))
CONSTANTS = (
    "CUresult",
    "CUdevice_attribute",
    "CUstream_flags",
    "CUevent_flags",
    "CUstreamCaptureMode",
    "CUipcMem_flags",
)


@pytest.mark.parametrize("name", CALLS)
def test_the_stand_in_has_the_arguments_of_the_real_driver(name):
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    assert list(inspect.signature(getattr(real, name)).parameters) == [
        argument for argument in inspect.signature(vars(StandInDriver)[name]).parameters if argument != "self"
    ]


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_stand_in_has_the_numbers_of_the_real_driver(name):
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    for member in getattr(StandInDriver, name):
        assert int(getattr(getattr(real, name), member.name)) == int(member)


def test_every_call_that_is_made_is_in_the_stand_in():
    sources = "".join(inspect.getsource(module) for module in (cuda_driver, kernels, ipc, lent))
    made = set(re.findall(r'"(cu[A-Z]\w+)"|_cuda\.(cu[A-Z]\w+)', sources))
    assert {a or b for a, b in made} == set(CALLS)


def test_a_device_tells_its_name_and_compute_capability(device):
    assert (device.name, device.capability, device.number) == ("Stand-in RTX", (7, 5), 0)


def test_it_works_in_the_primary_context_which_others_share_and_lets_go_of_it(device, driver):
    assert driver.retained == 1
    device.close()
    assert driver.retained == 0


def test_a_device_that_is_not_there_is_refused_by_number(driver):
    with pytest.raises(EngineError, match=r"^device cuda:3 is asked for, but the driver offers 1 GPU; set device$"):
        open_device(3, driver=driver)


def test_a_driver_that_does_not_start_says_why(driver):
    driver.fail["cuInit"] = CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(EngineError, match=r"^CUDA cannot be used: cuInit fails on cuda:0: cuda_error_invalid_value"):
        open_device(0, driver=driver)


def test_without_a_driver_the_real_package_gives_an_engine_error_with_the_remedy():
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    if importlib.import_module("engines.nvidia").load_problem("libcuda.so.1") is None:
        pytest.skip("an NVIDIA driver is installed")
    with pytest.raises(EngineError, match=r"^CUDA cannot be used: .*; install the NVIDIA driver$"):
        open_device(0)


def test_what_is_copied_to_the_device_and_back_is_the_same(device, driver):
    stream, address = device.open_stream(-1), device.allocate(40)
    there, back = device.allocate_host(40), device.allocate_host(40)
    there[:] = np.arange(40)
    device.upload(address, there, stream)
    device.download(back, address, stream)
    assert (back == np.arange(40)).all()
    device.free_host(there)
    device.free_host(back)
    device.free(address)
    device.close_stream(stream)
    device.close()
    assert driver.held == 0


def test_too_little_memory_says_what_was_asked_and_what_is_free(device):
    device.allocate(1 << 19)
    with pytest.raises(OutOfMemoryError) as e:
        device.allocate(1 << 20)
    assert str(e.value) == "cuda:0 cannot give 1.0 MB (cuMemAlloc); 0 of 1 MB are free"


def test_a_captured_graph_runs_when_it_is_launched_and_not_before(device, driver):
    stream, address = device.open_stream(0), device.allocate(4)
    host = device.allocate_host(4)
    host[:] = 1
    graph = device.capture(stream, lambda: device.upload(address, host, stream))
    assert (driver.memory[address] != 1).all()
    device.launch(graph, stream)
    assert (driver.memory[address] == 1).all()


def test_a_capture_that_fails_is_ended_and_its_own_error_comes_through(device, driver):
    stream = device.open_stream(0)

    def fail():
        raise EngineError("no")

    with pytest.raises(EngineError, match=r"^no$"):
        device.capture(stream, fail)
    assert driver.recording is None
    assert not driver.graphs


def test_work_that_failed_on_the_gpu_is_an_error_of_the_wait(device, driver):
    event = device.open_event(spin=False)
    driver.fail["cuEventSynchronize"] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(EngineError, match=r"^cuEventSynchronize fails on cuda:0: .*illegal_address \(700\)$"):
        device.wait(event)
