"""What of the kernel a walled program may not even ask: a filter of system calls.

No capability and no namespace keeps a program from calls whose code has often let programs out:
these are refused, as is all that only an administrator needs. libseccomp knows their numbers on
each architecture. Calls by another architecture's numbers (i386 and x32 on x86_64, arm on aarch64)
end the process. Sources: seccomp(2), and the lists of bubblewrap's and of containers' profiles.
"""

from __future__ import annotations

import errno
import platform
import tempfile
from functools import cache

from spex_agents.errors import SettingsError

_REFUSED = """
acct add_key adjtimex afs_syscall bpf chroot clock_adjtime clock_adjtime64 clock_settime
clock_settime64 create_module delete_module fanotify_init fanotify_mark finit_module fsconfig
fsmount fsopen fspick get_kernel_syms get_mempolicy init_module io_cancel io_destroy io_getevents
io_pgetevents io_pgetevents_time64 io_setup io_submit io_uring_enter io_uring_register
io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount move_pages name_to_handle_at
nfsservctl open_by_handle_at open_tree perf_event_open personality pidfd_getfd pivot_root
process_madvise process_mrelease process_vm_readv process_vm_writev ptrace query_module quotactl
quotactl_fd reboot request_key rtas s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
set_mempolicy setdomainname sethostname setns settimeofday stime subpage_prot swapoff swapon
switch_endian sys_debug_setcontext syslog umount umount2 unshare uselib userfaultfd vhangup vm86
vm86old vmsplice
"""
_NUMBERED = (467,)
"""open_tree_attr, which libseccomp does not know yet; new calls have one number everywhere."""

_HOARDS = "memfd_create mq_open msgget shmget"
"""Memory that no process's limits count: refused where no control group counts it."""

_FAMILIES = (1, 2, 10)
"""Of sockets: local, IPv4 and IPv6, which lead nowhere; others are not all kept apart."""
_NAMESPACES = 0x7E020000
"""All flags of clone that make namespaces."""


@cache
def refusals(*, hoards: bool = True) -> bytes:
    """The filter, as the kernel takes it: eight bytes an instruction.

    Args:
        hoards: Whether to allow memory that belongs to no process; for runs that a control group
            counts.

    Raises:
        SettingsError: libseccomp is missing, or does not know this architecture.

    Example:
        >>> len(refusals()) % 8
        0
    """
    try:
        import pyseccomp as seccomp  # noqa: PLC0415 (looks for libseccomp)

        calls = seccomp.SyscallFilter(seccomp.ALLOW)
    except (ImportError, OSError, RuntimeError) as error:
        raise SettingsError(
            f"libseccomp is not to be had here ({error}): install it (Debian: libseccomp2), or, "
            "for programs that you trust only, choose isolation='none'"
        ) from error
    calls.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    refuse, argument = seccomp.ERRNO(errno.EPERM), seccomp.Arg
    names = [name for name in _REFUSED.split() if _known(seccomp, name)]
    names += [] if hoards else [name for name in _HOARDS.split() if _known(seccomp, name)]
    for call in (*names, *_NUMBERED):
        calls.add_rule(refuse, call)
    calls.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # hides its flags; all fall back to clone
    flags = 1 if platform.machine().startswith("s390") else 0  # which argument of clone
    for bit in (1 << number for number in range(32)):
        if _NAMESPACES & bit:
            calls.add_rule(refuse, "clone", argument(flags, seccomp.MASKED_EQ, bit, bit))
    first, *_, last = _FAMILIES
    calls.add_rule(refuse, "socket", argument(0, seccomp.LT, first))
    calls.add_rule(refuse, "socket", argument(0, seccomp.GT, last))
    for family in set(range(first, last)) - set(_FAMILIES):
        calls.add_rule(refuse, "socket", argument(0, seccomp.EQ, family))
    with tempfile.TemporaryFile() as file:
        calls.export_bpf(file)
        file.seek(0)
        return file.read()


def _known(seccomp: object, name: str) -> bool:
    number = seccomp.resolve_syscall(seccomp.system_arch(), name)  # type: ignore[attr-defined]
    return bool(number != -1)
