"""normproof for Python: batch-normalisation functions on trial, and the exact answer as arrays.

    import normproof

    def batch_norm(x, gamma=None, beta=None, eps=1e-5):
        ...

    print(normproof.check(batch_norm, dtypes=["f32"]))
    normproof.assert_conforms(batch_norm, grade="tree")          # in a test
    normproof.truth(x, gamma, beta, eps=1e-5)["y"]               # correctly rounded

The trial itself is the program `normproof`, which has to be there (NORMPROOF_HOME says where).
"""

from __future__ import annotations

import json
import platform
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from normproof import _formats, _program, _result, _safetensors, _serve
from normproof._callable import Callable, Problem
from normproof._callable import passes as _passes
from normproof._program import Error
from normproof._result import Failure, Result

__all__ = ["check", "assert_conforms", "replay", "infer_claims", "truth", "Error", "Failure", "Problem", "Result"]

_families = {"centred": 1, "merged": 2, "textbook": 3}
_forms = {"centred": 1, "folded": 2}


def check(fn, *, dialect="documented", dtypes=("f32",), passes=None, **options) -> Result:
    """Puts a callable on trial.

    fn is called with keywords, those that its signature names: x of shape [batch, channels, ...], gamma (or
    weight) and beta (bias) per channel, eps; in training also running_mean, running_var and momentum, in
    inference the former two; training as a bool; in backward passes dy, saved_mean, saved_invstd. A parameter
    whose default is None may be given None. It returns y, or a dict of outputs ("y", "mean", "var", "invstd",
    "running_mean", "running_var", "dx", "dgamma", "dbeta", ...), or a tuple that `returns` names; running
    statistics may be changed in place instead. NotImplementedError skips a problem (counted), ValueError
    refuses it, any other exception is a failure.

    dialect     which reading of batch normalisation: "documented", "pytorch", "onnx", ...
    dtypes      of x and y: "f64", "f32", "f16", "bf16"; statistics are f32 beside 16 bits, else the same
    passes      "forward-training", "forward-inference", "backward-training", ..., "gradient" (of torch and JAX
                by their own differentiation); by default the forward ones that the signature allows
    framework   what arrays fn is given: "numpy" (default), "torch", "jax"
    device      of torch tensors, e.g. "cuda"; where there is none, every case is skipped with torch's reason
    returns     names of a returned tuple's values
    claims      dict, or function of the problem: accumulator_bits, reduction_depth, variance, y, deterministic
    grade, profile, seed, budget, repeats, timeout, layouts, regimes, cases, extended: as the program's options
    isolate     run fn in forked processes: a crash or an endless loop becomes a verdict
    name        in the report, instead of fn's own

    Returns a Result; raises Error for a mistake in the call. Each call has processes of its own, fn runs in the
    thread that calls.
    """
    return _trial(fn, ["check"], dialect, dtypes, passes, options)


def replay(fn, recipe: str, **options) -> Result:
    """The same for one recipe line or case file, with what the failing judgements say."""
    words = recipe.split()
    chosen = next((word[5:] for word in words if word.startswith("pass=")), None)
    return _trial(fn, ["replay", recipe], None, (), [chosen] if chosen else list(_passes.values()), options)


def assert_conforms(fn, **options) -> Result:
    """For tests: raises AssertionError with the whole result unless fn conforms; nothing verified is no pass."""
    result = check(fn, **options)
    if not result.passed:
        raise AssertionError(str(result))
    return result


def infer_claims(fn, *, dialect="documented", dtypes=("f32",), layout="contiguous", **options) -> dict:
    """The strongest claims on its arithmetic that fn's forward training does not contradict: how wide it accumulates,
    how deep its sums are at least, whether y is centred or folded, and the judgement that rules out each stronger
    claim. What spec/schema/claims-1.json describes, as a dict; options as for check."""
    flags = ["--infer", "--dialect", dialect, "--layout", layout]
    for dtype in dtypes:
        flags += ["--dtype", dtype]
    prepared = _prepare(fn, ["forward-training"], dict(options))
    code, said, report = _run(prepared, ["claims", str(_program.bridge()), *flags, *prepared.flags])
    if report is None:
        raise Error(said or f"the program ended with {code}")
    return report


def _flags(options: dict) -> list[str]:
    out = []
    for option in ("grade", "profile", "seed", "budget", "repeats", "timeout"):
        value = options.pop(option, None)
        if value is not None:
            out += [f"--{option}", str(value)]
    for option, flag in (("layouts", "--layout"), ("regimes", "--regime"), ("cases", "--case")):
        for value in options.pop(option, ()):
            out += [flag, str(value)]
    if options.pop("extended", False):
        out.append("--extended")
    return out


def _claims(given):
    def words(claims: dict) -> dict:
        out = dict(claims)
        if "variance" in out:
            out["variance_family"] = _families[out.pop("variance")]
        if "y" in out:
            out["affine_form"] = _forms[out.pop("y")]
        return out

    if callable(given):
        return lambda problem: words(given(problem))
    return words(given or {})


@dataclass
class _Prepared:
    kernel: Callable
    name: str
    version: str
    flags: list[str]
    isolate: bool
    tracebacks: list[str] = field(default_factory=list)


