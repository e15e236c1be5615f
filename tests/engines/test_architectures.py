"""Our own networks against the programs that the official weights come from."""

import copy
import functools
import io
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from bench.peer import official_name
from engines.architectures import ARCHITECTURES, find, make
from engines.base import EngineError
from engines.checkpoint import Checkpoint, read

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

YOLO = ("yolov8n", "yolo11n", "yolo12n", "yolo12s", "yolo26n", "yolo26n_depth")
EVERY = pytest.mark.parametrize("name", sorted(ARCHITECTURES))
SMALL = {32: (128, 96), 14: (70, 98)}


def small(name):
    return SMALL[find(name).multiple_of]


def three_classes():
    """A checkpoint of a yolo11n that was trained further, on three classes."""
    with torch.random.fork_rng(devices=[]):
        return Checkpoint(find("yolo11n").build((64, 64), 3).state_dict())


@functools.cache
def _made(name):
    return make(name, size_wh=small(name))


def made(name):
    """A network of its own with random weights; to make one anew takes a second."""
    return copy.deepcopy(_made(name))


def images(size_wh, batch=1, seed=0):
    """Smooth noise (batch, 3, h, w), 0..1."""
    spots = torch.rand(batch, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(spots, size_wh[::-1], mode="bicubic").clamp(0, 1)


def error(ours, theirs):
    """Mean squared difference over the mean square."""
    assert ours.shape == theirs.shape
    return float(((ours - theirs) ** 2).mean() / (theirs**2).mean())


def run(network, x):
    with torch.inference_mode():
        return network(x)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """ultralytics.nn.tasks, which neither asks the network nor installs anything, and gives threads back."""
    switches = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    switches["YOLO_CONFIG_DIR"] = str(tmp_path_factory.mktemp("ultralytics"))
    before = {key: os.environ.get(key) for key in switches}
    os.environ.update(switches)
    threads = torch.get_num_threads()
    try:
        yield pytest.importorskip("ultralytics.nn.tasks", reason="ultralytics is not installed", exc_type=ImportError)
    finally:
        torch.set_num_threads(threads)
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def reference(tasks, name):
    """The model of ultralytics with random weights and statistics, and logits that are not all near zero."""
    torch.manual_seed(1)
    yaml = f"{name.replace('_', '-')}.yaml"
    model = (tasks.DepthModel if name.endswith("depth") else tasks.DetectionModel)(yaml, verbose=False)
    if name in ("yolov8n", "yolo11n"):
        # As published. What ultralytics builds anew since YOLO26 has no activation there.
        model.model[9].cv1.act = torch.nn.SiLU()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()
        model(images((320, 256), batch=4, seed=1))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1)
                module.bias.uniform_(-0.3, 0.3)
        for key, value in model.model[-1].named_parameters():
            if "cv3" in key and key.endswith(("2.weight", "2.bias")):
                value.normal_(0, 0.2)
    model.model[-1].export = True
    if name == "yolo26n":
        model.model[-1].end2end = True
    return model.eval()


def doubled(name, state):
    """Our network in float64, fused, with `state`."""
    network = find(name).build((160, 128), 80).double().eval()
    network.load_state_dict(state)
    with torch.no_grad():
        network.fuse()
    return network


@pytest.mark.parametrize("name", YOLO)
def test_a_yolo_gives_the_numbers_of_ultralytics(tasks, name):
    model, x = reference(tasks, name), images((160, 128), batch=2)
    loaded = make(name, Checkpoint(model.state_dict()), size_wh=(160, 128))
    assert find(name).parameters == sum(p.numel() for p in model.parameters())
    theirs = run(model, x).reshape(run(loaded, x).shape)
    if name != "yolo26n":  # where rounding puts rows into another order
        assert error(run(loaded, x), theirs) < 1e-6
    # A network with random weights makes rounding errors grow; in float64 only a different formula remains.
    theirs = run(model.double(), x.double()).reshape(theirs.shape)
    assert error(run(doubled(name, model.state_dict()), x.double()), theirs) < 1e-12


