"""Finding the program `normproof` and the library that lets it call Python, and running both.

Looked for in this order: NORMPROOF_HOME (a build folder or an installation prefix), what the installation of
this package remembered, the build folder beside these sources, PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


class Error(Exception):
    """A mistake in the call, or something could not be found, read or run. The text is one sentence."""


def _homes():
    if os.environ.get("NORMPROOF_HOME"):
        yield Path(os.environ["NORMPROOF_HOME"])
        return
    try:
        from normproof._home import home

        yield Path(home)
    except ImportError:
        pass
    yield Path(__file__).resolve().parents[4] / "build" / "release"
    program = shutil.which("normproof")
    if program:
        yield Path(program).resolve().parents[1]


def program() -> Path:
    tried = []
    for home in _homes():
        path = home / "bin" / "normproof"
        if path.is_file():
            return path
        tried.append(str(path))
    raise Error(
        "the program 'normproof' is not to be found: build it with ci/setup, or let NORMPROOF_HOME name a build "
        f"folder or an installation prefix (looked for {', '.join(tried) or 'it in PATH'})"
    )


def bridge() -> Path:
    home = program().parents[1]
    for folder in ("lib", "lib/normproof", "lib64/normproof", *sorted(_triplets(home))):
        path = home / folder / "libnormproof_python.so"
        if path.is_file():
            return path
    raise Error(f"{home} has no libnormproof_python.so, by which the program calls Python")


def _triplets(home: Path):
    return (str(path.relative_to(home)) for path in home.glob("lib/*/normproof"))


def run(arguments: list[str]) -> None:
    """Runs the program to its end; what it says of a mistake is the text of an Error."""
    ended = subprocess.run([str(program()), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ended.returncode:
        raise Error(ended.stderr.strip().removeprefix("normproof: ") or f"normproof ended with {ended.returncode}")
