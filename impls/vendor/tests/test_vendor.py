"""The adapters in Python with the libraries that are there; one that is not is a skip, all of them a skip of the whole."""

import functools
import importlib
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
modules = {}
for name in ("jax_layers", "onnx_runtime", "openvino_layer"):
    try:
        modules[name] = importlib.import_module(name)
    except (SystemExit, ImportError):
        print(f"{name}: its library is not there")
if not modules:
    print("SKIPPED: none of the libraries is there")
    raise SystemExit(77)

import normproof


class Jax(unittest.TestCase):
    def setUp(self):
        if "jax_layers" not in modules:
            self.skipTest("no jax")

    def test_a_textbook_variance_that_passes_or_two_passes_that_do_not(self):
        options = {"framework": "jax", "layouts": ["contiguous"], "passes": ["forward-training", "gradient"]}
        right = normproof.check(modules["jax_layers"].two_pass, **options)
        self.assertTrue(right, str(right))
        wrong = normproof.check(modules["jax_layers"].fast_variance, **options)
        self.assertEqual(wrong.verdict, "FAIL")
        self.assertEqual(wrong.grades["forward-training f32 contiguous var"], "sequential")


class OpenVino(unittest.TestCase):
    def setUp(self):
        if "openvino_layer" not in modules:
            self.skipTest("no openvino")

    def test_a_format_that_is_computed_in_another(self):
        function = modules["openvino_layer"].batch_normalization
        options = {"layouts": ["contiguous"], "passes": ["forward-inference"]}
        right = normproof.check(function, dtypes=["f32"], **options)
        self.assertTrue(right, str(right))
        self.assertEqual(right.grades["forward-inference f32 contiguous y"], "wide")
        self.assertEqual(normproof.check(function, dtypes=["f64"], **options).verdict, "FAIL")


class OnnxRuntime(unittest.TestCase):
    def setUp(self):
        if "onnx_runtime" not in modules:
            self.skipTest("no onnx or onnxruntime")

    def test_outputs_or_semantics_that_get_mixed_up(self):
        function = modules["onnx_runtime"].batch_normalization
        options = {
            "dialect": "onnx",
            "layouts": ["contiguous"],
            "passes": ["forward-training", "forward-inference"],
            "profile": "standard",
        }
        result = normproof.check(function, dtypes=["f32", "bf16"], **options)
        self.assertTrue(result, str(result))
        self.assertIn("forward-training f32 contiguous running_var", result.grades)
        self.assertTrue(
            any("NOT_IMPLEMENTED" in reason for reason in result.skips), "bf16 is not there, in its own words"
        )

        @functools.wraps(function)  # and so with its signature
        def mixed(**given):
            out = function(**given)
            if "running_mean" in out:
                out["running_mean"], out["running_var"] = out["running_var"], out["running_mean"]
            return out

        self.assertIn("running_var", {failure.output for failure in normproof.check(mixed, **options).failures})


if __name__ == "__main__":
    unittest.main()
