"""The fence around a process that runs what a learner wrote: it sees the libraries and the workbook's data.

Where Linux lets us, the kernel keeps the fence: a file system of its own, which holds what may be read, and
one folder in memory, which may be written; no network; no sight of other processes, and all that the process
started dies with it; no privileges. Besides, everywhere, limits (of memory, time, files, processes) and an
audit hook that refuses what an answer does not need: other files, other programs, connections, signals, C.

Without the kernel's part (see `nursery.kernel_keeps`) the hook is the whole fence. It stops Python code that
does not set out to defeat it. It cannot stop code that reaches native functions, or the hook's own variables,
past it: that may read and write what the grader's user can, the checks too, and leave a process behind. Grade
the work of strangers where the kernel's part works. Nor are several processes of one answer counted as one:
each may have the memory (the hook refuses to start any).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ftlib import settings

FLAGS = {"user": 1 << 28, "mount": 1 << 17, "network": 1 << 30, "processes": 1 << 29, "ipc": 1 << 27}
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, BIND, WHOLE, PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
MOUNT_SETATTR = 442  # the number of the system call, on every machine
DEATH_SIGNAL, DUMPABLE, NO_NEW_PRIVILEGES = 1, 4, 38  # of prctl
STRANGERS = range(60_000, 65_000)  # users that own nothing; one for each process, whose limits count alone
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
PROCESSES, FILES, FILE_MB, FOLDER_MB = 256, 256, 256, 512  # the folder lies in memory beside the limit
REFUSED = (
    "socket.", "subprocess.", "ctypes.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.kill", "pty.", "signal.pthread_kill", "gc.get_", "resource.prlimit", "os.setxattr", "os.chroot",
)  # fmt: skip
READING = ("os.listdir", "os.scandir", "os.chdir")
WRITING = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown",
    "os.truncate", "os.utime", "sqlite3.connect",
)  # fmt: skip


class Refused(PermissionError):
    """What the audit hook raises in the fenced process."""


def enter(plan: dict) -> None:
    """Builds the fence around this process."""
    os.environ |= {"HOME": plan["folder"], "TMPDIR": plan["folder"]}
    readable = [sys.prefix, sys.base_prefix, str(settings.PACKAGE), str(settings.DATA), *SYSTEM]
    readable = sorted({path for one in readable for path in (one, os.path.realpath(one))}, key=len)
    hidden = [str(settings.PACKAGE / "exercises"), *plan["hidden"]]
    with suppress(OSError):  # where memory runs out all the same, this goes first, not the grader
        Path("/proc/self/oom_score_adj").write_text("1000")
    if plan["kernel"]:
        _isolate(plan["folder"], readable, hidden)
    else:
        die_with_parent(signal.SIGKILL)
    os.chdir(plan["folder"])
    _limit(plan["memory"], plan["seconds"])
    readable += ["/proc/self", f"/proc/{os.getpid()}", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices"]
    sys.addaudithook(_guard(readable, [os.path.realpath(one) for one in hidden], plan["folder"]))


def status_of(process: int) -> int:
    """Waits for a process; the exit status as a shell says it."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return 128 - status if status < 0 else status


def die_with_parent(number: int) -> None:
    """Has this process get a signal when its parent ends."""
    with suppress(AttributeError):  # Linux alone
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, number, 0, 0, 0)


def _limit(memory: int, seconds: int) -> None:
    """Limits of this process and all that it starts. What it maps of files for reading counts for itself."""
    import resource  # Windows has none

    for name, limit in {
        "DATA": memory, "AS": memory + 8 * 10**9, "CPU": seconds, "CORE": 0, "NOFILE": FILES,
        "NPROC": PROCESSES, "FSIZE": FILE_MB * 10**6,
    }.items():  # fmt: skip
        spare = 64 * 10**6 if name == "DATA" else 1 if name == "CPU" else 0
        with suppress(ValueError, OSError, AttributeError):  # below what is there already; not on this system
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit + spare))


