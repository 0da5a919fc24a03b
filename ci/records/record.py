#!/usr/bin/env python3
"""Records of runs on a device: asks for the device, puts a record together, shows records as a table.

usage: record.py device                      JSON of the first device; exit status 4 and the reason without one
       record.py assemble FOLDER             the steps in FOLDER (ci/gpu-record) as one record on stdout
       record.py table [RECORD.json...]      records as Markdown (default: all beside this file)

What a record holds: README.md beside this file.
"""

import ctypes
import glob
import json
import os
import sys

STEPS = ("build", "check", "sanitizer", "mutants", "bench")


class NoDevice(Exception):
    pass


def device():
    """Name, memory and driver by the driver itself: what the worker will see."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise NoDevice(f"no CUDA driver: {error}") from error

    def call(name, *arguments):
        result = getattr(driver, name)(*arguments)
        if result != 0:
            text = ctypes.c_char_p()
            driver.cuGetErrorString(result, ctypes.byref(text))
            raise NoDevice(f"{name}: {(text.value or b'error %d' % result).decode()}")

    count, handle, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    call("cuInit", 0)
    call("cuDeviceGetCount", ctypes.byref(count))
    if count.value == 0:
        raise NoDevice("the CUDA driver sees no device")
    call("cuDeviceGet", ctypes.byref(handle), 0)
    name = ctypes.create_string_buffer(256)
    call("cuDeviceGetName", name, 256, handle)
    call("cuDriverGetVersion", ctypes.byref(version))
    found = {"name": name.value.decode(), "cuda": f"{version.value // 1000}.{version.value % 1000 // 10}"}
    attributes = {}
    for key, number in (("multiprocessors", 16), ("major", 75), ("minor", 76)):
        value = ctypes.c_int()
        if hasattr(driver, "cuDeviceGetAttribute"):
            call("cuDeviceGetAttribute", ctypes.byref(value), number, handle)
            attributes[key] = value.value
    if attributes:
        found["multiprocessors"] = attributes["multiprocessors"]
        found["compute_capability"] = f"{attributes['major']}.{attributes['minor']}"
    try:
        with open("/proc/driver/nvidia/version") as text:
            found["driver"] = text.readline().strip()
    except OSError:
        found["driver"] = "unknown: no /proc/driver/nvidia/version"
    return found


def read(path, absent=None):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return absent


def kernel_row(kernel):
    """Of a report (spec/schema/report-1.json): verdict, what it rests on, what was skipped and why, what failed."""
    row = {key: kernel[key] for key in ("name", "library", "library_version", "verdict", "cases", "judgements")}
    row["counts"] = {status: n for status, n in kernel["counts"].items() if n}
    row["skips"] = kernel["skips"]
    row["failures"] = [{key: f[key] for key in ("status", "clause", "output", "ratio", "note", "origin")}
                       for f in kernel["failures"][:5]]
    worst = {}
    for line in kernel["accuracy"]:
        of = worst.setdefault(f"{line['output']} {line['dtype']}", {"max_ulps": 0, "elements": 0})
        of["elements"] += line["elements"]
        if isinstance(line["max_cond"], (int, float)):
            of["max_ulps"] = max(of["max_ulps"], line["max_cond"])
    row["accuracy"] = worst
    return row


def assemble(folder):
    record = {"normproof_record": 1}
    record.update(read(os.path.join(folder, "about.json"), {}))
    for step in STEPS:
        entry = read(os.path.join(folder, f"{step}.json"), {"status": "not run", "reason": "it was not asked for"})
        for report in sorted(glob.glob(os.path.join(folder, f"{step}-*.report.json"))):
            found = read(report)
            name = os.path.basename(report)[len(step) + 1:-len(".report.json")]
            entry.setdefault("trials", {})[name] = {
                "command": found["command"], "exit": found["exit"], "gate": found["gate"], "profile": found["profile"],
                "seed": found["seed"], "cases_tried": found["cases_tried"], "seconds": found["timings"]["seconds"],
                "kernels": [kernel_row(kernel) for kernel in found["kernels"]]}
        lines = os.path.join(folder, f"{step}-rows.jsonl")
        if os.path.exists(lines):
            with open(lines) as file:  # a line that was cut short has no end
                entry["rows"] = [json.loads(line) for line in file if line.endswith("}\n")]
        record[step] = entry
    return record


def table(paths):
    for path in paths:
        record = read(path)
        here = record.get("device", {})
        print(f"### {here.get('name', 'no device')}, {record.get('date', 'no date')}\n")
        print(f"CUDA {here.get('cuda', '?')}, {here.get('driver', '?')}; commit {record.get('commit', '?')}; "
              + ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items()) + "\n")
        print("| kernel | verdict | cases | judgements | not passed |\n|---|---|--:|--:|---|")
        for step in ("check", "mutants"):
            entry = record[step]
            if entry["status"] != "run":
                print(f"| ({step}) | {entry['status']}: {entry['reason']} | | | |")
            for trial in entry.get("trials", {}).values():
                for kernel in trial["kernels"]:
                    bad = ", ".join(f"{n} {status}" for status, n in kernel["counts"].items() if status != "PASS")
                    print(f"| {kernel['name']} | {kernel['verdict']} | {kernel['cases']:,} | {kernel['judgements']:,} | "
                          f"{bad} |")
        print("\n| compute-sanitizer | kernels | outcome |\n|---|---|---|")
        entry = record["sanitizer"]
        if entry["status"] != "run":
            print(f"| | | {entry['status']}: {entry['reason']} |")
        for row in entry.get("rows", []):
            print(f"| {row['tool']} | {row['kernels']} | {row['outcome']} |")
        print("\n| kernel | pass | format | layout | ms | GB/s | of a copy |\n|---|---|---|---|--:|--:|--:|")
        entry = record["bench"]
        if entry["status"] != "run":
            print(f"| {entry['status']}: {entry['reason']} | | | | | | |")
        for row in entry.get("rows", []):
            if row["kernel"] == "copy":
                print(f"| (a copy on the device) | | | | | {row['gigabytes_per_second']:.0f} | 1 |")
            elif "not_run" in row:
                print(f"| {row['kernel']} | not run: {row['not_run']} | | | | | |")
            else:
                mean = f", mean {row['mean']:g} deviations" if row.get("mean", 0) > 1 else ""
                print(f"| {row['kernel']}{mean} | {row['pass']} | {row['dtype']} | {row['layout']} | "
                      f"{row['milliseconds']:.3f} | {row['gigabytes_per_second']:.0f} | {row['of_copy']:.2f} |")
        compared = [row for row in entry.get("rows", []) if "compared_bytes" in row]
        if compared:
            print(f"\nThe device oracle's results beside the host's: {sum(r['differing_bytes'] for r in compared):,} of "
                  f"{sum(r['compared_bytes'] for r in compared):,} bytes differ.")
        print()


def main(arguments):
    match arguments:
        case ["device"]:
            try:
                print(json.dumps(device()))
            except NoDevice as reason:
                print(reason, file=sys.stderr)
                return 4
        case ["assemble", folder]:
            print(json.dumps(assemble(folder), indent=1))
        case ["table", *paths]:
            beside = sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "*.json")))
            if not (paths or beside):
                print("No record yet: nothing was run on a device.")
            table(paths or beside)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
