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
import importlib
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


class Nursery:
    """A process with the libraries loaded that forks fenced ones, one at a time; it runs no learner's code.

    program: what `python -c` runs, a call of `nurse`. hidden: paths that the forked ones must not see even
    where they lie within what those read. kernel: whether the kernel keeps the fence.
    """

    def __init__(self, program: str, hidden: Iterable[Path] = (), kernel: bool = True):
        self.program, self.hidden, self.kernel = program, [str(path) for path in hidden], kernel
        self.control: socket.socket | None = None

    def fork(self, plan: dict, files: list[int]) -> int:
        """Forks a process with a plan and two open files, the channel and its output; returns its number."""
        with suppress(OSError, EOFError):  # it has not been started, or was killed: once more
            if self.control:
                return self._fork(plan, files)
        self.close()
        if CLOSED.is_set():
            raise Failed("interrupted")
        self.control, theirs = socket.socketpair()
        own = {"PYTHONPATH": str(settings.PACKAGE.parent), "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
        own |= {"USER": "learner", "HF_HUB_OFFLINE": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-c", self.program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, env=own, pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        LIVE.add(self)
        return self._fork(plan, files)

    def _fork(self, plan: dict, files: list[int]) -> int:
        data = json.dumps(plan | {"hidden": self.hidden, "kernel": self.kernel}).encode()
        socket.send_fds(self.control, [data], files)
        return self.number()

    def number(self, seconds: float | None = None) -> int:
        """What it says next: the number of the forked process, or its exit status. TimeoutError if late."""
        self.control.settimeout(seconds)
        data = self.control.recv(8, socket.MSG_WAITALL)
        if len(data) < 8:
            raise EOFError
        return int.from_bytes(data, "big")

    def close(self) -> None:
        """Ends it, and with it what it forked."""
        if self.control:
            self.control.close()
            self.process.kill()
            self.process.wait()
            self.control = None
            LIVE.discard(self)


LIVE: set[Nursery] = set()
CLOSED = threading.Event()


def close() -> None:
    """Ends all fenced processes; from now on none starts."""
    CLOSED.set()
    for nursery in [*LIVE]:
        nursery.process.kill()


class Fenced:
    """A fenced process. `send` and `receive` raise Failed when it has ended, or its time has.

    libraries: what the nursery loads first, once, since each process that needs them would pay seconds.
    """

    def __init__(self, nursery: Nursery, limits: Limits, libraries: Iterable[str] = ()):
        self.nursery, self.limits, self.printed, self.tail, self.status = nursery, limits, 0, b"", None
        self.folder = tempfile.mkdtemp(prefix="ftlib-fence-")
        self.channel, theirs = socket.socketpair()
        self.output, output = os.pipe()
        plan = {"memory": int(limits.memory_gb * 1e9), "seconds": int(limits.seconds) + 1}
        plan |= {"folder": self.folder, "libraries": [*libraries]}
        try:
            self.process = nursery.fork(plan, [theirs.fileno(), output])
        except BaseException:
            self.channel.close()
            os.close(self.output)
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
            os.close(output)
        self.deadline = time.monotonic() + limits.seconds
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()

    def __enter__(self) -> Fenced:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._ended(5) is None:
            self.nursery.close()
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
        if self.status is None:
            with suppress(ProcessLookupError, PermissionError):
                if self.nursery.kernel:  # the guard, which ends the others
                    os.kill(self.process, signal.SIGTERM)
                else:
                    os.killpg(self.process, signal.SIGKILL)

    def _ended(self, seconds: float) -> int | None:
        """The exit status, if it comes in time; of a process that a signal ended, 128 and its number."""
        with suppress(OSError, EOFError):
            self.status = self.nursery.number(seconds) if self.status is None else self.status
        return self.status

    def _drain(self) -> None:
        """Reads what the process prints, keeps the last of it, and ends a process that prints too much."""
        with open(self.output, "rb", buffering=0) as output:
            while piece := output.read(1 << 16):
                self.printed += len(piece)
                self.tail = (self.tail + piece)[-TAIL:]
                if self.printed > OUTPUT_KB * 1000 >= self.printed - len(piece):
                    self.kill()

    def _failed(self, late: bool = False) -> Failed:
        """Why there is no answer."""
        if late or time.monotonic() >= self.deadline:
            return Failed(f"out of time: more than {self.limits.seconds:g} s")
        status = self._ended(2)
        self.reader.join(2)
        if self.printed > OUTPUT_KB * 1000:
            return Failed(f"output limit: it printed more than {OUTPUT_KB:,} kB")
        if b"MemoryError" in self.tail:
            return Failed(f"out of memory: more than {self.limits.memory_gb:g} GB")
        if status == 128 + signal.SIGXCPU:
            return Failed(f"out of time: more than {self.limits.seconds:g} s")
        signalled = status is not None and status > 128
        return Failed(f"process ended ({f'signal {status - 128}' if signalled else f'exit status {status}'})")


@functools.cache
def kernel_keeps(program: str) -> bool:
    """Whether the kernel's part of the fence works here. program: as of `Nursery`."""
    nursery = Nursery(program)
    try:
        with Fenced(nursery, Limits(seconds=60)) as probe:
            return probe.receive() == "in"
    except Failed:
        return False
    finally:
        nursery.close()


def nurse(run: Callable[[socket.socket], object]) -> None:
    """What a nursery does: for each plan that comes, it forks a process that enters the fence and runs."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _die_with_parent(signal.SIGKILL)
    while True:
        data, files, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not data:
            return
        plan = json.loads(data)
        for library in plan["libraries"]:
            with suppress(ImportError):
                importlib.import_module(library)
        process = os.fork()
        if not process:
            control.close()
            os.setsid()
            for number in (1, 2):
                os.dup2(files[1], number)
            os.close(files[1])
            channel = socket.socket(fileno=files[0])
            enter(plan)
            run(channel)
            os._exit(0)
        for file in files:
            os.close(file)
        control.sendall(process.to_bytes(8, "big"))
        control.sendall(_status(process).to_bytes(8, "big"))


def _status(process: int) -> int:
    """Waits for a process; the exit status as a shell says it."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return 128 - status if status < 0 else status


def _die_with_parent(number: int) -> None:
    with suppress(AttributeError):  # Linux alone
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, number, 0, 0, 0)


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
        _die_with_parent(signal.SIGKILL)
    os.chdir(plan["folder"])
    _limit(plan["memory"], plan["seconds"])
    readable += ["/proc/self", f"/proc/{os.getpid()}", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices"]
    sys.addaudithook(_guard(readable, [os.path.realpath(one) for one in hidden], plan["folder"]))


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
        _stand_guard(child)
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
    _die_with_parent(signal.SIGTERM)
    os.closerange(0, FILES)
    os._exit(_status(child))


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
