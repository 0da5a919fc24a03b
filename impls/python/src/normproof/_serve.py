"""The Python side of the bridge (bridge.c): runs the program, and answers what its worker asks.

The callable runs here, in the thread that called check(); the program and its worker are processes of their
own, and the exact answer never leaves the program. With isolate=True it runs in a forked child instead: a
crash is then a verdict, and so is a call that does not end. A fork is not for processes with a CUDA context or
running threads of JAX.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import traceback
from pathlib import Path

import numpy as np

from normproof import _formats
from normproof._callable import FAILED, OK, Callable, Problem, Refusal, inputs, outputs
from normproof._program import program

kept_tracebacks = 5


class Server:
    def __init__(self, kernel: Callable):
        self.kernel = kernel
        self.tracebacks: list[str] = []

    def answer(self, stream) -> bool:
        """One question of the worker; False at the end of the connection."""
        line = stream.readline()
        if not line:
            return False
        kind, *words = line.decode().split()
        told = dict(word.split("=", 1) for word in words)
        payload = stream.read(int(told["bytes"]))
        text, named, changed, claims = "", {}, {}, {}
        promised = ()
        status = OK
        try:
            problem = Problem.parse(told)
            promised = self.kernel.outputs_of(problem)
            claims = self.kernel.claims_of(problem)
            if kind == "run":
                named, changed = self.kernel.call(problem, _split(payload, problem, told["given"]))
                wanted = int(told["wanted"])
                named = {name: named[name] for name in promised if wanted >> outputs.index(name) & 1 and name in named}
        except Refusal as refusal:
            status, text = refusal.status, str(refusal)
        except Exception as error:
            status, text = FAILED, f"{type(error).__name__}: {error}"
            self._keep(traceback.format_exc())
        if status != OK:
            named, changed = {}, {}
        said = text.splitlines()[0].encode()[:400] if text else b""
        written = [named[name] for name in outputs if name in named] + [
            changed[name] for name in inputs if name in changed
        ]
        data = b"".join(np.ascontiguousarray(values).tobytes() for values in written)
        mask = _mask(outputs, promised if kind == "query" else named)
        head = (
            f"{status} {mask} {_mask(inputs, changed)} {claims.get('accumulator_bits', 0)} {claims.get('reduction_depth', 0)} "
            f"{claims.get('variance_family', 0)} {claims.get('affine_form', 0)} {int(claims.get('deterministic', False))} "
            f"{len(data)} {len(said)}\n"
        )
        stream.write(head.encode() + said + data)
        stream.flush()
        return True

    def _keep(self, text: str) -> None:
        if text not in self.tracebacks and len(self.tracebacks) < kept_tracebacks:
            self.tracebacks.append(text)


def _split(payload: bytes, problem: Problem, given: str) -> dict[str, np.ndarray]:
    out, at = {}, 0
    for name in given.split(","):
        if name:
            dtype = _formats.bits[problem.form(name)]
            count = int(np.prod(problem.shape_of(name), dtype=np.int64))
            out[name] = np.frombuffer(payload, dtype, count, at).reshape(problem.shape_of(name))
            at += count * dtype.itemsize
    return out


def _mask(names, present) -> int:
    return sum(1 << i for i, name in enumerate(names) if name in present)


def trial(kernel: Callable, name: str, version: str, command: list[str], isolate: bool):
    """Runs the program with the callable as the kernel of bridge(); (exit code, stderr, tracebacks)."""
    server = Server(kernel)
    with tempfile.TemporaryDirectory(prefix="normproof-") as folder:
        path = str(Path(folder) / "socket")
        with socket.socket(socket.AF_UNIX) as listener, open(Path(folder) / "err", "w+") as said:
            listener.bind(path)
            listener.listen()
            environment = {
                **os.environ,
                "NORMPROOF_PYTHON_SOCKET": path,
                "NORMPROOF_PYTHON_NAME": name,
                "NORMPROOF_PYTHON_VERSION": version,
            }
            process = subprocess.Popen(
                [str(program()), *command],
                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
            try:
                _loop(server, listener, process, isolate)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            said.seek(0)
            return process.returncode, said.read().strip(), server.tracebacks


def _loop(server: Server, listener: socket.socket, process: subprocess.Popen, isolate: bool) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    connections: dict[int, tuple] = {}  # descriptor -> (socket, stream or the child's id)

    def close(descriptor: int) -> None:
        connection, other = connections.pop(descriptor)
        poll.unregister(descriptor)
        if isolate:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
        else:
            other.close()
        connection.close()

    try:
        while process.poll() is None:
            for descriptor, events in poll.poll(50):
                if descriptor != listener.fileno():
                    if isolate or not _answered(server, connections[descriptor][1]):
                        close(descriptor)
                    continue
                connection, _ = listener.accept()
                if isolate:
                    child = _fork(server, connection, [listener, *(c for c, _ in connections.values())])
                    connections[connection.fileno()] = (connection, child)
                    poll.register(connection, select.POLLRDHUP)  # the rest is the child's business
                else:
                    connections[connection.fileno()] = (connection, connection.makefile("rwb"))
                    poll.register(connection, select.POLLIN)
            if isolate:
                for descriptor, (_, child) in list(connections.items()):
                    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                        connections[descriptor][0].shutdown(socket.SHUT_RDWR)  # the worker learns of it at once
                        close(descriptor)
    finally:
        for descriptor in list(connections):
            close(descriptor)


def _answered(server: Server, stream) -> bool:
    try:
        return server.answer(stream)
    except (BrokenPipeError, ConnectionResetError):  # the worker was ended, by a time limit for example
        return False


def _fork(server: Server, connection: socket.socket, others) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for other in others:
            other.close()
        stream = connection.makefile("rwb")
        while _answered(server, stream):
            pass
        status = 0
    finally:
        os._exit(status)
