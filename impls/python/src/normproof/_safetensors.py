"""Case files and answers: safetensors, as far as the program writes and reads them."""

from __future__ import annotations

import json
import math
import struct

import numpy as np

from normproof import _formats


def write(path, tensors: dict[str, tuple[str, np.ndarray]], metadata: dict[str, str]) -> None:
    """Tensors by name: (format, values as that format's bits or own type)."""
    header, offset, data = {"__metadata__": metadata}, 0, []
    for name, (form, values) in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {
            "dtype": _formats.stored[form],
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        offset += len(raw)
        data.append(raw)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def read(path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    out = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        form = next(form for form, word in _formats.stored.items() if word == about["dtype"])
        begin, _ = about["data_offsets"]
        count = math.prod(about["shape"])
        values = np.frombuffer(content, _formats.bits[form], count, 8 + length + begin).reshape(about["shape"])
        out[name] = _formats.from_bits(values.copy(), form)
    return out
