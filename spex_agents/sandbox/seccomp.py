"""What of the kernel a walled program may not even ask: a filter of system calls.

No capability and no namespace keeps a program from calls whose code has often let programs out:
these are refused, as is all that only an administrator needs. Sources: seccomp(2), and the lists of
bubblewrap's and of containers' usual profiles.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache
from typing import NamedTuple

_MACHINES = ("x86_64", "aarch64")

_REFUSED = """
bpf 321 280
perf_event_open 298 241
userfaultfd 323 282
io_uring_setup 425 425
io_uring_enter 426 426
io_uring_register 427 427
add_key 248 217
request_key 249 218
keyctl 250 219
ptrace 101 117
process_vm_readv 310 270
process_vm_writev 311 271
kcmp 312 272
pidfd_getfd 438 438
modify_ldt 154 -
personality 135 92
unshare 272 97
setns 308 268
chroot 161 51
pivot_root 155 41
mount 165 40
umount2 166 39
open_tree 428 428
move_mount 429 429
fsopen 430 430
fsconfig 431 431
fsmount 432 432
fspick 433 433
mount_setattr 442 442
name_to_handle_at 303 264
open_by_handle_at 304 265
init_module 175 105
finit_module 313 273
delete_module 176 106
kexec_load 246 104
kexec_file_load 320 294
reboot 169 142
swapon 167 224
syslog 103 116
acct 163 89
quotactl 179 60
"""
"""System calls, with their numbers on these machines."""

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_FAMILIES = (1, 2, 10)
"""Of sockets: local, IPv4 and IPv6, which lead nowhere; others are not all kept apart."""
_OTHER_ABI = 0x40000000  # x86_64 knows its calls by a second row of numbers

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ABI, _FIRST_ARGUMENT = 0, 4, 16  # where seccomp's data has them
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000


@cache
def refusals(machine: str = platform.machine()) -> bytes:
    """The filter, as the kernel takes it; empty on a machine whose numbers are not known here.

    Example:
        >>> len(refusals("x86_64")) % 8, refusals("vax")
        (0, b'')
    """
    if machine not in _MACHINES:
        return b""
    column = 1 + _MACHINES.index(machine)
    numbers = [row.split()[column] for row in _REFUSED.strip().splitlines()]
    steps = [
        _Step(_LOAD, _ABI),
        _Step(_EQUAL, _ARCHITECTURE[machine], no="kill"),
        _Step(_LOAD, _NUMBER),
        _Step(_AT_LEAST, _OTHER_ABI, yes="refuse"),
        *(_Step(_EQUAL, int(number), yes="refuse") for number in numbers if number != "-"),
        _Step(_EQUAL, _SOCKET[machine], no="allow"),
        _Step(_LOAD, _FIRST_ARGUMENT),
        *(_Step(_EQUAL, family, yes="allow") for family in _FAMILIES),
    ]
    ends = {"refuse": _REFUSE, "allow": _ALLOW, "kill": _KILL}
    place = {name: len(steps) + at for at, name in enumerate(ends)}
    code = b""
    for at, step in enumerate(steps):
        yes, no = (place[to] - at - 1 if to else 0 for to in (step.yes, step.no))
        code += struct.pack("HBBI", step.code, yes, no, step.value)
    return code + b"".join(struct.pack("HBBI", _RETURN, 0, 0, value) for value in ends.values())


class _Step(NamedTuple):
    """One instruction; `yes` and `no` name the end to jump to, or nothing for the next one."""

    code: int
    value: int
    yes: str = ""
    no: str = ""
