#!/usr/bin/env python3
"""Renders dialects.json as dialects.md. Standard library only; the same input gives the same bytes.

`render_dialects.py` writes dialects.md; `render_dialects.py --check` changes nothing and fails where it is out of date. Every cell's
value must be one that its knob lists; "<number>" stands for any number.
"""
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def checked(table):
    """The knobs and dialects, or a ValueError that names the offending cell."""
    if table.get("normproof_dialects") != 1:
        raise ValueError('dialects.json: "normproof_dialects" must be 1')
    knobs, dialects = table["knobs"], table["dialects"]
    ids = [knob["id"] for knob in knobs]
    for dialect in dialects:
        where = f'dialects.json: dialect "{dialect["name"]}"'
        if list(dialect["cells"]) != ids:
            raise ValueError(f"{where}: its cells must be {', '.join(ids)} in this order")
        for knob in knobs:
            cell = dialect["cells"][knob["id"]]
            if not cell["source"]:
                raise ValueError(f'{where}, {knob["id"]}: a cell needs a source')
            if cell["value"] not in knob["values"] and not ("<number>" in knob["values"] and is_number(cell["value"])):
                raise ValueError(f'{where}, {knob["id"]}: "{cell["value"]}" is none of {", ".join(knob["values"])}')
    return knobs, dialects


def row(cells):
    return "| " + " | ".join(cells) + " |"


def render(table):
    knobs, dialects = checked(table)
    out = ["# Dialects", "", "Written by `render_dialects.py` from `dialects.json`; edit that file. What the values mean for a kernel: "
           "`batch_norm.md`.", ""]
    for dialect in dialects:
        out.append(f"- `{dialect['name']}`: {dialect['summary']}")
    out += ["", "`pytorch` alone means `pytorch/native_batch_norm`. n/a: the dialect has no such thing. either: implementation-defined.", "",
            "## Values", "", row([""] + [f"`{dialect['name']}`" for dialect in dialects]), row(["---"] * (len(dialects) + 1))]
    for knob in knobs:
        out.append(row([knob["id"]] + [dialect["cells"][knob["id"]]["value"] for dialect in dialects]))
    out += ["", "## Knobs", "", row(["knob", "meaning", "values"]), row(["---"] * 3)]
    for knob in knobs:
        out.append(row([knob["id"], knob["meaning"], ", ".join(knob["values"]).replace("<number>", "a number")]))
    out += ["", "## Sources"]
    for dialect in dialects:
        out += ["", f"### {dialect['name']}", "", row(["knob", "value", "source"]), row(["---"] * 3)]
        for knob in knobs:
            cell = dialect["cells"][knob["id"]]
            out.append(row([knob["id"], cell["value"], cell["source"]]))
    return "\n".join(out) + "\n"


def main(arguments):
    text = render(json.loads((HERE / "dialects.json").read_text(encoding="utf-8")))
    page = HERE / "dialects.md"
    if arguments == ["--check"]:
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            sys.exit("spec/dialects.md is not what dialects.json renders to: run spec/render_dialects.py")
    elif arguments:
        sys.exit(f"unknown argument {arguments[0]}: --check, or none")
    else:
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
