"""A ladder of backends: the first that takes a model runs it. A fallback by wish only, told wherever it shows.

backend=[trt,onnx_cuda,onnx]    on the command line, for backend=ladder backend.steps=[trt,onnx_cuda,onnx]
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.base import Array, Engine, EngineError, Model, ModelSpec, OutOfMemoryError, Place, Placement, Tensor

logger = logging.getLogger(__name__)


class Ladder:
    """Loads a model with the first of `steps` that takes it; `known` are the engines by name.

    A step that runs out of memory, when it loads or later, gives way to the next. `Model.placement.reason` says which
    step was chosen, and why those before it were not.
    """

    def __init__(self, steps: Sequence[str], known: Mapping[str, Engine]) -> None:
        if problems := list(self.check({"steps": steps, "known": known})):
            raise EngineError(f"engines.ladder.Ladder: {'; '.join(problems)}")
        self.steps, self.known = tuple(steps), known

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show. What a step lacks is no mistake: then the next one is tried."""
        steps, known = params.get("steps"), list(params.get("known") or {})
        if isinstance(steps, str) or not isinstance(steps, Sequence) or not steps:
            yield f"steps: is {steps!r}; expected a list of backends, such as [trt, onnx]; there is: {', '.join(known)}"
            return
        for step in steps:
            if step not in known:
                close = difflib.get_close_matches(str(step), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there is: {', '.join(known)}"
                yield f"steps: there is no backend {step!r}; {hint}"
        if len({*map(str, steps)}) < len(steps):
            yield f"steps: {list(steps)} names a backend twice"

    def load(self, spec: ModelSpec) -> Model:
        """The model on the first step that takes it; EngineError with the reason of every step where none does."""
        model, at, refusals = self._climb(spec, 0, [])
        return LadderModel(self, spec, model, at, refusals)

    def _climb(self, spec: ModelSpec, first: int, refusals: list[str]) -> tuple[Model, int, list[str]]:
        """The model on the first step from `first` on that takes it, the number of that step, and all refusals."""
        for at, step in enumerate(self.steps[first:], start=first):
            try:
                return self.known[step].load(spec), at, refusals
            except EngineError as e:
                why = str(e).removeprefix(f"{spec.name}: ")
                refusals.append(f"{step}: {why}")
                logger.warning("%s: not by %s: %s", spec.name, step, why)
        lines = "\n".join(f"  {refusal}" for refusal in refusals)
        raise EngineError(f"{spec.name}: no step of the ladder takes it:\n{lines}")


class LadderModel:
    """A model on one step of a ladder, which goes down a step where memory runs out."""

    def __init__(self, ladder: Ladder, spec: ModelSpec, model: Model, at: int, refusals: list[str]) -> None:
        self._ladder, self._spec, self._refusals = ladder, spec, refusals
        self._take(model, at)

    @property
    def inputs(self) -> Sequence[Tensor]:
        """See `engines.base.Model`."""
        return self._model.inputs

    @property
    def outputs(self) -> Sequence[Tensor]:
        """See `engines.base.Model`."""
        return self._model.outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `engines.base.Model`."""
        return self._model.metadata

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run once; where memory runs out, on the next step."""
        while True:
            try:
                return self._model(*inputs)
            except OutOfMemoryError as e:
                if self._at + 1 == len(self._ladder.steps):
                    raise
                logger.warning("%s; going on with the next step of the ladder", e)
                why = str(e).removeprefix(f"{self._spec.name}: ")
                self._refusals.append(f"{self._ladder.steps[self._at]}: {why}")
                self._model.close()
                model, at, _ = self._ladder._climb(self._spec, self._at + 1, self._refusals)
                self._take(model, at)

    def places(self, *shapes: tuple[int, ...]) -> tuple[Place, ...] | None:
        """See `engines.base.FedOnDevice`; None where the step under way takes arrays of the host only."""
        places: Callable[..., tuple[Place, ...] | None] | None = getattr(self._model, "places", None)
        return places(*shapes) if places else None

    def run_placed(self, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """See `engines.base.FedOnDevice`. Out of memory is an error here; a call with arrays goes a step down."""
        run: Callable[..., tuple[Array, ...]] = getattr(self._model, "run_placed")  # noqa: B009 - not of every model
        return run(*shapes)

    def close(self) -> None:
        """Release the model and its memory."""
        self._model.close()

    def _take(self, model: Model, at: int) -> None:
        self._model, self._at = model, at
        steps = self._ladder.steps
        chosen = f"{steps[at]} is number {at + 1} of the ladder {' > '.join(steps)}"
        # The log has told all of it; here the causes are enough.
        refused = "; ".join(refusal.partition(";")[0] for refusal in self._refusals)
        placement = model.placement
        reason = f"{chosen}: {placement.reason}{'; ' if refused else ''}{refused}"
        self.placement: Placement = replace(placement, reason=reason, step=at, refused=refused)
        logger.info("%s: %s", self._spec.name, chosen)
