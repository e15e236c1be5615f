"""A stand-in for NVIDIA's packages: "10", "11" and "rtx" have the differences between them that matter here.

An "engine" is the ONNX file with its profile, and runs on ONNX Runtime. Names and arguments are NVIDIA's; what is there
is compared with the real tensorrt_rtx in tests/engines/test_trt_api.py.
"""

import ctypes
import pickle
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from tests.engines.standin_cuda import StandInDriver

KINDS = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT64", "tensor(uint8)": "UINT8"}
TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "UINT8": np.uint8}


class StandInTensorRt:
    """The module. `calls` holds what was called, in order; `fail` names methods that answer None or False."""

    def __init__(self, flavour: str, driver: StandInDriver, *, scratch: int = 1000) -> None:
        self.flavour, self.driver, self.scratch = flavour, driver, scratch
        self.__version__ = {"10": "10.16.1.11", "11": "11.4.0.106", "rtx": "1.7.1.116"}[flavour]
        self.calls: list[str] = []
        self.fail: set[str] = set()
        self.reason = "Error Code 2: OutOfMemory (no further information)"
        self.alive: list[str] = []
        self.kernels = 0
        self.ILogger = Logger
        self.IProgressMonitor = object
        self.NetworkDefinitionCreationFlag = IntEnum("Flag", {"STRONGLY_TYPED": 1})
        flags = ["TF32", *(["FP16", "BF16", "INT8"] if flavour == "10" else [])]
        self.BuilderFlag = Enum("BuilderFlag", flags)
        self.MemoryPoolType = Enum("MemoryPoolType", ["WORKSPACE"])
        self.TensorIOMode = Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
        self.ExecutionContextAllocationStrategy = Enum("Strategy", ["STATIC", "USER_MANAGED"])
        if flavour == "rtx":
            self.ComputeCapability = Enum("ComputeCapability", ["NONE", "CURRENT", "SM75", "SM86", "SM89", "SM120"])
            self.CudaGraphStrategy = Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
            names = ["NONE", "LAZY", "EAGER"]
            self.DynamicShapesKernelSpecializationStrategy = Enum("Kernels", names)

    def answer(self, name: str, logger: "Logger", good: Any, bad: Any = None) -> Any:
        """Note a call; `bad`, with the reason in the log, where it is to fail."""
        self.calls.append(name)
        if name in self.fail:
            logger.log(SimpleNamespace(name="ERROR"), self.reason)
            return bad
        return good

    def Builder(self, logger):
        return Builder(self, logger)

    def OnnxParser(self, network, logger):
        return Parser(self, network)

    def Runtime(self, logger):
        return Runtime(self, logger)


class Logger:
    def log(self, severity, message):
        raise NotImplementedError


class Alive:
    """Notes when it is made and when nobody holds it any more."""

    def __init__(self, trt: StandInTensorRt, kind: str) -> None:
        self.trt, self.kind = trt, kind
        trt.alive.append(kind)

    def __del__(self) -> None:
        self.trt.alive.remove(self.kind)
        self.trt.calls.append(f"~{self.kind}")
        self.trt.driver.calls.append(f"~{self.kind}")


class Builder:
    def __init__(self, trt, logger) -> None:
        self.trt, self.logger = trt, logger

    def create_network(self, flags):
        return SimpleNamespace(flags=flags, onnx=b"")

    def create_builder_config(self):
        return Config(self.trt)

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        self.trt.built = (network, config)
        profile = config.profiles[0].shapes if config.profiles else {}
        data = pickle.dumps({"onnx": network.onnx, "profile": profile})
        return self.trt.answer("build_serialized_network", self.logger, data)


class Parser:
    num_errors = 0

    def __init__(self, trt, network) -> None:
        self.trt, self.network = trt, network

    def parse_from_file(self, model):
        self.network.onnx = Path(model).read_bytes()
        return True

    def supports_operator(self, op_name):
        return op_name != "ConvInteger"


class Profile:
    def __init__(self) -> None:
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        self.shapes[input] = (tuple(min), tuple(opt), tuple(max))


class Config:
    def __init__(self, trt) -> None:
        self.trt, self.flags, self.cleared, self.profiles, self.pools = trt, [], [], [], {}
        self.progress_monitor, self.target = None, None

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool] = pool_size

    def set_flag(self, flag):
        self.flags.append(flag.name)

    def clear_flag(self, flag):
        self.cleared.append(flag.name)

    def set_compute_capability(self, compute_capability, index):
        assert self.trt.flavour == "rtx"
        self.target = compute_capability.name
        return True


