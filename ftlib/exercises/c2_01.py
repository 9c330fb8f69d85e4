"""What the exercises of chapter 2.01 (choose and load) must satisfy."""

from __future__ import annotations

import itertools
import random

from ftlib.check import Case, Exercise, Question, against, asked, value

# 2.01.1 · the parameters of a block

COUNTED = "all matrices of attention and MLP are counted, each with its own shape"


def block_parameters(heads: int, head_width: int, shared: int, inner: int) -> Question:
    """A block of so many heads; keys and values have fewer, `shared`; its MLP is `inner` wide."""
    width, narrow = heads * head_width, shared * head_width
    square, mapped, mlp = width * width, width * narrow, width * inner
    due = 2 * square + 2 * mapped + 3 * mlp
    mistakes = {
        f"keys and values have {shared} heads: their matrices map {width} numbers to {narrow}": (
            4 * square + 3 * mlp
        ),
        f"the MLP counts too: three matrices of {width} × {inner}": due - 3 * mlp,
        "attention counts too: query, key, value, output": 3 * mlp,
        "the MLP has three matrices, not two": due - mlp,
        f"the output of attention is a matrix, too: {width} × {width}": due - square,
        "keys and values have a matrix each": due - mapped,
        "leave the norms out": due + 2 * width,
    }
    shapes = f"query and output: {width} × {width} each; key and value: {width} × {narrow} each"
    texts = [
        f"A block has width {width} and {heads} heads of width {head_width}. Keys and values have {shared} "
        f"heads. Its MLP has three matrices, {width} × {inner} each way.",
        f"Query and output map {width} numbers to {width}. Key and value map {width} to {shared} × "
        f"{head_width}.",
        f"2 * {width} * {width} + 2 * {width} * {narrow} + 3 * {width} * {inner}",
    ]
    return Question(texts, due, value(due, COUNTED, shapes, mistakes))


def _block(rng: random.Random):
    heads, shared = rng.choice(((4, 2), (6, 2), (6, 3), (8, 2), (8, 4)))
    head_width = rng.choice((4, 8, 16))
    return heads, head_width, shared, rng.choice((2, 3, 4)) * heads * head_width


# 2.01.2 · the bytes of the cache


def cache_size(blocks, heads, shared_heads, head_width, tokens):
    """Bytes of keys and values in bfloat16."""
    return 2 * 2 * blocks * shared_heads * head_width * tokens


def _model(groups: tuple[int, int]):
    """Draws a shape; each key-value head serves so many query heads."""

    def draw(rng: random.Random):
        shared = rng.randint(2, 8)
        heads = shared * rng.randint(*groups)
        return rng.randint(2, 40), heads, shared, rng.choice((16, 48, 64, 128)), rng.randint(3, 9000)

    return draw


# 2.01.3 · which candidates fit


def that_fit(shelf, tokens, memory_bytes):
    """Names of those whose context holds the tokens, and whose weights and cache fit the memory."""
    return [
        one["name"]
        for one in shelf
        if tokens <= one["context"] and 2 * one["parameters"] + 2 * tokens * one["cache"] <= memory_bytes
    ]


def _shelf(context: tuple, memory: tuple):
    """Draws a shelf, a length and a memory; each candidate lies so far above or below a limit.

    context: of a candidate, less the tokens. memory: the limit, less what a candidate needs.
    """

    def draw(rng: random.Random):
        tokens, limit = rng.randint(50, 500), 2 * rng.randint(10**6, 10**7)
        shelf = []
        for number in range(rng.randint(2, 5)):
            cache = rng.randint(100, 1000)
            spare = rng.choice(memory)
            parameters = (limit - spare) // 2 - tokens * cache
            line = {"name": f"{rng.choice('abcdef')}{number}", "parameters": parameters, "cache": cache}
            shelf.append(line | {"context": tokens + rng.choice(context)})
        return rng.sample(shelf, len(shelf)), tokens, limit

    return draw


# What each check says, and wrong answers that it must catch

SHARED = "the heads of keys and values are kept, not those of the queries"
PLAIN = "a key and a value of two bytes a number are kept"

CONTEXT = "a row that is longer than the context does not fit"
MEMORY = "weights and cache need two bytes a number and must fit together"
LIMITS = "what meets a limit exactly fits"


