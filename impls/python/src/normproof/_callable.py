"""A Python callable as a kernel: which problems it takes, what it is given, what it gives back.

It is called with keywords, those that its signature names. What it returns is an array, a tuple or a mapping
of outputs; running statistics may also be changed in place. Arrays are of the framework that was asked for.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import math
from dataclasses import dataclass, field

import numpy as np

from normproof import _formats
from normproof._program import Error

inputs = (
    "x", "gamma", "beta", "running_mean", "running_var", "dy", "saved_mean", "saved_invstd", "v_x", "v_gamma", "v_beta",
)  # fmt: skip
outputs = (
    "y", "mean", "var", "invstd", "running_mean", "running_var", "dbeta", "dgamma", "dx", "grad_dy", "grad_x", "grad_gamma",
)  # fmt: skip
passes = {
    1: "forward-training",
    2: "forward-inference",
    3: "backward-training",
    4: "backward-inference",
    5: "double-backward",
    6: "gradient",
    7: "double-backward-inference",
}
per_element = {"x", "dy", "v_x", "y", "dx", "grad_dy", "grad_x"}
returned = {
    "forward-training": ("y",),
    "forward-inference": ("y",),
    "backward-training": ("dx", "dgamma", "dbeta"),
    "backward-inference": ("dx", "dgamma", "dbeta"),
    "gradient": ("dx", "dgamma", "dbeta"),
    "double-backward": ("grad_dy", "grad_x", "grad_gamma"),
    "double-backward-inference": ("grad_dy", "grad_x", "grad_gamma"),
}
aliases = {
    "input": "x",
    "weight": "gamma",
    "scale": "gamma",
    "bias": "beta",
    "shift": "beta",
    "epsilon": "eps",
    "is_training": "training",
    "train": "training",
    "grad_output": "dy",
    "grad_y": "dy",
}
scalars = ("eps", "momentum", "training", "num_batches_tracked")

OK, UNSUPPORTED, REJECTED, NO_DEVICE, FAILED = range(5)


class Refusal(Exception):
    """The answer to a problem that is not calculated: a status of the kernel interface and a sentence."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


@dataclass
class Problem:
    """One line of the bridge."""

    pass_: str
    dialect: str
    data: str
    stats: str
    eps: float
    momentum: float | None
    momentum_of_old: bool
    affine: bool
    running: bool
    shape: tuple[int, ...]
    x_strides: tuple[int, ...]
    y_strides: tuple[int, ...]
    num_batches_tracked: int | None = None
    threads: int = 1

    @staticmethod
    def parse(words: dict[str, str]) -> Problem:
        def ints(text):
            return tuple(int(word) for word in text.split(","))

        def form(text):
            return _formats.names[ints(text.replace(":", ","))]

        return Problem(
            pass_=passes[int(words["pass"])],
            dialect=words["dialect"],
            data=form(words["data"]),
            stats=form(words["stats"]),
            eps=float.fromhex(words["eps"]),
            momentum=float.fromhex(words["momentum"]) if "momentum" in words else None,
            momentum_of_old=words["momentum_sense"] == "1",
            affine=words["affine"] == "1",
            running=words["running"] == "1",
            shape=ints(words["shape"]),
            x_strides=ints(words["x_strides"]),
            y_strides=ints(words["y_strides"]),
            num_batches_tracked=int(words["num_batches_tracked"]) if "num_batches_tracked" in words else None,
            threads=int(words["threads"]),
        )

    def form(self, name: str) -> str:
        return self.data if name in per_element else self.stats

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.shape if name in per_element else self.shape[1:2]

    def strides_of(self, name: str) -> tuple[int, ...] | None:
        if name in ("x", "v_x"):
            return self.x_strides
        return self.y_strides if name == "dy" else None

    def factor(self) -> float:
        """What a function that keeps no count is given as momentum: without one, that of the cumulative average."""
        if self.momentum is not None:
            return self.momentum
        if not self.num_batches_tracked:
            return 0.0  # there is nothing to update
        new = 1.0 / self.num_batches_tracked
        return 1.0 - new if self.momentum_of_old else new


# --- arrays of a framework: made of bits, and turned into bits ---


class NumpyArrays:
    strides = True
    unavailable = ""

    def with_threads(self, count: int):
        return contextlib.nullcontext()

    def make(self, values: np.ndarray, form: str):
        if _formats.numpy_dtype(form) is None:
            raise Refusal(UNSUPPORTED, "bf16 in NumPy wants the package ml_dtypes")
        return values.view(_formats.numpy_dtype(form))

    def bits(self, array, name: str, form: str) -> np.ndarray:
        array = np.asarray(array)
        got = _formats.name_of(array.dtype)
        if got != form:
            raise TypeError(f"{name} is {array.dtype}, and {form} is wanted")
        return array.view(_formats.bits[form])

    def gradients(self, forward, problem, given):
        raise Refusal(UNSUPPORTED, "NumPy has no gradients: give the backward pass as a function")


