"""The engine under test on stand-ins for NVIDIA's driver and packages."""

from engines.cuda import open_device
from engines.trt import Trt
from engines.trt.api import TensorRt
from tests.engines.standin_cuda import StandInDriver
from tests.engines.standin_tensorrt import StandInTensorRt

NAMES = {"10": "tensorrt", "11": "tensorrt", "rtx": "tensorrt_rtx"}


class TrtOnStandIn(Trt):
    """All code is the real one, but for the two places where NVIDIA's begins."""

    def __init__(
        self, flavour="10", *, capability=(8, 6), total=1 << 30, scratch=1000, precision="fp32", driver=None, **more
    ):
        super().__init__(precision=precision, **more)
        self.driver = driver or StandInDriver(capability, total=total)
        self.trt = StandInTensorRt(flavour, self.driver, scratch=scratch)
        self.flavour = flavour

    def open_package(self):
        return TensorRt(NAMES[self.flavour], self.trt)

    def open_device(self):
        return open_device(int(self.device.partition(":")[2]), driver=self.driver)
