"""The tests cannot use the network, and one that tries is red even when the error is caught."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SWALLOWED = """
import socket, subprocess, sys

PROGRAM = "import socket\\ntry: socket.create_connection(('192.0.2.1', 80), 1)\\nexcept Exception: pass"

def test_here():
    try:
        socket.getaddrinfo("example.org", 80)
    except Exception:
        pass

def test_in_a_subprocess():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)

def test_without():
    pass
"""


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
        lambda: socket.getaddrinfo("example.org", 443),
        lambda: socket.gethostbyname("example.org"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_attempt_on_the_network_raises_and_is_noted(attempt, network_attempts):
    with pytest.raises(RuntimeError, match="may not use the network"):
        attempt()
    assert len(network_attempts()) == 1


def test_loopback_and_unix_sockets_work():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client,
    ):
        client.sendall(b"ping")
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(4) == b"ping"
    first, second = socket.socketpair()
    with first, second:
        first.sendall(b"ping")
        assert second.recv(4) == b"ping"


def test_an_attempt_turns_a_test_red_even_where_the_error_is_caught_or_in_a_subprocess(tmp_path):
    (tmp_path / "test_it.py").write_text(SWALLOWED)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "--rootdir", "."]
    places = [str(Path(__file__).parent), os.environ["PYTHONPATH"]]
    shown = subprocess.run(
        [*command, "test_it.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
    ).stdout
    assert "the network was tried: socket.getaddrinfo example.org" in shown
    assert "the network was tried: socket.getaddrinfo 192.0.2.1" in shown
    assert "3 passed, 2 errors" in shown
