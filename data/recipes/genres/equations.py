"""Sums set down plainly, one after another: the tables that the steps of a word problem use."""

from __future__ import annotations

from functools import cache

from ..pen import Pen

LARGEST = 60
SIGNS = ("+", "-", "x", "/")


@cache
def equations(sign: str) -> tuple[str, ...]:
    """Every equation of a kind whose numbers are at most LARGEST."""
    numbers = range(1, LARGEST + 1)
    if sign == "+":
        return tuple(f"{a} + {b} = {a + b}" for a in numbers for b in numbers if a + b <= LARGEST)
    if sign == "-":
        return tuple(f"{a} - {b} = {a - b}" for a in numbers for b in range(1, a))
    pairs = [(a, b) for a in range(2, LARGEST // 2 + 1) for b in range(2, LARGEST // 2 + 1) if a * b <= LARGEST]
    return tuple(f"{a} x {b} = {a * b}" if sign == "x" else f"{a * b} / {a} = {b}" for a, b in pairs)


def sums(pen: Pen) -> str:
    """Ten to thirty equations of one kind or of several."""
    kinds = pen.pick((("+",), ("-",), ("+", "-"), ("+", "-"), ("x", "/"), SIGNS))
    lines = [pen.pick(equations(pen.pick(kinds))) for _ in range(pen.number(10, 30))]
    return pen.pick(("\n", "\n", "; ", ". ")).join(lines)


GENRES = {"sums": sums}
