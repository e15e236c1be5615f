import logging

import numpy as np
import pytest

from engines.base import EngineError, OutOfMemoryError
from engines.ladder import Ladder
from engines.onnx import Onnx
from tests.engines.models import conv, spec

X = np.ones((1, 3, 8, 8), np.float32)


class Refuses:
    def load(self, spec):
        raise EngineError(f"{spec.name}: there is no such thing here")


class Forgetful:
    """Runs `calls` times, then has no memory left."""

    def __init__(self, calls: int, message: str = "cuda:0 has too little memory for a batch of 1") -> None:
        self.calls, self.message, self.closed = calls, message, 0

    def load(self, spec):
        engine, model = self, Onnx().load(spec)

        class Model(type(model)):
            def _run(self, inputs):
                engine.calls -= 1
                if engine.calls < 0:
                    raise OutOfMemoryError(f"{spec.name}: {engine.message}")
                return super()._run(inputs)

            def close(self):
                engine.closed += 1
                super().close()

        model.__class__ = Model
        return model


def test_the_first_step_that_takes_the_model_runs_it_and_the_reasons_are_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        model = Ladder(["a", "b"], {"a": Refuses(), "b": Onnx()}).load(spec(conv(tmp_path / "m.onnx")))
    assert model(X)[0].shape == (1, 2, 8, 8)
    at = model.placement
    assert (at.backend, at.step, at.fallback) == ("onnx", 1, False)
    assert at.refused == "a: there is no such thing here"
    assert at.reason == "b is number 2 of the ladder a > b: as requested; a: there is no such thing here"
    assert "tiny: not by a: there is no such thing here" in caplog.messages
    model.close()


def test_the_steps_after_it_are_not_asked(tmp_path):
    model = Ladder(["b", "a"], {"a": Refuses(), "b": Onnx()}).load(spec(conv(tmp_path / "m.onnx")))
    assert (model.placement.step, model.placement.reason) == (0, "b is number 1 of the ladder b > a: as requested")
    model.close()


def test_where_no_step_takes_it_every_reason_is_told(tmp_path):
    with pytest.raises(EngineError) as e:
        Ladder(["a", "b"], {"a": Refuses(), "b": Onnx("cpu", "int8")}).load(spec(conv(tmp_path / "m.onnx")))
    lines = str(e.value).splitlines()
    assert lines[:2] == ["tiny: no step of the ladder takes it:", "  a: there is no such thing here"]
    assert lines[2].startswith("  b: precision int8 is asked for")


def test_out_of_memory_in_a_call_goes_down_a_step_and_loses_no_result(tmp_path, caplog):
    short = Forgetful(2)
    model = Ladder(["gpu", "cpu"], {"gpu": short, "cpu": Onnx()}).load(spec(conv(tmp_path / "m.onnx")))
    results = [model(X)[0] for _ in range(5)]
    assert all((y == results[0]).all() for y in results)
    assert (model.placement.step, short.closed) == (1, 1)
    assert "gpu: cuda:0 has too little memory" in model.placement.reason
    assert any("going on with the next step of the ladder" in m for m in caplog.messages)
    model.close()


def test_out_of_memory_on_the_last_step_is_an_error(tmp_path):
    model = Ladder(["gpu"], {"gpu": Forgetful(0)}).load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(OutOfMemoryError, match="too little memory for a batch of 1"):
        model(X)
    model.close()


def test_another_error_does_not_go_down_a_step(tmp_path):
    model = Ladder(["a", "b"], {"a": Onnx(), "b": Onnx()}).load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(EngineError, match="input 'x' is float32"):
        model(X[:, :, :4])
    assert model.placement.step == 0
    model.close()


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "steps: is []; expected a list of backends, such as [trt, onnx]; there is: onnx"),
        ("onnx", "steps: is 'onnx'; expected a list of backends, such as [trt, onnx]; there is: onnx"),
        (["onx"], "steps: there is no backend 'onx'; did you mean 'onnx'?"),
        (["onnx", "onnx"], "steps: ['onnx', 'onnx'] names a backend twice"),
    ],
)
def test_a_wrong_ladder_is_refused(steps, problem):
    assert list(Ladder.check({"steps": steps, "known": {"onnx": {}}})) == [problem]
    with pytest.raises(EngineError, match=r"^engines\.ladder\.Ladder: "):
        Ladder(steps, {"onnx": Onnx()})
