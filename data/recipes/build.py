"""Write everything the workbook ships in data/, byte for byte the same each time: `python -m data.recipes.build` (make data)."""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from string import Template

from . import corpus
from .facts import Fact, cloze, facts, fits, say, values
from .grammar import groups
from .pen import Pen
from .world import world

HERE = Path(__file__).parent
SETS = {  # instruction set -> the module of genres that writes it
    "triage": "desk", "extract": "records", "arithmetic": "arithmetic",
    "summarise": "notices", "reply": "desk", "translate": "translation",
    "reading": "reading",
}  # fmt: skip
# file -> rows, whose names, whose wordings
ROWS = {
    "train": (800, "train", "train"), "validation": (100, "validation", "train"), "test": (200, "test", "train"),
    "new_wordings": (200, "test", "test"),
}  # fmt: skip
PREFERENCES = {"train": 800, "test": 200}
CORPUS_BYTES = {"train": 4_000_000, "test": 1_000_000}   # of text, before compression
LONGER = 3   # repetition is also measured on a text so many times as long as the sample
NOT_PLAIN_ENGLISH = {"ticket", *corpus.SHARES["translation"]}   # typing mistakes, and French
KNOWN_FACTS = 1_000
OPTIONS = 10
LIMIT_BYTES = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder to write to (default: data/)")
    out = parser.parse_args().out
    counts = {name: instruction_set(out / name, name) for name in SETS}
    counts |= {
        "facts": fact_set(out / "facts"),
        "preferences": preference_set(out / "preferences"),
        "handbook": handbook(out / "handbook"),
        "corpus": corpus_sample(out / "corpus"),
    }
    for name, numbers in counts.items():
        text = Template((HERE / "cards" / f"{name}.md").read_text(encoding="utf-8")).substitute(numbers)
        (out / name / "README.md").write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for name in counts for file in (out / name).iterdir())
    if size > LIMIT_BYTES:
        raise SystemExit(f"data/ holds {size} bytes, more than the {LIMIT_BYTES} allowed")
    print(f"{len(counts)} sets, {size / 1e6:.1f} MB")


