"""The stand-in GPU where engines and workers expect a real one."""

from engines.device.streams import CudaContext
from engines.device.upload import Uploader
from tests.engines.standin_cuda import StandInDevice, StandInDriver


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