def test_the_yolo_without_nms_gives_the_raw_boxes_and_scores_of_ultralytics(tasks):
    model, x = reference(tasks, "yolo26n").double(), images((160, 128)).double()
    ours = doubled("yolo26n", model.state_dict())
    model.model[-1].export = False
    raw = run(model, x)[1]["one2one"]
    with torch.inference_mode():
        boxes, logits = ours.head.raw(ours.features(x))
        lt, rb, scores = ours.head.corners(ours.features(x))
        theirs = model.model[-1]._inference(raw)
    assert error(boxes, raw["boxes"]) < 1e-12
    assert error(logits, raw["scores"]) < 1e-12
    assert error(torch.cat([lt, rb, scores], 1), theirs) < 1e-12


def test_importing_the_list_of_networks_imports_no_torch():
    code = "import sys, engines.architectures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@EVERY
def test_a_network_has_as_many_parameters_as_the_published_one(name):
    architecture = find(name)
    with torch.device("meta"):
        network = architecture.build(architecture.size_wh, architecture.class_count or 0)
    assert sum(p.numel() for p in network.parameters()) == architecture.parameters


@EVERY
def test_a_batch_gives_what_its_images_give_alone(name):
    network, x = made(name).double(), images(small(name), batch=3).double()
    alone = torch.cat([run(network, x[i : i + 1]) for i in range(3)])
    assert error(run(network, x), alone) < 1e-12


