"""A process that may run what a learner wrote: it sees the libraries, the workbook's data, and nothing else.

Where Linux lets us, the kernel keeps the fence: a file system of its own, which holds what may be read, and
one folder in memory, which may be written; no network; no sight of other processes, and all that the process
started dies with it; no privileges. Besides, everywhere, limits (of memory, time, files, processes) and an
audit hook that refuses what an answer does not need: other files, other programs, connections, signals, C.

Without the kernel's part (see `kernel_keeps`) the hook is the whole fence. It stops Python code that does not
set out to defeat it. It cannot stop code that reaches native functions, or the hook's own variables, past it:
that may read and write what the grader's user can, the checks too, and leave a process behind. Grade the work
of strangers where the kernel's part works. Nor are several processes of one answer counted as one: each may
have the memory (the hook refuses to start any).
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ftlib import settings, wire

FLAGS = {"user": 1 << 28, "mount": 1 << 17, "network": 1 << 30, "processes": 1 << 29, "ipc": 1 << 27}
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, BIND, WHOLE, PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
MOUNT_SETATTR = 442  # the number of the system call, on every machine
DEATH_SIGNAL, DUMPABLE, NO_NEW_PRIVILEGES = 1, 4, 38  # of prctl
STRANGERS = range(60_000, 65_000)  # users that own nothing; one for each process, whose limits count alone
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
PROCESSES, FILES, FILE_MB, FOLDER_MB = 256, 256, 256, 512  # the folder lies in memory beside the limit
OUTPUT_KB = 1_000  # what an answer may print; the last TAIL letters are kept
TAIL = 2_000
REFUSED = (
    "socket.", "subprocess.", "ctypes.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.kill", "pty.", "signal.pthread_kill", "gc.get_", "resource.prlimit", "os.setxattr", "os.chroot",
)  # fmt: skip
READING = ("os.listdir", "os.scandir", "os.chdir")
WRITING = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown",
    "os.truncate", "os.utime", "sqlite3.connect",
)  # fmt: skip


class Failed(BaseException):
    """The fenced process gave no answer; the text says why. No `except Exception` of a check catches it."""

    def __init__(self, why: str, outcome: str = "failed"):
        super().__init__(why)
        self.outcome = outcome


class Refused(PermissionError):
    """What the audit hook raises in the fenced process."""


@dataclass(frozen=True)
class Limits:
    """Of one exercise: seconds from start to end, and GB (1e9 bytes) of memory."""

    seconds: float = 60
    memory_gb: float = 4


class Fenced:
    """A fenced process that runs a program, `python -c program`; in it, `enter` builds the fence.

    hidden: paths that it must not see even where they lie within what it reads. kernel: whether the kernel
    keeps the fence. `send` and `receive` raise Failed when the process has ended, or its time has.
    """

    def __init__(self, program: str, limits: Limits, hidden: Iterable[Path], kernel: bool):
        if CLOSED.is_set():
            raise Failed("interrupted")
        self.limits, self.kernel, self.printed, self.tail = limits, kernel, 0, b""
        self.folder = tempfile.mkdtemp(prefix="ftlib-fence-")
        self.channel, theirs = socket.socketpair()
        plan = {"channel": theirs.fileno(), "folder": self.folder, "kernel": kernel}
        plan |= {"hidden": [str(path) for path in hidden], "memory": int(limits.memory_gb * 1e9)}
        plan |= {"seconds": int(limits.seconds) + 1}
        own = {"PYTHONPATH": str(settings.PACKAGE.parent), "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
        own |= {"HOME": self.folder, "TMPDIR": self.folder, "USER": "learner", "HF_HUB_OFFLINE": "1"}
        self.deadline = time.monotonic() + limits.seconds
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-c", program, json.dumps(plan)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=own, cwd=self.folder, pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()
        LIVE.add(self)

    def __enter__(self) -> Fenced:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        LIVE.discard(self)
        self.channel.close()
        self.reader.join(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, message: object) -> None:
        """Sends plain data. What is none, the grader could not send: that is not the learner's fault."""
        self.channel.settimeout(max(0.01, self.deadline - time.monotonic()))
        try:
            wire.send(self.channel, message, strict=True)
        except OSError as error:
            raise self._failed(isinstance(error, TimeoutError)) from None
        except wire.WireError as error:
            raise Failed(f"the grader's question: {error}", "not graded") from None

    def receive(self) -> object:
        """The next message of the process."""
        try:
            return wire.receive(self.channel, self.deadline)
        except (OSError, EOFError) as error:
            raise self._failed(isinstance(error, TimeoutError)) from None
        except wire.WireError as error:
            raise Failed(f"wrote to the grader's channel: {error}") from None

    def kill(self) -> None:
        """Ends the process and all that it started."""
        if self.kernel:  # this reaches the guard, which ends the others
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _drain(self) -> None:
        """Reads what the process prints, keeps the last of it, and ends a process that prints too much."""
        while piece := self.process.stdout.read1(1 << 16):
            self.printed += len(piece)
            self.tail = (self.tail + piece)[-TAIL:]
            if self.printed > OUTPUT_KB * 1000:
                self.kill()
                break
        self.process.stdout.close()

    def _failed(self, late: bool = False) -> Failed:
        """Why there is no answer."""
        if late or time.monotonic() >= self.deadline:
            return Failed(f"out of time: more than {self.limits.seconds:g} s")
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.reader.join(2)
        status = self.process.poll()
        signalled = -status if status and status < 0 else status - 128 if status and status > 128 else 0
        if self.printed > OUTPUT_KB * 1000:
            return Failed(f"output limit: it printed more than {OUTPUT_KB:,} kB")
        if b"MemoryError" in self.tail:
            return Failed(f"out of memory: more than {self.limits.memory_gb:g} GB")
        if signalled == signal.SIGXCPU:
            return Failed(f"out of time: more than {self.limits.seconds:g} s")
        return Failed(f"process ended ({f'signal {signalled}' if signalled else f'exit status {status}'})")


