"""Large arrays are copied past the processor's cache, in processes that hand them to others (glibc on x86-64).

A copy as it is commonly made first reads the memory it is going to overwrite. The C library can leave that out (its
non-temporal stores), and does for what it deems too large for the cache: three quarters of the last one, which on a
virtual machine is the cache of the whole host, of which a guest has but a share. A frame for another process gains
nothing by the cache of the one that wrote it, so here it is left out for all that is larger than a core's own.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

FROM_BYTES = 2 << 20
"""What is at least so large: a core's own cache (L2) holds 0.5 to 2 MiB."""
_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.cpu.x86_non_temporal_threshold"


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment `given`, with what has a process started in it copy so; what it says of this itself holds."""
    tunables = given.get(_VARIABLE, "")
    if platform.machine() != "x86_64" or _TUNABLE in tunables:
        return dict(given)
    return {**given, _VARIABLE: ":".join(filter(None, (tunables, f"{_TUNABLE}={FROM_BYTES:#x}")))}
