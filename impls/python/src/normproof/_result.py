"""What a trial found, as an object: for a test, a terminal and a notebook. The numbers are the report's."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    status: str
    clause: str
    output: str
    channel: int
    element: int
    got: str
    want: str
    ulps: float
    ratio: float  # measured / permitted
    note: str
    diagnosis: str
    recipe: str
    replay: str  # the Python line that shows it again

    def __str__(self) -> str:
        lines = [
            f"{self.status} {self.clause} {self.output}, channel {self.channel}, element {self.element}: {self.note}",
            f"    got {self.got}, want {self.want}; {self.ulps:.4g} ulps off, {self.ratio:.4g} times what is permitted",
        ]
        if self.diagnosis:
            lines.append(f"    probably: {self.diagnosis}")
        return "\n".join([*lines, f"    {self.replay}"])


@dataclass(frozen=True)
class Result:
    name: str
    verdict: str  # PASS, FAIL or INCONCLUSIVE
    grade: str
    cases: int
    statuses: dict[str, int]  # judgements by status, without zeros
    skips: dict[str, int]  # reason -> cases
    failures: list[Failure]
    grades: dict[str, str]  # "forward-training f32 contiguous y" -> the best grade met
    tracebacks: list[str]  # of exceptions in the callable, the first few
    report: dict = field(repr=False)  # spec/schema/report-1.json

    @property
    def passed(self) -> bool:
        return self.verdict == "PASS"

    def __bool__(self) -> bool:
        return self.passed

    def _summary(self) -> str:
        counts = ", ".join(f"{count:,} {status}" for status, count in self.statuses.items())
        return (
            f"{self.verdict} {self.name} at grade {self.grade}: {counts or 'nothing judged'}, on {self.cases:,} cases"
        )

    def __str__(self) -> str:
        lines = [self._summary()]
        lines += [f"  {count} cases not run: {reason}" for reason, count in self.skips.items()]
        lines += ["  " + str(failure).replace("\n", "\n  ") for failure in self.failures[:4]]
        if len(self.failures) > 4:
            lines.append(f"  and {len(self.failures) - 4} more in .failures")
        lines += ["  best grade met, " + key + ": " + grade for key, grade in self.grades.items()]
        if self.tracebacks:
            lines += ["", self.tracebacks[0].rstrip()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        colour = {"PASS": "#1a7f37", "FAIL": "#cf222e"}.get(self.verdict, "#9a6700")
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
            for cells in (
                (
                    f.status,
                    f.clause,
                    f.output,
                    f.got,
                    f.want,
                    f"{f.ulps:.4g}",
                    f"{f.ratio:.4g}",
                    f.diagnosis or f.note,
                    f.replay,
                )
                for f in self.failures[:12]
            )
        )
        head = "".join(
            f"<th>{word}</th>"
            for word in ("status", "clause", "output", "got", "want", "ulps", "of permitted", "what it is", "again")
        )
        table = f"<table><tr>{head}</tr>{rows}</table>" if rows else ""
        skips = "".join(
            f"<li>{count} cases not run: {html.escape(reason)}</li>" for reason, count in self.skips.items()
        )
        summary = html.escape(self._summary())
        word = html.escape(self.verdict)
        bold = f"<b style='color:{colour}'>{word}</b>"
        return f"<p>{summary.replace(word, bold, 1)}</p>{table}<ul>{skips}</ul>"


def from_report(report: dict, tracebacks: list[str], again) -> Result:
    """`again(recipe)` is the Python line that shows a case again."""
    (kernel,) = report["kernels"]
    failures = [
        Failure(
            status=f["status"], clause=f["clause"], output=f["output"], channel=f["channel"], element=f["element"],
            got=f["got"]["decimal"], want=f["want"]["decimal"], ulps=float(f["ulps"]), ratio=float(f["ratio"]),
            note=f.get("note", ""), diagnosis=f.get("diagnosis", ""), recipe=f["origin"], replay=again(f["origin"]),
        )
        for f in kernel["failures"]
    ]  # fmt: skip
    grades = {}
    for key in kernel["keys"]:
        for met in key.get("grades", ()):
            name = f"{key['pass']} {key['dtype']} {key['layout']} {met['output']}"
            grades[name] = met.get("best") or "none"
    gate = report["gate"]
    return Result(
        name=kernel["name"],
        verdict=kernel["verdict"],
        grade=gate["grade"] if isinstance(gate, dict) else str(gate),
        cases=kernel["cases"],
        statuses={status: count for status, count in kernel["counts"].items() if count},
        skips={skip["reason"]: skip["cases"] for skip in kernel["skips"]},
        failures=failures,
        grades=grades,
        tracebacks=tracebacks,
        report=report,
    )


def read(path) -> dict:
    with open(path, encoding="utf-8") as file:
        return json.load(file)
