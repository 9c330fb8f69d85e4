"""Starts and ends fenced processes. A nursery has the libraries loaded, and forks one for each answer.

It runs nothing of a learner itself, and a forked process is of one answer alone.
"""

from __future__ import annotations

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

from ftlib import fence, settings, wire

OUTPUT_KB = 1_000  # what an answer may print; the last TAIL letters are kept
TAIL = 2_000


class Failed(BaseException):
    """The fenced process gave no answer; the text says why. No `except Exception` of a check catches it."""

    def __init__(self, why: str, outcome: str = "failed"):
        super().__init__(why)
        self.outcome = outcome


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
        self.process: subprocess.Popen | None = None

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
        """Ends it, and with it what it forked; without its control it ends by itself."""
        if self.control:
            self.control.close()
        if self.process:  # not where its start was interrupted
            self.process.kill()
            self.process.wait()
        self.control = None  # but the process stays: `close` below may be at it in another thread
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
        with suppress(ProcessLookupError, PermissionError):
            if not self.nursery.kernel:
                os.killpg(self.process, signal.SIGKILL)
            elif self.status is None:  # the guard, which ends the others
                os.kill(self.process, signal.SIGTERM)

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
        if status is None:
            return Failed("it closed the grader's channel")
        if status == 128 + signal.SIGXCPU:
            return Failed(f"out of time: more than {self.limits.seconds:g} s")
        how = f"signal {status - 128}" if status > 128 else f"exit status {status}"
        return Failed(f"process ended ({how})")


@functools.cache
def kernel_keeps(program: str) -> bool:
    """Whether the kernel's part of the fence works here. program: as of `Nursery`."""
    nursery = Nursery(program)
    try:
        with Fenced(nursery, Limits(seconds=60)) as probe:
            return probe.receive() == "in"
    except (Failed, OSError, EOFError):
        return False
    finally:
        nursery.close()


def nurse(run: Callable[[socket.socket], object]) -> None:
    """What a nursery does: for each plan that comes, it forks a process that enters the fence and runs."""
    control = socket.socket(fileno=int(sys.argv[1]))
    fence.die_with_parent(signal.SIGKILL)
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
            fence.enter(plan)
            run(channel)
            os._exit(0)
        for file in files:
            os.close(file)
        control.sendall(process.to_bytes(8, "big"))
        control.sendall(fence.status_of(process).to_bytes(8, "big"))


