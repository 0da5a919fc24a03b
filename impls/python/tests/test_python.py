"""The package with the real program: what each test is named after is the wrong thing that it catches.

Run by CTest, or: NORMPROOF_HOME=build/release PYTHONPATH=impls/python/src python impls/python/tests/test_python.py
"""

import os
import time
import unittest

try:
    import numpy as np
except ImportError:
    print("SKIPPED: this Python has no numpy")
    raise SystemExit(77) from None

import normproof

try:
    import torch
except ImportError:
    torch = None
try:
    import jax
except ImportError:
    jax = None
try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None


os.environ.setdefault("TRITON_INTERPRET", "1")
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None
if triton is not None:

    @triton.jit
    def triton_kernel(x_ptr, gamma_ptr, beta_ptr, y_ptr, N, C, S, eps, lost, affine: tl.constexpr, block: tl.constexpr):
        c = tl.program_id(0)
        i = tl.arange(0, block)
        mask = i < N * S - lost
        at = (i // S) * C * S + c * S + i % S
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
        mean = tl.sum(x) / (N * S)
        centred = tl.where(mask, x - mean, 0.0)
        y = centred / tl.sqrt(tl.sum(centred * centred) / (N * S) + eps)
        if affine:
            y = y * tl.load(gamma_ptr + c).to(tl.float32) + tl.load(beta_ptr + c).to(tl.float32)
        tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=i < N * S)


def triton_batch_norm(x, gamma=None, beta=None, eps=1e-5, lost=0):
    if not x.is_contiguous():
        raise NotImplementedError("contiguous tensors only")
    n, c, s = x.shape[0], x.shape[1], x[0, 0].numel()
    y = torch.empty_like(x)
    triton_kernel[(c,)](x, gamma, beta, y, n, c, s, eps, lost, gamma is not None, triton.next_power_of_2(n * s))
    return y


def batch_norm(x, gamma=None, beta=None, eps=1e-5, running_mean=None, running_var=None, momentum=0.1, training=True,
               slip=None):  # fmt: skip
    """Two passes in double, rounded once; `slip` makes it wrong."""
    axes, at = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    wide, out = x.astype(np.float64), {}
    stats = np.float32 if x.dtype.itemsize == 2 else x.dtype
    if training:
        mean = wide.mean(axes)
        var = ((wide - mean.reshape(at)) ** 2).mean(axes)
        invstd = 1 / (np.sqrt(var) + eps) if slip == "eps" else 1 / np.sqrt(var + eps)
        out.update(mean=mean.astype(stats), var=var.astype(stats), invstd=invstd.astype(stats))
        if running_mean is not None:
            weight = 1 - momentum if slip == "momentum" else momentum
            for name, old, new in (("running_mean", running_mean, mean), ("running_var", running_var, var)):
                out[name] = ((1 - weight) * old.astype(np.float64) + weight * new).astype(stats)
    else:
        mean, invstd = running_mean.astype(np.float64), 1 / np.sqrt(running_var.astype(np.float64) + eps)
    y = (wide - mean.reshape(at)) * invstd.reshape(at)
    if gamma is not None:
        y = y * gamma.astype(np.float64).reshape(at) + beta.astype(np.float64).reshape(at)
    return {**out, "y": y.astype(x.dtype)}


