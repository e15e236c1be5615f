"""What the GPU does during a call, by PyTorch's profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bench.on_gpu.run import NotRun


def activities(call: Callable[[], object]) -> Counter[str]:
    """Kernels and copies on the GPU of one `call`, by name; NotRun where the profiler is not admitted."""
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    found = Counter(e.name for e in seen.events() if e.device_type == DeviceType.CUDA)
    if not found:
        raise NotRun("the profiler sees nothing of the GPU; it may not be admitted here")
    return found


def kernels(found: Counter[str]) -> int:
    """How many of the activities are kernels."""
    return sum(n for name, n in found.items() if not name.startswith(("Memcpy", "Memset")))