def _wrong(head: str, answers: dict[str, str]) -> list[tuple[str, str]]:
    """Wrong answers: {what follows the head: what the check says}."""
    return [(f"{head}\n{body}", says) for body, says in answers.items()]


WRONG_COUNTS = [
    (f"block_parameters = {wrong}", COUNTED)
    for wrong in (
        *(40_960, 12_288, 24_576, 28_672, 32_768, 34_816, 36_992, 0, 36_800, 36_863, 36_865, 73_728),
        *("'36864'", "[36864]", "True"),
    )
]
WRONG_SIZES = _wrong(
    "def cache_size(blocks, heads, shared_heads, head_width, tokens):",
    {
        "    return 2 * blocks * heads * head_width * tokens": PLAIN,
        "    return 2 * blocks * shared_heads * head_width * tokens": PLAIN,
        "    return blocks * shared_heads * head_width * tokens": PLAIN,
        "    return 8 * blocks * shared_heads * head_width * tokens": PLAIN,
        "    return 4 * shared_heads * head_width * tokens": PLAIN,
        "    return 4 * blocks * shared_heads * head_width": PLAIN,
        "    return 4 * blocks * shared_heads * tokens": PLAIN,
        "    return 4 * blocks * shared_heads * head_width * tokens / 1e9": PLAIN,
        "    return 4 * blocks * heads * head_width * tokens": SHARED,
        "    return 2 * blocks * (heads + shared_heads) * head_width * tokens": SHARED,
    },
)
NEEDED = "2 * (one['parameters'] + tokens * one['cache'])"
FITS = "tokens <= one['context'] and NEEDED <= memory_bytes"


def _fits(test: str, kept: str = "one['name']", returned: str = "names") -> str:
    """An answer that keeps what passes the test."""
    loop = f"    names = []\n    for one in shelf:\n        if {test.replace('NEEDED', NEEDED)}:\n"
    return f"{loop}            names.append({kept})\n    return {returned}"


WRONG_FITS = _wrong(
    "def that_fit(shelf, tokens, memory_bytes):",
    {
        _fits("NEEDED <= memory_bytes"): CONTEXT,
        _fits(FITS.replace(" and ", " or ")): CONTEXT,
        _fits(FITS, kept="one"): CONTEXT,
        _fits(FITS, returned="sorted(names)"): CONTEXT,
        _fits("tokens <= one['context']"): MEMORY,
        _fits(FITS.replace("NEEDED", "(one['parameters'] + tokens * one['cache'])")): MEMORY,
        _fits(FITS.replace("NEEDED", "2 * (one['parameters'] + one['cache'])")): MEMORY,
        _fits(FITS.replace("NEEDED", "2 * one['parameters']")): MEMORY,
        _fits(FITS.replace("tokens <=", "tokens <")): LIMITS,
        _fits(FITS.replace("NEEDED <=", "NEEDED <")): LIMITS,
    },
)

EXERCISES = {
    "2.01.1": asked(block_parameters, (4, 16, 2, 128), _block, WRONG_COUNTS),
    "2.01.2": Exercise(
        against(
            cache_size,
            Case(PLAIN, _model((1, 1)), "two things a token (key and value), two bytes a number"),
            Case(SHARED, _model((2, 8)), "which of the two numbers of heads is that of keys and values?"),
        ),
        planted=WRONG_SIZES,
        equivalent={
            f"ens): keys -> ens): {one}, {other} = ({other}, {one}) keys": "a product has no order"
            for one, other in itertools.combinations(("blocks", "shared_heads", "head_width", "tokens"), 2)
        },
    ),
    "2.01.3": Exercise(
        against(
            that_fit,
            Case(CONTEXT, _shelf((-40, -1, 40), (10**6,)), "compare tokens with context for each candidate"),
            Case(MEMORY, _shelf((40,), (-(10**6), -2, 2, 10**6)), "2 * (parameters + tokens * cache)"),
            Case(LIMITS, _shelf((0, 40), (0, 10**6)), "use <= for both limits"),
            tries=24,
        ),
        planted=WRONG_FITS,
        equivalent={
            "names = [] fo -> names = 2 * [] fo": "twice an empty list is an empty list",
            "names = [] for -> names = [][:1] for": "a part of an empty list is an empty list",
        },
    ),
}
