"""Weight files, good and bad ones; none of them may execute anything."""

import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict

import pytest

from engines.base import EngineError
from engines.checkpoint import read

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def saved(path, value):
    torch.save(value, path)
    return path


def zipped(path, pickled, *, storage=b"", compression=zipfile.ZIP_STORED):
    """A file as torch.save writes it, around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", storage)
    return path


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 1)
        self.bn = torch.nn.BatchNorm2d(2)
        self.act = torch.nn.SiLU()
        self.parts = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.names = {0: "cat", 1: "dog"}


def test_a_state_dict_is_read_as_it_was_written(tmp_path):
    state = OrderedDict(a=torch.rand(2, 3), b=torch.arange(4), c=torch.tensor(True), d=torch.empty(0, 2))
    checkpoint = read(saved(tmp_path / "m.pth", state))
    assert list(checkpoint.state) == list(state)
    for name, tensor in state.items():
        assert torch.equal(checkpoint.state[name], tensor)
        assert checkpoint.state[name].dtype == tensor.dtype
    assert checkpoint.metadata == {}


def test_a_whole_model_gives_its_state_dict_its_class_names_and_its_activations(tmp_path):
    model = Net().half()
    checkpoint = read(saved(tmp_path / "m.pt", {"epoch": 3, "ema": None, "model": model, "optimizer": None}))
    expected = model.state_dict()
    assert sorted(checkpoint.state) == sorted(expected)
    assert all(torch.equal(checkpoint.state[name], tensor.float()) for name, tensor in expected.items())
    assert {str(t.dtype) for t in checkpoint.state.values()} == {"torch.float32", "torch.int64"}
    assert checkpoint.metadata == {"names": "{0: 'cat', 1: 'dog'}"}
    assert checkpoint.activations == {"": "SiLU"}


def test_the_average_over_the_training_is_taken_before_the_last_step(tmp_path):
    average, last = Net(), Net()
    checkpoint = read(saved(tmp_path / "m.pt", {"model": last, "ema": average}))
    assert torch.equal(checkpoint.state["conv.weight"], average.conv.weight)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_a_state_dict_inside_of_a_training_file_is_found(key, tmp_path):
    assert read(saved(tmp_path / "m.pth", {"epoch": 1, key: {"a": torch.ones(2)}})).state["a"].sum() == 2


def test_tensors_that_share_or_repeat_memory_get_their_own_in_order(tmp_path):
    base = torch.arange(12.0)
    state = {"turned": base.view(3, 4).T, "part": base[5:8], "row": base[:2].expand(3, 2), "last": base.view(3, 4)}
    found = read(saved(tmp_path / "m.pth", state)).state
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor)
        assert found[name].is_contiguous()
    found["last"].zero_()
    assert torch.equal(found["part"], base[5:8])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_kind_of_float_becomes_float32(dtype, tmp_path):
    found = read(saved(tmp_path / "m.pth", {"a": torch.tensor([0.5, -2], dtype=dtype)})).state["a"]
    assert (found.dtype, found.tolist()) == (torch.float32, [0.5, -2])


class Attack:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


ATTACKS = {
    "system": lambda mark: Attack(os.system, f"touch {mark}"),
    "eval": lambda mark: Attack(eval, f"open({str(mark)!r}, 'w')"),
    "mkdir": lambda mark: Attack(os.mkdir, str(mark)),
    "getattr": lambda mark: Attack(getattr, Attack(__import__, "os"), "system"),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["root", "beside", "state"])
def test_nothing_of_a_file_is_executed(attack, place, protocol, tmp_path):
    mark = tmp_path / "executed"
    bad = ATTACKS[attack](mark)
    model = Net()
    model.names = bad
    value = {"root": bad, "beside": {"model": {"a": torch.ones(2)}, "date": bad}, "state": {"model": model}}[place]
    path = tmp_path / "m.pt"
    torch.save(value, path, pickle_protocol=protocol)
    if place == "root":
        with pytest.raises(EngineError, match=rf"^{path} "):
            read(path)
    else:
        assert read(path).state
    assert not mark.exists()
    if attack in ("system", "mkdir"):  # the file is as dangerous as it looks
        torch.load(path, weights_only=False)
        assert mark.exists()


def test_a_pickle_cannot_change_what_the_next_one_is_read_with(tmp_path):
    path = saved(tmp_path / "good.pth", {"a": torch.ones(2)})
    # BUILD with a pair sets attributes of anything on the stack.
    for name in ("torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "torch.nn\nModule"):
        code = f"c{name}\n(N(S'__doc__'\nS'mine'\nS'kind'\nS'mine'\ndtb.".encode()
        with pytest.raises(EngineError):
            read(zipped(tmp_path / "bad.pth", code))
    assert read(path).state["a"].tolist() == [1, 1]
    assert OrderedDict.__doc__ != "mine"


def tensor_pickle(*, offset=0, size=(2,), stride=(1,), count=2, kind="FloatStorage"):
    """The pickle of {"a": tensor} with a storage "0" of `count` numbers, whether or not they fit."""
    text = f"}}S'a'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n{kind}\nS'0'\nS'cpu'\nI{count}\ntQ"
    size, stride = ("".join(f"I{n}\n" for n in numbers) for numbers in (size, stride))
    return f"{text}I{offset}\n({size}t({stride}tI00\nNtRs.".encode()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"size": (3,)}, "reaches outside of its 2 numbers"),
        ({"offset": 1}, "reaches outside of its 2 numbers"),
        ({"offset": -1}, "a negative number"),
        ({"stride": (-1,)}, "a negative number"),
        ({"size": (1 << 30, 1 << 30), "stride": (0, 0)}, "reaches outside of its 2 numbers"),
        ({"size": (1 << 70,), "stride": (0,)}, "reaches outside of its 2 numbers"),
        ({"stride": (1, 1)}, "zip"),
        ({"count": 3}, "data/0 is 8 bytes, not 3 of torch.float32"),
        ({"kind": "DoubleStorage"}, "data/0 is 8 bytes, not 2 of torch.float64"),
        ({"kind": "ComplexFloatStorage"}, "storage '0' is a torch.ComplexFloatStorage, which is not read here"),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(wrong, words, tmp_path):
    path = zipped(tmp_path / "m.pth", tensor_pickle(**wrong), storage=bytes(8))
    with pytest.raises(EngineError, match=rf"^{path} cannot be read as a PyTorch weight file: .*{words}.*; get the"):
        read(path)


def test_a_file_that_grows_in_memory_is_refused(tmp_path):
    path = zipped(tmp_path / "m.pth", tensor_pickle(), storage=bytes(8), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(EngineError, match=r"is compressed, which torch\.save does not do"):
        read(path)


@pytest.mark.parametrize("end", [3, 100, 0.5, -1, -30])
def test_a_file_that_ends_too_early_is_refused(end, tmp_path):
    path = saved(tmp_path / "m.pth", {"a": torch.rand(100)})
    content = path.read_bytes()
    path.write_bytes(content[: int(end * len(content)) if isinstance(end, float) else end])
    with pytest.raises(EngineError, match=rf"^{path} is (damaged|no PyTorch).*(again|\.safetensors)$"):
        read(path)


def test_numbers_that_changed_on_the_disk_are_refused(tmp_path):
    path = saved(tmp_path / "m.pth", {"a": torch.full((100,), 0.123)})
    content, number = path.read_bytes(), torch.tensor(0.123).numpy().tobytes()
    path.write_bytes(content.replace(number, b"\0\0\0\0", 1))
    with pytest.raises(EngineError, match=r"is damaged: Bad CRC-32 .*get the file again$"):
        read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; get the file again"),
        (b"hello", "is no PyTorch weight file: it begins with b'hell'; expected .pt, .pth or .safetensors"),
        (pickle.dumps({"a": 1}), "is a bare pickle"),
    ],
)
def test_what_is_no_weight_file_is_refused(content, words, tmp_path):
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=rf"^{path} {re.escape(words)}"):
        read(path)


def test_a_file_of_old_pytorch_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "m.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(EngineError, match=r"is a bare pickle.*write it with torch\.save"):
        read(path)


@pytest.mark.parametrize("value", [3, [1], {}, {"a": 1}, {"model": None}])
def test_a_file_without_weights_is_refused(value, tmp_path):
    with pytest.raises(EngineError, match=r"not weights; give|holds no weights"):
        read(saved(tmp_path / "m.pt", value))


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(EngineError, match=r"a zip file without a data\.pkl"):
        read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EngineError, match=rf"^{tmp_path}/none\.pt cannot be read: No such file"):
        read(tmp_path / "none.pt")


def safetensors(path, header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


def test_safetensors_are_read(tmp_path):
    numbers = torch.tensor([[1, 2], [3, 4]], dtype=torch.float16)
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},
        "b": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]},
        "c": {"dtype": "F32", "shape": [0, 2], "data_offsets": [16, 16]},
    }
    content = numbers.numpy().tobytes() + (5).to_bytes(8, "little")
    checkpoint = read(safetensors(tmp_path / "m.safetensors", header, content))
    assert checkpoint.state["a"].dtype == torch.float32
    assert torch.equal(checkpoint.state["a"], numbers.float())
    assert checkpoint.state["b"] == 5
    assert checkpoint.state["c"].shape == (0, 2)
    assert checkpoint.metadata == {"format": "pt"}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "its header does not fit into it"),
        (b"[]", "its header is not a JSON object"),
        (b"{..", "Expecting"),
        (b"[" * 100_000, "recursion"),
        ({"a": 3}, "the entry of 'a' is 3"),
        ({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, "the entry of 'a'"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "'a' lies outside of the file"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "'a' lies outside of the file"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, r"'a' is 4 bytes, which is not \[2\]"),
    ],
)
def test_damaged_safetensors_are_refused(header, words, tmp_path):
    path = safetensors(tmp_path / "m.safetensors", header, bytes(4))
    with pytest.raises(EngineError, match=rf"^{path} cannot be read as a safetensors file: .*{words}.*; get the file"):
        read(path)


@pytest.mark.data
def test_the_two_forms_of_a_real_file_hold_the_same(data):
    folder = data / "models/derived"
    whole, state = read(folder / "yolo11n_dequant.pt"), read(folder / "yolo11n_dequant_state_dict.pth")
    assert len(whole.state) == 499
    assert whole.state.keys() == state.state.keys()
    assert all(torch.equal(whole.state[name], state.state[name]) for name in whole.state)
    assert whole.metadata["names"].startswith("{0: 'person', 1: 'bicycle'")
    assert whole.activations["model.9.cv1"] == "SiLU"
    assert whole.activations["model.10.m.0.attn.qkv"] == "Identity"