@EVERY
def test_random_weights_follow_the_seed_and_leave_the_random_numbers_of_others_alone(name):
    torch.manual_seed(7)
    expected = torch.rand(5)
    torch.manual_seed(7)
    first, same, other = (make(name, size_wh=small(name), seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(5), expected)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@EVERY
def test_a_network_is_ready_to_infer(name):
    network = made(name)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert {t.dtype for t in (*network.parameters(), *network.buffers())} == {torch.float32}
    assert torch.isfinite(run(network, images(small(name)))).all()


def photographs(size_wh, count):
    """Noise (count, 3, h, w), 0..1, with as much contrast at each scale."""
    random = torch.Generator().manual_seed(0)
    x = torch.zeros(count, 3, *size_wh[::-1])
    for cells in (2, 4, 8, 16, 32, 64, 128):
        spots = torch.randn(count, 3, cells, cells, generator=random)
        x += torch.nn.functional.interpolate(spots, size_wh[::-1], mode="bilinear")
    return (x / x.std() * 0.2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("name", [name for name in YOLO if not name.endswith("depth")])
def test_few_anchors_of_a_network_with_random_weights_pass_the_usual_confidence(name):
    passing = 0.0
    x = photographs((320, 320), 8)
    for seed in range(2):
        network = make(name, size_wh=(320, 320), seed=seed)
        with torch.inference_mode():
            _, _, scores = network.head.corners(network.features(x))
        passing += float((scores.amax(1) > 0.25).float().mean()) / 2
    assert 0 < passing < 0.2


def test_the_number_of_classes_is_that_of_the_checkpoint():
    network = make("yolo11n", three_classes(), size_wh=(64, 64))
    assert run(network, images((64, 64))).shape == (1, 7, 84)


def test_a_checkpoint_that_is_fused_already_or_does_not_count_its_steps_fits_too():
    checkpoint, x = three_classes(), images((64, 64))
    fused = make("yolo11n", checkpoint, size_wh=(64, 64))
    uncounted = Checkpoint({k: v for k, v in checkpoint.state.items() if not k.endswith("num_batches_tracked")})
    expected = run(fused, x)
    assert torch.equal(run(make("yolo11n", Checkpoint(fused.state_dict()), size_wh=(64, 64)), x), expected)
    assert torch.equal(run(make("yolo11n", uncounted, size_wh=(64, 64)), x), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {k: v for k, v in state.items() if not k.startswith("model.7.")},
            "it lacks model.7.conv.weight, model.7.bn.weight, model.7.bn.bias and 2 more",
        ),
        (
            lambda state: {**state, "model.24.weight": torch.ones(1)},
            "it has model.24.weight, which the network does not",
        ),
        (
            lambda state: {**state, "model.0.conv.weight": torch.ones(8, 3, 3, 3)},
            "model.0.conv.weight is (8, 3, 3, 3), not (16, 3, 3, 3)",
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_with_the_first_differences(change, message):
    with pytest.raises(EngineError) as e:
        make("yolo11n", Checkpoint(change(three_classes().state)), size_wh=(64, 64))
    assert str(e.value) == (
        f"the checkpoint does not belong to yolo11n: {message}; "
        "give the file of this network, or set `architecture` to that of the file"
    )


def test_the_activations_of_the_file_are_used():
    state = three_classes().state
    for found in ("SiLU", "Identity"):
        network = make("yolo11n", Checkpoint(state, {}, {"model.9.cv1": found}), size_wh=(64, 64))
        assert type(network.model[9].cv1.act).__name__ == found
    assert type(make("yolo11n", Checkpoint(state), size_wh=(64, 64)).model[9].cv1.act).__name__ == "SiLU"
    with pytest.raises(EngineError, match=r"model\.0 has the activation ReLU; expected SiLU or Identity"):
        make("yolo11n", Checkpoint(state, {}, {"model.0": "ReLU"}), size_wh=(64, 64))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolo11", "there is no architecture 'yolo11'; did you mean 'yolo11n'?"),
        (
            "depth_anything_small",
            "there is no architecture 'depth_anything_small'; did you mean 'depth_anything_v2_small'?",
        ),
        ("?", "there is no architecture '?'; known are depth_anything_v2_metric_indoor_small, "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, message):
    with pytest.raises(EngineError, match=rf"^{re.escape(message)}"):
        make(name)


def test_a_size_that_does_not_fit_is_refused_with_one_that_does():
    with pytest.raises(EngineError) as e:
        make("depth_anything_v2_small", size_wh=(384, 392))
    assert str(e.value) == (
        "depth_anything_v2_small takes images whose sides are multiples of 14, not 384x392; set size_wh to [378, 392]"
    )


@EVERY
def test_half_precision_gives_float32_close_to_the_same(name):
    network, x = made(name), images(small(name))
    if find(name).output == "end_to_end":  # rounding would swap rows
        network.forward = lambda x: torch.cat(network.head.corners(network.features(x)), 1)
    full, half = run(network, x), run(network.half(), x.half())
    assert half.dtype == torch.float32
    # Random weights make rounding errors grow; those that were trained do not.
    assert error(half, full) < 0.2


@EVERY
def test_channels_last_gives_the_same(name):
    network, x = made(name).double(), images(small(name), batch=2).double()
    expected = run(network, x)
    turned = run(network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last))
    assert error(turned, expected) < 1e-12


@EVERY
def test_an_export_to_onnx_gives_the_same_for_any_batch(name, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    ort = pytest.importorskip("onnxruntime")
    network, written = made(name), io.BytesIO()
    options = {"opset_version": 17, "dynamo": False, "input_names": ["images"], "output_names": ["output"]}
    axes = {"images": {0: "batch"}, "output": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(network, (images(small(name)),), written, dynamic_axes=axes, **options)
    session = ort.InferenceSession(written.getvalue(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(small(name), batch=batch, seed=batch)
        (theirs,) = session.run(None, {"images": x.numpy()})
        ours = run(network, x)
        if find(name).output == "end_to_end":  # rounding may swap rows
            theirs, ours = np.sort(theirs[..., 4]), ours[..., 4].sort().values
        assert error(ours, torch.from_numpy(theirs)) < 1e-6


def official(state):
    """The state dict of transformers' Depth-Anything, with the names of the official file."""
    found, parts = {}, {}
    for name, tensor in state.items():
        whole, third = official_name(name)
        if third is None:
            found[whole] = tensor
        else:
            parts.setdefault(whole, {})[third] = tensor
    return found | {name: torch.cat([thirds[i] for i in range(3)]) for name, thirds in parts.items()}


def transformer(size, max_m):
    """Depth-Anything of transformers with random weights, for square images of `size` pixels."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    backbone = transformers.Dinov2Config(
        image_size=size, patch_size=14, hidden_size=384, num_attention_heads=6, apply_layernorm=True,
        out_features=["stage3", "stage6", "stage9", "stage12"], reshape_hidden_states=False,
    )  # fmt: skip
    kind = {} if max_m is None else {"depth_estimation_type": "metric", "max_depth": max_m}
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=384, neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64, patch_size=14, **kind,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("neck", "head")) and parameter.dim() == 4:
                torch.nn.init.kaiming_normal_(parameter)
            elif "lambda1" in name or "position" in name or "cls" in name or "bias" in name:
                parameter.uniform_(-0.5, 0.5)
    return model


@pytest.mark.parametrize(
    ("name", "max_m"),
    [
        ("depth_anything_v2_small", None),
        ("depth_anything_v2_metric_indoor_small", 20),
        ("depth_anything_v2_metric_outdoor_small", 80),
    ],
)
def test_depth_anything_gives_the_numbers_of_transformers(name, max_m):
    model, x = transformer(518, max_m), images((518, 518)) * 4 - 2
    ours = make(name, Checkpoint(official(model.state_dict())), size_wh=(518, 518))
    theirs = run(model, x).predicted_depth
    assert theirs.std() > 0.01 * theirs.mean() > 0
    assert error(run(ours, x), theirs) < 1e-9


def test_the_positions_of_depth_anything_are_stretched_to_the_size_of_the_images():
    network = make("depth_anything_v2_small", size_wh=(70, 98)).pretrained
    trained = network.pos_embed[0, 1:].reshape(37, 37, 384)
    found = network.positions[0, 1:].reshape(7, 5, 384)
    assert torch.equal(network.positions[0, 0], network.pos_embed[0, 0])
    # Bicubic between the four nearest; (i + 0.5) * 37 / (n + 0.1) - 0.5 is where it is sampled.
    at = [((torch.arange(n) + 0.5) * 37 / (n + 0.1) - 0.5).tolist() for n in (7, 5)]

    def cubic(t, a=-0.75):
        t = abs(t)
        return (a + 2) * t**3 - (a + 3) * t**2 + 1 if t <= 1 else a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a

    for row, y in enumerate(at[0]):
        for column, x in enumerate(at[1]):
            expected = torch.zeros(384)
            for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    expected += cubic(y - i) * cubic(x - j) * trained[min(max(i, 0), 36), min(max(j, 0), 36)]
            torch.testing.assert_close(found[row, column], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("file", ["yolo11n_dequant.pt", "yolo11n_dequant_state_dict.pth"])
def test_a_real_yolo11n_gives_the_numbers_of_its_export(data, file):
    import cv2

    ort = pytest.importorskip("onnxruntime")
    image = cv2.imread(str(sorted((data / "coco/images").glob("*.jpg"))[0]))
    x = np.ascontiguousarray(cv2.resize(image, (640, 640))[None, ..., ::-1].transpose(0, 3, 1, 2), np.float32) / 255
    session = ort.InferenceSession(str(data / "models/derived/yolo11n_dequant_640.onnx"))
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x})
    ours = run(make("yolo11n", read(data / "models/derived" / file)), torch.from_numpy(x))
    assert theirs[:, 4:].max() > 0.5
    assert error(ours, torch.from_numpy(theirs)) < 1e-8
