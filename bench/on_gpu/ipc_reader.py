"""The other process of workers.py: opens a pool, and says the sum of the bytes in each slot that it is told of."""

import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from engines.device.ipc import OpenedPool
from engines.device.streams import CudaContext


def main(name: str) -> None:
    context = CudaContext(name)
    with context as stream:
        device = context.open_device()
        device.use()
        pool = OpenedPool(device, pickle.loads(bytes.fromhex(input())))
        print(pickle.dumps(pool.offer()).hex(), flush=True)
        host = device.allocate_host(pool.slot_bytes)
        done = device.open_event(spin=False)
        while (line := input()) != "end":
            with pool.reading(int(line), stream.handle) as address:
                device.download(host, address, stream.handle)
            device.record(done, stream.handle)
            device.wait(done)
            print(int(host.sum(dtype="i8")), flush=True)
        device.close_event(done)
        device.free_host(host)
        pool.close()
        device.close()


if __name__ == "__main__":
    main(sys.argv[1])
