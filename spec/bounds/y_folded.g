# F_folded of y.md: a = gamma r, y = x a + o, with p = m a (first) and p = (m r) gamma (second). d1 ... d6 are the
# relative errors of the roundings (model.md). The error is a sum of four terms; the last goal is that identity.
G = gamma * r;
exact = G * (x - m) + beta;
a = G * (1 + d1);
first = x * a * (1 + d4) + (beta - m * a * (1 + d3)) * (1 + d2);
second = x * a * (1 + d4) + (beta - m * r * (1 + d5) * gamma * (1 + d6)) * (1 + d2);
of_x = (1 + d1) * d4;
of_m_first = (1 + d1) * (d3 * (1 + d2) + d2);
of_m_second = (1 + d5) * (1 + d6) * (1 + d2) - 1 - d1;
{ |d1| <= 1b-24 /\ |d2| <= 1b-24 /\ |d3| <= 1b-24 /\ |d4| <= 1b-24 /\ |d5| <= 1b-24 /\ |d6| <= 1b-24
  -> |d1| <= ${of_t} /\ |of_x| <= ${of_x} /\ |of_m_first| <= ${of_m} /\ |of_m_second| <= ${of_m} /\ |d2| <= ${of_beta}
  /\ (first - exact) - (G * (x - m) * d1 + G * x * of_x - G * m * of_m_first + beta * d2) in [0, 0]
  /\ (second - exact) - (G * (x - m) * d1 + G * x * of_x - G * m * of_m_second + beta * d2) in [0, 0] }
(first - exact) - (G * (x - m) * d1 + G * x * of_x - G * m * of_m_first + beta * d2) -> 0;
(second - exact) - (G * (x - m) * d1 + G * x * of_x - G * m * of_m_second + beta * d2) -> 0;
