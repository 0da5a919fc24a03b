"""Batch normalisation as it is written in JAX, jitted, on the CPU, through the Python bridge; gradients by jax.vjp.

two_pass       mean, then the mean of squared deviations
fast_variance  E[x^2] - E[x]^2, not below zero: what flax.linen.BatchNorm does where it is left to its default
Both compute in f32 for tensors of 16 bits, as layers do that are told to. Needs the package jax.
"""

from __future__ import annotations

import functools
import sys

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    print(f"jax_layers: {error}", file=sys.stderr)
    raise SystemExit(3) from None

import trial

jax.config.update("jax_enable_x64", True)


@functools.partial(jax.jit, static_argnames="fast")
def layer(x, gamma, beta, eps, fast):
    axes, at = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = wide.mean(axes)
    if fast:
        var = jnp.maximum(0, jnp.square(wide).mean(axes) - jnp.square(mean))
    else:
        var = jnp.square(wide - mean.reshape(at)).mean(axes)
    y = (wide - mean.reshape(at)) * (jax.lax.rsqrt(var + eps.astype(wide.dtype)) * gamma).reshape(at) + beta.reshape(at)
    return {"y": y.astype(x.dtype), "mean": mean.astype(gamma.dtype), "var": var.astype(gamma.dtype)}


def two_pass(x, gamma, beta, eps):
    return layer(x, gamma, beta, jnp.float64(eps), fast=False)


def fast_variance(x, gamma, beta, eps):
    return layer(x, gamma, beta, jnp.float64(eps), fast=True)


if __name__ == "__main__":
    print(f"jax {jax.__version__}")
    sys.exit(
        trial.run(
            {"jax.two_pass": two_pass, "jax.fast_variance": fast_variance},
            __doc__,
            framework="jax",
            layouts=["contiguous"],
            passes=["forward-training", "gradient"],
        )
    )
