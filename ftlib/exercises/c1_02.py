"""What the exercises of chapter 1.02 (clean and format) must satisfy."""

from __future__ import annotations

import random

from ftlib.check import Case, Exercise, Question, against, asked, value

# 1.02.1 · who may look at whom in a packed row

PAIRS = "a token looks at itself and at those before it in its own document"
HOW_MANY = "a document of n tokens has n (n + 1) / 2 pairs: add up the three"
PLACES = "tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"


def pairs_allowed(*lengths: int) -> Question:
    """Three documents of so many tokens, 9 or more together, and one place of padding."""
    used = sum(lengths)
    pairs = [length * (length + 1) // 2 for length in lengths]
    mistakes = {
        "a token of one document never looks into another: count each document on its own": (
            used * (used + 1) // 2
        ),
        "the padding looks at nobody, and no document looks into another": (used + 1) * (used + 2) // 2,
        "no token looks at a later one: count half of each square, and its diagonal": (
            sum(length**2 for length in lengths)
        ),
        "no token looks at a later one, nor into another document": used**2,
        "each token also looks at itself": sum(pairs) - used,
        "each token also looks at itself, and none looks into another document": used * (used - 1) // 2,
        "a token also looks at those before it in its document": used,
        "the padding looks at nobody": sum(pairs) + 1,
    }
    documents = "{}, {} and {} tokens".format(*lengths)
    texts = [
        f"Documents of {documents} share a row of {used + 1}, kept apart; the "
        f"{PLACES.split()[used - 9]} token is padding.",
        "{} + {} + {}  # n (n + 1) / 2 for ".format(*pairs) + documents,
    ]
    return Question(texts, sum(pairs), value(sum(pairs), PAIRS, HOW_MANY, mistakes))


def _lengths(rng: random.Random):
    return sorted(rng.sample(range(2, 8), 3))


# 1.02.2 · one row a message, and none where replies disagree


def consistent(rows):
    """The first row of each message whose replies all agree, in order; case and white space do not count."""
    keys = [" ".join(message.lower().split()) for message, _ in rows]
    replies: dict[str, set] = {}
    for key, (_, reply) in zip(keys, rows, strict=True):
        replies.setdefault(key, set()).add(reply)
    kept = [(keys.index(key) == at, len(replies[key]) == 1) for at, key in enumerate(keys)]
    return [row for row, wanted in zip(rows, kept, strict=True) if all(wanted)]


MESSAGES = ("No water in Mill Lane", "Where is my bin?", "Lost: a cap", "The boat was late.", "a blue cap")
JOINED = ("in form", "inform", "re sign", "resign")  # alike but for where a word ends
REPLIES = ("water", "rubbish", "lost", "ferry", "parking")


def _varied(rng: random.Random, message: str, spaces: bool, case: bool) -> str:
    """The message in other capitals, and with other white space around and between its words."""
    words = message.split()
    joined = "".join(word + (rng.choice((" ", "  ", "\t", "\n")) if spaces else " ") for word in words)
    text = rng.choice(("", " ", "\n")) + joined if spaces else joined.strip()
    return rng.choice((text.upper(), text.lower(), text.title(), text)) if case else text


def _rows(copies: int, disagree: float, spaces: bool = False, case: bool = False, texts: tuple = MESSAGES):
    """Draws rows of different messages, each up to `copies` times, shuffled; some with a second reply."""

    def draw(rng: random.Random):
        rows = []
        for message in rng.sample(texts, rng.randint(3, len(texts))):
            reply, other = rng.sample(REPLIES, 2)
            count = rng.randint(1, copies)
            found = [(_varied(rng, message, spaces, case), reply) for _ in range(count)]
            if count > 1 and rng.random() < disagree:
                found[rng.randrange(count)] = (_varied(rng, message, spaces, case), other)
            rows += found
        rng.shuffle(rows)
        return (rows,)

    return draw


# 1.02.3 · what a packed row holds


def packed_inputs(documents):
    """(input_ids, labels, position_ids) of one row: labels -100 off the mask and on each first token."""
    input_ids = [token for ids, _ in documents for token in ids]
    position_ids = [place for ids, _ in documents for place in range(len(ids))]
    mask = [bit for _, bits in documents for bit in bits]
    rows = zip(input_ids, mask, position_ids, strict=True)
    return input_ids, [token if bit and place else -100 for token, bit, place in rows], position_ids


def _documents(count: tuple[int, int], masked: bool, whole: bool = False):
    """Draws so many documents of other lengths; masked: their beginnings carry no loss; whole: all does."""

    def draw(rng: random.Random):
        found = []
        for _ in range(rng.randint(*count)):
            ids = [rng.randint(1, 4000) for _ in range(rng.randint(2, 7))]
            start = rng.randint(1, len(ids) - 1) if masked else 0 if whole else 1
            found.append((ids, [int(place >= start) for place in range(len(ids))]))
        return (found,)

    return draw


# What each check says, and wrong answers that it must catch

ONCE = "of equal rows the first stays, and the order too"
DISAGREE = "a message with two replies is left out altogether"
CASE = "case does not tell two messages apart"
SPACE = "white space around and between the words does not tell two messages apart"
WORDS = "where a word ends does tell them apart"

ONE = "of one document all but the first token keep their labels, and positions count from 0"
MASKED = "off the response mask the label is -100"
FIRST = "the first token of a document is nobody's label, even where the mask is 1"
SEVERAL = "documents follow each other, and positions begin again with each"


def _wrong(head: str, answers: dict[str, str]) -> list[tuple[str, str]]:
    """Wrong answers: {what follows the head: what the check says}."""
    return [(f"{head}\n{body}", says) for body, says in answers.items()]


WRONG_COUNTS = [
    *((f"pairs = {wrong}", PAIRS) for wrong in (45, 55, 29, 81, 10, 36, 9, 20, 0, 18)),
    *((f"pairs = {wrong}", PAIRS) for wrong in ("True", "'19'", "[19]", "2 * 3 * 4", "2 + 3 + 4")),
]
KEY = '" ".join(message.lower().split())'
GATHER = """    replies, first = {}, {}
    for message, reply in rows:
        key = KEY
        replies.setdefault(key, set()).add(reply)
        first.setdefault(key, (message, reply))
"""
KEEP = "    return [first[key] for key in first if len(replies[key]) == 1]"
WRONG_ROWS = _wrong(
    "def consistent(rows):",
    {
        "    return rows": ONCE,
        "    return list(set(rows))": ONCE,
        "    return []": ONCE,
        "    return {message: reply for message, reply in rows}": ONCE,
        "    return sorted({message: (message, reply) for message, reply in rows}.values())": ONCE,
        "    return [(message.lower(), reply) for message, reply in dict(rows).items()]": ONCE,
        "    kept = []\n    for row in rows:\n        if rows.count(row) == 1:\n"
        "            kept.append(row)\n    return kept": ONCE,
        "    return [list(pair) for pair in dict(rows).items()]": ONCE,
        "    return list({message: (message, reply) for message, reply in rows}.values())": DISAGREE,
        "    return list(dict(reversed(rows)).items())[::-1]": ONCE,
        "    return list(dict.fromkeys(rows))": DISAGREE,
        GATHER.replace("KEY", KEY) + "    return list(first.values())": DISAGREE,
        GATHER.replace("KEY", KEY) + KEEP.replace("== 1", "<= 2"): DISAGREE,
        GATHER.replace("KEY", KEY) + KEEP.replace("== 1", "> 1"): ONCE,
        GATHER.replace("KEY", "message") + KEEP: CASE,
        GATHER.replace("KEY", "message.strip()") + KEEP: CASE,
        GATHER.replace("KEY", '" ".join(message.split())') + KEEP: CASE,
        GATHER.replace("KEY", "message.lower()") + KEEP: SPACE,
        GATHER.replace("KEY", "message.lower().strip()") + KEEP: SPACE,
        GATHER.replace("KEY", 'message.lower().strip().replace("  ", " ")') + KEEP: SPACE,
        GATHER.replace("KEY", '"".join(message.lower().split())') + KEEP: WORDS,
        GATHER.replace("KEY", KEY).replace("(message, reply))", "(key, reply))") + KEEP: ONCE,
    },
)
PACKED = """    input_ids, labels, position_ids = [], [], []
    for ids, mask in documents:
        marked = [token if bit else -100 for token, bit in zip(ids, mask)]
        input_ids += ids
        labels += [-100, *marked[1:]]
        position_ids += range(len(ids))
"""
RETURN = "    return input_ids, labels, position_ids"
WRONG_ROWS_PACKED = _wrong(
    "def packed_inputs(documents):",
    {
        PACKED + "    return input_ids, position_ids, labels": ONE,
        PACKED + "    return labels, input_ids, position_ids": ONE,
        PACKED + "    return [input_ids, labels, position_ids]": ONE,
        PACKED + '    return {"input_ids": input_ids, "labels": labels}': ONE,
        PACKED + "    print(input_ids, labels, position_ids)": ONE,
        PACKED.replace("range(len(ids))", "range(1, len(ids) + 1)") + RETURN: ONE,
        PACKED.replace("range(len(ids))", "[0] * len(ids)") + RETURN: ONE,
        PACKED.replace("input_ids += ids", "input_ids.append(ids)") + RETURN: ONE,
        PACKED.replace("[-100, *marked[1:]]", "marked[1:]") + RETURN: ONE,
        PACKED.replace("[-100, *marked[1:]]", "[*marked[1:], -100]") + RETURN: ONE,
        PACKED.replace("else -100", "else 0") + RETURN: MASKED,
        PACKED.replace("if bit else -100 ", "") + RETURN: MASKED,
        PACKED.replace("token if bit else -100", "bit") + RETURN: ONE,
        PACKED.replace("token if bit else -100", "-100 if bit else token") + RETURN: ONE,
        PACKED.replace("[-100, *marked[1:]]", "marked") + RETURN: FIRST,
        PACKED + "    labels[0] = input_ids[0]\n" + RETURN: ONE,
        PACKED.replace("range(len(ids))", "range(len(position_ids), len(position_ids) + len(ids))")
        + RETURN: SEVERAL,
        PACKED.replace("[-100, *marked[1:]]", "marked") + "    labels[0] = -100\n" + RETURN: FIRST,
        PACKED.replace("in documents", "in documents[:1]") + RETURN: SEVERAL,
        PACKED.replace("in documents", "in reversed(documents)") + RETURN: SEVERAL,
        PACKED.replace("input_ids += ids", "input_ids += [0] * bool(input_ids) + ids") + RETURN: SEVERAL,
        "    [(ids, mask)] = documents\n    labels = [a if b else -100 for a, b in zip(ids, mask)]\n"
        "    return ids, [-100, *labels[1:]], list(range(len(ids)))": SEVERAL,
    },
)

EXERCISES = {
    "1.02.1": asked(pairs_allowed, (2, 3, 4), _lengths, WRONG_COUNTS),
    "1.02.2": Exercise(
        against(
            consistent,
            Case(ONCE, _rows(3, disagree=0), "keep the first row of each message, as it stands"),
            Case(DISAGREE, _rows(3, disagree=0.7), "gather the replies of a message before you keep a row"),
            Case(CASE, _rows(3, disagree=0.3, case=True), "compare message.lower()"),
            Case(SPACE, _rows(3, disagree=0.3, spaces=True), "compare what split() gives, joined again"),
            Case(WORDS, _rows(2, disagree=0.3, texts=JOINED), "join the words with a space"),
            tries=16,
        ),
        planted=WRONG_ROWS,
        equivalent={
            "key = ' '.join( -> key = 2 * ' '.join(": "a key said twice tells the same messages apart",
            "key = ' '.join(mes -> key = ' x'.join(mes": "whatever stands between the words tells them apart",
        },
    ),
    "1.02.3": Exercise(
        against(
            packed_inputs,
            Case(ONE, _documents((1, 1), masked=False), "labels are the ids, but -100 on the first token"),
            Case(MASKED, _documents((1, 1), masked=True), "where the mask is 0 write -100"),
            Case(FIRST, _documents((1, 1), masked=False, whole=True), "put -100 first, whatever the mask is"),
            Case(SEVERAL, _documents((2, 4), masked=True), "range(len(ids)) for each document"),
            Case(FIRST, _documents((2, 4), masked=False, whole=True), "do so in every document"),
        ),
        planted=WRONG_ROWS_PACKED,
    ),
}
