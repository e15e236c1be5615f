"""Two cuda workers as a graph has them: one upload of bytes, one kernel into each network, a stream each."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Thread
from time import perf_counter
from typing import Any

import numpy as np

from bench.on_gpu import models, timing
from bench.on_gpu.run import NotRun, Run
from engines.base import Place

SOURCE, SMALL_SOURCE = 1408, 96
CALLS = 200
PRIORITIES = {"detector": "high", "depth": "low"}
READER = Path(__file__).with_name("ipc_reader.py")


def section(run: Run) -> None:
    """The kernel against the host, the workers alone and together, memory that two processes share."""
    try:
        import cuda.bindings.driver  # noqa: F401 - is it there?
    except ImportError as e:
        raise NotRun(f"the package cuda-bindings cannot be used: {e}") from e
    run.attempt("kernel", lambda: kernel(run))
    for mode in ("graph", "eager"):
        run.attempt(mode, lambda m=mode: workers(run, m))
    run.attempt("memory of two processes", lambda: shared_memory(run))


def picture(run: Run) -> np.ndarray:
    side = SMALL_SOURCE if run.small else SOURCE
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def kernel(run: Run) -> None:
    """An upload and the kernel: right to a gray level of what OpenCV gives, and how long both take."""
    import torch

    from engines.device.streams import CudaContext
    from engines.device.upload import Uploader
    from nodes.ops.letterbox import ImageTensor

    pixels = picture(run)
    with CudaContext(run.device) as stream, ExitStack() as stack:
        upload = Uploader(run.device)
        upload.open()
        stack.callback(upload.close)
        on = torch.cuda.ExternalStream(stream.handle, torch.device(run.device))
        for which in ("detector", "depth"):
            side = models.case(run, which).side
            for dtype, limit in ((torch.float32, 1.01), (torch.float16, 1.2)):
                tensor = ImageTensor((side, side))
                tensor.letterbox(pixels)
                _, fit = tensor.fit((pixels.shape[1], pixels.shape[0]), anchor="centre")
                there = torch.zeros((1, 3, side, side), dtype=dtype, device=run.device)
                kind = np.dtype("f4" if dtype is torch.float32 else "f2")
                place = Place(run.device, there.data_ptr(), tuple(there.shape), kind, stream.handle)
                torch.cuda.synchronize()
                upload.upload(pixels).write(place, fit)
                on.synchronize()
                off = float(np.abs(there.float().cpu().numpy() - tensor.values).max()) * 255
                run.check(f"kernel, {side} {dtype}", off <= limit, gray_levels=off, admitted=limit)
                with torch.cuda.stream(on):
                    both = timing.enqueued(run, lambda p=place, f=fit: upload.upload(pixels).write(p, f), seconds=0.5)
                    host = timing.wall(run, lambda t=tensor: t.letterbox(pixels), seconds=0.3)
                run.row(f"upload and kernel, {side} {dtype}", **both, host_letterbox_ms=host)
        run.row("waits for a pinned buffer", waits=upload.waits)


class Seat:
    """A worker: a thread with a stream, and a network on it that sees one image again and again."""

    def __init__(self, run: Run, which: str, mode: str, image: Any, pixels: np.ndarray) -> None:
        self.run, self.which, self.mode, self.image, self.pixels = run, which, mode, image, pixels
        self.barriers = [Barrier(2) for _ in range(3)]
        self.ms = 0.0
        self.error: BaseException | None = None
        self.alike = False
        self.thread = Thread(target=self._work, daemon=True)

    def leave(self) -> None:
        """Let the thread end, wherever it waits."""
        for barrier in self.barriers:
            barrier.abort()
        self.thread.join(30)

    def _work(self) -> None:
        from engines.device.streams import CudaContext

        try:
            with CudaContext(self.run.device, PRIORITIES[self.which]):
                self._look()
        except BaseException as e:
            self.error = e
            for barrier in self.barriers:
                barrier.abort()

    def _look(self) -> None:
        from nodes.ops.letterbox import ImageTensor

        what = models.case(self.run, self.which)
        model, shape = models.load(self.run, what, precision="fp16", mode=self.mode), (1, 3, what.side, what.side)
        try:
            tensor = ImageTensor((what.side, what.side))
            tensor.letterbox(self.pixels)
            _, fit = tensor.fit((self.pixels.shape[1], self.pixels.shape[0]), anchor="centre")

            def see() -> Any:
                self.image.write(model.places(shape)[0], fit)
                return model.run_placed(shape)[0]

            self.alike = models.error(what, see(), model(tensor.values)[0]) < 1e-2
            for barrier in self.barriers:  # alone, together, the end
                barrier.wait()
                begin = perf_counter()
                for _ in range(CALLS if barrier is not self.barriers[-1] else 0):
                    see()
                self.ms = (perf_counter() - begin) * 1e3 / CALLS
                if barrier is not self.barriers[-1]:
                    barrier.wait()
        finally:
            model.close()


def workers(run: Run, mode: str) -> None:
    """Milliseconds of a frame in each worker alone, and in both at once."""
    from engines.device.upload import Uploader

    run.require_time(8)
    pixels, upload = picture(run), Uploader(run.device)
    seats: list[Seat] = []
    upload.open()
    try:
        image = upload.upload(pixels)
        for which in PRIORITIES:
            seats.append(Seat(run, which, mode, image, pixels))
            seats[-1].thread.start()
        alone = {seat.which: _timed([seat], 0)[seat.which] for seat in seats}
        together = _timed(seats, 1)
        for seat in seats:
            seat.barriers[2].wait()
            run.check(f"{seat.which} from the device, {mode}", seat.alike)
    finally:
        for seat in seats:
            seat.leave()
        upload.close()
    gain = sum(alone.values()) / max(together.values())
    run.row(f"two workers, {mode}", **{f"{which}_alone_ms": ms for which, ms in alone.items()},
            **{f"{which}_together_ms": ms for which, ms in together.items()}, overlap=gain)  # fmt: skip


def _timed(seats: list[Seat], turn: int) -> dict[str, float]:
    """Let these seats make their calls of this turn, at once; milliseconds of a call by seat."""
    try:
        for _ in ("begin", "end"):
            for seat in seats:
                seat.barriers[turn].wait()
    except Exception:
        raise next((seat.error for seat in seats if seat.error), RuntimeError("a worker did not come")) from None
    return {seat.which: seat.ms for seat in seats}


def shared_memory(run: Run) -> None:
    """A frame that one process uploads, and a model of another one reads there."""
    import numpy as np

    from engines.device.ipc import SharedImage
    from engines.device.streams import CudaContext
    from engines.device.upload import Uploader

    with CudaContext(run.device):
        upload = Uploader(run.device, share=True)
        upload.open()
        reader = subprocess.Popen([sys.executable, str(READER), run.device], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            say = _line_to(reader)
            for round_ in range(1, 7):
                pixels = np.full((480, 640, 3), round_ * 40, np.uint8)
                image = upload.upload(pixels)
                assert isinstance(image, SharedImage)
                read = say(pickle.dumps(image.lend()).hex())
                expected = f"{round_ * 40} {round_ * 40}"
                run.check(f"a frame of another process, {round_}", read == expected, smallest_and_largest=read)
            say("end")
            run.check("the reader ends cleanly", reader.wait(30) == 0, code=reader.returncode)
        finally:
            reader.kill()
            reader.wait()
            upload.close()


def _line_to(reader: subprocess.Popen[str]) -> Callable[[str], str]:
    def say(line: str) -> str:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(line + "\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip() if line != "end" else ""

    return say
