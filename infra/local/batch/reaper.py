"""The process that clears up after a server that is gone, however it went: `python reaper.py FOLDER`, see process.py.

It reads `+PID` and `-PID` lines, a process group that began and one that is over, until its input ends or it has
another parent: then it kills the groups that are left, and deletes FOLDER, where they ran. PR_SET_PDEATHSIG would reach
only the job's first process, and fires when the thread that started it ends. Standard library only, and nothing of
ours: it must start in no time.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

_LOOK_S = 0.5  # between two looks at who the parent is: a fork of the server may hold the pipe open


def main() -> None:
    groups: set[int] = set()
    server, buffered = os.getppid(), b""
    while os.getppid() == server:
        if not select.select([sys.stdin.fileno()], [], [], _LOOK_S)[0]:
            continue
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            break
        *lines, buffered = (buffered + data).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
