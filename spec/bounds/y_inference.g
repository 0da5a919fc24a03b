# B_y of y.md in inference, centred, from var to y before its last addition, where eps is exact: the addition under
# the root, an rsqrt within 2 ulp (theta), three roundings; ${exact} |gamma (x - mu) r|.
@rnd = float<ieee_32, ne>;
v = rnd(v_); x = rnd(x_); m = rnd(m_); gamma = rnd(gamma_);
s = rnd(v + eps);
inv = 1 / sqrt(s);
rhat = inv * (1 + theta);
r = 1 / sqrt(v + eps);
e = x - m;
d = rnd(e);
t = rnd(rnd(d * rhat) * gamma);
y = e * r * gamma;
{ v in [1b-40, 1b40] /\ eps in [1b-40, 1b40] /\ |theta| <= 1b-22 /\ e in [1b-30, 1b30] /\ gamma in [1b-30, 1b30]
  -> t -/ y in [-${exact}, ${exact}] }
(rhat - inv) / inv -> theta { inv <> 0 };
