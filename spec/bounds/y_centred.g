# F_centred of y.md: subtraction and two products in any order, gamma(3.5) T. Rounding to nearest is odd, so all
# factors may be taken as positive.
@rnd = float<ieee_32, ne>;
x = rnd(x_); m = rnd(m_); r = rnd(r_); gamma = rnd(gamma_);
e = x - m;
d = rnd(e);
first = rnd(rnd(d * r) * gamma);
second = rnd(d * rnd(gamma * r));
third = rnd(rnd(d * gamma) * r);
{ e in [1b-30, 1b30] /\ r in [1b-30, 1b30] /\ gamma in [1b-30, 1b30]
  -> first -/ (e * r * gamma) in [-${c_centred}, ${c_centred}]
  /\ second -/ (e * (gamma * r)) in [-${c_centred}, ${c_centred}]
  /\ third -/ (e * gamma * r) in [-${c_centred}, ${c_centred}] }
