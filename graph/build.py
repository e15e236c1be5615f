"""The one place that turns a `_target_` into a class and an object, and only for packages that are allowed.

A configuration may come from elsewhere; it must not be able to import or call anything but nodes and engines.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graph.errors import nearest

OWN_PACKAGES = ("nodes", "engines", "graph.commands")


class Builder:
    """Resolves and instantiates targets of the packages that are allowed: ours, and the user's `plugins`."""

    def __init__(self, plugins: Iterable[str] = ()) -> None:
        self.plugins = tuple(plugins)
        self.packages = (*OWN_PACKAGES, *self.plugins)

    def resolve(self, target: str) -> Callable[..., Any]:
        """The class or function at `target`, a dotted path; ValueError that says what is wrong with it."""
        if not any(target.startswith(f"{package}.") for package in self.packages):
            raise ValueError(
                f"{target!r} may not be instantiated: only {', '.join(p + '.*' for p in self.packages)} may; "
                f"allow a package of yours with plugins=[{target.partition('.')[0]}] on the command line"
            )
        module_path, _, name = target.rpartition(".")
        try:
            module = importlib.import_module(module_path)
        except ModuleNotFoundError as e:
            if e.name and not (module_path == e.name or module_path.startswith(f"{e.name}.")):
                raise ValueError(f"{target!r} needs the package {e.name!r}, which is not installed") from e
            raise ValueError(f"there is no module {module_path!r}") from e
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        if name not in own:
            raise ValueError(f"there is no {name!r} in {module_path!r}{nearest(name, own)}")
        found: Callable[..., Any] = getattr(module, name)
        return found

    def instantiate(self, config: Mapping[str, Any]) -> Any:
        """The object that `config` describes; mappings inside that have a `_target_` become objects too.

        But those of the parameters in the class's `built_later` become a `Recipe`, or None where they are off.
        """
        cls = self.resolve(str(config["_target_"]))
        if not isinstance(cls, type):
            raise ValueError(f"{config['_target_']!r} is no class")
        later = getattr(cls, "built_later", ())
        given = {k: v for k, v in config.items() if k != "_target_"}
        return cls(**{k: self._recipes(v) if k in later else self._value(v) for k, v in given.items()})

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.instantiate(value) if "_target_" in value else {k: self._value(v) for k, v in value.items()}
        return [self._value(v) for v in value] if isinstance(value, list) else value

    def _recipes(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if "_target_" not in value:
            return {k: self._recipes(v) for k, v in value.items()}
        return None if value["_target_"] is None else Recipe(value, self)

    def problems(self, key: str, config: Mapping[str, Any]) -> Iterator[str]:
        """Every mistake that `config` shows without being instantiated, each under its key, targets inside included."""
        params = {k: v for k, v in config.items() if k != "_target_"}
        try:
            cls = self.resolve(str(config["_target_"]))
        except ValueError as e:
            yield f"{key}._target_: {e}"
            return
        if not isinstance(cls, type):
            yield f"{key}._target_: {config['_target_']!r} is no class"
            return
        yield from _parameter_problems(key, cls, params)
        for name, value in params.items():
            if isinstance(value, Mapping) and "_target_" in value:
                yield from self.problems(f"{key}.{name}", value)
        check: Callable[[Mapping[str, Any]], Iterable[str]] = getattr(cls, "check", lambda _: ())
        yield from (f"{key}.{problem}" for problem in check(params))


@dataclass(frozen=True, slots=True)
class Recipe:
    """A part of a configuration that its owner builds itself: when it wants to, and as often."""

    config: Mapping[str, Any]
    builder: Builder

    def problems(self, key: str) -> Iterator[str]:
        """See `Builder.problems`."""
        return self.builder.problems(key, self.config)

    def build(self, **changes: Any) -> Any:
        """The object, with some parameters changed; see `Builder.instantiate`."""
        return self.builder.instantiate({**self.config, **changes})

    def part(self, name: str) -> Recipe:
        """The recipe of one parameter."""
        return Recipe(self.config[name], self.builder)


def _parameter_problems(key: str, cls: Callable[..., Any], params: Mapping[str, Any]) -> Iterator[str]:
    wanted = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in wanted.values()):
        return
    name = getattr(cls, "__qualname__", str(cls))
    for param in params:
        if param not in wanted:
            yield f"{key}.{param}: {name} has no such parameter{nearest(param, wanted)}"
    for p in wanted.values():
        if p.default is p.empty and p.name not in params:
            yield f"{key}.{p.name}: is missing; {name} cannot do without it"
