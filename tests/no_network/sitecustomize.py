"""Refuses the network to a Python process; conftest.py puts this folder on PYTHONPATH for subprocesses too.

Loopback, Unix sockets and the machine's own name are allowed. An attempt raises, and is written to the file
that FTLIB_NETWORK_LOG names, so that it fails the test even where a library swallows the error. An audit hook
(PEP 578) sees every socket of Python; it does not see libraries in other languages that open their own.
"""

import os
import sys

OWN = {"", "localhost", "localhost.localdomain", "0.0.0.0", "::", "::1", os.uname().nodename.lower()}
RESOLVING = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def _host(event: str, arguments: tuple) -> str:
    """The host of an event; "" where there is none, as of Unix sockets and of sockets that are connected."""
    if event in SENDING:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and address else ""
    else:
        host = arguments[0]
    return (host.decode() if isinstance(host, bytes) else str(host or "")).lower()


def _refuse(event: str, arguments: tuple) -> None:
    if event not in SENDING and event not in RESOLVING:
        return
    host = _host(event, arguments)
    if host not in OWN and not host.startswith("127."):
        with open(os.environ["FTLIB_NETWORK_LOG"], "a", encoding="utf-8") as log:
            log.write(f"{event} {host}\n")
        raise RuntimeError(f"the tests may not use the network: {event} {host}")


sys.addaudithook(_refuse)