class Runtime(Alive):
    def __init__(self, trt, logger) -> None:
        super().__init__(trt, "runtime")
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        good = "deserialize_cuda_engine" not in self.trt.fail
        engine = Engine(self.trt, self.logger, pickle.loads(serialized_engine)) if good else None
        return self.trt.answer("deserialize_cuda_engine", self.logger, engine)


class Engine(Alive):
    def __init__(self, trt, logger, data) -> None:
        super().__init__(trt, "engine")
        self.logger, self.profile = logger, data["profile"]
        self.session = ort.InferenceSession(data["onnx"], providers=["CPUExecutionProvider"])
        self.ends = {end.name: end for end in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.fed = [end.name for end in self.session.get_inputs()]
        self.given = [end.name for end in self.session.get_outputs()]
        self.num_io_tensors, self.device_memory_size_v2 = len(self.ends), trt.scratch

    def get_tensor_name(self, index):
        return list(self.ends)[index]

    def get_tensor_mode(self, name):
        return self.trt.TensorIOMode.INPUT if name in self.fed else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=KINDS[self.ends[name].type])

    def get_tensor_shape(self, name):
        return tuple(n if isinstance(n, int) else -1 for n in self.ends[name].shape)

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0
        return list(self.profile[name])

    def create_runtime_config(self):
        assert self.trt.flavour == "rtx"
        return RuntimeConfig(self.trt)

    def create_execution_context(self, config):
        made = None if "create_execution_context" in self.trt.fail else Context(self, config)
        return self.trt.answer("create_execution_context", self.logger, made)


class RuntimeConfig:
    def __init__(self, trt) -> None:
        self.trt, self.cache = trt, None
        self.cuda_graph_strategy = self.dynamic_shapes_kernel_specialization_strategy = None

    def create_runtime_cache(self):
        return RuntimeCache(self.trt)

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class RuntimeCache:
    """Holds one byte for each kernel that was compiled."""

    def __init__(self, trt) -> None:
        self.trt, self.data = trt, b""

    def deserialize(self, blob):
        if not blob.startswith(b"kernels:"):
            return False
        self.data = bytes(blob)
        return True

    def serialize(self):
        return self.data or None


class Context(Alive):
    def __init__(self, engine, config) -> None:
        super().__init__(engine.trt, "context")
        self.engine, self.config, self.shapes, self.addresses = engine, config, {}, {}
        self.logger = engine.logger

    def set_device_memory(self, memory, size):
        assert len(self.trt.driver.memory[memory]) == size
        self.scratch = memory

    def set_optimization_profile_async(self, profile_index, stream_handle):
        return self.trt.answer("set_optimization_profile_async", self.logger, profile_index == 0)

    def set_input_shape(self, name, shape):
        assert isinstance(shape, tuple)
        fixed = self.engine.get_tensor_shape(name)
        least, _, largest = self.engine.profile.get(name, (fixed, fixed, fixed))
        inside = all(a <= n <= b for a, n, b in zip(least, shape, largest, strict=True))
        self.shapes[name] = shape
        return self.trt.answer("set_input_shape", self.logger, inside)

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        zeros = [np.zeros(self.shapes[n], self._type(n)) for n in self.engine.fed]
        return dict(zip(self.engine.given, self._compute(zeros), strict=True))[name].shape

    def set_tensor_address(self, name, memory):
        assert memory in self.trt.driver.memory
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        assert stream_handle in self.trt.driver.streams
        assert set(self.addresses) == set(self.engine.ends)
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def work():
            self.trt.driver.calls.append("execute")
            fed = [self._array(addresses[n], shapes[n], n) for n in self.engine.fed]
            for name, value in zip(self.engine.given, self._compute(fed), strict=True):
                self._array(addresses[name], value.shape, name)[...] = value
            if self.trt.flavour == "rtx" and self.config.cache:
                kept = self.config.cache.data or b"kernels:"
                mark = str(shapes).encode()
                if mark not in kept:
                    self.trt.kernels += 1
                    self.config.cache.data = kept + mark

        good = self.trt.answer("execute_async_v3", self.logger, True, False)
        if good:
            self.trt.driver.enqueue(work, stream_handle)
        return good

    def _compute(self, inputs):
        return self.engine.session.run(None, dict(zip(self.engine.fed, inputs, strict=True)))

    def _type(self, name):
        return TYPES[KINDS[self.engine.ends[name].type]]

    def _array(self, address, shape, name):
        dtype = np.dtype(self._type(name))
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_uint8 * size).from_address(address)
        return np.frombuffer(raw, dtype).reshape(shape)
