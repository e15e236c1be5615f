"""What it costs to bring a frame to the GPU, and to make the detector's input of it with PyTorch's own steps."""

from __future__ import annotations

from bench.on_gpu import timing
from bench.on_gpu.run import Run

FRAME = (1408, 1408, 3)
SIDE = 640


def section(run: Run) -> None:
    """uint8 against float32, pageable against pinned memory; then upload, cast and resize in one."""
    import torch

    frame = torch.randint(0, 256, FRAME, dtype=torch.uint8)
    sources = {"uint8 frame": frame, "float32 input": torch.rand(1, 3, SIDE, SIDE), "float32 frame": frame.float()}
    for name, host in sources.items():
        for kind, source in (("pageable", host), ("pinned", host.pin_memory())):
            times = timing.enqueued(run, lambda s=source: s.to(run.device, non_blocking=True), seconds=0.8)
            megabytes = source.numel() * source.element_size() / 1e6
            run.row(f"{name} {kind}", megabytes=megabytes, **times, gb_s=megabytes / times["wall_ms"]["p50"])
    pinned = frame.pin_memory()

    def prepare() -> torch.Tensor:
        there = pinned.to(run.device, non_blocking=True).permute(2, 0, 1)[None]
        small = torch.nn.functional.interpolate(there.float(), (SIDE, SIDE), mode="bilinear", align_corners=False)
        return small / 255

    run.row("upload, cast, resize by PyTorch", **timing.enqueued(run, prepare, seconds=1))