class Check(unittest.TestCase):
    def test_a_second_order_whose_pass_the_package_does_not_know(self):
        def second(x, dy, eps, running_mean, running_var, gamma=None, v_x=None, v_gamma=None, v_beta=None):
            at = (1, -1) + (1,) * (x.ndim - 2)
            axes = (0, *range(2, x.ndim))
            wide = [None if a is None else a.astype(np.float64) for a in (x, dy, gamma, v_x, v_gamma, v_beta)]
            x, dy, g, v, vg, vb = wide
            r = 1 / np.sqrt(running_var.astype(np.float64) + eps).reshape(at)
            g = np.ones(r.shape) if g is None else g.reshape(at)
            v = np.zeros(x.shape) if v is None else v
            vg, vb = (np.zeros(r.shape) if a is None else a.reshape(at) for a in (vg, vb))
            xhat = (x - running_mean.astype(np.float64).reshape(at)) * r
            grads = {"grad_dy": v * g * r + vg * xhat + vb, "grad_x": vg * dy * r, "grad_gamma": (v * dy * r).sum(axes)}
            return {name: value.astype(np.float32) for name, value in grads.items()}

        result = normproof.check(second, passes=["double-backward-inference"])
        self.assertTrue(result, str(result))
        self.assertIn("double-backward-inference f32 contiguous grad_x", result.grades)

    def test_a_correct_function_that_does_not_conform(self):
        result = normproof.check(batch_norm, dtypes=["f32", "f64"], grade="tree", layouts=["contiguous", "strided"])
        self.assertTrue(result, str(result))
        self.assertEqual(result.verdict, "PASS")
        self.assertGreater(result.statuses["PASS"], 500)
        self.assertIn("forward-inference f32 strided y", result.grades)
        self.assertIn("forward-training f64 contiguous running_var", result.grades)
        self.assertFalse(result.tracebacks)

    def test_a_slip_that_passes(self):
        for slip, output in (("eps", "invstd"), ("momentum", "running_mean")):

            def wrong(x, gamma=None, beta=None, eps=1e-5, running_mean=None, running_var=None, momentum=0.1, slip=slip):
                return batch_norm(x, gamma, beta, eps, running_mean, running_var, momentum, slip=slip)

            result = normproof.check(wrong)
            self.assertFalse(result.passed, slip)
            self.assertIn(output, {failure.output for failure in result.failures})
            again = normproof.replay(wrong, result.failures[0].recipe)
            self.assertIn(result.failures[0].output, {failure.output for failure in again.failures})
            self.assertIn("normproof.replay(wrong, 'np1 ", str(result))
            self.assertIn(f"FAIL {result.failures[0].clause}", str(result))
            self.assertIn("<table>", result._repr_html_())
            with self.assertRaisesRegex(AssertionError, "FAIL python.wrong"):
                normproof.assert_conforms(wrong)

    def test_an_assertion_that_holds_although_nothing_was_verified(self):
        def nothing(x, gamma=None, beta=None, eps=1e-5):
            raise NotImplementedError("not on Mondays")

        with self.assertRaisesRegex(AssertionError, "INCONCLUSIVE.*\n.*not on Mondays"):
            normproof.assert_conforms(nothing)

    def test_an_exception_without_its_traceback(self):
        def broken(x, gamma=None, beta=None, eps=1e-5):
            raise KeyError("lost")

        result = normproof.check(broken)
        self.assertFalse(result.passed)
        self.assertIn("KeyError: 'lost'", "\n".join(result.tracebacks))

    def test_an_output_of_another_type_or_shape_that_is_converted_in_silence(self):
        for slip in (lambda y: y.astype(np.float64), lambda y: y[:1], lambda y: None):

            def odd(x, gamma=None, beta=None, eps=1e-5, slip=slip):
                return slip(batch_norm(x, gamma, beta, eps)["y"])

            result = normproof.check(odd, layouts=["contiguous"])
            self.assertFalse(result.passed)
            self.assertTrue(any("TypeError" in text for text in result.tracebacks), str(result))

    def test_an_input_that_is_overwritten_and_nobody_sees_it(self):
        def careless(x, gamma=None, beta=None, eps=1e-5):
            y = batch_norm(x, gamma, beta, eps)["y"]
            x *= 0
            return y

        result = normproof.check(careless, layouts=["contiguous"])
        self.assertFalse(result.passed)
        self.assertTrue(result.statuses.keys() & {"CORRUPTED", "CRASHED"}, str(result))

    def test_a_layout_that_the_function_never_sees(self):
        seen = set()

        def watching(x, gamma=None, beta=None, eps=1e-5):
            seen.add("dense" if x.flags["C_CONTIGUOUS"] else "other")
            return batch_norm(x, gamma, beta, eps)["y"]

        self.assertTrue(normproof.check(watching, layouts=["channels-last"]))
        self.assertIn("other", seen)

    def test_a_claim_that_is_not_held_against_the_function(self):
        def narrow(x, gamma=None, beta=None, eps=1e-5):
            axes, at = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
            centred = x - x.mean(axes, keepdims=True)
            y = centred / np.sqrt((centred * centred).mean(axes, keepdims=True) + np.float32(eps))
            return y if gamma is None else y * gamma.reshape(at) + beta.reshape(at)

        told = {"accumulator_bits": 53, "variance": "centred", "y": "centred", "reduction_depth": 4}
        result = normproof.check(narrow, grade="sequential", claims=told)
        self.assertIn("CLAIM_BROKEN", result.statuses)

    def test_a_backward_pass_that_is_not_judged(self):
        def backward(x, dy, saved_mean, saved_invstd, gamma=None, slip=1.0):
            axes, at = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
            wide, up = x.astype(np.float64), dy.astype(np.float64)
            xhat = (wide - saved_mean.astype(np.float64).reshape(at)) * saved_invstd.astype(np.float64).reshape(at)
            dbeta, dgamma = up.sum(axes), (up * xhat).sum(axes)
            n = x.size // x.shape[1]
            scale = saved_invstd.astype(np.float64) * (1 if gamma is None else gamma.astype(np.float64))
            dx = scale.reshape(at) * (up - slip * dbeta.reshape(at) / n - xhat * dgamma.reshape(at) / n)
            return dx.astype(x.dtype), dgamma.astype(saved_mean.dtype), dbeta.astype(saved_mean.dtype)

        right = normproof.check(backward)
        self.assertTrue(right, str(right))
        self.assertIn("backward-training f32 contiguous dgamma", right.grades)
        wrong = normproof.check(
            lambda x, dy, saved_mean, saved_invstd, gamma=None: backward(x, dy, saved_mean, saved_invstd, gamma, 0.0)
        )
        self.assertIn("dx", {failure.output for failure in wrong.failures})

    @unittest.skipIf(ml_dtypes is None, "no ml_dtypes")
    def test_bfloat16_that_is_rounded_on_the_way(self):
        result = normproof.check(batch_norm, dtypes=["bf16", "f16"], grade="wide", layouts=["contiguous"])
        self.assertTrue(result, str(result))


