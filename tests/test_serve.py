"""Servers are real processes: they start on free ports, say why they fail, end with whoever started them."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from ftlib import model, serve
from ftlib.settings import WorkbookError

LISTEN = ["http.server", "--bind", serve.HOST]  # the standard library's own server: it starts at once
PARENT = """
import time
from ftlib import model, serve
child = serve.Server(lambda port: [*{listen}, str(port)])
print(child.process.pid, child.url, flush=True)
{then}
"""


def listening(url: str) -> bool:
    try:
        httpx.get(url, timeout=60, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def until(happens, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def gone(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def parent(then: str) -> tuple[subprocess.Popen, int, str]:
    """A program that starts a server, and goes on as `then` says; the server's number and address."""
    program = PARENT.format(listen=LISTEN, then=then)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    number, url = process.stdout.readline().split()
    return process, int(number), url


def test_free_ports_are_free():
    ports = {serve.free_port() for _ in range(20)}
    assert len(ports) > 1
    for port in ports:
        socket.create_server((serve.HOST, port)).close()


def test_a_server_ends_with_its_parent_even_when_that_is_killed():
    process, number, url = parent("time.sleep(600)")
    until(lambda: listening(url))
    process.kill()
    process.communicate()
    until(lambda: gone(number))
    assert not listening(url)


@pytest.mark.parametrize("then", ["", "raise SystemExit(1)", "import os; os._exit(1)"])
def test_a_server_ends_with_its_parent_however_that_ends(then):
    process, number, _ = parent(then)
    process.communicate()
    until(lambda: gone(number))


def test_a_server_ends_when_another_process_still_holds_the_pipe_of_its_dead_parent():
    then = "import os\nif os.fork():\n    os._exit(0)\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    process, number, _ = parent(then)
    holder = int(process.stdout.readline())
    try:
        until(lambda: gone(number))
    finally:
        os.kill(holder, signal.SIGKILL)
        process.communicate()


def test_an_interrupt_of_the_notebook_does_not_reach_its_servers():
    server = serve.Server(lambda port: [*LISTEN, str(port)])
    try:
        until(lambda: listening(server.url))
        assert os.getpgid(server.process.pid) != os.getpgid(os.getpid())
    finally:
        server.close()


def test_with_the_block_ends_the_server_and_closing_twice_is_no_error():
    with serve.Server(lambda port: [*LISTEN, str(port)]) as server:
        until(lambda: listening(server.url))
    assert not server.alive and not listening(server.url)
    server.close()
    server.kill()


def test_a_server_that_ends_before_it_is_ready_says_why():
    server = serve.Server(lambda port: ["http.server", "--no-such-option"])
    with pytest.raises(WorkbookError, match=r"ended before it was ready: .*unrecognized arguments"):
        server.ready()


def test_a_server_that_is_not_ready_in_time_says_what_it_last_printed():
    with serve.Server(lambda port: [*LISTEN, str(port)]) as server:  # it has no /health
        until(lambda: listening(server.url))
        with pytest.raises(WorkbookError, match=r"not ready in 0\.5 s, and says last: .*HTTP"):
            server.ready(0.5)


def test_a_port_that_another_program_takes_first_is_replaced(monkeypatch):
    with socket.create_server((serve.HOST, 0)) as other:
        taken, free = other.getsockname()[1], serve.free_port
        ports = iter([taken])
        monkeypatch.setattr(serve, "free_port", lambda: next(ports, None) or free())
        with serve.Server(lambda port: [*LISTEN, str(port)]) as server:
            until(lambda: not server.alive)
            assert serve.TAKEN in server.log().lower()
            with pytest.raises(WorkbookError, match="not ready"):
                server.ready(2)  # it has no /health
            assert server.port != taken
            until(lambda: listening(server.url))


def test_a_folder_without_a_model_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(WorkbookError, match="holds no model to serve"):
        serve.model(tmp_path)


def test_a_saved_folder_says_which_tokens_end_an_answer(tiny_model_folder, tmp_path):
    network, tokenizer = model.load(str(tiny_model_folder), "cpu")
    folder = serve.save(network, tokenizer, tmp_path / "served")
    again, own = model.load(str(folder), "cpu")
    assert again.generation_config.eos_token_id == [tokenizer.eos_token_id]
    assert own.chat_template == tokenizer.chat_template
    assert (folder / "chat_template.jinja").is_file() and (folder / "config.json").is_file()