def _prepare(fn, chosen, options: dict) -> _Prepared:
    framework, device = options.pop("framework", "numpy"), options.pop("device", None)
    returns, isolate = options.pop("returns", None), options.pop("isolate", False)
    name = options.pop("name", None) or getattr(fn, "__name__", type(fn).__name__)
    claims = _claims(options.pop("claims", None))
    kernel = Callable(fn, framework, device, (), tuple(returns) if returns else None, claims)
    kernel.passes = tuple(chosen or _passes_of(kernel))
    flags = _flags(options)
    if options:
        raise Error(f"unknown option {next(iter(options))!r}; help(normproof.check) lists them")
    version = f"Python {platform.python_version()}, {framework}"
    return _Prepared(kernel, re.sub(r"[^A-Za-z0-9._-]", "_", name), version, flags, isolate)


def _run(prepared: _Prepared, command: list[str]):
    """Exit status, what was said on stderr, the JSON that was written."""
    with tempfile.TemporaryDirectory(prefix="normproof-") as folder:
        path = Path(folder) / "report.json"
        code, said, prepared.tracebacks = _serve.trial(
            prepared.kernel, prepared.name, prepared.version, [*command, "--json", str(path)], prepared.isolate
        )
        return code, said.removeprefix("normproof: "), _result.read(path) if path.exists() else None


def _trial(fn, command, dialect, dtypes, chosen, options) -> Result:
    if isinstance(dtypes, str) or isinstance(chosen, str):
        raise Error("dtypes and passes are lists")
    repeated = {
        key: value for key, value in options.items()
        if key not in ("seed", "profile", "budget", "cases", "regimes", "layouts") and not callable(value)
    }  # fmt: skip
    prepared = _prepare(fn, chosen, dict(options))
    flags = list(prepared.flags)
    if command[0] == "check":
        flags += ["--dialect", dialect]
        for dtype in dtypes:
            flags += ["--dtype", dtype]
        for one in prepared.kernel.passes:
            flags += ["--pass", one]
    code, said, report = _run(
        prepared, [*command, *flags, "--threads", "1", "--quiet", "--impl", str(_program.bridge())]
    )
    if report is None or code in (2, 3):
        raise Error(said or f"the program ended with {code}")
    name = getattr(fn, "__name__", prepared.name)
    more = "".join(f", {key}={value!r}" for key, value in repeated.items())
    return _result.from_report(
        report, prepared.tracebacks, lambda recipe: f"normproof.replay({name}, {recipe!r}{more})"
    )


def _passes_of(kernel: Callable) -> list[str]:
    takes = kernel.signature.words
    if "dy" in takes:
        return ["backward-training"] if "saved_mean" in takes else ["backward-inference"]
    return ["forward-training"] + (["forward-inference"] if {"training", "running_mean"} <= takes.keys() else [])


def truth(x=None, gamma=None, beta=None, running_mean=None, running_var=None, *, recipe=None, dialect="documented",
          eps=1e-5, momentum=0.1, num_batches_tracked=0, **tensors) -> dict[str, np.ndarray]:  # fmt: skip
    """The correctly rounded outputs of a batch normalisation, as arrays by name.

    Arrays in, of f64, f32, f16 or (with ml_dtypes) bf16: x of shape [batch, channels, ...], the others per
    channel and all of one dtype. The pass follows from what is given, or is named by `pass_`: with dy a
    backward one (saved_mean and saved_invstd: of training). eps and momentum are exact doubles. NAME.off is
    how far the exact value lies beyond the rounded one, in units of the spacing there. Or only `recipe`.
    Raises Error where the problem is none, or must be refused.
    """
    with tempfile.TemporaryDirectory(prefix="normproof-") as folder:
        answer, case = str(Path(folder) / "truth.safetensors"), str(Path(folder) / "case.safetensors")
        if recipe is not None:
            if x is not None or tensors:
                raise Error("a recipe stands for all tensors")
            case = recipe
        else:
            _write_case(case, {"x": x, "gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var, **tensors},
                        dialect, eps, momentum, num_batches_tracked)  # fmt: skip
        _program.run(["truth", case, "--safetensors", answer])
        if not Path(answer).exists():
            raise Error("the specification refuses this case")
        return _safetensors.read(answer)


def _write_case(path, tensors: dict, dialect, eps, momentum, num_batches_tracked) -> None:
    named = tensors.pop("pass_", None)
    given = {}
    for name, values in tensors.items():
        if values is None:
            continue
        values = np.asarray(values)
        form = _formats.name_of(values.dtype)
        if form is None:
            raise Error(f"{name} is {values.dtype}; float64, float32, float16 and bfloat16 are the formats")
        given[name] = (form, values)
    if "x" not in given:
        raise Error("x is missing")
    if named is None:
        training = "saved_mean" in given
        named = "forward-training"
        if "v_x" in given or "v_gamma" in given or "v_beta" in given:
            named = "double-backward" if training else "double-backward-inference"
        elif "dy" in given:
            named = "backward-training" if training else "backward-inference" if "running_mean" in given else "gradient"
    fields = {
        "pass": named,
        "layout": "contiguous",
        "dialect": dialect,
        "eps": float(eps).hex(),
        "momentum": None if momentum is None else float(momentum).hex(),
        "num_batches_tracked": num_batches_tracked,
    }
    _safetensors.write(path, given, {"normproof_case": json.dumps(fields)})
