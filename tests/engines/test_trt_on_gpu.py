"""The engine on a real GPU, against ONNX Runtime on the CPU."""

import numpy as np
import pytest

from engines import nvidia
from engines.onnx import Onnx
from engines.trt import Trt
from tests.engines import trt_models
from tests.engines.models import conv, spec

MISSING = next(iter(Trt.check({})), None) or nvidia.load_problem("libcuda.so.1")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(MISSING), reason=str(MISSING)),
    pytest.mark.usefixtures("own_cache"),
]


@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_outputs_are_those_of_onnx_runtime_for_every_batch_size(precision, cuda_graph, tmp_path):
    dtype = {"fp32": np.float32, "fp16": np.float16}[precision]
    wanted = spec(conv(tmp_path / "m.onnx", dtype=dtype), batch_sizes=(1, 2, 4))
    model = Trt(precision=precision, cuda_graph=cuda_graph).load(wanted)
    reference = Onnx(precision=precision).load(wanted)
    for batch in (4, 1, 2, 4, 1):
        x = np.random.default_rng(batch).random((batch, 3, 8, 8)).astype(dtype)
        np.testing.assert_allclose(model(x)[0], reference(x)[0], rtol=1e-4 if precision == "fp32" else 1e-2)
    model.close()


def test_a_product_in_fp16_is_that_of_onnx_runtime(tmp_path):
    wanted = spec(trt_models.matmul(tmp_path / "m.onnx", precision="fp16"))
    model, reference = Trt().load(wanted), Onnx(precision="fp16").load(wanted)
    x = np.random.default_rng(0).random((1, 16, 64)).astype(np.float16)
    np.testing.assert_allclose(model(x)[0], reference(x)[0], rtol=2e-2)
    model.close()


def test_loading_and_closing_again_and_again_leaves_the_gpu_as_it_was(tmp_path):
    engine, wanted = Trt(precision="fp32"), spec(conv(tmp_path / "m.onnx", batch=1, size=512))
    device = engine.open_device()
    device.use()

    def load_and_close():
        engine.load(wanted).close()
        device.use()
        return device.memory()[0]

    before = [load_and_close() for _ in range(3)][-1]
    after = [load_and_close() for _ in range(10)][-1]
    device.close()
    assert before - after < 8 << 20