def spare_memory() -> None:
    """Lets this process have a little more, to say that it ran out."""
    import resource

    with suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _system(result: int) -> None:
    """Raises the OSError of a call to the C library that failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _isolate(folder: str, readable: list[str], hidden: list[str]) -> None:
    """Goes on as the first process of new namespaces; this one stays outside as its guard."""
    library, (user, group) = ctypes.CDLL(None, use_errno=True), (os.getuid(), os.getgid())
    stranger = STRANGERS[os.getpid() % len(STRANGERS)]
    _system(library.unshare(sum(flag for name, flag in FLAGS.items() if user or name != "user")))
    if user:  # without root's rights, which come with a user namespace
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the guard stands
    child = os.fork()
    if child:
        _stand_guard(child)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _mount(library, folder, readable, hidden)
    os.chroot(folder)
    if user:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        _system(library.capset(header, (ctypes.c_uint32 * 6)()))
    else:
        os.setgroups([])
        os.setresgid(stranger, stranger, stranger)
        os.setresuid(stranger, stranger, stranger)
    for option, value in ((DEATH_SIGNAL, signal.SIGKILL), (DUMPABLE, 1), (NO_NEW_PRIVILEGES, 1)):
        _system(library.prctl(option, value, 0, 0, 0))


def _stand_guard(child: int) -> None:
    """Waits for the fenced process, and passes its status on; ends it on SIGTERM, or without the grader."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    die_with_parent(signal.SIGTERM)
    os.closerange(0, FILES)
    os._exit(status_of(child))


def _mount(library: ctypes.CDLL, folder: str, readable: list[str], hidden: list[str]) -> None:
    """Makes a file system at `folder` of what may be read; at the same path within it one may write."""

    def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        texts = [text.encode() or None for text in (source, target, kind)]
        _system(library.mount(*texts, ctypes.c_ulong(flags), data.encode() or None))

    mount("", "/", "", WHOLE | PRIVATE)
    mount("tmpfs", folder, "tmpfs", NO_SUID | NO_DEVICES, "size=1m,mode=755")
    for path in filter(os.path.exists, readable):
        target = Path(folder + path)
        (target if os.path.isdir(path) else target.parent).mkdir(parents=True, exist_ok=True)
        if not os.path.isdir(path):
            target.touch()
        mount(path, str(target), "", BIND | WHOLE)
    for path in filter(os.path.exists, (folder + one for one in hidden)):
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", NO_SUID | NO_DEVICES, "size=4k,mode=755")
        else:
            mount("/dev/null", path, "", BIND)
    for path in (folder + folder, f"{folder}/proc"):
        Path(path).mkdir(parents=True)
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY | NO_SUID)
    _system(library.syscall(MOUNT_SETATTR, -100, folder.encode(), 0x8000, attributes, 32))
    mount("tmpfs", folder + folder, "tmpfs", NO_SUID | NO_DEVICES, f"size={FOLDER_MB}m,mode=777")
    with suppress(OSError):  # a container may not allow it; then there is none
        mount("proc", f"{folder}/proc", "proc", NO_SUID | NO_DEVICES | NO_PROGRAMS)


def _guard(readable: list[str], hidden: list[str], folder: str) -> Callable:
    """The audit hook. What it uses it holds itself: a learner may change modules and builtins."""
    real, name_of, starts, kinds, text = os.path.realpath, os.fsdecode, str.startswith, isinstance, str
    paths, refused, reading, writing, never = (str, bytes, os.PathLike), Refused, READING, WRITING, REFUSED
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    hidden, own = tuple(f"{path}/" for path in hidden), (f"{real(folder)}/", "/dev/null/")
    readable = (*own, *(f"{path}/" for path in readable))

    def may_read(path: object) -> bool:
        place = real(name_of(path)) + "/"
        return starts(place, readable) and not starts(place, hidden)

    def may_write(path: object) -> bool:
        return path == ":memory:" or starts(real(name_of(path)) + "/", own)

    def allowed(event: str, arguments: tuple) -> bool:
        if event == "open":
            rule = may_write if arguments[2] & writes else may_read
            return not kinds(arguments[0], paths) or rule(arguments[0])
        if event == "import":
            return not starts(arguments[0], "ftlib.exercises")
        if event in reading:
            return not kinds(arguments[0], (*paths, type(None))) or may_read(arguments[0] or ".")
        if starts(event, writing):
            given = [path for path in arguments if kinds(path, paths)]
            return given == [path for path in given if may_write(path)]
        if event == "ctypes.dlopen":  # torch loads its own parts so
            return kinds(arguments[0], text) and ("/" not in arguments[0] or may_read(arguments[0]))
        if event == "ctypes.dlsym":  # and asks Python for these
            return starts(arguments[1], ("PyCapsule_", "PyBytes_"))
        if event == "socket.__new__":
            return arguments[1] == 1  # within this process
        return not starts(event, never)

    def hook(event: str, arguments: tuple) -> None:
        if not allowed(event, arguments):
            raise refused(f"{event} {text(arguments[0])[:100] if arguments else ''}")

    return hook
