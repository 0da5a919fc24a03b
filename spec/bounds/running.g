# B_run of running.md: (1 - w) run + w stat, with 1 - w formed from the rounded weight or rounded from a wider one, and
# run + w (stat - run). d0 ... d4 are the relative errors of the roundings. What multiplies (1 - w) run, w stat and
# w run is at most gamma(5); the last goals are the identities.
used = w * (1 + d0);
exact = (1 - w) * run + w * stat;
first = ((1 - used) * (1 + d1) * run * (1 + d2) + used * stat * (1 + d3)) * (1 + d4);
wider = ((1 - w) * (1 + d0) * (1 + d1) * run * (1 + d2) + used * stat * (1 + d3)) * (1 + d4);
third = (run + used * ((stat - run) * (1 + d1)) * (1 + d2)) * (1 + d3);
a1 = (1 + d1) * (1 + d2) * (1 + d4) - 1;
b1 = d0 * (1 + d1) * (1 + d2) * (1 + d4);
c1 = (1 + d0) * (1 + d3) * (1 + d4) - 1;
a2 = (1 + d0) * (1 + d1) * (1 + d2) * (1 + d4) - 1;
b3 = ((1 + d0) * (1 + d1) * (1 + d2) - 1) * (1 + d3);
{ |d0| <= 1b-24 /\ |d1| <= 1b-24 /\ |d2| <= 1b-24 /\ |d3| <= 1b-24 /\ |d4| <= 1b-24
  -> |a1| <= ${c_running} /\ |b1| <= ${c_running} /\ |c1| <= ${c_running} /\ |a2| <= ${c_running}
  /\ |d3| <= ${c_running} /\ |b3| <= ${c_running} /\ |b3 + d3| <= ${c_running}
  /\ (first - exact) - ((1 - w) * run * a1 - w * run * b1 + w * stat * c1) in [0, 0]
  /\ (wider - exact) - ((1 - w) * run * a2 + w * stat * c1) in [0, 0]
  /\ (third - exact) - ((1 - w) * run * d3 + w * stat * (b3 + d3) - w * run * b3) in [0, 0] }
(first - exact) - ((1 - w) * run * a1 - w * run * b1 + w * stat * c1) -> 0;
(wider - exact) - ((1 - w) * run * a2 + w * stat * c1) -> 0;
(third - exact) - ((1 - w) * run * d3 + w * stat * (b3 + d3) - w * run * b3) -> 0;
