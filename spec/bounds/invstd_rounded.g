# The same for a kernel that claims k = 1, a correctly rounded root and quotient: c = gamma(3.5).
@rnd = float<ieee_32, ne>;
v = rnd(v_);
eps = rnd(eps_);
s = rnd(v + eps);
root = rnd(sqrt(s));
rhat = rnd(1 / root);
r = 1 / sqrt(v + eps);
{ v in [1b-60, 1b60] /\ eps in [1b-60, 1b60]
  -> rhat -/ r in [-${c_rounded}, ${c_rounded}] }
