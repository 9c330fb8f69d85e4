"""What passes between the grader and a fenced answer: plain data arrives as it was, all else as no data."""

import json
import math
import socket
import time

import hypothesis.strategies as st
import numpy
import pytest
import torch
from hypothesis import given, settings

from ftlib import check, wire

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner)
    | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers() | st.tuples(st.booleans()), inner),
    max_leaves=12,
)


def there(value, strict=False):
    """The value after a journey."""
    here, far = socket.socketpair()
    with here, far:
        wire.send(here, value, strict)
        return wire.receive(far, time.monotonic() + 5)


def came(data: bytes):
    """What is read of these bytes."""
    here, far = socket.socketpair()
    with far:
        with here:
            here.sendall(len(data).to_bytes(4, "big") + data)
        return wire.receive(far, time.monotonic() + 5)


@settings(max_examples=50)
@given(PLAIN)
def test_plain_data_arrive_with_their_types(value):
    assert repr(there(value, strict=True)) == repr(value)


def test_sets_arrive_as_sets():
    for value in ({1, "a", (2, None)}, frozenset({b"x"}), set()):
        seen = there(value, strict=True)
        assert (type(seen), seen) == (type(value), value)


@pytest.mark.parametrize("dtype", wire.DTYPES)
def test_a_tensor_arrives_with_its_type_shape_and_wish_for_a_gradient(dtype):
    for shape in ((), (0, 3), (2, 3)):
        value = torch.ones(shape).to(getattr(torch, dtype))
        value = value.T if shape else value
        seen = there(value)
        assert (seen.dtype, seen.shape) == (value.dtype, value.shape) and torch.equal(seen, value)
    if value.is_floating_point():
        seen = there(value.requires_grad_())
        assert seen.requires_grad and seen.is_leaf and not seen._is_view()


def test_a_number_of_numpy_is_a_number_and_what_is_no_plain_data_equals_nothing():
    assert there(numpy.float64(0.5)) == 0.5 and there(numpy.int32(3)) == 3
    assert there([check.todo, ...]) == [check.todo, ...]

    class Sly(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

        def __repr__(self):
            raise ValueError

    for value in (Sly(), Sly, numpy.ones(2), numpy.bool_(True), object(), len, 1j, range(3)):
        seen = there(value)
        assert isinstance(seen, wire.Opaque) and seen != seen and check.apart(seen, seen)
        assert type(value).__name__ in repr(seen)
        with pytest.raises(wire.WireError, match="no plain data"):
            there(value, strict=True)


def test_what_is_too_large_or_too_deep_is_not_sent():
    deep = []
    deep.append(deep)
    for value in (deep, [0] * wire.LIMIT, "x" * wire.LIMIT, 10**5000):
        with pytest.raises(wire.WireError):
            there(value)


MANY = [[number, 0] for number in range(wire.KEYS + 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"junk", b"\xff", b"{}", b"[]", b'["list"]', b'["list", 3]', b'["list", [{}]]',
        b'["set", [["list", []]]]', b'["dict", [[1]]]', b'["eval", "1"]', b'["bytes", "!"]',
        b'["tensor", "float32", [2], "AAAA", false]',
        b'["tensor", "float32", [-1], "", false]', b'["tensor", "Tensor", [0], "", false]',
        b'["tensor", "int64", [0], "", true]', b'["tensor", "float32", [1e9], "", true]', b'["opaque", 3]',
        b"[" * 100_000, b"1" * 5000, json.dumps(["dict", MANY]).encode(),
        json.dumps(["list", [["set", [*range(wire.KEYS)]]] * 2]).encode(),
    ],
)  # fmt: skip
def test_what_is_no_message_is_a_wire_error(data):
    with pytest.raises(wire.WireError):
        came(data)


def test_a_message_that_says_it_is_huge_is_not_waited_for_and_one_that_does_not_come_is_late():
    here, far = socket.socketpair()
    with here, far:
        here.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(wire.WireError, match="bytes"):
            wire.receive(far, math.inf)
        here.sendall(b"\0\0\0\x09[1")
        with pytest.raises(TimeoutError):
            wire.receive(far, time.monotonic() + 0.05)
        here.close()
        with pytest.raises(EOFError):
            wire.receive(far, math.inf)
