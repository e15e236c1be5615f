"""The stand-in GPU where engines and workers expect a real one."""

from engines.device.streams import CudaContext
from engines.device.upload import Uploader
from tests.engines.standin_cuda import StandInDevice, StandInDriver
from tests.engines.trt_on_standin import TrtOnStandIn


class Context(CudaContext):
    """All code is the real one, but for the place where NVIDIA's begins."""

    def __init__(self, driver: StandInDriver, priority="normal") -> None:
        super().__init__("cuda:0", priority)
        self.driver = driver

    def open_device(self):
        return StandInDevice(self.driver, self.number)


class Upload(Uploader):
    def __init__(self, driver: StandInDriver, **more) -> None:
        super().__init__("cuda:0", **more)
        self.driver = driver

    def open_device(self):
        return StandInDevice(self.driver, self.number)


def opened(driver: StandInDriver) -> StandInDevice:
    device = StandInDevice(driver, 0)
    device.use()
    return device


GPUS: dict[str, StandInDriver] = {}
"""Stand-in GPUs by name, for what is made from plain configuration."""


class NamedContext(Context):
    def __init__(self, gpu: str, priority="normal") -> None:
        super().__init__(GPUS[gpu], priority)


class NamedUpload(Upload):
    def __init__(self, gpu: str, **more) -> None:
        super().__init__(GPUS[gpu], **more)


class NamedTrt(TrtOnStandIn):
    """An engine that falls back to its own GPU where none is named."""

    def __init__(self, gpu: str | None = None, **more) -> None:
        super().__init__(driver=GPUS[gpu] if gpu else None, **more)

    @classmethod
    def check(cls, params):
        """Nothing of NVIDIA's need be installed."""
        return ()
