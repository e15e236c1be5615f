"""The networks that are shipped as presets are built for the GPUs of the wearer, on a machine without any."""

from pathlib import Path

import pytest

from engines.base import EngineError
from engines.trt import build as trt_build

NETWORKS = [
    pytest.param(("yolo12n", (640, 640), (5, 60)), id="yolo12n"),
    pytest.param(("depth_anything_v2_small", (378, 378), (40, 120)), id="depth-anything"),
]


def export(name: str, size_wh: tuple[int, int], path: Path, *, half: bool) -> Path:
    """The network with random weights as ONNX: float32 at its ends, a free batch."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    architectures = pytest.importorskip("engines.architectures", reason="the architectures are not there")

    class Ends(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            y = self.inner(x.half() if half else x)
            return (y[0] if isinstance(y, tuple | list) else y).float()

    network = architectures.make(name, None, size_wh=size_wh)
    ends = Ends(network.half() if half else network).eval()
    image = torch.zeros(1, 3, size_wh[1], size_wh[0])
    torch.onnx.export(
        ends, (image,), str(path), opset_version=17, dynamo=False, input_names=["images"], output_names=["output0"],
        dynamic_axes={"images": {0: "n"}, "output0": {0: "n"}},
    )  # fmt: skip
    return path


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """An exporter by precision, which exports once, and the size of an engine in MB: least and most."""
    name, size_wh, megabytes = request.param
    folder, made = tmp_path_factory.mktemp(name), {}

    def exported(half):
        if half not in made:
            made[half] = export(name, size_wh, folder / f"{name}-{'fp16' if half else 'fp32'}.onnx", half=half)
        return made[half]

    return exported, megabytes


@pytest.mark.filterwarnings("ignore")  # torch warns of its own exporter
@pytest.mark.parametrize("target", ["sm75", "sm86", "sm89"])
def test_it_is_built_in_fp16(network, target, rtx):
    exported, (least, most) = network
    built = trt_build.build(rtx, exported(half=True), target=target, batch=(1, 1, 4))
    assert least < len(built.data) / 1e6 < most
    assert built.batch == (1, 1, 4)


@pytest.mark.filterwarnings("ignore")
def test_in_fp32_turing_is_refused_and_ampere_is_not(network, rtx):
    exported, _ = network
    with pytest.raises(EngineError, match=r"FP32 GEMM is not supported on Turing .* set precision to fp16$"):
        trt_build.build(rtx, exported(half=False), target="sm75")
    assert trt_build.build(rtx, exported(half=False), target="sm86").data
