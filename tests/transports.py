"""The transports that tests are run with, and what iceoryx2 needs."""

from importlib.util import find_spec
from pathlib import Path

import pytest

needs_iceoryx2 = pytest.mark.skipif(find_spec("iceoryx2") is None, reason="the extra iceoryx2 is not installed")
TRANSPORTS = ["slots", pytest.param("iceoryx2", marks=needs_iceoryx2)]
REGISTRY = "global_mgmt"  # 16 bytes that iceoryx2 keeps for all programs, with the first one that ever ran


def shared() -> set[str]:
    """Names of what lies in shared memory, but for that registry."""
    return {path.name for path in Path("/dev/shm").iterdir() if not path.name.endswith(REGISTRY)}
