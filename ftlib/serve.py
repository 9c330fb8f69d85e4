"""Servers as processes of their own: started on free ports, watched, stopped, gone with their notebook.

A child reads the pipe on its standard input, which closes when its parent ends, in whatever way: kill -9 too.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import data
from ftlib.model import quiet
from ftlib.settings import PACKAGE, WorkbookError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HOST = "127.0.0.1"
START_SECONDS = 600  # a model server imports torch: 7 s on a quiet machine, minutes on a very busy one
GRACE_SECONDS = 10  # what a server may take to end its requests when its parent is gone
TAKEN = "address already in use"
ENGINES = {"transformers": "transformers.cli.transformers", "vllm": "vllm.entrypoints.cli.main"}


def free_port() -> int:
    """A port that nobody listens on: the operating system chooses it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Server:
    """A server in a process of its own. `url` is its address, `process` the process; use it in a `with` too.

    command: from the port, or the number of the kept socket, to the module to run and its arguments.
    kept: a listening socket of this process. The server inherits it, so that callers can connect, and wait,
    while the server is started again.
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        environment: Mapping[str, str] | None = None,
        kept: socket.socket | None = None,
    ):
        self._command, self._environment, self._kept = command, dict(environment or {}), kept
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (without a name, so nothing is left behind)
        self.start()
        atexit.register(self.kill)

    def start(self) -> Server:
        """Starts the process, and does not wait for it: see `ready`."""
        self.port = self._kept.getsockname()[1] if self._kept else free_port()
        self.url = f"http://{HOST}:{self.port}"
        paths = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
        inherited = [self._kept.fileno()] if self._kept else []
        program = self._command(inherited[0] if inherited else self.port)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ftlib.serve", str(os.getpid()), *program],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | self._environment | {"PYTHONPATH": paths},
            pass_fds=inherited,
            start_new_session=True,  # an interrupt of the notebook's cell is not for the server
        )
        return self

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self, seconds: float = START_SECONDS) -> Server:
        """Waits until /health answers; WorkbookError, with the last line of its log, if the server ended."""
        import httpx

        until, tries = time.monotonic() + seconds, 3
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                if (
                    self._listens()
                    and httpx.get(f"{self.url}/health", timeout=10, trust_env=False).is_success
                ):
                    return self
            if not self.alive:
                tries -= 1
                if TAKEN not in self.log().lower() or not tries:
                    raise WorkbookError(f"the server ended before it was ready: {self._reason()}")
                self.start()  # another program took the port between our look and the server's start
            time.sleep(0.1)
        raise WorkbookError(f"the server was not ready in {seconds:g} s, and says last: {self._reason()}")

    def _listens(self) -> bool:
        """Whether it is this server that listens on the port: another program may have taken it meanwhile."""
        import psutil

        with suppress(psutil.Error):
            open_ones = psutil.Process(self.process.pid).net_connections("tcp")
            return any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in open_ones)
        return False

    def log(self) -> str:
        """What the server has printed so far."""
        size = os.fstat(self._log.fileno()).st_size  # the child shares our place in the file: leave it alone
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def _reason(self) -> str:
        lines = [line for line in self.log().splitlines() if line.strip()]
        return lines[-1] if lines else "it printed nothing"

    def stop(self, seconds: float = 120) -> None:
        """Asks the server to end: it takes no new request, answers those it has; after `seconds`, kill."""
        with suppress(subprocess.TimeoutExpired):
            if self.alive:
                self.process.terminate()
            self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Ends the process at once (kill -9), with what it was doing."""
        if self.alive:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def restart(self) -> Server:
        """Stops the server, starts it again and waits until it is ready."""
        self.stop()
        return self.start().ready()

    def close(self) -> None:
        """Stops the server for good: from here on its port refuses callers."""
        self.stop()
        if self._kept:
            self._kept.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def save(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> Path:
    """Saves all that a server needs into a folder, as chapter 6.02 explains: the weights, the tokenizer with
    its chat template, the tokens that end an answer. Returns the folder.
    """
    from transformers import GenerationConfig

    ends = {tokenizer.eos_token_id, data.turn_end(tokenizer)} - {None}
    network.generation_config = GenerationConfig(
        eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id
    )
    with quiet():
        for part in (network, tokenizer):
            part.save_pretrained(folder)
    return Path(folder)


def model(
    folder: str | Path, device: str = "cpu", *, batching: bool = False, engine: str = "transformers"
) -> Server:
    """Serves a model folder with `transformers serve`, or `vllm serve`: OpenAI's interface, on loopback only.

    It starts in the background: call `ready` before the first request. Requests name the model by the folder.
    batching: continuous batching (vLLM has no other way). Raises WorkbookError for a folder without a model.
    """
    folder = Path(folder).absolute()
    if not (folder / "config.json").is_file():
        raise WorkbookError(f"{folder} holds no model to serve: save model and tokenizer there first")
    options = ["--host", HOST, "--port"]
    if engine == "transformers":
        small = ["--cb-num-blocks", "64", "--cb-max-batch-tokens", "256"]  # else it measures memory, for 15 s
        more = ["--continuous-batching", *(small if device == "cpu" else ())]
        options = ["--device", device, *(more if batching else ()), *options]

    def command(port: int) -> list[str]:
        return [ENGINES[engine], "serve", str(folder), *options, str(port)]

    # The hub's cache must exist, or the list of models fails; the folder does, and it holds no other model.
    return Server(command, {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder)})


def gateway(config: Mapping) -> Server:
    """Runs `ftlib.gateway` as its `app` says, on a socket that stays open while it is started again."""
    listening = socket.create_server((HOST, 0), backlog=1024)
    text = json.dumps(config, default=str)
    return Server(lambda inherited: ["ftlib.gateway", str(inherited)], {"FTLIB_GATEWAY": text}, listening)


def follow(parent: int) -> None:
    """Ends this process when its parent has: the pipe is closed, or the process has another parent by now.

    As with SIGTERM, requests in flight are answered, within GRACE_SECONDS.
    """
    while os.getppid() == parent and not select.select([0], [], [], 1.0)[0]:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def main(arguments: list[str]) -> None:
    """The child: PARENT MODULE ARGUMENT ...; runs the module as a program while the parent is there."""
    parent, module, *rest = arguments
    threading.Thread(target=follow, args=(int(parent),), daemon=True).start()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