class Claims(unittest.TestCase):
    def test_a_width_that_numpy_does_not_sum_with(self):
        wide = normproof.infer_claims(batch_norm, layout="channels-last")
        self.assertEqual(wide["problems"][0]["inferred"]["explanations"][0]["accumulator_bits"], 106)

        def narrow(x, gamma, beta, eps):
            """Sums in order, in the type of x: cumsum's last value."""
            at = (1, -1) + (1,) * (x.ndim - 2)
            rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
            mean = np.cumsum(rows, 1, x.dtype)[:, -1] / x.dtype.type(rows.shape[1])
            var = np.cumsum((rows - mean[:, None]) ** 2, 1, x.dtype)[:, -1] / x.dtype.type(rows.shape[1])
            invstd = 1 / np.sqrt(var + x.dtype.type(eps))
            y = (x - mean.reshape(at)) * invstd.reshape(at) * gamma.reshape(at) + beta.reshape(at)
            return {"y": y, "mean": mean, "var": var}

        inferred = normproof.infer_claims(narrow)["problems"][0]["inferred"]
        self.assertEqual(inferred["explanations"][0]["accumulator_bits"], 24)
        self.assertGreater(inferred["explanations"][0]["depth_at_least"][-1]["depth"], 2048)  # not blocked
        self.assertTrue(inferred["denied"])


class Isolation(unittest.TestCase):
    def test_a_crash_that_takes_the_caller_along_or_a_loop_that_never_ends(self):
        def crash(x, gamma=None, beta=None, eps=1e-5):
            if x.shape != (3, 2) + (2,) * (x.ndim - 2):
                os.abort()
            return x

        result = normproof.check(crash, layouts=["contiguous"], regimes=["normal"], isolate=True)
        self.assertIn("CRASHED", result.statuses)

        def endless(x, gamma=None, beta=None, eps=1e-5):
            while x.shape != (3, 2) + (2,) * (x.ndim - 2):
                time.sleep(0.01)
            return x

        recipe = "np1 shape=4x2 regime=normal"
        result = normproof.replay(endless, recipe, timeout="300ms", isolate=True)
        self.assertIn("TIMED_OUT", result.statuses)


class Mistakes(unittest.TestCase):
    def test_a_mistake_in_the_call_that_is_not_named(self):
        def other(x, gama, beta, eps):
            return x

        for message, call in (
            ("'gama'; the nearest is 'gamma'", lambda: normproof.check(other)),
            ("pytorch", lambda: normproof.check(batch_norm, dialect="pytorh")),
            ("dtypes and passes are lists", lambda: normproof.check(batch_norm, dtypes="f32")),
            ("'gradee'", lambda: normproof.check(batch_norm, gradee="tree")),
            ("'tensorflow'", lambda: normproof.check(batch_norm, framework="tensorflow")),
            ("tree", lambda: normproof.check(batch_norm, grade="tre")),
            ("x is int64", lambda: normproof.truth(np.array([[1], [2]]))),
            ("x is missing", lambda: normproof.truth()),
            ("'pytorch", lambda: normproof.truth(np.ones((2, 1)), dialect="pytorh")),
        ):
            with self.assertRaises(normproof.Error) as caught:
                call()
            self.assertIn(message, str(caught.exception))

    def test_a_program_that_is_not_there(self):
        home = os.environ.get("NORMPROOF_HOME")
        os.environ["NORMPROOF_HOME"] = "/nowhere"
        try:
            with self.assertRaisesRegex(normproof.Error, "NORMPROOF_HOME"):
                normproof.check(batch_norm)
        finally:
            os.environ.pop("NORMPROOF_HOME")
            if home is not None:
                os.environ["NORMPROOF_HOME"] = home


