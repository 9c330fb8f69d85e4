"""What passes between the grader and a fenced answer: plain data as JSON with every type named; no code.

A message is four bytes that say its length, and JSON of that length. What comes from a fence is hostile until
it is read: a message has at most LIMIT bytes, and what does not read as plain data is a `WireError`.
"""

from __future__ import annotations

import base64
import json
import math
import numbers
import socket
import sys
import time
from collections.abc import Callable

from ftlib import check

LIMIT = 4_000_000  # bytes of a message
KEYS = 10_000  # of all sets and mappings of a message: numbers can be chosen so that more take hours
SHOWN = 80  # letters of what stands for a value that cannot be sent
SEVERAL = {one.__name__: one for one in (list, tuple, set, frozenset)}
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


class WireError(Exception):
    """A value cannot be sent, or what came is no message."""


class Opaque:
    """Stands for a value that cannot be sent: it shows what was there and equals nothing, itself included."""

    def __init__(self, shown: str):
        self.shown = shown

    def __repr__(self) -> str:
        return self.shown

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None


def send(channel: socket.socket, message: object, strict: bool = False) -> None:
    """Sends a message. strict: a value that is no plain data is a WireError; else its words are sent."""
    try:
        data = json.dumps(_pack(message, _refuse if strict else _opaque)).encode()
    except (ValueError, RecursionError) as error:
        raise WireError(f"the value cannot be sent: {error}") from None
    if len(data) > LIMIT:
        raise WireError(f"the value is larger than {LIMIT:,} bytes")
    channel.sendall(len(data).to_bytes(4, "big") + data)


def receive(channel: socket.socket, deadline: float = math.inf) -> object:
    """The next message. Raises EOFError at the end, TimeoutError at the deadline (time.monotonic)."""
    size = int.from_bytes(_read(channel, 4, deadline), "big")
    if size > LIMIT:
        raise WireError(f"a message of {size:,} bytes, and {LIMIT:,} are allowed")
    data, left = _read(channel, size, deadline), [KEYS]
    try:
        return _unpack(json.loads(data), left)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise WireError(f"no message: {type(error).__name__}") from None


def _read(channel: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel.settimeout(None if math.isinf(left) else left)
        piece = channel.recv(min(size - len(data), 1 << 16))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _opaque(value: object) -> list:
    try:
        shown = repr(value)[:SHOWN]
    except Exception:  # of the learner's own class
        shown = "?"
    return ["opaque", f"{shown} of type {type(value).__name__}"]


def _refuse(value: object) -> list:
    raise ValueError(f"{type(value).__name__} is no plain data")


def _pack(value: object, other: Callable) -> object:
    """A value as JSON: numbers, texts and None as they are, all else as [type, content ...]."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (*SEVERAL.values(), dict) and len(value) > LIMIT // 2:  # each has two letters at least
        raise ValueError(f"it has {len(value):,} parts")
    if kind in SEVERAL.values():
        return [kind.__name__, [_pack(one, other) for one in value]]
    if kind is dict:
        return ["dict", [[_pack(key, other), _pack(one, other)] for key, one in value.items()]]
    if kind is bytes:
        return ["bytes", base64.b64encode(value).decode()]
    if value is check.todo or value is ...:
        return ["todo" if value is check.todo else "..."]
    if kind.__module__ == "numpy" and isinstance(value, numbers.Real):
        return value.item()
    torch = sys.modules.get("torch")
    if torch and isinstance(value, torch.Tensor) and str(value.dtype).removeprefix("torch.") in DTYPES:
        plain = value.detach().cpu().contiguous().reshape(-1)
        data = base64.b64encode(plain.view(torch.uint8).numpy().tobytes()).decode()
        return ["tensor", str(value.dtype).removeprefix("torch."), [*value.shape], data, value.requires_grad]
    return other(value)


def _unpack(data: object, left: list[int]) -> object:
    """The value of what `_pack` made. left: how many keys may still come."""
    if data is None or isinstance(data, (bool, int, float, str)):
        return data
    match data:
        case [("list" | "tuple" | "set" | "frozenset") as kind, list(parts)]:
            left[0] -= len(parts) if "set" in kind else 0
            if left[0] >= 0:
                return SEVERAL[kind](_unpack(one, left) for one in parts)
        case ["dict", list(parts)]:
            left[0] -= len(parts)
            if left[0] >= 0:
                return {_unpack(key, left): _unpack(one, left) for key, one in parts}
        case ["bytes", str(text)]:
            return base64.b64decode(text, validate=True)
        case ["todo"]:
            return check.todo
        case ["..."]:
            return ...
        case ["opaque", str(shown)]:
            return Opaque(shown[: 2 * SHOWN])
        case ["tensor", str(name), list(shape), str(text), bool(gradient)] if name in DTYPES:
            return _tensor(name, shape, base64.b64decode(text, validate=True), gradient)
    raise ValueError("unknown type, or too many keys")


def _tensor(name: str, shape: list, data: bytes, gradient: bool) -> object:
    import torch

    dtype = getattr(torch, name)
    if len(shape) > 16 or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("no shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("a tensor of another size")
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
    if gradient and not dtype.is_floating_point:
        raise ValueError("whole numbers have no gradient")
    return flat.reshape(shape).clone().requires_grad_(gradient)
