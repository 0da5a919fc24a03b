# B_y of y.md in inference, centred, from var to y before its last addition: an eps that the kernel converts (de),
# the addition under the root, an rsqrt within 2 ulp (theta), three roundings. ${converted} is the code's bound over
# |gamma (x - mu) r| where eps is all that is under the root.
@rnd = float<ieee_32, ne>;
v = rnd(v_); x = rnd(x_); m = rnd(m_); gamma = rnd(gamma_);
used = eps * (1 + de);
s = rnd(v + used);
inv = 1 / sqrt(s);
rhat = inv * (1 + theta);
r = 1 / sqrt(v + eps);
e = x - m;
d = rnd(e);
t = rnd(rnd(d * rhat) * gamma);
y = e * r * gamma;
{ v in [1b-40, 1b40] /\ eps in [1b-40, 1b40] /\ |theta| <= 1b-22 /\ e in [1b-30, 1b30] /\ gamma in [1b-30, 1b30]
  /\ |de| <= 1b-24 -> t -/ y in [-${converted}, ${converted}] }
(rhat - inv) / inv -> theta { inv <> 0 };
(used - eps) / eps -> de { eps <> 0 };
