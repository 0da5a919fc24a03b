#!/usr/bin/env python3
"""Writes the vectors of this folder. Standard library only; two runs give the same bytes.

Every value is computed exactly: statistics and sums as rationals, everything that holds invstd as b + c / sqrt(s) with rational b, c, s. Rounding
into a format happens once, to nearest, ties to even. A rational root is taken exactly (ties are then real ties); an irrational
value is enclosed by integer square roots until both ends round alike. No floating-point arithmetic takes part.
"""
import json
import math
from fractions import Fraction as Q
from pathlib import Path

FORMATS = {"f32": (24, -126, 127), "f64": (53, -1022, 1023), "f16": (11, -14, 15), "bf16": (8, -126, 127)}
WIDE = ("f32", "f64")  # the formats that are their own accumulator
HERE = Path(__file__).resolve().parent
PER_CHANNEL = ("gamma", "beta", "running_mean", "running_var", "saved_mean", "saved_invstd", "v_gamma", "v_beta")
DIALECTS = ("documented", "pytorch/F.batch_norm", "pytorch/native_batch_norm")


# --- numbers --------------------------------------------------------------------------------------------------------

class Float:
    """A value of a format: a rational, or one of the words inf, -inf, nan; a zero keeps its sign."""

    def __init__(self, value, negative_zero=False):
        self.value, self.negative_zero = value, negative_zero

    def hex(self):
        v = self.value
        if isinstance(v, str):
            return v
        if v == 0:
            return "-0x0p+0" if self.negative_zero else "0x0p+0"
        sign, v = ("-" if v < 0 else ""), abs(v)
        e = floor_log2(v)
        fraction = v / power(e) - 1
        digits = ""
        while fraction:
            fraction *= 16
            digits += "0123456789abcdef"[fraction.numerator // fraction.denominator]
            fraction -= fraction.numerator // fraction.denominator
        return f"{sign}0x1{'.' + digits if digits else ''}p{e:+d}"


def power(e):
    return Q(2) ** e


def floor_log2(v):
    e = v.numerator.bit_length() - v.denominator.bit_length()
    return e if power(e) <= v else e - 1


def round_rational(v, dtype):
    """v to nearest, ties to even, as a Float."""
    p, emin, emax = FORMATS[dtype]
    if v == 0:
        return Float(Q(0))
    size = abs(v)
    quantum = power(max(floor_log2(size), emin) - p + 1)
    steps = round(size / quantum)  # Fraction rounds half to even
    size = steps * quantum
    if size >= power(emax + 1):
        return Float("inf" if v > 0 else "-inf")
    return Float(size if v > 0 else -size, negative_zero=v < 0)


def exact_root(s):
    """sqrt(s) if it is rational, else None."""
    a, b = math.isqrt(s.numerator), math.isqrt(s.denominator)
    return Q(a, b) if a * a == s.numerator and b * b == s.denominator else None


def round_surd(b, c, s, dtype):
    """b + c / sqrt(s) to nearest, ties to even; s > 0."""
    root = exact_root(s)
    if c == 0 or root is not None:
        return round_rational(b + (c / root if c else 0), dtype)
    bits = 256
    while True:  # irrational: it is no tie and no format's number, so the ends meet
        scaled = math.isqrt((s.numerator << (2 * bits)) // s.denominator)
        lo, hi = Q(scaled, 1 << bits), Q(scaled + 1, 1 << bits)
        if lo > 0:
            ends = [round_rational(b + c / end, dtype) for end in (lo, hi)]
            if ends[0].hex() == ends[1].hex():
                return ends[0]
        bits *= 2


def f(text, dtype):
    """The decimal text, rounded once into the dtype; fractions and integers too."""
    return round_rational(Q(text), dtype).value


# --- the specification ----------------------------------------------------------------------------------------------

def usual_stats(dtype):
    """The format of parameters and statistics where a case names none."""
    return dtype if dtype in WIDE else "f32"


def per_channel(shape):
    return math.prod(shape) // shape[1] if shape[1] else 0


def truth(case):
    """Every output of the specification, correctly rounded. Finite inputs, v + eps > 0."""
    if case["pass"] not in ("forward-training", "forward-inference"):
        return gradients(case)
    dtype, eps, channels = case["dtype"], case["eps"], case["shape"][1]
    stats = case.get("stats_dtype", usual_stats(dtype))
    n = per_channel(case["shape"])
    out = {"y": []}
    training = case["pass"] == "forward-training"
    if training:
        out.update(mean=[], var=[], invstd=[])
        if "running_mean" in case:
            out.update(running_mean=[], running_var=[])
    for k in range(channels):
        x = case["x"][k * n:(k + 1) * n]
        gamma = case["gamma"][k] if "gamma" in case else Q(1)
        beta = case["beta"][k] if "beta" in case else Q(0)
        if training:
            mean = sum(x, Q(0)) / n
            var = sum(((v - mean) ** 2 for v in x), Q(0)) / n
            out["mean"].append(round_rational(mean, stats))
            out["var"].append(round_rational(var, stats))
            if "running_mean" in case:
                w = case["momentum"] if case["momentum"] is not None else Q(1, case["num_batches_tracked"] + 1)
                fed = var if case["dialect"] == "documented" or n == 1 else var * n / (n - 1)
                out["running_mean"].append(round_rational((1 - w) * case["running_mean"][k] + w * mean, stats))
                if n == 1 and case["dialect"] != "documented":
                    out["running_var"].append(Float("nan"))  # 0/0
                else:
                    out["running_var"].append(round_rational((1 - w) * case["running_var"][k] + w * fed, stats))
        else:
            mean, var = case["running_mean"][k], case["running_var"][k]
        if training:
            out["invstd"].append(round_surd(Q(0), Q(1), var + eps, stats))
        out["y"] += [round_surd(beta, gamma * (v - mean), var + eps, dtype) for v in x]
    return out


class Invstd:
    """invstd: a rational if it is given, else 1 / sqrt(s)."""

    def __init__(self, given=None, s=None):
        self.given, self.s = given, s
        self.square = given * given if given is not None else 1 / s

    def affine(self, b, c, dtype):
        """b + c invstd, rounded."""
        return round_rational(b + c * self.given, dtype) if self.given is not None else round_surd(Q(b), Q(c), self.s, dtype)


def channel_statistics(case, k, x):
    """Mean and invstd of the backward passes, and whether they depend on x."""
    if "running_mean" in case:
        return case["running_mean"][k], Invstd(s=case["running_var"][k] + case["eps"]), False
    if "saved_mean" in case:
        return case["saved_mean"][k], Invstd(given=case["saved_invstd"][k]), True
    mean = sum(x, Q(0)) / len(x)
    return mean, Invstd(s=sum(((v - mean) ** 2 for v in x), Q(0)) / len(x) + case["eps"]), True


def gradients(case):
    """Every output of the backward and double-backward passes. Finite inputs, v + eps > 0, n > 0."""
    dtype, n = case["dtype"], per_channel(case["shape"])
    stats = case.get("stats_dtype", usual_stats(dtype))
    names = (("grad_dy", "grad_x"), ("grad_gamma",)) if case["pass"] == "double-backward" else (("dx",), ("dgamma", "dbeta"))
    out = {name: [] for group in names for name in group}
    for k in range(case["shape"][1]):
        x, dy = case["x"][k * n:(k + 1) * n], case["dy"][k * n:(k + 1) * n]
        gamma = case["gamma"][k] if "gamma" in case else Q(1)
        mean, r, training = channel_statistics(case, k, x)
        d = [v - mean for v in x]
        total, dot = sum(dy, Q(0)), sum((a * b for a, b in zip(d, dy)), Q(0))
        # q: the bracket of dx, dy - dbeta/n - xhat dgamma/n; xhat dgamma is d dot invstd^2, a rational
        q = [g - (total / n + c * dot * r.square / n if training else 0) for g, c in zip(dy, d)]
        if case["pass"] != "double-backward":
            out["dbeta"].append(round_rational(total, stats))
            out["dgamma"].append(r.affine(0, dot, stats))
            out["dx"] += [r.affine(0, gamma * value, dtype) for value in q]
            continue
        v = case["v_x"][k * n:(k + 1) * n] if "v_x" in case else [Q(0)] * n
        v_gamma = case["v_gamma"][k] if "v_gamma" in case else Q(0)
        v_beta = case["v_beta"][k] if "v_beta" in case else Q(0)
        sum_v, v_dot = sum(v, Q(0)), sum((a * b for a, b in zip(d, v)), Q(0))
        p = [w - (sum_v / n + c * v_dot * r.square / n if training else 0) for w, c in zip(v, d)]
        big_q = sum((a * b for a, b in zip(v, q)), Q(0))
        out["grad_gamma"].append(r.affine(0, big_q, stats))
        for i in range(n):
            out["grad_dy"].append(r.affine(v_beta, gamma * p[i] + v_gamma * d[i], dtype))
            bracket = d[i] * big_q + dot * p[i] + v_dot * q[i] if training else Q(0)
            out["grad_x"].append(r.affine(0, v_gamma * q[i] - gamma * r.square / n * bracket, dtype))
    return out


def make_gradient_case(which, dtype, shape, x, dy, *, stats_dtype=None, dialect="documented", layout="contiguous", eps="0.00001",
                       **tensors):
    """`which` is the pass. eps is rounded to f32 for tensors of 16 bits, x and the tensors to their own formats."""
    stats = stats_dtype or dtype
    case = {"pass": which, "dtype": dtype}
    if stats != usual_stats(dtype):
        case["stats_dtype"] = stats
    case.update({"shape": list(shape), "layout": layout, "dialect": dialect, "eps": f(eps, dtype if dtype in WIDE else "f32"),
                 "x": [f(v, dtype) for v in x], "dy": [f(v, dtype) for v in dy]})
    for name in PER_CHANNEL + ("v_x",):
        if name in tensors:
            case[name] = [f(v, dtype if name == "v_x" else stats) for v in tensors[name]]
    assert len(case["x"]) == len(case["dy"]) == math.prod(shape)
    return case


def make_case(dtype, shape, x, *, training=True, dialect="documented", layout="contiguous", eps="0.00001", momentum="0.1",
              tracked=0, stats_dtype=None, **tensors):
    """eps and momentum are rounded to the dtype's own scalar (f32 for 16 bits), x and tensors to their formats."""
    scalar, stats = dtype if dtype in WIDE else "f32", stats_dtype or dtype
    case = {"pass": "forward-training" if training else "forward-inference", "dtype": dtype}
    if stats != usual_stats(dtype):
        case["stats_dtype"] = stats
    case.update({"shape": list(shape), "layout": layout, "dialect": dialect, "eps": f(eps, scalar),
                 "momentum": None if momentum is None else f(momentum, scalar), "x": [f(v, dtype) for v in x]})
    for name in ("gamma", "beta", "running_mean", "running_var"):
        if name in tensors:
            case[name] = [f(v, stats) for v in tensors[name]]
    case["num_batches_tracked"] = tracked
    assert len(case["x"]) == math.prod(shape)
    return case


# --- vectors --------------------------------------------------------------------------------------------------------

FLAGS = {
    "worked-example": "an example of a published explanation, with its right values",
    "published-wrong": "values as published, which are wrong: they must be rejected",
    "eps-placement": "tells where eps enters: inside the root, outside, added to the deviation, omitted, doubled, clamped",
    "momentum": "tells the sense of momentum and the weight of the cumulative average apart",
    "bessel": "tells the biased and the unbiased variance apart",
    "constant": "a constant channel: variance 0, y is beta",
    "single-value": "one value per channel in training",
    "tie": "the exact value lies half-way between two numbers of the format",
    "exact": "the truth is exact at every step: a zero-error clause applies",
    "cancellation": "sum of squares minus squared sum loses the variance",
    "conditioning": "the value is sensitive to the formula: kernels of different forms differ by many ulps",
    "special-value": "zeros, subnormal numbers, NaN, the largest numbers",
    "extended-domain": "outside the core domain: it gates only kernels that claim that domain",
    "zero-eps": "eps = 0",
    "refusal": "the entry point must refuse the problem",
    "layout": "more than one channel: an index error shows",
    "inference": "given statistics are used",
    "gradient": "first derivatives",
    "second-gradient": "derivatives of the backward pass",
    "truth-a": "the closed form at saved statistics that are given",
    "truth-b": "the true gradient of the forward pass at x",
    "half": "tensors of 16 bits",
    "non-finite": "NaN or infinity in the input",
    "empty": "no value per channel",
}
RATIONAL = "exact rational statistics, integer square roots, one rounding to nearest even (generate.py)"
GENERATED = {"source": "constructed for this suite", "computed": RATIONAL}


def as_json_case(case):
    out = {"normproof_case": 1}
    for key, value in case.items():
        if isinstance(value, Q):
            value = Float(value).hex()
        elif key in ("x", "dy", "v_x") + PER_CHANNEL:
            value = [v if isinstance(v, str) else Float(v).hex() for v in value]
        out[key] = value
    return out


def as_hex(values):
    return [v if isinstance(v, str) else v.hex() for v in values]


class Bank:
    def __init__(self):
        self.files = {}

    def add(self, file, ident, comment, flags, case, result="valid", expected=None, provenance=GENERATED, clause=None,
            only=None, outcome="outputs"):
        """expected None: the truth. `only`: keep these outputs."""
        if outcome == "refused":
            expected = {}
        elif expected is None:
            expected = truth(case)
        if only:
            expected = {k: expected[k] for k in only}
        assert all(flag in FLAGS for flag in flags), flags
        stats = case.get("stats_dtype", usual_stats(case["dtype"]))
        formats = case["dtype"] if stats == case["dtype"] else f"{case['dtype']}-{stats}"
        vector = {"id": f"{ident}/{formats}", "comment": comment, "flags": sorted(flags), "provenance": provenance,
                  "result": result, "outcome": outcome}
        if clause:
            vector["clause"] = clause
        vector["case"] = as_json_case(case)
        vector["expected"] = {k: as_hex(v) for k, v in expected.items()}
        self.files.setdefault(file, []).append(vector)

    def write(self):
        seen = set()
        for file, vectors in sorted(self.files.items()):
            for v in vectors:
                assert v["id"] not in seen, v["id"]
                seen.add(v["id"])
            used = sorted({flag for v in vectors for flag in v["flags"]})
            document = {"normproof_vectors": 1, "flags": {flag: FLAGS[flag] for flag in used}, "vectors": vectors}
            (HERE / f"{file}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
        return {file: len(v) for file, v in sorted(self.files.items())}


def published(claim, note):
    return {"source": f"published explanation of batch normalisation, claim {claim} of spec/claims.md", "computed": note}


def rounded(values, dtype):
    return [round_rational(Q(v), dtype) for v in values]


def worked_examples(bank, dtype):
    file = "worked_examples"
    c16 = make_case(dtype, (4, 1), [2, 4, 8, 10], gamma=[2], beta=[1])
    bank.add(file, "C16", "four values, gamma 2, beta 1: mean 6, variance 10", ["worked-example"], c16,
             provenance=published("C16", RATIONAL))
    wrong = truth(c16)["y"]
    wrong[1] = round_rational(Q("0.74"), dtype)
    bank.add(file, "C16-published", "second element printed as 0.74: the sign of the normalised value is lost",
             ["published-wrong"], c16, "invalid", {"y": wrong}, clause="BN-FWD-4",
             provenance=published("C16", "second element as printed, the others right"))
    for dialect in DIALECTS:
        update = dict(c16, dialect=dialect, running_mean=[Q(0)], running_var=[Q(1)])
        bank.add(file, f"C16-running-{dialect.replace('/', '.')}", "running mean 0 and variance 1 before the update, momentum 0.1",
                 ["worked-example", "momentum", "bessel"], update, provenance=published("C5, C6", RATIONAL))
    given = make_case(dtype, (4, 1), [2, 4, 8, 10], training=False, gamma=[2], beta=[1], running_mean=[4], running_var=[16])
    bank.add(file, "C16-inference", "the values of C16 with given mean 4 and variance 16", ["worked-example", "inference"], given,
             provenance=published("C8", RATIONAL))
    bank.add(file, "C16-inference-batch", "batch statistics in place of the given ones", ["inference"], given, "invalid",
             {"y": truth(c16)["y"]}, clause="BN-INF-1", provenance=published("C8", RATIONAL))
    scaled = make_case(dtype, (4, 1), [v * 2**10 for v in (2, 4, 8, 10)], eps=c16["eps"] * 2**20, gamma=[2], beta=[1])
    bank.add(file, "C12", "C16 with x scaled by 2^10 and eps by 2^20: y has the same bits", ["worked-example"], scaled,
             provenance=published("C12", RATIONAL))
    assert as_hex(truth(scaled)["y"]) == as_hex(truth(c16)["y"])
    c17 = make_case(dtype, (8, 1), [2, 4, 4, 4, 5, 5, 7, 9], eps="0")
    bank.add(file, "C17", "mean 5, variance 4, eps 0: every step is exact", ["worked-example", "exact", "zero-eps"], c17,
             provenance=published("C17", RATIONAL))
    c18 = make_case(dtype, (4, 1), [1, 3, 5, 7])
    bank.add(file, "C18", "mean 4, variance 5", ["worked-example"], c18, provenance=published("C18", RATIONAL))
    c19 = make_case(dtype, (5, 1), ["0.01", "0.02", "100.5", "0.03", "99.8"])
    bank.add(file, "C19", "two large and three small values", ["worked-example"], c19, provenance=published("C19", RATIONAL))
    bank.add(file, "C19-published", "mean 40.08 and normalised values as printed: none is right", ["published-wrong"], c19,
             "invalid", {"y": rounded(["-0.80", "-0.76", "1.21", "-0.74", "1.20"], dtype), "mean": rounded(["40.08"], dtype)},
             clause="BN-NUM-1", provenance=published("C19", "as printed, rounded into the format"))
    deviation = {"invstd": [round_rational(1 / Q("49.95"), dtype)]}
    bank.add(file, "C19-published-deviation", "deviation 49.95 as printed; right is 49.054 (biased)", ["published-wrong"], c19,
             "invalid", deviation, clause="BN-FWD-3", provenance=published("C19", "1 / 49.95, rounded into the format"))
    unbiased = truth(c19)["var"]
    unbiased[0] = round_rational(Q(truth_variance(c19)) * 5 / 4, dtype)
    bank.add(file, "C19-unbiased", "the unbiased variance in place of the normalising one", ["published-wrong", "bessel"], c19,
             "invalid", {"var": unbiased}, clause="BN-FWD-2", provenance=published("C19", "54.844 squared, exactly"))
    identity = make_case(dtype, (4, 1), [101, 99, 103, 97], eps="11", gamma=[4], beta=[100])
    bank.add(file, "C11", "gamma = sqrt(var + eps) = 4, beta = mean = 100: y is x", ["worked-example", "exact"], identity,
             provenance=published("C11", RATIONAL))


def truth_variance(case):
    x = case["x"]
    mean = sum(x, Q(0)) / len(x)
    return sum(((v - mean) ** 2 for v in x), Q(0)) / len(x)


def semantics(bank, dtype):
    file = "semantics"
    e = power(-16)
    case = make_case(dtype, (4, 1), [power(-8), -power(-8), power(-8), -power(-8)], eps=3 * e)
    bank.add(file, "eps-inside", "v = 2^-16, eps = 3 v: invstd is 2^7 exactly", ["eps-placement", "exact"], case)
    places = {
        "outside": round_surd(3 * e, Q(1), e, dtype),
        "added-to-deviation": round_rational(1 / (power(-8) + 3 * e), dtype),
        "omitted": round_rational(power(8), dtype),
        "doubled": round_surd(Q(0), Q(1), 7 * e, dtype),
        "clamped": round_surd(Q(0), Q(1), 3 * e, dtype),
    }
    for name, value in places.items():
        y = [round_rational(v * value.value, dtype) for v in case["x"]]
        bank.add(file, f"eps-{name}", f"eps {name.replace('-', ' ')}", ["eps-placement"], case, "invalid",
                 {"invstd": [value], "y": y}, clause="BN-FWD-3")
    for dialect in DIALECTS:
        slug = dialect.replace("/", ".")
        run = make_case(dtype, (2, 2, 2), [1, 2, 3, 6, 10, 10, 12, 16], dialect=dialect, running_mean=[5, -1],
                        running_var=[4, "0.5"], tracked=3)
        bank.add(file, f"running-{slug}", "momentum 0.1 is the weight of the new batch", ["momentum", "bessel", "layout"], run)
        other = dict(run, dialect="documented" if dialect != "documented" else DIALECTS[2])
        bank.add(file, f"running-{slug}-wrong-variance", "the running variance of the other convention", ["bessel"], run,
                 "invalid", {"running_var": truth(other)["running_var"]}, clause="BN-RUN-2")
        inverted = truth(dict(run, momentum=1 - run["momentum"]))
        bank.add(file, f"running-{slug}-inverted", "momentum weighs the old value", ["momentum"], run, "invalid",
                 {k: inverted[k] for k in ("running_mean", "running_var")}, clause="BN-RUN-1")
        unmoved = {"running_mean": [Float(v) for v in run["running_mean"]], "running_var": [Float(v) for v in run["running_var"]]}
        bank.add(file, f"running-{slug}-unmoved", "the running statistics are not updated", ["momentum"], run, "invalid",
                 unmoved, clause="BN-RUN-1")
        average = dict(run, momentum=None)
        bank.add(file, f"cumulative-{slug}", "momentum none: weight 1/(3 + 1)", ["momentum"], average)
        late = truth(dict(average, num_batches_tracked=2))
        bank.add(file, f"cumulative-{slug}-late", "weight 1/3: the count was not increased first", ["momentum"], average,
                 "invalid", {k: late[k] for k in ("running_mean", "running_var")}, clause="BN-RUN-3")
    still = make_case(dtype, (2, 1, 2), [1, 2, 3, 6], momentum="0", running_mean=[5], running_var=[4])
    bank.add(file, "momentum-zero", "momentum 0 keeps the running statistics", ["momentum", "exact"], still)
    whole = make_case(dtype, (2, 1, 2), [1, 2, 3, 6], momentum="1", running_mean=[5], running_var=[4])
    bank.add(file, "momentum-one", "momentum 1 replaces the running statistics", ["momentum"], whole)
    given = make_case(dtype, (2, 2, 2), [1, 2, 3, 6, 10, 10, 12, 16], training=False, gamma=["1.5", -2], beta=["0.25", 3],
                      running_mean=[5, -1], running_var=[4, "0.5"])
    bank.add(file, "inference", "given statistics, two channels", ["inference", "layout"], given)
    batch = truth(dict(given, **{"pass": "forward-training"}))
    bank.add(file, "inference-batch-statistics", "batch statistics in place of the given ones", ["inference"], given, "invalid",
             {"y": batch["y"]}, clause="BN-INF-1")
    last = dict(given, layout="channels-last")
    bank.add(file, "inference-channels-last", "the same numbers, channels last", ["inference", "layout"], last)


def statistics(bank, dtype):
    file = "statistics"
    pair = make_case(dtype, (2, 1), [10001, 10003])
    bank.add(file, "pair-10001-10003", "variance 1; sum of squares minus squared sum gives 0 in f32", ["cancellation", "exact"],
             pair)
    for name, value in (("zero", 0), ("minus-four", -4)):
        if dtype == "f32":
            bank.add(file, f"pair-10001-10003-{name}", "the textbook formula" + (" with FMA" if value else ""), ["cancellation"],
                     pair, "invalid", {"var": rounded([value], dtype)}, clause="BN-NUM-10")
    big = make_case(dtype, (2, 1), [100000001, 100000003])
    if dtype == "f64":
        bank.add(file, "pair-1e8", "variance 1; the textbook formula in binary64 fails", ["cancellation", "exact"], big)
        bank.add(file, "pair-1e8-zero", "the textbook formula", ["cancellation"], big, "invalid",
                 {"var": rounded([0], dtype)}, clause="BN-NUM-10")
    exact = make_case(dtype, (2, 1, 2, 2), [8, 7, 8, 7, 9, 8, 8, 9], eps="0.5", gamma=[2], beta=[-4])
    bank.add(file, "exact-grid", "mean 8, variance 1/2, v + eps = 1: no rounding anywhere", ["exact"], exact)
    dropped = dict(exact, x=exact["x"][:-1], shape=[7, 1])
    bank.add(file, "exact-grid-last-dropped", "the last value is left out of the sums", ["exact"], exact, "invalid",
             {k: truth(dropped)[k] for k in ("mean", "var")}, clause="BN-NUM-9")
    for label, value, shape, note in (("12345.678", "12345.678", (2, 1, 4, 4), "a value whose sums round"),
                                      ("3e7", "30000000", (2, 1, 4, 4), "an integer above 2^24"),
                                      ("30000002", "30000002", (2, 1, 4, 4), "an integer above 2^24"),
                                      ("100-on-3x3", "100", (1, 1, 3, 3), "1/9 is inexact")):
        case = make_case(dtype, shape, [value] * math.prod(shape))
        bank.add(file, f"constant-{label}", f"constant channel, {note}: y is beta exactly", ["constant"], case)
        if dtype == "f32":
            folded, root = case["x"][0], truth(case)["invstd"][0].value
            offset = round_rational(-folded * root, dtype).value
            values = [round_rational(folded * root + offset, dtype)] * math.prod(shape)
            bank.add(file, f"constant-{label}-folded", "what the folded form with FMA gives: an error of form, not a bug",
                     ["constant", "conditioning"], case, "acceptable", {"y": values}, clause="BN-NUM-5",
                     provenance={"source": "constructed for this suite",
                                 "computed": "a = invstd, o = -(mean a) rounded, y = x a + o in one rounding"})
    if dtype == "f32":
        case = make_case(dtype, (1, 1, 3, 3), [100] * 9)
        off = round_rational(Q(100) + power(-16), dtype)
        value = round_surd(Q(0), 100 - off.value, case["eps"], dtype)
        bank.add(file, "constant-100-mean-rounded", "a mean of 100.0000153 makes y about -0.0048: within the bound of n = 9",
                 ["constant", "conditioning"], case, "acceptable", {"mean": [off], "y": [value] * 9}, clause="BN-NUM-4",
                 provenance={"source": "BVLC/caffe#3963", "computed": "mean + 2 ulps, y centred on it"})


def ties(bank, dtype):
    file = "ties"
    p = FORMATS[dtype][0]
    step = power(1 - p)
    for ident, values, note in (("mean-tie-down", [1, 1 + step], "half-way, the even neighbour is below"),
                                ("mean-tie-up", [1 + step, 1 + 2 * step], "half-way, the even neighbour is above")):
        case = make_case(dtype, (2, 1), values)
        bank.add(file, ident, f"the mean is {note}", ["tie"], case, only=["mean"])
        exact = sum(case["x"], Q(0)) / 2
        other = 2 * exact - truth(case)["mean"][0].value
        bank.add(file, ident + "-other", "the other neighbour is as near", ["tie"], case, "acceptable", {"mean": [Float(other)]})
    for ident, steps, side in (("y-tie-down", 1, "below"), ("y-tie-up", 3, "above")):
        case = make_case(dtype, (2, 1), [3, 5], eps="0", gamma=[1 + steps * step], beta=[2])
        bank.add(file, ident, f"n = 2, eps = 0: y = beta + gamma is half-way, the even neighbour is {side}", ["tie", "zero-eps"],
                 case)
    case = make_case(dtype, (2, 1), [3, 5], eps="0", gamma=[1 + power(2 - p)], beta=[-(1 + power(1 - p))])
    bank.add(file, "y-cancels", "n = 2, eps = 0: beta cancels gamma down to one ulp", ["zero-eps", "conditioning"], case)


def special(bank, dtype):
    file = "special"
    p, emin, emax = FORMATS[dtype]
    for dialect in DIALECTS:
        slug = dialect.replace("/", ".")
        single = make_case(dtype, (1, 2), ["1.5", -300], gamma=[2, -1], beta=["0.1", 7], dialect=dialect,
                           running_mean=[0, 0], running_var=[1, 1])
        if dialect == "pytorch/F.batch_norm":
            bank.add(file, f"single-value-{slug}", "one value per channel: this entry point refuses it",
                     ["single-value", "refusal"], single, outcome="refused", clause="BN-FWD-10")
        else:
            bank.add(file, f"single-value-{slug}", "one value per channel: variance 0, y is beta"
                     + ("" if dialect == "documented" else "; the unbiased running variance is 0/0"), ["single-value"], single)
        plane = make_case(dtype, (1, 1, 2, 2), [1, 2, 4, 9], dialect=dialect, running_mean=[0], running_var=[1])
        bank.add(file, f"batch-one-{slug}", "batch size 1 with a plane of 4 values is an ordinary problem", ["single-value"], plane)
        zero = make_case(dtype, (4, 1), [3, 3, 3, 3], eps="0", beta=["0.5"], gamma=[2], dialect=dialect)
        if dialect == "pytorch/F.batch_norm":
            bank.add(file, f"zero-eps-{slug}", "eps = 0: this entry point refuses it", ["zero-eps", "refusal", "constant"], zero,
                     outcome="refused", clause="BN-FWD-9")
        elif dialect == "pytorch/native_batch_norm":
            bank.add(file, f"zero-eps-{slug}", "v = eps = 0: invstd 0, y is beta", ["zero-eps", "constant"], zero, "valid",
                     {"y": rounded(["0.5"] * 4, dtype), "mean": rounded([3], dtype), "var": rounded([0], dtype),
                      "invstd": rounded([0], dtype)}, clause="BN-FWD-9",
                     provenance={"source": "behaviour of torch.native_batch_norm in training", "computed": "by definition"})
        else:
            statistics_of = {"mean": rounded([3], dtype), "var": rounded([0], dtype)}
            bank.add(file, f"zero-eps-{slug}", "v = eps = 0: the formula, 1/0 and 0/0", ["zero-eps", "constant"], zero, "valid",
                     dict(statistics_of, invstd=["inf"], y=["nan"] * 4), clause="BN-FWD-9")
            bank.add(file, f"zero-eps-{slug}-finite", "v = eps = 0: a finite y", ["zero-eps", "constant"], zero, "invalid",
                     dict(statistics_of, y=rounded([2] * 4, dtype)), clause="BN-FWD-9")
        if dialect != "pytorch/native_batch_norm":
            negative = make_case(dtype, (4, 1), [1, 2, 3, 4], eps="-1", dialect=dialect)
            bank.add(file, f"negative-eps-{slug}", "eps < 0 must be refused", ["refusal"], negative, outcome="refused",
                     clause="BN-FWD-12")
    zeros = make_case(dtype, (4, 1), [0, 0, 0, 0], gamma=[-3], beta=["0.1"])
    bank.add(file, "all-zero", "zeros: y is beta", ["special-value", "constant", "exact"], zeros)
    none = make_case(dtype, (4, 1), [1, 2, 3, 5], gamma=[0], beta=["0.1"])
    bank.add(file, "gamma-zero", "gamma 0: y is beta", ["special-value"], none)
    tiny = power(emin - p + 1)
    small = make_case(dtype, (4, 1), [tiny, -tiny, 3 * tiny, 5 * tiny])
    bank.add(file, "subnormal-x", "subnormal values: the variance underflows to 0, y does not", ["special-value", "extended-domain"],
             small)
    huge = power(emax - 3)
    large = make_case(dtype, (4, 1), [huge, -huge, huge, -huge])
    bank.add(file, "squares-overflow", "the variance overflows, y does not: +-1", ["special-value", "extended-domain"], large,
             only=["y", "mean", "invstd"])
    bank.add(file, "squares-overflow-zeros", "what an infinite variance makes of y: zeros", ["special-value", "extended-domain"],
             large, "invalid", {"y": rounded([0] * 4, dtype)}, clause="BN-NUM-4")
    poisoned = make_case(dtype, (4, 2), [1, 2, 3, 4, 5, 6, 7, 8])
    y = truth(poisoned)["y"]
    poisoned["x"] = ["nan"] + poisoned["x"][1:]
    bank.add(file, "nan-confined", "a NaN in channel 0 leaves channel 1 alone", ["special-value", "extended-domain", "layout"],
             poisoned, "acceptable", {"y": ["nan"] * 4 + as_hex(y[4:])}, clause="BN-FWD-13")
    webnn = make_case(dtype, (1, 1), ["-86.11643"], training=False, running_mean=["-95.6413"], running_var=["26.4326"])
    source = {"source": "microsoft/onnxruntime#26522 (inputs as printed there)", "computed": RATIONAL}
    bank.add(file, "conditioning-webnn", "x near the mean: 19 times the relative error of x", ["inference", "conditioning"], webnn,
             provenance=source)
    x, mean = webnn["x"][0], webnn["running_mean"][0]
    scale = round_surd(Q(0), Q(1), webnn["running_var"][0] + webnn["eps"], dtype).value
    offset = -round_rational(mean * scale, dtype).value
    folded = round_rational(round_rational(x * scale, dtype).value + offset, dtype)
    bank.add(file, "conditioning-webnn-folded", "the folded form, every step rounded: more than an ulp off, no bug",
             ["inference", "conditioning"], webnn, "acceptable", {"y": [folded]}, clause="BN-NUM-7",
             provenance={"source": "microsoft/onnxruntime#26522 (inputs as printed there)",
                         "computed": "a = invstd, o = -(mean a), y = x a + o, each rounded"})
    flat = make_case(dtype, (2, 1), [3, 4], training=False, eps="0", running_mean=[3], running_var=[0])
    bank.add(file, "inference-zero-variance", "given variance 0 and eps 0: 0/0 and 1/0", ["inference", "zero-eps", "special-value"],
             flat, "valid", {"y": ["nan", "inf"]}, clause="BN-INF-6")


WORKED = dict(x=[2, 4, 8, 10], dy=[1, 2, 0, 1], gamma=[2], eps="6")
AT_HAND = dict(saved_mean=[6], saved_invstd=["0.25"])
COTANGENTS = dict(v_x=[1, -1, 2, 0], v_gamma=[1], v_beta=[-2])
# Two channels, n = 4. The saved statistics are near those of x, and are not those: truth A and truth B differ.
PLAIN = dict(x=["1.5", 3, -2, "0.25", 10, "10.5", 9, 12], dy=["0.5", -1, 2, "0.75", 1, "0.125", -3, "1.5"], gamma=["1.5", -2])
SAVED = dict(saved_mean=["0.75", "10.25"], saved_invstd=["0.5", "0.875"])


def by_channel(case, formula, dtype):
    """formula(x, dy, gamma, m, r) gives a channel's list of rationals; all channels, each value rounded once."""
    n, out = per_channel(case["shape"]), []
    for k in range(case["shape"][1]):
        part = slice(k * n, (k + 1) * n)
        out += formula(case["x"][part], case["dy"][part], case["gamma"][k], case["saved_mean"][k], case["saved_invstd"][k])
    return [round_rational(v, dtype) for v in out]


def dx_variant(*, mean_term=1, xhat_term=1, scale=lambda g, r: g * r, invstd=lambda r: r):
    """dx with its terms weighed by functions of n: one is right, zero drops, n forgets the division."""
    def formula(x, dy, gamma, m, r):
        r, n = invstd(r), len(x)
        weigh = [w(n) if callable(w) else w for w in (mean_term, xhat_term)]
        total, h = sum(dy, Q(0)), sum(((v - m) * r * g for v, g in zip(x, dy)), Q(0))
        return [scale(gamma, r) * (g - weigh[0] * total / n - weigh[1] * (v - m) * r * h / n) for v, g in zip(x, dy)]
    return formula


def backward(bank, dtype):
    file, train, infer = "backward", "backward-training", "backward-inference"
    worked = make_gradient_case(train, dtype, (4, 1), **WORKED, **AT_HAND)
    bank.add(file, "backward", "mean 6, invstd 1/4: every step is exact", ["worked-example", "gradient", "truth-a", "exact"], worked)
    pair = make_gradient_case(train, dtype, (4, 1), **WORKED)
    bank.add(file, "backward-pair", "no saved statistics: the gradient of the forward pass; v + eps = 16",
             ["worked-example", "gradient", "truth-b"], pair)
    assert {k: as_hex(v) for k, v in truth(pair).items()} == {k: as_hex(v) for k, v in truth(worked).items()}
    given = make_gradient_case(infer, dtype, (4, 1), **WORKED, running_mean=[4], running_var=[10])
    bank.add(file, "backward-inference", "running statistics are constants: dx = gamma invstd dy",
             ["worked-example", "gradient", "inference"], given)
    plain = make_gradient_case(train, dtype, (2, 2, 2), **PLAIN, **SAVED)
    bank.add(file, "gradient-plain", "two channels, saved statistics given", ["gradient", "truth-a", "layout"], plain)
    free = make_gradient_case(train, dtype, (2, 2, 2), **PLAIN)
    bank.add(file, "gradient-plain-pair", "two channels, the pair", ["gradient", "truth-b", "layout"], free)
    bank.add(file, "gradient-plain-channels-last", "the same numbers, channels last", ["gradient", "truth-a", "layout"],
             dict(plain, layout="channels-last"))
    bank.add(file, "gradient-plain-recomputed", "the statistics of x in place of the saved ones", ["gradient", "truth-a"], plain, "invalid",
             truth(free), clause="BN-BWD-5")
    wrong_dx = {
        "mean-term-dropped": ("dbeta / n is not subtracted", "BN-BWD-3", dx_variant(mean_term=0)),
        "xhat-term-dropped": ("xhat dgamma / n is not subtracted", "BN-BWD-3", dx_variant(xhat_term=0)),
        "eval-gradient": ("the gradient of inference in training", "BN-BWD-3", dx_variant(mean_term=0, xhat_term=0)),
        "not-divided": ("dbeta and xhat dgamma without 1 / n", "BN-BWD-3", dx_variant(mean_term=lambda n: n, xhat_term=lambda n: n)),
        "bessel": ("n - 1 in place of n in both terms", "BN-BWD-3",
                   dx_variant(mean_term=lambda n: Q(n, n - 1), xhat_term=lambda n: Q(n, n - 1))),
        "gamma-missing": ("dx without gamma", "BN-BWD-4", dx_variant(scale=lambda g, r: r)),
        "invstd-squared": ("invstd twice as a factor", "BN-BWD-4", dx_variant(scale=lambda g, r: g * r * r)),
    }
    for name, (comment, clause, formula) in wrong_dx.items():
        bank.add(file, f"gradient-dx-{name}", comment, ["gradient", "truth-a"], plain, "invalid", {"dx": by_channel(plain, formula, dtype)},
                 clause=clause)
    wrong_dgamma = {
        "not-normalised": ("sum dy (x - mean), invstd forgotten", lambda x, dy, g, m, r: [sum((v - m) * w for v, w in zip(x, dy))]),
        "not-centred": ("sum dy x invstd, the mean forgotten", lambda x, dy, g, m, r: [sum(v * w for v, w in zip(x, dy)) * r]),
        "mean": ("the mean in place of the sum", lambda x, dy, g, m, r: [sum((v - m) * w for v, w in zip(x, dy)) * r / len(x)]),
    }
    for name, (comment, formula) in wrong_dgamma.items():
        bank.add(file, f"gradient-dgamma-{name}", comment, ["gradient", "truth-a"], plain, "invalid",
                 {"dgamma": by_channel(plain, formula, dtype)}, clause="BN-BWD-2")
    bank.add(file, "gradient-dbeta-mean", "the mean of dy in place of the sum", ["gradient"], plain, "invalid",
             {"dbeta": by_channel(plain, lambda x, dy, g, m, r: [sum(dy) / len(x)], dtype)}, clause="BN-BWD-1")
    mixed_up = {name: [] for name in ("dx", "dgamma")}
    for k in range(2):  # the saved invstd taken for a variance: 1 / sqrt(invstd + eps)
        x, dy = plain["x"][4 * k:4 * k + 4], plain["dy"][4 * k:4 * k + 4]
        r, m = Invstd(s=plain["saved_invstd"][k] + plain["eps"]), plain["saved_mean"][k]
        dot = sum((v - m) * w for v, w in zip(x, dy))
        mixed_up["dgamma"].append(r.affine(0, dot, dtype))
        mixed_up["dx"] += [r.affine(0, plain["gamma"][k] * (w - sum(dy) / 4 - (v - m) * dot * r.square / 4), dtype)
                           for v, w in zip(x, dy)]
    bank.add(file, "gradient-invstd-as-variance", "the saved invstd is taken for a variance; dbeta stays right", ["gradient", "truth-a"],
             plain, "invalid", mixed_up, clause="BN-BWD-6", provenance={"source": "flagos-ai/FlagGems#5222", "computed": RATIONAL})
    doubled = {name: [round_rational(2 * v.value, dtype) for v in values] for name, values in truth(plain).items()}
    bank.add(file, "gradient-accumulated", "a second call adds to the outputs of the first", ["gradient"], plain, "invalid", doubled,
             clause="BN-BWD-7", provenance={"source": "apache/mxnet#18492", "computed": RATIONAL})
    eval_case = make_gradient_case(infer, dtype, (2, 2, 2), **PLAIN, running_mean=[0, 8], running_var=[4, "0.5"])
    bank.add(file, "gradient-inference", "two channels, running statistics far from those of x", ["gradient", "inference", "layout"], eval_case)
    bank.add(file, "gradient-inference-training-gradient", "the training gradient in inference", ["gradient", "inference"], eval_case, "invalid",
             {"dx": truth(free)["dx"]}, clause="BN-BWI-1", provenance={"source": "FluxML/Flux.jl#2179", "computed": RATIONAL})
    bank.add(file, "gradient-inference-batch-statistics", "dgamma with the batch's mean and invstd", ["gradient", "inference"], eval_case,
             "invalid", {"dgamma": truth(free)["dgamma"]}, clause="BN-BWI-2")
    no_gamma = {k: v for k, v in plain.items() if k != "gamma"}
    bank.add(file, "gradient-gamma-absent", "an absent gamma is 1", ["gradient", "truth-a"], no_gamma)
    bank.add(file, "gradient-gamma-zero", "gamma 0: dx is 0, dgamma and dbeta are not", ["gradient", "truth-a", "special-value"],
             dict(plain, gamma=[Q(0), Q(0)]))
    ones = make_gradient_case(train, dtype, (4, 1), [1, 2, 4, 9], [1, 1, 1, 1], gamma=[3])
    bank.add(file, "gradient-dy-ones", "dy = 1 for the pair: dgamma and dx are 0, whatever x is", ["gradient", "truth-b", "conditioning"], ones)
    single = make_gradient_case(train, dtype, (1, 2), ["1.5", -300], [2, "0.1"], gamma=[2, -1])
    bank.add(file, "gradient-single-value", "one value per channel, the pair: dx = dgamma = 0, dbeta = dy", ["gradient", "truth-b", "single-value"],
             single)
    flat = make_gradient_case(train, dtype, (4, 1), [5, 5, 5, 5], [1, 2, 4, "0.5"], gamma=[3], eps="0.25")
    bank.add(file, "gradient-constant", "a constant channel, the pair: dx = gamma invstd (dy - mean of dy)", ["gradient", "truth-b", "constant"],
             flat)
    p = FORMATS[dtype][0]
    tie = make_gradient_case(train, dtype, (2, 1), [1, -1], [1, power(-p)], saved_mean=[0], saved_invstd=[1])
    bank.add(file, "gradient-dbeta-tie", "dbeta is half-way, the even neighbour is below", ["gradient", "tie"], tie, only=["dbeta"])
    bank.add(file, "gradient-dbeta-tie-other", "the other neighbour is as near", ["gradient", "tie"], tie, "acceptable",
             {"dbeta": [Float(1 + power(1 - p))]})
    offset = make_gradient_case(train, dtype, (4, 1), [10001, 10003, 10002, 10006], [1, "0.3", "-0.7", "0.1"], gamma=[1],
                                saved_mean=[10003], saved_invstd=["0.5"])
    bank.add(file, "gradient-offset", "mean 10003, deviation 2: x must be centred before the sum", ["gradient", "truth-a", "cancellation"], offset)
    plus = minus = Q(0)
    for v, w in zip(offset["x"], offset["dy"]):
        plus, minus = (round_rational(plus + round_rational(v * w, dtype).value, dtype).value,
                       round_rational(minus + w, dtype).value)
    late = round_rational(plus - round_rational(offset["saved_mean"][0] * minus, dtype).value, dtype).value / 2
    if dtype == "f32":  # in f64 these roundings happen to cancel
        bank.add(file, "gradient-offset-late", "sum dy x - mean sum dy, each step rounded", ["gradient", "truth-a", "cancellation"],
                 offset, "invalid", {"dgamma": [Float(late)]}, clause="BN-NUM-21")


def double_backward(bank, dtype):
    file, which = "double_backward", "double-backward"
    worked = make_gradient_case(which, dtype, (4, 1), **WORKED, **AT_HAND, **COTANGENTS)
    bank.add(file, "double-backward", "mean 6, invstd 1/4: every step is exact", ["worked-example", "second-gradient", "truth-a"], worked)
    plain = make_gradient_case(which, dtype, (2, 2, 2), **PLAIN, **SAVED, v_x=[1, "0.5", -1, 2, "0.25", -3, 1, 1], v_gamma=[2, "-0.5"],
                               v_beta=["0.75", 3])
    bank.add(file, "second-plain", "two channels, saved statistics given", ["second-gradient", "truth-a", "layout"], plain)
    free = {k: v for k, v in plain.items() if not k.startswith("saved")}
    bank.add(file, "second-pair", "the pair's own statistics", ["second-gradient", "truth-b", "layout"], free)
    for name in ("v_x", "v_gamma", "v_beta"):
        alone = {k: v for k, v in plain.items() if not k.startswith("v_") or k == name}
        bank.add(file, f"second-only-{name}", f"{name} alone, the other cotangents absent", ["second-gradient", "truth-a"], alone)
        without = {k: v for k, v in plain.items() if k != name}
        hit = {"v_x": "grad_gamma", "v_gamma": "grad_x", "v_beta": "grad_dy"}[name]
        bank.add(file, f"second-{name}-ignored", f"the part of {name} is missing", ["second-gradient", "truth-a"], plain, "invalid",
                 {hit: truth(without)[hit]}, clause={"v_x": "BN-DBL-4", "v_gamma": "BN-DBL-3", "v_beta": "BN-DBL-2"}[name])
    bare = {k: v for k, v in plain.items() if k != "gamma"}
    bank.add(file, "second-gamma-absent", "an absent gamma is 1", ["second-gradient", "truth-a"], bare)
    constants = make_gradient_case(which, dtype, (2, 2, 2), **PLAIN, running_mean=[0, 8], running_var=[4, "0.5"], v_x=[1, "0.5", -1, 2, "0.25",
                                   -3, 1, 1], v_gamma=[2, "-0.5"], v_beta=["0.75", 3])
    bank.add(file, "second-inference", "running statistics are constants", ["second-gradient", "inference", "layout"], constants)
    bank.add(file, "second-inference-training", "the training form in inference", ["second-gradient", "inference"], constants, "invalid",
             {"grad_x": truth(free)["grad_x"]}, clause="BN-DBL-5")

    def wrong(mutation):
        """grad_x of `plain` with the bracket's terms weighed anew."""
        out = []
        for k in range(2):
            x, dy, v = (plain[name][4 * k:4 * k + 4] for name in ("x", "dy", "v_x"))
            m, r, g, a = plain["saved_mean"][k], plain["saved_invstd"][k], plain["gamma"][k], plain["v_gamma"][k]
            xhat = [(t - m) * r for t in x]
            big_g, h, w = sum(dy), sum(s * t for s, t in zip(dy, xhat)), sum(s * t for s, t in zip(v, xhat))
            q = [s - big_g / 4 - t * h / 4 for s, t in zip(dy, xhat)]
            p = [s - sum(v) / 4 - t * w / 4 for s, t in zip(v, xhat)]
            big_q = sum(s * t for s, t in zip(v, q))
            out += [mutation(a * r * q[i], g * r * r / 4, xhat[i] * big_q, h * p[i], w * q[i], a * r * dy[i]) for i in range(4)]
        return [round_rational(t, dtype) for t in out]

    right = wrong(lambda first, scale, t0, t1, t2, alone: first - scale * (t0 + t1 + t2))
    assert as_hex(right) == as_hex(truth(plain)["grad_x"])
    for name, comment, mutation in (
            ("invstd-constant", "invstd taken as a constant: the term of Q is missing", lambda f0, s, a, b, c, d: f0 - s * (b + c)),
            ("xhat-constant", "xhat taken as a constant: the terms of dgamma and W are missing", lambda f0, s, a, b, c, d: f0 - s * a),
            ("statistics-constant", "mean and invstd taken as constants", lambda f0, s, a, b, c, d: d),
            ("not-divided", "1 / n is missing in the bracket", lambda f0, s, a, b, c, d: f0 - 4 * s * (a + b + c)),
            ("sign", "the bracket is added", lambda f0, s, a, b, c, d: f0 + s * (a + b + c))):
        bank.add(file, f"second-grad_x-{name}", comment, ["second-gradient", "truth-a"], plain, "invalid", {"grad_x": wrong(mutation)},
                 clause="BN-DBL-3")


def truncated(values, exact, dtype):
    """The values, each moved to the next one towards zero where its rounding went away from zero."""
    out = []
    for value, true in zip(values, exact):
        step = power(max(floor_log2(abs(value.value)), FORMATS[dtype][1]) - FORMATS[dtype][0] + 1)
        away = abs(value.value) > abs(true)
        out.append(round_rational(value.value - (step if value.value > 0 else -step), dtype) if away else value)
    return out


def half(bank, dtype):
    """Tensors of 16 bits with f32 parameters and statistics, and with their own."""
    file = "half"
    p, emin, _ = FORMATS[dtype]
    for stats in ("f32", None):
        own = {"stats_dtype": stats}
        bank.add(file, "half-C16", "the values of C16", ["half"], make_case(dtype, (4, 1), [2, 4, 8, 10], gamma=[2], beta=[1], **own))
        bank.add(file, "half-thirds", "n = 3: mean, variance and y are all rounded", ["half"],
                 make_case(dtype, (3, 1), ["0.1", "0.7", 3], gamma=["1.5"], beta=["0.2"], running_mean=["0.3"], running_var=[2], **own))
        bank.add(file, "half-backward", "saved statistics given", ["half", "gradient", "truth-a"],
                 make_gradient_case("backward-training", dtype, (2, 2, 2), **PLAIN, **SAVED, stats_dtype=stats))
        bank.add(file, "half-double-backward", "saved statistics given", ["half", "second-gradient", "truth-a"],
                 make_gradient_case("double-backward", dtype, (4, 1), **WORKED, **AT_HAND, **COTANGENTS, stats_dtype=stats))
    step = power(1 - p)
    odd, tiny = (Q(3745), power(-14)) if dtype == "f16" else (1 + step / 2, power(-40))
    once = make_case(dtype, (1, 1), [tiny], training=False, eps="0", gamma=[1], beta=[odd], running_mean=[0], running_var=[1],
                     stats_dtype="f32")
    note = "3745 + 2^-14 rounds up to 3746" if dtype == "f16" else "1 + 2^-8 + 2^-40 rounds up to 1.0078125"
    bank.add(file, "rounding-once", f"{note}; by way of f32 it is a tie and rounds down", ["half", "inference"], once)
    twice = round_rational(round_rational(odd + tiny, "f32").value, dtype)
    assert twice.hex() != truth(once)["y"][0].hex()
    bank.add(file, "rounding-once-twice", "rounded to f32 first: what a kernel with f32 arithmetic may return", ["half", "inference"], once,
             "acceptable", {"y": [twice]}, clause="BN-NUM-7")
    given = make_case(dtype, (4, 1), ["0.3", "1.7", -2, 5], training=False, eps="0", gamma=["0.9"], beta=["0.1"], running_mean=["0.5"],
                      running_var=[4], stats_dtype="f32")
    exact = [given["beta"][0] + given["gamma"][0] * (v - given["running_mean"][0]) / 2 for v in given["x"]]
    cut = truncated(truth(given)["y"], exact, dtype)
    assert as_hex(cut) != as_hex(truth(given)["y"])
    bank.add(file, f"{dtype}-truncated", "the last conversion truncates", ["half", "inference"], given, "invalid", {"y": cut},
             clause="BN-NUM-7")
    back = make_gradient_case("backward-training", dtype, (2, 2, 2), **PLAIN, **SAVED, stats_dtype="f32")
    lines = [v for k in range(2) for v in dx_variant()(back["x"][4 * k:4 * k + 4], back["dy"][4 * k:4 * k + 4], back["gamma"][k],
                                                       back["saved_mean"][k], back["saved_invstd"][k])]
    cut = truncated(truth(back)["dx"], lines, dtype)
    assert as_hex(cut) != as_hex(truth(back)["dx"])
    bank.add(file, f"{dtype}-dx-truncated", "the last conversion of dx truncates", ["half", "gradient"], back, "invalid", {"dx": cut},
             clause="BN-NUM-22")
    if dtype == "f16":
        wide = make_case(dtype, (4, 1), [400, -400, 400, -400], stats_dtype="f32")
        bank.add(file, "squares-beyond-f16", "variance 160000 is beyond f16: it must be formed in f32", ["half"], wide)
        bank.add(file, "squares-beyond-f16-zeros", "an infinite variance makes y zero", ["half"], wide, "invalid",
                 {"y": rounded([0] * 4, dtype)}, clause="BN-NUM-5",
                 provenance={"source": "pytorch/pytorch#126525", "computed": "by definition"})
    else:
        offset = make_case(dtype, (4, 1), [1000, 1004, 1000, 1004], stats_dtype="bf16")
        bank.add(file, "statistics-bf16", "statistics of 8 bits: the mean 1002 is rounded to 1000 only when it is stored", ["half"], offset)
        stored = truth(offset)["mean"][0].value
        centred = [round_rational(sum((v - stored) ** 2 for v in offset["x"]) / 4, dtype)]
        assert as_hex(centred) != as_hex(truth(offset)["var"])
        bank.add(file, "statistics-bf16-centred-late", "the variance is centred on the stored mean", ["half"], offset, "invalid",
                 {"var": centred}, clause="BN-NUM-2")
        many = make_case(dtype, (512, 1), [1] * 512, stats_dtype="f32")
        bank.add(file, "sums-in-bf16", "512 ones summed in bf16 stop at 256: the mean 1/2 of a constant channel", ["half", "constant"], many,
                 "invalid", {"mean": rounded(["0.5"], "f32")}, clause="BN-NUM-1")


def non_finite(bank, dtype):
    file = "non_finite"
    case = make_case(dtype, (4, 2), [1, 2, 3, 4, 5, 6, 7, 9], gamma=[2, 2], beta=[1, 1], running_mean=[0, 0], running_var=[1, 1])
    clean = {k: as_hex(v) for k, v in truth(case).items()}
    for name, head, mean in (("nan", ["nan", case["x"][1]], "nan"), ("infinity", ["inf", case["x"][1]], "inf"),
                             ("minus-infinity", ["-inf", case["x"][1]], "-inf"), ("both-infinities", ["inf", "-inf"], "nan")):
        bad = dict(case, x=head + case["x"][2:])
        values = {"y": ["nan"] * 4 + clean["y"][4:], "mean": [mean, clean["mean"][1]], "var": ["nan", clean["var"][1]],
                  "invstd": ["nan", clean["invstd"][1]], "running_mean": [mean, clean["running_mean"][1]],
                  "running_var": ["nan", clean["running_var"][1]]}
        flags = ["non-finite", "special-value", "layout"]
        definition = {"source": "BN-FWD-13", "computed": "by definition; the other channel: " + RATIONAL}
        bank.add(file, f"x-{name}", "channel 0 is NaN, channel 1 is as without it", flags, bad, "valid", values, clause="BN-FWD-13",
                 provenance=definition)
        if mean != "nan":
            bank.add(file, f"x-{name}-merged", "a merged mean is NaN behind an infinity", flags, bad, "acceptable",
                     dict(values, mean=["nan", clean["mean"][1]], running_mean=["nan", clean["running_mean"][1]]), clause="BN-FWD-13",
                     provenance=definition)
        leak = dict(values, y=["nan"] * 8)
        bank.add(file, f"x-{name}-leaks", "NaN reaches the other channel", flags, bad, "invalid", leak, clause="BN-FWD-13",
                 provenance=definition)
        lost = dict(values, y=as_hex(rounded([1] * 4, dtype)) + clean["y"][4:])
        bank.add(file, f"x-{name}-lost", "y is beta where it must be NaN", flags, bad, "invalid", lost, clause="BN-FWD-13",
                 provenance=definition)
    given = make_case(dtype, (4, 1), [1, 2, 3, 4], training=False, gamma=[-2], beta=[1], running_mean=[0], running_var=[1])
    y = as_hex(truth(given)["y"])
    some = dict(given, x=["nan", "inf"] + given["x"][2:])
    bank.add(file, "inference-nan-inf", "in inference NaN and infinity stay in their elements", ["non-finite", "inference"], some, "valid",
             {"y": ["nan", "-inf"] + y[2:]}, clause="BN-INF-4", provenance={"source": "BN-INF-4", "computed": "by definition"})
    bank.add(file, "inference-nan-spreads", "NaN spreads over the channel", ["non-finite", "inference"], some, "invalid",
             {"y": ["nan"] * 4}, clause="BN-INF-4", provenance={"source": "BN-INF-4", "computed": "by definition"})
    back = make_gradient_case("backward-training", dtype, (2, 2, 2), **PLAIN, **SAVED)
    right = {k: as_hex(v) for k, v in truth(back).items()}
    poisoned = dict(back, dy=["nan"] + back["dy"][1:])
    bank.add(file, "dy-nan", "a NaN in dy: dx, dgamma, dbeta of that channel", ["non-finite", "gradient", "layout"], poisoned, "valid",
             {"dx": ["nan"] * 4 + right["dx"][4:], "dgamma": ["nan", right["dgamma"][1]], "dbeta": ["nan", right["dbeta"][1]]},
             clause="BN-BWD-11", provenance={"source": "BN-BWD-11", "computed": "by definition"})
    poisoned = dict(back, x=["nan"] + back["x"][1:])
    bank.add(file, "backward-x-nan", "a NaN in x: dx and dgamma of that channel; dbeta is as without it",
             ["non-finite", "gradient", "layout"], poisoned, "valid",
             {"dx": ["nan"] * 4 + right["dx"][4:], "dgamma": ["nan", right["dgamma"][1]], "dbeta": right["dbeta"]},
             clause="BN-BWD-11", provenance={"source": "BN-BWD-11", "computed": "by definition"})
    bank.add(file, "backward-x-nan-leaks", "NaN reaches the other channel", ["non-finite", "gradient", "layout"], poisoned, "invalid",
             {"dx": ["nan"] * 8, "dgamma": ["nan"] * 2, "dbeta": right["dbeta"]}, clause="BN-BWD-11",
             provenance={"source": "BN-BWD-11", "computed": "by definition"})
    for dialect in DIALECTS[1:]:
        slug = dialect.replace("/", ".")
        none = make_case(dtype, (0, 2), [], dialect=dialect, running_mean=[3, -1], running_var=[2, "0.5"])
        if dialect == "pytorch/native_batch_norm":
            bank.add(file, f"empty-{slug}", "n = 0 in training: this entry point refuses it", ["empty", "refusal"], none,
                     outcome="refused", clause="BN-FWD-11")
        else:
            kept = {"y": [], "running_mean": as_hex(rounded([3, -1], dtype)), "running_var": as_hex(rounded([2, "0.5"], dtype))}
            bank.add(file, f"empty-{slug}", "n = 0 in training: an empty y, the running statistics stay", ["empty"], none, "valid", kept,
                     clause="BN-FWD-11", provenance={"source": "BN-FWD-11", "computed": "by definition"})
            bank.add(file, f"empty-{slug}-nan", "0/0 goes into the running statistics", ["empty"], none, "invalid",
                     dict(kept, running_mean=["nan"] * 2), clause="BN-FWD-11",
                     provenance={"source": "pytorch/pytorch#12013", "computed": "0/0"})
        unseen = make_case(dtype, (0, 2), [], dialect=dialect, training=False, running_mean=[3, -1], running_var=[2, "0.5"])
        bank.add(file, f"empty-inference-{slug}", "n = 0 in inference: an empty y", ["empty", "inference"], unseen, "valid", {"y": []},
                 clause="BN-INF-3", provenance={"source": "BN-INF-3", "computed": "by definition"})
    nothing = make_gradient_case("backward-training", dtype, (0, 2), [], [], gamma=[1, 1])
    bank.add(file, "empty-backward", "n = 0: dgamma = dbeta = 0, dx has no element", ["empty", "gradient"], nothing, "acceptable",
             {"dx": [], "dgamma": as_hex(rounded([0, 0], dtype)), "dbeta": as_hex(rounded([0, 0], dtype))}, clause="BN-BWD-12",
             provenance={"source": "BN-BWD-12", "computed": "by definition"})


def main():
    bank = Bank()
    for dtype in WIDE:
        for group in (worked_examples, semantics, statistics, ties, special, backward, double_backward, non_finite):
            group(bank, dtype)
    for dtype in ("f16", "bf16"):
        half(bank, dtype)
    for file, count in bank.write().items():
        print(f"{file}.json: {count} vectors")


if __name__ == "__main__":
    main()
