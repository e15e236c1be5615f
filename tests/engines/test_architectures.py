"""Our own networks against the programs that the official weights come from."""

import os
import subprocess
import sys

import pytest

from engines.architectures import ARCHITECTURES, find, make
from engines.checkpoint import Checkpoint

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

YOLO = ("yolov8n", "yolo11n", "yolo12n", "yolo12s", "yolo26n", "yolo26n_depth")
EVERY = pytest.mark.parametrize("name", sorted(ARCHITECTURES))
SMALL = {32: (128, 96), 14: (70, 98)}


def small(name):
    return SMALL[find(name).multiple_of]


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
    network, x = make(name, size_wh=small(name)).double(), images(small(name), batch=3).double()
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
    network = make(name, size_wh=small(name))
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
    for seed in range(2):
        network, x = make(name, size_wh=(320, 320), seed=seed), photographs((320, 320), 8)
        with torch.inference_mode():
            _, _, scores = network.head.corners(network.features(x))
        passing += float((scores.amax(1) > 0.25).float().mean()) / 2
    assert 0 < passing < 0.2
