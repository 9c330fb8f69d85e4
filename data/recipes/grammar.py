"""The pattern language: short hand-written sentences with choices, slots and word lists.

A pattern is one line of text in `patterns/NAME.txt`, under a `# group` heading:

    {who} [walked|cycled] to {place} [because|as] {who.he} wanted <adjective> bread.

    [a|b|]          one of the options, which may nest or be empty
    {slot}          a value given by the writer; {slot.part} an attribute of it; {^slot} capitalised
    <list>          a random entry of `lexicon/list.txt`; <list#slot> keeps it as {slot} for later

Splits are made here. In a group of seven or more patterns, each eighth (index 3, 11, ...) is kept for `test` and each
eighth (index 6, 14, ...) for `validation`; pre-training and the training splits never see those lines.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
SPLITS = ("train", "validation", "test")
SMALLEST_SPLIT_GROUP = 7

# A parsed pattern is a tuple of parts: plain text, ("choice", options), ("slot", name, path, capital), ("list", name, slot).
Part = str | tuple
Pattern = tuple[Part, ...]

_TOKEN = re.compile(r"[\[\]|]|\{\^?[\w.]+\}|<\w+(?:#\w+)?>|[^\[\]|{}<>]+")


class PatternError(ValueError):
    """A pattern, word list or slot that cannot be used; the message names the line."""


def parse(text: str) -> Pattern:
    """Parse one pattern. Raises PatternError for unbalanced brackets or stray signs.

    >>> parse("[a|b] {x}")
    (('choice', (('a',), ('b',))), ' ', ('slot', 'x', (), False))
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise PatternError(f"stray bracket in pattern {text!r}")
    parts, rest = _sequence(tokens, 0, inside=False, text=text)
    if rest != len(tokens):
        raise PatternError(f"unbalanced ']' in pattern {text!r}")
    return parts


def _sequence(tokens: list[str], at: int, inside: bool, text: str) -> tuple[Pattern, int]:
    parts: list[Part] = []
    while at < len(tokens):
        token = tokens[at]
        if token == "[":
            options = []
            while True:
                option, at = _sequence(tokens, at + 1, inside=True, text=text)
                options.append(option)
                if at >= len(tokens):
                    raise PatternError(f"unbalanced '[' in pattern {text!r}")
                if tokens[at] == "]":
                    break
            parts.append(("choice", tuple(options)))
        elif token in "]|" and inside:
            return tuple(parts), at
        elif token in "]|":
            raise PatternError(f"{token!r} outside brackets in pattern {text!r}")
        elif token[0] == "{":
            name, *path = token.strip("{^}").split(".")
            parts.append(("slot", name, tuple(path), token[1] == "^"))
        elif token[0] == "<":
            name, _, slot = token[1:-1].partition("#")
            parts.append(("list", name, slot))
        else:
            parts.append(token)
        at += 1
    return tuple(parts), at


def expand(pattern: Pattern, rng: Random, slots: dict) -> str:
    """Fill a parsed pattern: choices and lists are drawn from rng, slots looked up (and `<list#slot>` added to them)."""
    out = []
    for part in pattern:
        if isinstance(part, str):
            out.append(part)
        elif part[0] == "choice":
            options = part[1]
            out.append(expand(options[int(rng.random() * len(options))], rng, slots))
        elif part[0] == "slot":
            out.append(_slot(part, slots))
        else:
            words = lexicon(part[1])
            word = words[int(rng.random() * len(words))]
            if part[2]:
                slots[part[2]] = word
            out.append(word)
    return "".join(out)


def _slot(part: tuple, slots: dict) -> str:
    _, name, path, capital = part
    if name not in slots:
        raise PatternError(f"no value for slot {{{name}}}; known: {', '.join(sorted(slots))}")
    value = slots[name]
    for step in path:
        value = getattr(value, step)
    text = str(value)
    return text[:1].upper() + text[1:] if capital else text


_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!(?:one|once|uni|use|usu|eur|ewe)(?:[a-z]|\b))")
_HOUR = re.compile(r"\b([Aa]) (?=(?:hour|honest|honour|heir)|8|11\b|18\b)")
_SPACES = re.compile(r" {2,}")
_BEFORE_MARK = re.compile(r" +([,.;:?!])")
_START = re.compile(r"(?:^|(?<=[.?!] )|(?<=[.?!]\n)|(?<=\n))([a-z])")


def tidy(text: str) -> str:
    """Mend what filling a pattern leaves behind: spaces, `a` before a vowel, the capital that begins a sentence.

    >>> tidy("she found a  old coin , then left. it shone.")
    'She found an old coin, then left. It shone.'
    """
    text = _SPACES.sub(" ", text).strip()
    text = _BEFORE_MARK.sub(r"\1", text)
    text = _HOUR.sub(r"\1n ", _ARTICLE.sub(r"\1n ", text))
    return _START.sub(lambda match: match[1].upper(), text)


@cache
def lexicon(name: str) -> tuple[str, ...]:
    """The entries of `lexicon/NAME.txt`, one a line; `;` begins a comment."""
    path = HERE / "lexicon" / f"{name}.txt"
    if not path.exists():
        raise PatternError(f"no word list {path.name} in data/recipes/lexicon")
    lines = (line.partition(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line)


@cache
def groups(name: str) -> dict[str, tuple[str, ...]]:
    """The pattern groups of `patterns/NAME.txt`: heading -> lines, in file order."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate((HERE / "patterns" / f"{name}.txt").read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            heading = line[1:].strip()
            if heading in found:
                raise PatternError(f"patterns/{name}.txt line {number}: group {heading!r} twice")
            current = found[heading] = []
        elif line.strip():
            if current is None:
                raise PatternError(f"patterns/{name}.txt line {number}: a pattern before the first '# group'")
            current.append(line.strip().replace("\\n", "\n"))
    return {heading: tuple(lines) for heading, lines in found.items()}


@cache
def patterns(name: str, group: str, split: str) -> tuple[Pattern, ...]:
    """The parsed patterns of one group that a split may use (see the module's docstring)."""
    lines = groups(name)[group]
    if len(lines) < SMALLEST_SPLIT_GROUP:
        return tuple(parse(line) for line in lines)
    kept = {"test": 3, "validation": 6}
    if split in kept:
        chosen = lines[kept[split] % len(lines) :: 8]
    else:
        chosen = [line for index, line in enumerate(lines) if index % 8 not in kept.values()]
    return tuple(parse(line) for line in chosen)