LIVE: set[Fenced] = set()
CLOSED = threading.Event()


def close() -> None:
    """Ends all fenced processes; from now on none starts."""
    CLOSED.set()
    for process in [*LIVE]:
        process.kill()


@functools.cache
def kernel_keeps(program: str) -> bool:
    """Whether the kernel's part of the fence works here. program: one that enters the fence and says "in"."""
    with Fenced(program, Limits(seconds=60), (), True) as probe:
        try:
            return probe.receive() == "in"
        except Failed:
            return False


def enter() -> socket.socket:
    """Builds the fence around this process as sys.argv says; returns the channel to the grader."""
    plan = json.loads(sys.argv[1])
    channel = socket.socket(fileno=plan["channel"])
    readable = [sys.prefix, sys.base_prefix, str(settings.PACKAGE), str(settings.DATA), *SYSTEM]
    readable = sorted({path for one in readable for path in (one, os.path.realpath(one))}, key=len)
    hidden = [str(settings.PACKAGE / "exercises"), *plan["hidden"]]
    with suppress(OSError):  # where memory runs out all the same, this goes first, not the grader
        Path("/proc/self/oom_score_adj").write_text("1000")
    if plan["kernel"]:
        _isolate(plan["folder"], readable, hidden)
    elif sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    os.chdir(plan["folder"])
    _limit(plan["memory"], plan["seconds"])
    readable += ["/proc/self", f"/proc/{os.getpid()}", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices"]
    sys.addaudithook(_guard(readable, [os.path.realpath(one) for one in hidden], plan["folder"]))
    return channel


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
    child = os.fork()
    if child:
        _stand_guard(library, child)
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


def _stand_guard(library: ctypes.CDLL, child: int) -> None:
    """Waits for the fenced process, and passes its status on; ends it on SIGTERM, or without the grader."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    library.prctl(DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    os.closerange(0, FILES)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(128 - status if status < 0 else status)


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
