"""What the adapters in Python share: their command line, and one trial after the other.

    NORMPROOF_HOME=build/release PYTHONPATH=impls/python/src python impls/vendor/onnx_runtime.py --profile standard

Exit status as the program's: 0 all conform, 1 one does not, 4 one verified nothing, 3 a library is not there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import normproof


def run(functions: dict, description: str, **options) -> int:
    """functions: name -> callable, or (callable, more options of normproof.check)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", choices=list(functions), action="append", help="only these (may be repeated)")
    parser.add_argument("--dtype", action="append", choices=["f64", "f32", "f16", "bf16"])
    parser.add_argument("--json", type=Path, help="a folder for the reports, one NAME.json each")
    for option in ("profile", "seed", "budget", "grade"):
        parser.add_argument(f"--{option}")
    given = parser.parse_args()
    chosen = {name: value for name in ("profile", "seed", "budget", "grade") if (value := getattr(given, name))}
    worst = 0
    for name, function in functions.items():
        if given.only and name not in given.only:
            continue
        fn, own = function if isinstance(function, tuple) else (function, {})
        every = {"dtypes": given.dtype or ["f32", "f64", "f16", "bf16"], **options, **own, **chosen}
        result = normproof.check(fn, name=name, **every)
        print(result, flush=True)
        if given.json:
            given.json.mkdir(parents=True, exist_ok=True)
            (given.json / f"{name}.json").write_text(json.dumps(result.report, indent=1))
        if not result.passed:
            worst = 1 if result.verdict == "FAIL" or worst == 1 else 4
    return worst
