"""Compiles the few loops over pixels and triangles that numpy cannot express. The result is kept beside the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """`function` as machine code that runs beside other threads (it holds no GIL), on arrays and numbers only."""
    return cast(F, numba.njit(nogil=True, fastmath=True, cache=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """A small function that kernels call: it becomes part of each of them."""
    return cast(F, numba.njit(inline="always", nogil=True, fastmath=True, error_model="numpy")(function))
