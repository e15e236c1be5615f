"""Engines that compute wrongly, or slowly, around the real one: what `validate` must not let pass, or must."""

from time import sleep

import numpy as np

from engines.base import Array, Model, ModelSpec
from engines.onnx import Onnx


class FaultyModel:
    def __init__(self, model: Model, fault: str) -> None:
        self.model, self.fault = model, fault
        self.inputs, self.outputs, self.metadata = model.inputs, model.outputs, model.metadata
        self.placement = model.placement

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        outputs = tuple(o.copy() for o in self.model(*inputs))
        if self.fault == "wrong":
            # A swapped channel: what a wrong export does.
            outputs = self.model(*(np.ascontiguousarray(x[:, ::-1, ::2].repeat(2, axis=2)) for x in inputs))
        elif self.fault == "not_finite":
            outputs[0].ravel()[7] = np.nan
        elif self.fault == "slow":
            sleep(0.01)
        elif self.fault == "doubled":
            outputs = tuple(2 * o for o in outputs)
        return outputs

    def close(self) -> None:
        self.model.close()


class Faulty:
    """`fault`: wrong, not_finite, slow or doubled; "" is none."""

    def __init__(self, fault: str = "", **options: object) -> None:
        self.fault, self.engine = fault, Onnx(**options)  # type: ignore[arg-type]

    def load(self, spec: ModelSpec) -> Model:
        return FaultyModel(self.engine.load(spec), self.fault)