def write_rows(path: Path, rows: Iterable[dict]) -> int:
    """Write JSON lines (gzip without a time stamp when the name ends in .gz) and return their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    data = "".join(lines).encode()
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
            file.write(data)
        data = buffer.getvalue()
    path.write_bytes(data)
    return len(lines)


def different(
    make: Callable[[Pen], dict], key: Callable[[dict], str], split: str, name: str, taken: set[str], wordings: str = ""
) -> Iterator[dict]:
    """Endless rows of one split, none of whose keys was taken before (in this split or another)."""
    for index in itertools.count():
        row = make(Pen(split, f"{name}-{index}", wordings, open_names=True))
        if key(row) not in taken:
            taken.add(key(row))
            yield row


def instruction_set(folder: Path, name: str) -> dict[str, object]:
    """The rows of one instruction set as messages."""
    example = import_module(f"data.recipes.genres.{SETS[name]}").SETS[name]

    def make(pen: Pen) -> dict:
        user, assistant = example(pen)
        return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}

    taken: set[str] = set()
    counts: dict[str, object] = {}
    for file, (count, split, wordings) in ROWS.items():
        rows = different(make, lambda row: row["messages"][0]["content"], split, name, taken, wordings)
        written = list(numbered(f"{name}-{file}", rows, count))
        counts[file] = write_rows(folder / f"{file}.jsonl", written)
        counts[f"{file}_answers"] = counted(row["messages"][1]["content"] for row in written)
    first = json.loads((folder / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])["messages"]
    return {**counts, "user": first[0]["content"], "assistant": first[1]["content"]}


def numbered(prefix: str, rows: Iterator[dict], count: int) -> Iterator[dict]:
    return ({"id": f"{prefix}-{index:04d}", **next(rows)} for index in range(count))


def fact_set(folder: Path) -> dict[str, object]:
    """Known facts (a seeded sample) and new facts (all), each with questions, cloze form and options."""
    pen = Pen("train", "facts")
    # A name that holds the answer (the Kiln Road Forge, in Kiln Road) would give it away.
    known, new = ([fact for fact in facts(town) if fact.value not in fact.name] for town in (world().known, world().newcomers))
    known = pen.some(known, KNOWN_FACTS)
    rows = [fact_row(pen, fact, index, True) for index, fact in enumerate(known)]
    rows += [fact_row(pen, fact, index, False) for index, fact in enumerate(new)]
    write_rows(folder / "facts.jsonl", rows)
    return {"known": len(known), "new": len(rows) - len(known), "relations": len({row["relation"] for row in rows}), "options": OPTIONS}


def fact_row(pen: Pen, fact: Fact, index: int, known: bool) -> dict:
    questions: dict[str, None] = {}
    while len(questions) < 4:
        questions[say(pen, fact, "question")] = None
    question, *paraphrases = questions
    # Each option is as well known as the answer, and fits the article before it: else form would decide, not knowledge.
    likely, newcomers = (values(fact.relation, town) for town in (world().known, world().newcomers))
    if fact.value not in likely and len(newcomers) > 1:
        likely = newcomers
    start = cloze(pen, fact, index)
    pool = [value for value in likely if value != fact.value and fits(start, value)]
    options = [fact.value, *pen.some(pool, min(OPTIONS - 1, len(pool)))]
    pen.rng.shuffle(options)
    return {
        "id": f"{'known' if known else 'new'}-{index:04d}", "entity": fact.name, "relation": fact.relation, "known": known,
        "question": question, "answer": fact.value, "paraphrases": paraphrases,
        "statement": say(pen, fact, "statement"), "cloze": start, "options": options,
    }  # fmt: skip


def preference_set(folder: Path) -> dict[str, object]:
    """Pairs of replies to the same ticket: chosen, rejected, and the reason."""
    make = import_module("data.recipes.genres.desk").PREFERENCES
    taken: set[str] = set()
    counts: dict[str, object] = {}
    for split, count in PREFERENCES.items():
        pairs = different(make, lambda pair: pair["prompt"], split, "preferences", taken)
        rows = [
            {
                "id": f"preferences-{split}-{index:04d}",
                "prompt": [{"role": "user", "content": pair["prompt"]}],
                "chosen": [{"role": "assistant", "content": pair["chosen"]}],
                "rejected": [{"role": "assistant", "content": pair["rejected"]}],
                "reason": pair["reason"],
            }
            for index, pair in zip(range(count), pairs, strict=False)
        ]
        counts[split] = write_rows(folder / f"{split}.jsonl", rows)
        counts[f"{split}_reasons"] = counted(row["reason"] for row in rows)
    return counts


def counted(labels: Iterable[str]) -> str:
    """How often each label occurs, the most frequent first."""
    return ", ".join(f"{label} {number}" for label, number in Counter(labels).most_common())


def handbook(folder: Path) -> dict[str, object]:
    """The help desk's handbook, one page a row."""
    pages = import_module("data.recipes.genres.desk").pages()
    lengths = [len(page["sentences"]) for page in pages]
    return {
        "pages": write_rows(folder / "pages.jsonl", pages), "topics": len({page["topic"] for page in pages}),
        "kept": sum(page["split"] != "train" for page in pages), "fewest": min(lengths), "most": max(lengths),
    }  # fmt: skip


def corpus_sample(folder: Path) -> dict[str, object]:
    """A sample of the pre-training stream and the held-out corpus, with the figures of the card."""
    numbers: dict[str, object] = {}
    for split, file in (("train", "sample"), ("test", "held_out")):
        rows, size = [], 0
        stream = corpus.Stream(split)
        for document in stream:
            rows.append({"text": document.text, "genre": document.genre})
            size += len(document.text.encode())
            if size >= CORPUS_BYTES[split]:
                break
        write_rows(folder / f"{file}.jsonl.gz", rows)
        texts = [row["text"] for row in rows]
        numbers[f"{file}_documents"] = len(rows)
        numbers[f"{file}_words"] = sum(len(text.split()) for text in texts)
        numbers[f"{file}_repeated"] = f"{100 * corpus.repeated_share(texts):.1f}"
        if split == "train":
            numbers["vocabulary"] = len(corpus.vocabulary(texts))
            numbers["english"] = len(corpus.vocabulary([row["text"] for row in rows if row["genre"] not in NOT_PLAIN_ENGLISH]))
            texts += [document.text for document in itertools.islice(stream, (LONGER - 1) * len(texts))]
            numbers["stream_words"] = f"{sum(len(text.split()) for text in texts) / 1e6:.1f} million"
            numbers["stream_repeated"] = f"{100 * corpus.repeated_share(texts):.1f}"
    numbers["genres"] = len(corpus.genres())
    written = [file.stem for file in HERE.glob("patterns/*.txt") if file.stem != "minimal_pairs"]   # those examine, they do not write
    numbers["patterns"] = sum(len(lines) for name in written for lines in groups(name).values())
    numbers |= {"shares": shared(corpus.SHARES), "late": shared(corpus.LATE), "late_from": f"{corpus.LATE_FROM:,}"}
    return numbers


def shared(shares: corpus.Shares) -> str:
    """The shares of genres in words."""
    return ", ".join(f"{name} {share:g}" for genres in shares.values() for name, share in genres.items())


if __name__ == "__main__":
    main()
