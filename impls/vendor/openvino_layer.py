"""OpenVINO's BatchNormInference (opset 5) on the CPU, through the Python bridge.

A model of the one operator is made per problem; gamma, beta and the statistics are inputs of it, so that nothing is
folded before. The precision hint asks for the tensors' own: left to itself the plug-in computes f32 in bf16 where
the processor can. Needs the package openvino.
"""

from __future__ import annotations

import functools
import sys

try:
    import openvino
    from openvino import opset5
except ImportError as error:
    print(f"openvino_layer: {error}", file=sys.stderr)
    raise SystemExit(3) from None

import numpy as np
import trial

types = {
    "float16": openvino.Type.f16,
    "float32": openvino.Type.f32,
    "float64": openvino.Type.f64,
    "bfloat16": openvino.Type.bf16,
}


@functools.lru_cache(maxsize=256)
def compiled(data: str, stats: str, shape: tuple[int, ...], eps: float):
    channels = [shape[1]]
    x = opset5.parameter(list(shape), types[data], "x")
    rest = [opset5.parameter(channels, types[stats], name) for name in ("gamma", "beta", "mean", "variance")]
    try:
        y = opset5.batch_norm_inference(x, *rest, eps)
        model = openvino.Model([y], [x, *rest], "batch_normalization")
        precision = types[data] if data in ("float16", "bfloat16") else openvino.Type.f32
        options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
        return openvino.Core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise NotImplementedError(f"OpenVINO: {text}") from error


def batch_normalization(x, gamma, beta, running_mean, running_var, eps, training):
    if x.dtype.name == "bfloat16" or gamma.dtype.name == "bfloat16":
        raise NotImplementedError("no bf16 through NumPy")
    inputs = (x, gamma, beta, running_mean, running_var)
    one = compiled(x.dtype.name, gamma.dtype.name, x.shape, eps)
    return {"y": one([np.ascontiguousarray(value) for value in inputs])[0]}


if __name__ == "__main__":
    print(f"openvino {openvino.__version__}")
    sys.exit(
        trial.run(
            {"openvino.batch_normalization": batch_normalization},
            __doc__,
            dialect="documented",
            layouts=["contiguous"],
            passes=["forward-inference"],
        )
    )
