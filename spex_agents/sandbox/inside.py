"""Runs behind the wall: sets the caps and the filter, starts the program, and waits for it.

It is the first process of its namespace, which signals treat like no other and which has to wait
for orphans; the program is its child. What it writes to its file of status is all that the host
believes.
"""

import ctypes
import os
import resource
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


def cap(cpu: int, memory: int, processes: int, size: int, files: int) -> None:
    caps = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: size,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: files,
    }
    if processes:
        caps[resource.RLIMIT_NPROC] = processes
    for which, value in caps.items():
        hard = resource.getrlimit(which)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        above = which == resource.RLIMIT_CPU and most != hard  # SIGXCPU comes before SIGKILL
        resource.setrlimit(which, (most, most + above))


def restrict(steps: bytes) -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    code = ctypes.create_string_buffer(steps)
    whole = ctypes.create_string_buffer(struct.pack("HP", len(steps) // 8, ctypes.addressof(code)))
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(whole), 0, 0
    ):
        sys.exit("the kernel takes no filter of system calls")


def main() -> None:
    status, refused, *numbers = sys.argv[1:8]
    command = sys.argv[8:]
    cap(*map(int, numbers))
    os.nice(10)
    if refused:
        restrict(bytes.fromhex(refused))
    told = int(status)
    os.set_inheritable(told, False)  # the program's process loses it where its program begins
    os.write(told, b"begun\n")
    if (program := os.fork()) == 0:
        try:
            os.execvp(command[0], command)  # noqa: S606 (what this is for)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    while (ended := os.wait())[0] != program:
        pass
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
    os._exit(0)


if __name__ == "__main__":
    main()
