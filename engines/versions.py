"""Versions of installed packages, without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(*distributions: str) -> str | None:
    """Version of the first of the distributions that is installed; None where none is."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def versions(*distributions: str) -> dict[str, str | None]:
    """The version of each."""
    return {name: installed(name) for name in distributions}
