"""Jobs that start in a fifth of a second: a server that has Dagster and the toy assets imported and forks for each job.

The job is still a process of its own with its own environment and exit code; what Batch sees is a small client that
passes signals on and dies with it. Real starts (`python -m batch_step.worker`) have tests of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from tests.batch_step.runs import execute_run, reconstructable

CLIENT = """
import array, json, os, signal, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
message = json.dumps({"argv": sys.argv[2:], "env": dict(os.environ)}).encode()
s.sendmsg([len(message).to_bytes(4, "big") + message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))])
signal.signal(signal.SIGTERM, lambda *_: s.sendall(b"T"))
code = s.recv(1)
os._exit(code[0] if code else 137)
"""


RUN = "--execute-run"  # before a folder of an instance, a run's id, and "start" or "resume"


def serve(address: str) -> None:
    """Runs until its standard input closes."""
    import dagster as dg

    for name in ("remote", "remote_by_process"):
        reconstructable(name).get_definition()
    with dg.DagsterInstance.ephemeral():
        pass  # its first one costs a second and a half
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(64)
    print("ready", flush=True)
    jobs: dict[int, socket.socket] = {}  # by process id
    while True:
        readable, _, _ = select.select([sys.stdin, server, *jobs.values()], [], [], 0.02)
        if sys.stdin in readable:
            break
        if server in readable:
            connection, _ = server.accept()
            pid = _fork(connection, server, jobs)
            jobs[pid] = connection
        for pid, connection in list(jobs.items()):
            if connection in readable:
                told = connection.recv(1)
                os.kill(pid, signal.SIGTERM if told else signal.SIGKILL)  # nothing: the client was killed
                if not told:
                    os.waitpid(pid, 0)
                    jobs.pop(pid).close()
                    continue
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(BrokenPipeError):  # the client was killed at the same moment
                    connection.sendall(bytes([code if code >= 0 else 128 - code]))
                jobs.pop(pid).close()
    for pid in jobs:
        os.kill(pid, signal.SIGKILL)


def _fork(connection: socket.socket, server: socket.socket, jobs: dict[int, socket.socket]) -> int:
    head, fds, _, _ = socket.recv_fds(connection, 4, 1)
    length, body = int.from_bytes(head, "big"), b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    message = json.loads(body)
    pid = os.fork()
    if pid:
        os.close(fds[0])
        return pid
    code = 1
    try:
        for inherited in [server, connection, *jobs.values()]:
            inherited.close()
        os.setsid()
        os.dup2(fds[0], 1)
        os.dup2(fds[0], 2)
        os.environ.clear()
        os.environ.update(message["env"])
        from batch_step import worker

        worker._PROCESS_STARTED = __import__("time").time()
        code = execute_run(*message["argv"][1:]) if message["argv"][0] == RUN else worker.main(message["argv"])
    except BaseException:  # noqa: BLE001 - the top of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(address: Path) -> list[str]:
    """The worker command that starts jobs here."""
    return [sys.executable, "-I", "-S", "-c", CLIENT, str(address)]


if __name__ == "__main__":
    serve(sys.argv[1])
