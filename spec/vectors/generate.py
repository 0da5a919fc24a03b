#!/usr/bin/env python3
"""Writes the vectors of this folder. Standard library only; two runs give the same bytes.

Every value is computed exactly: statistics as rationals, y and invstd as b + c / sqrt(s) with rational b, c, s. Rounding
into a format happens once, to nearest, ties to even. A rational root is taken exactly (ties are then real ties); an irrational
value is enclosed by integer square roots until both ends round alike. No floating-point arithmetic takes part.
"""
import json
import math
from fractions import Fraction as Q
from pathlib import Path

FORMATS = {"f32": (24, -126, 127), "f64": (53, -1022, 1023)}
HERE = Path(__file__).resolve().parent
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

def per_channel(shape):
    return math.prod(shape) // shape[1] if shape[1] else 0


def truth(case):
    """Every output of the specification, correctly rounded. Finite inputs, v + eps > 0."""
    dtype, eps, channels = case["dtype"], case["eps"], case["shape"][1]
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
            out["mean"].append(round_rational(mean, dtype))
            out["var"].append(round_rational(var, dtype))
            if "running_mean" in case:
                w = case["momentum"] if case["momentum"] is not None else Q(1, case["num_batches_tracked"] + 1)
                fed = var if case["dialect"] == "documented" or n == 1 else var * n / (n - 1)
                out["running_mean"].append(round_rational((1 - w) * case["running_mean"][k] + w * mean, dtype))
                if n == 1 and case["dialect"] != "documented":
                    out["running_var"].append(Float("nan"))  # 0/0
                else:
                    out["running_var"].append(round_rational((1 - w) * case["running_var"][k] + w * fed, dtype))
        else:
            mean, var = case["running_mean"][k], case["running_var"][k]
        if training:
            out["invstd"].append(round_surd(Q(0), Q(1), var + eps, dtype))
        out["y"] += [round_surd(beta, gamma * (v - mean), var + eps, dtype) for v in x]
    return out


def make_case(dtype, shape, x, *, training=True, dialect="documented", layout="contiguous", eps="0.00001", momentum="0.1",
              tracked=0, **tensors):
    """eps and momentum are rounded to the dtype's own scalar, x and tensors too."""
    case = {"pass": "forward-training" if training else "forward-inference", "dtype": dtype, "shape": list(shape),
            "layout": layout, "dialect": dialect, "eps": f(eps, dtype),
            "momentum": None if momentum is None else f(momentum, dtype), "x": [f(v, dtype) for v in x]}
    for name in ("gamma", "beta", "running_mean", "running_var"):
        if name in tensors:
            case[name] = [f(v, dtype) for v in tensors[name]]
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
}
RATIONAL = "exact rational statistics, integer square roots, one rounding to nearest even (generate.py)"
GENERATED = {"source": "constructed for this suite", "computed": RATIONAL}


def as_json_case(case):
    out = {"normproof_case": 1}
    for key, value in case.items():
        if isinstance(value, Q):
            value = Float(value).hex()
        elif key in ("x", "gamma", "beta", "running_mean", "running_var"):
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
        vector = {"id": f"{ident}/{case['dtype']}", "comment": comment, "flags": sorted(flags), "provenance": provenance,
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


def main():
    bank = Bank()
    for dtype in FORMATS:
        for group in (worked_examples, semantics, statistics, ties, special):
            group(bank, dtype)
    for file, count in bank.write().items():
        print(f"{file}.json: {count} vectors")


if __name__ == "__main__":
    main()
