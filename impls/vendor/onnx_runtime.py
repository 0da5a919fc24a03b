"""ONNX Runtime's BatchNormalization (opset 15) on the CPU: training_mode 1 and 0, through the Python bridge.

A model of the one operator is made per problem and run with one thread; what the runtime does not have, it says
itself when it loads the model. Needs the packages onnx and onnxruntime.
"""

from __future__ import annotations

import functools
import sys

try:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper
except ImportError as error:
    print(f"onnx_runtime: {error}", file=sys.stderr)
    raise SystemExit(3) from None

import numpy as np
import trial

types = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bfloat16": TensorProto.BFLOAT16,
}


@functools.lru_cache(maxsize=256)
def session(data: str, stats: str, shape: tuple[int, ...], eps: float, momentum: float, training: bool):
    channels = (shape[1],)
    values = [helper.make_tensor_value_info("x", types[data], shape)]
    values += [helper.make_tensor_value_info(name, types[stats], channels) for name in ("scale", "b", "mean", "var")]
    outputs = [helper.make_tensor_value_info("y", types[data], shape)]
    if training:
        outputs += [
            helper.make_tensor_value_info(name, types[stats], channels) for name in ("running_mean", "running_var")
        ]
    node = helper.make_node(
        "BatchNormalization",
        [value.name for value in values],
        [value.name for value in outputs],
        epsilon=eps,
        momentum=momentum,
        training_mode=int(training),
    )
    graph = helper.make_graph([node], "batch_normalization", values, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        text = " ".join(str(error).split())
        raise NotImplementedError(f"ONNX Runtime: {text}") from error


def batch_normalization(x, gamma, beta, running_mean, running_var, eps, momentum, training):
    if float(np.float32(eps)) != eps or float(np.float32(momentum)) != momentum:
        raise NotImplementedError("attributes are f32")
    one = session(x.dtype.name, gamma.dtype.name, x.shape, eps, momentum, training)
    inputs = {"x": x, "scale": gamma, "b": beta, "mean": running_mean, "var": running_var}
    results = one.run(None, {name: np.ascontiguousarray(value) for name, value in inputs.items()})
    return dict(zip(("y", "running_mean", "running_var"), results))


if __name__ == "__main__":
    print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}")
    sys.exit(
        trial.run(
            {"onnxruntime.batch_normalization": batch_normalization},
            __doc__,
            dialect="onnx",
            layouts=["contiguous"],
            passes=["forward-training", "forward-inference"],
        )
    )