class TorchArrays:
    strides = True
    unavailable = ""  # why there is no such device here

    def __init__(self, device: str | None):
        try:
            import torch
        except ImportError as error:
            raise Error(f"framework='torch', but {error}") from None
        self.torch, self.device = torch, device
        try:
            torch.empty(1, device=device)
        except (AssertionError, RuntimeError, NotImplementedError) as error:
            if "device string" in str(error) or "Expected one of" in str(error):
                raise Error(f"device={device!r}: {str(error).splitlines()[0]}") from None
            self.unavailable = f"no {device} here: {str(error).splitlines()[0]}"
        self.dtypes = {"f16": torch.float16, "f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16}
        self.ints = {2: torch.int16, 4: torch.int32, 8: torch.int64}

    @contextlib.contextmanager
    def with_threads(self, count: int):
        before = self.torch.get_num_threads()
        if before != count:
            self.torch.set_num_threads(count)
        try:
            yield
        finally:
            if before != count:
                self.torch.set_num_threads(before)

    def make(self, values: np.ndarray, form: str):
        signed = values.view(np.dtype(f"i{values.itemsize}"))
        tensor = self.torch.from_numpy(signed).view(self.dtypes[form])
        return tensor.to(self.device) if self.device else tensor

    def bits(self, tensor, name: str, form: str) -> np.ndarray:
        if not isinstance(tensor, self.torch.Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, and a tensor is wanted")
        if tensor.dtype != self.dtypes[form]:
            raise TypeError(f"{name} is {tensor.dtype}, and {form} is wanted")
        dense = tensor.detach().cpu().contiguous()
        return dense.view(self.ints[dense.element_size()]).numpy().view(_formats.bits[form])

    def gradients(self, forward, problem, given):
        wanted = [name for name in ("x", "gamma", "beta") if given.get(name) is not None]
        for name in wanted:
            given[name] = given[name].detach().requires_grad_(True)
        y = forward(given)
        grads = self.torch.autograd.grad(y, [given[name] for name in wanted], given["dy"])
        return {"d" + name: grad for name, grad in zip(wanted, grads)}


class JaxArrays:
    strides = False
    unavailable = ""

    def with_threads(self, count: int):
        return contextlib.nullcontext()  # JAX has no such switch

    def __init__(self):
        try:
            import jax
            import jax.numpy as jnp
        except ImportError as error:
            raise Error(f"framework='jax', but {error}") from None
        self.jax, self.jnp = jax, jnp

    def make(self, values: np.ndarray, form: str):
        array = self.jnp.array(values.view(_formats.numpy_dtype(form)))
        if _formats.name_of(array.dtype) != form:
            raise Refusal(UNSUPPORTED, f"this JAX makes {array.dtype} of {form} (jax_enable_x64 is off)")
        return array

    def bits(self, array, name: str, form: str) -> np.ndarray:
        return NumpyArrays().bits(np.asarray(array), name, form)

    def gradients(self, forward, problem, given):
        wanted = [name for name in ("x", "gamma", "beta") if given.get(name) is not None]

        def y(*values):
            return forward({**given, **dict(zip(wanted, values))})

        _, pull = self.jax.vjp(y, *(given[name] for name in wanted))
        return {"d" + name: grad for name, grad in zip(wanted, pull(given["dy"]))}


def arrays_of(framework: str, device: str | None):
    if framework == "numpy":
        return NumpyArrays()
    if framework == "torch":
        return TorchArrays(device)
    if framework == "jax":
        return JaxArrays()
    raise Error(f"unknown framework {framework!r}; there are 'numpy', 'torch' and 'jax'")


# --- the callable ---


@dataclass
class Signature:
    words: dict[str, str] = field(default_factory=dict)  # our name -> the function's
    optional: set[str] = field(default_factory=set)  # may be None
    everything: bool = False  # **kwargs

    @staticmethod
    def of(fn) -> Signature:
        known = (*inputs, *scalars)
        found = Signature()
        for name, parameter in inspect.signature(fn).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                found.everything = True
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise Error(f"the parameter {name!r} cannot be given by name, and normproof calls by name")
            ours = aliases.get(name, name)
            if ours not in known:
                if parameter.default is not parameter.empty:
                    continue
                nearest = difflib.get_close_matches(name, (*known, *aliases), 1, 0)
                raise Error(f"unknown parameter {name!r}; the nearest is {nearest[0]!r}")
            found.words[ours] = name
            if (
                parameter.default is None
                or "None" in str(parameter.annotation)
                or "Optional" in str(parameter.annotation)
            ):
                found.optional.add(ours)
        if not found.takes("x") or not found.takes("eps") and not found.takes("saved_invstd"):
            raise Error("the function must take x, and eps (or saved_invstd, for a backward pass)")
        return found

    def takes(self, name: str) -> bool:
        return self.everything or name in self.words

    def allows_none(self, name: str) -> bool:
        return name in self.optional or (self.everything and name not in self.words)


class Callable:
    def __init__(self, fn, framework: str, device: str | None, chosen: tuple[str, ...], returns, claims):
        self.fn, self.signature = fn, Signature.of(fn)
        self.arrays = arrays_of(framework, device)
        self.passes, self.returns, self.claims = chosen, returns, claims
        self.known: dict[tuple, tuple[str, ...]] = {}

    def outputs_of(self, problem: Problem) -> tuple[str, ...]:
        """What it will report: seen once, on a small problem of the same kind."""
        self.check(problem)
        kind = (
            problem.pass_, problem.data, problem.stats, problem.affine, problem.running,
            len(problem.shape), problem.momentum is None,
        )  # fmt: skip
        if kind not in self.known:
            small = Problem(**{**vars(problem), "shape": (3, 2) + (2,) * (len(problem.shape) - 2)})
            small.x_strides = small.y_strides = dense_strides(small.shape)
            small.num_batches_tracked = 1 if problem.pass_ == "forward-training" and problem.running else None
            try:
                self.known[kind] = tuple(self.call(small, _sample(small))[0])
            except Refusal as refusal:
                if refusal.status == UNSUPPORTED:
                    raise
                self.known[kind] = returned[problem.pass_]
            except Exception:
                self.known[kind] = returned[problem.pass_]  # the real problem will say what is wrong
        return self.known[kind]

    def check(self, problem: Problem) -> None:
        if problem.pass_ not in self.passes:
            raise Refusal(UNSUPPORTED, "not a pass that was asked for")
        if self.arrays.unavailable:
            raise Refusal(NO_DEVICE, self.arrays.unavailable)
        takes, none = self.signature.takes, self.signature.allows_none
        training = problem.pass_ in ("forward-training", "gradient")
        if not training and "inference" in problem.pass_ and not takes("running_mean"):
            raise Refusal(UNSUPPORTED, "the function takes no running_mean")
        if problem.affine and not takes("gamma"):
            raise Refusal(UNSUPPORTED, "the function takes no gamma")
        if not problem.affine and takes("gamma") and not none("gamma"):
            raise Refusal(UNSUPPORTED, "the function cannot go without gamma (its default is not None)")
        if not problem.running and training and takes("running_mean") and not none("running_mean"):
            raise Refusal(UNSUPPORTED, "the function cannot go without running_mean (its default is not None)")
        if not self.arrays.strides and dense_strides(problem.shape) != _without_ones(problem.shape, problem.x_strides):
            raise Refusal(UNSUPPORTED, "arrays of this framework have no strides")

    def call(self, problem: Problem, given: dict[str, np.ndarray]):
        """Outputs and changed inputs, each by name, as bits. `given` are bits; they are not touched."""
        self.check(problem)
        own, made = {}, {}
        for name in inputs:
            if name in given:
                own[name] = laid_out(given[name], problem.shape_of(name), problem.strides_of(name))
                made[name] = self.arrays.make(own[name], problem.form(name))
        try:
            with self.arrays.with_threads(problem.threads):
                result = self._result(problem, dict(made))
        except Refusal:
            raise
        except NotImplementedError as error:
            raise Refusal(UNSUPPORTED, str(error) or "NotImplementedError") from error
        except ValueError as error:
            raise Refusal(REJECTED, str(error)) from error
        except RuntimeError as error:
            if "not implemented for" in str(error) or "mixed dtype" in str(error):
                raise Refusal(UNSUPPORTED, str(error).splitlines()[0]) from error
            raise

        named = self._named(problem, result)
        changed = {}
        for name in own:
            now = self.arrays.bits(made[name], name, problem.form(name)).reshape(problem.shape_of(name))
            if not np.array_equal(now, given[name].reshape(now.shape)):
                if problem.pass_ == "forward-training" and name in ("running_mean", "running_var"):
                    named.setdefault(name, made[name])
                else:
                    changed[name] = now
        out = {}
        for name, value in named.items():
            values = self.arrays.bits(value, name, problem.form(name))
            wanted = problem.shape_of(name)
            if values.shape != wanted and (name in per_element or values.size != math.prod(wanted)):
                raise TypeError(f"{name} is of shape {values.shape}, and {wanted} is wanted")
            out[name] = values.reshape(wanted)
        return out, changed

    def _result(self, problem: Problem, made: dict):
        if problem.pass_ != "gradient":
            return self._invoke(problem, made)

        def forward(values):
            y = self._named(problem, self._invoke(problem, values), ("y",))
            return y["y"]

        if self.signature.takes("dy"):
            return self._invoke(problem, made)
        return self.arrays.gradients(forward, problem, made)

    def _invoke(self, problem: Problem, made: dict):
        counts = self.signature.takes("num_batches_tracked") and not self.signature.everything
        values = {name: made.get(name) for name in inputs}
        values["eps"] = problem.eps
        values["momentum"] = problem.momentum if counts else problem.factor()
        values["training"] = "inference" not in problem.pass_
        values["num_batches_tracked"] = problem.num_batches_tracked
        return self.fn(
            **{
                self.signature.words.get(name, name): value
                for name, value in values.items()
                if name in self.signature.words or (self.signature.everything and value is not None)
            }
        )

    def _named(self, problem: Problem, result, names=None) -> dict:
        names = names or self.returns or returned[problem.pass_]
        if result is None:
            raise TypeError("the function returned None")
        if isinstance(result, dict):
            known = {name: value for name, value in result.items() if value is not None}
            for name in known:
                if name not in outputs:
                    raise TypeError(
                        f"unknown output {name!r}; the nearest is {difflib.get_close_matches(name, outputs, 1, 0)[0]!r}"
                    )
            return known
        values = result if isinstance(result, (tuple, list)) else (result,)
        if len(values) > len(names):
            raise TypeError(
                f"the function returned {len(values)} values for {', '.join(names)}; returns=(...) names them"
            )
        return {name: value for name, value in zip(names, values) if value is not None}

    def claims_of(self, problem: Problem) -> dict:
        claims = self.claims(problem) if callable(self.claims) else self.claims
        return claims or {}


def dense_strides(shape) -> tuple[int, ...]:
    strides, size = [], 1
    for extent in reversed(shape):
        strides.append(size)
        size *= extent
    return tuple(reversed(strides))


def _without_ones(shape, strides) -> tuple[int, ...]:
    """The stride of an axis with one value means nothing."""
    return tuple(s if extent > 1 else dense for extent, s, dense in zip(shape, strides, dense_strides(shape)))


def laid_out(values: np.ndarray, shape, strides) -> np.ndarray:
    """A copy with those strides (in elements); ones fill the gaps, which are a NaN in every format."""
    values = values.reshape(shape)
    if strides is None or _without_ones(shape, strides) == dense_strides(shape) or values.size == 0:
        return values.copy()
    extent = 1 + sum((count - 1) * stride for count, stride in zip(shape, strides))
    storage = np.full(extent, np.iinfo(values.dtype).max, values.dtype)
    out = np.lib.stride_tricks.as_strided(storage, shape, [s * values.itemsize for s in strides])
    out[...] = values
    return out


def _sample(problem: Problem) -> dict[str, np.ndarray]:
    """Some numbers between 1 and 2 of every format, by their bits; only to see what is returned."""
    one = {"f16": 0x3C00, "bf16": 0x3F80, "f32": 0x3F800000, "f64": 0x3FF0000000000000}
    step = {"f16": 1 << 6, "bf16": 1 << 3, "f32": 1 << 19, "f64": 1 << 48}
    names = (
        ["x"]
        + (["gamma", "beta"] if problem.affine else [])
        + (["running_mean", "running_var"] if problem.running else [])
    )
    if "backward" in problem.pass_ or problem.pass_ == "gradient":
        names.append("dy")
    if problem.pass_ in ("backward-training", "double-backward"):
        names += ["saved_mean", "saved_invstd"]
    if problem.pass_.startswith("double-backward"):
        names += ["v_x", "v_gamma", "v_beta"]
    out = {}
    for name in names:
        form, shape = problem.form(name), problem.shape_of(name)
        count = math.prod(shape)
        values = one[form] + step[form] * (np.arange(count, dtype=np.uint64) * 7 % 13)
        out[name] = values.astype(_formats.bits[form]).reshape(shape)
    return out
