"""An image on a device, which models take into their inputs."""

from __future__ import annotations

from typing import Any

from engines.base import EngineError, Fit, Place
from engines.device.arrays import StreamArray
from engines.device.kernels import FitKernel


class StreamImage:
    """See `engines.base.DeviceImage`. Any number of threads may write it into their models at once."""

    def __init__(self, array: StreamArray, kernel: FitKernel) -> None:
        self.array, self.shape, self._kernel = array, array.shape, kernel
        self.device = f"cuda:{array.device.number}"

    def write(self, place: Place, fit: Fit) -> None:
        """See `engines.base.DeviceImage.write`."""
        if place.device != self.device:
            raise EngineError(f"the image lies on {self.device}, the model on {place.device}; place both on one device")
        self.array.device.use()
        with self.array.reading(place.stream) as address:
            self._kernel.launch(address, self.shape, place, fit)

    def __dlpack__(self, **wanted: Any) -> Any:
        """See `engines.device.arrays.StreamArray`."""
        return self.array.__dlpack__(**wanted)

    def __dlpack_device__(self) -> tuple[int, int]:
        """See `engines.device.arrays.StreamArray`."""
        return self.array.__dlpack_device__()