class Truth(unittest.TestCase):
    def test_numbers_that_are_not_the_worked_example(self):
        truth = normproof.truth(np.array([[2.0], [4], [6], [8]]), eps=0)
        self.assertEqual(truth["mean"].tolist(), [5.0])
        self.assertEqual(truth["var"].tolist(), [5.0])
        self.assertEqual(truth["invstd"][0].hex(), "0x1.c9f25c5bfedd9p-2")
        self.assertEqual(truth["y"].shape, (4, 1))
        self.assertEqual(truth["mean.off"].tolist(), [0.0])

    def test_an_answer_in_another_order_or_format(self):
        x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) ** 2
        gamma, beta = np.array([1, 2, 3], np.float32), np.array([0, 1, 2], np.float32)
        truth = normproof.truth(x, gamma, beta, eps=2.0**-17)
        self.assertEqual((truth["y"].shape, truth["y"].dtype), ((2, 3, 4), np.float32))
        own = batch_norm(x.astype(np.float64), gamma.astype(np.float64), beta.astype(np.float64), eps=2.0**-17)["y"]
        self.assertLess(np.abs(truth["y"] - own).max(), 2.0**-22)
        dx = normproof.truth(x, gamma, beta, dy=np.ones_like(x), eps=2.0**-17)["dx"]
        self.assertEqual(np.abs(dx).max(), 0.0)  # y does not change with a constant


@unittest.skipIf(torch is None, "no torch")
class Torch(unittest.TestCase):
    def test_torchs_own_function_that_is_not_judged(self):
        result = normproof.check(torch.nn.functional.batch_norm, framework="torch", dialect="pytorch/F.batch_norm",
                                 layouts=["contiguous"], passes=["forward-training", "forward-inference", "gradient"])  # fmt: skip
        self.assertTrue(result, str(result))
        for output in ("forward-training f32 contiguous running_var", "forward-inference f32 contiguous y",
                       "gradient f32 contiguous dgamma"):  # fmt: skip
            self.assertIn(output, result.grades)

    def test_bfloat16_or_strides_that_get_lost_on_the_way(self):
        seen = set()

        def watching(x, weight=None, bias=None, eps=1e-5):
            seen.add((x.dtype, x.is_contiguous()))
            return torch.nn.functional.batch_norm(x.double(), None, None, None if weight is None else weight.double(),
                                                  None if bias is None else bias.double(), True, 0.1, eps).float().to(x.dtype)  # fmt: skip

        normproof.check(watching, framework="torch", dtypes=["bf16"], layouts=["strided"])
        self.assertIn((torch.bfloat16, False), seen)


    def test_a_device_that_is_not_there_and_passes_or_fails(self):
        def layer(x, weight=None, bias=None, eps=1e-5):
            return torch.nn.functional.batch_norm(x, None, None, weight, bias, True, 0.1, eps)

        result = normproof.check(layer, framework="torch", device="cuda", layouts=["contiguous"])
        if torch.cuda.is_available():
            self.assertTrue(result, str(result))
        else:
            self.assertEqual(result.verdict, "INCONCLUSIVE")
            self.assertTrue(any(reason.startswith("no cuda here") for reason in result.skips), result.skips)
        with self.assertRaisesRegex(normproof.Error, "device='cudda'"):
            normproof.check(layer, framework="torch", device="cudda")


@unittest.skipIf(torch is None or triton is None, "no torch or no triton")
class Triton(unittest.TestCase):
    def test_a_kernel_in_the_interpreter_that_is_not_judged(self):
        right = normproof.check(triton_batch_norm, framework="torch", dtypes=["f32", "f16"])
        self.assertTrue(right, str(right))
        self.assertIn("contiguous tensors only", right.skips)
        self.assertIn("forward-training f16/f32 contiguous y", right.grades)
        wrong = normproof.check(
            lambda x, gamma=None, beta=None, eps=1e-5: triton_batch_norm(x, gamma, beta, eps, 1), framework="torch"
        )
        self.assertEqual(wrong.verdict, "FAIL", "the mask is one too short")


@unittest.skipIf(jax is None, "no jax")
class Jax(unittest.TestCase):
    def test_a_jitted_function_or_its_gradient_that_is_not_judged(self):
        import jax.numpy as jnp

        def layer(x, gamma, beta, eps, slip=1.0):
            axes, at = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
            mean = x.mean(axes, keepdims=True)
            var = jnp.square(x - mean).mean(axes, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(var + slip * eps) * gamma.reshape(at) + beta.reshape(at)

        compiled = jax.jit(layer, static_argnames="slip")
        result = normproof.check(lambda x, gamma, beta, eps: compiled(x, gamma, beta, eps), name="layer", framework="jax",
                                 grade="sequential", passes=["forward-training", "gradient"])  # fmt: skip
        self.assertIn("gradient f32 contiguous dx", result.grades)
        self.assertGreater(result.statuses["PASS"], 50)
        wrong = normproof.check(
            lambda x, gamma, beta, eps: compiled(x, gamma, beta, eps, slip=2.0), framework="jax", grade="sequential"
        )
        self.assertGreater(wrong.statuses["FAIL"], result.statuses.get("FAIL", 0))


if __name__ == "__main__":
    unittest.main()
