# The reciprocal deviation of invstd.md: c = gamma(5.5) for an rsqrt within 2 ulp (theta, 4 u), f32, eps exact,
# B_var = 0. |rhat - r| <= c r. The constants come from the code that judges
# (properties/tests/proofs.test.cpp).
@rnd = float<ieee_32, ne>;
v = rnd(v_);
eps = rnd(eps_);
s = rnd(v + eps);
inv = 1 / sqrt(s);
rhat = inv * (1 + theta);
r = 1 / sqrt(v + eps);
{ v in [1b-60, 1b60] /\ eps in [1b-60, 1b60] /\ |theta| <= 1b-22
  -> rhat -/ r in [-${c_root}, ${c_root}] }
(rhat - inv) / inv -> theta { inv <> 0 };
