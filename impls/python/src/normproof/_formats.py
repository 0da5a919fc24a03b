"""The four formats in NumPy, in files and on the wire. Bits are moved, never rounded.

bfloat16 is ml_dtypes' where that is installed; without it NumPy has no such type, and only frameworks that
have one of their own can be given such tensors.
"""

from __future__ import annotations

import numpy as np

try:
    import ml_dtypes

    bfloat16 = np.dtype(ml_dtypes.bfloat16)
except ImportError:
    bfloat16 = None

names = {(2, 16): "f16", (2, 32): "f32", (2, 64): "f64", (4, 16): "bf16"}  # (DLPack's code, bits) -> name
bits = {"f16": np.dtype(np.uint16), "f32": np.dtype(np.uint32), "f64": np.dtype(np.uint64), "bf16": np.dtype(np.uint16)}
stored = {"f16": "F16", "f32": "F32", "f64": "F64", "bf16": "BF16"}  # in safetensors
_numpy = {"f16": np.dtype(np.float16), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


def numpy_dtype(name: str):
    """None for bf16 without ml_dtypes."""
    return bfloat16 if name == "bf16" else _numpy[name]


def name_of(dtype) -> str | None:
    for name in bits:
        if numpy_dtype(name) is not None and np.dtype(dtype) == numpy_dtype(name):
            return name
    return None


def from_bits(values: np.ndarray, name: str) -> np.ndarray:
    """A view with the format's own type; float32 with the same values for bf16 where NumPy has no such type."""
    dtype = numpy_dtype(name)
    if dtype is not None:
        return values.view(dtype)
    return (values.astype(np.uint32) << 16).view(np.float32)
