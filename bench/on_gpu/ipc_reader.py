"""The other process of workers.py: puts frames that it is told of into the input of a model, and says what is there."""

import pickle
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from engines.base import Fit, Place
from engines.device.streams import CudaContext

SHAPE = (1, 3, 480, 640)
ALL = Fit((640, 480), (0, 0), False, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 0)


def main(name: str) -> None:
    context = CudaContext(name)
    with context as stream:
        device = context.open_device()
        device.use()
        size = int(np.prod(SHAPE)) * 4
        host, done = device.allocate_host(size), device.open_event(spin=False)
        place = Place(name, device.allocate(size), SHAPE, np.dtype("f4"), stream.handle)
        while (line := input()) != "end":
            image = pickle.loads(bytes.fromhex(line)).open(np.zeros((480, 640, 3), np.uint8))
            image.write(place, ALL)
            device.download(host, place.address, stream.handle)
            device.record(done, stream.handle)
            device.wait(done)
            values = host.view("f4")
            print(f"{values.min():g} {values.max():g}", flush=True)
        device.close_event(done)
        device.free(place.address)
        device.free_host(host)
        device.close()


if __name__ == "__main__":
    main(sys.argv[1])
