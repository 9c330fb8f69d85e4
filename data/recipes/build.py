"""Write everything the workbook ships in data/, byte for byte the same each time: `python -m data.recipes.build` (make data)."""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from string import Template

from . import corpus, island
from .facts import Fact, cloze, facts, fits, say, values
from .genres import export
from .grammar import groups
from .pen import Pen
from .world import world

HERE = Path(__file__).parent
SETS = {  # instruction set -> the module of genres that writes it
    "triage": "desk", "extract": "records", "arithmetic": "arithmetic",
    "summarise": "notices", "reply": "desk", "translate": "translation", "sentiment": "sentiment", "dialogue": "service",
    "tools": "tools", "safety": "safety", "preferences": "preferences", "reading": "reading",
}  # fmt: skip
# file -> rows, whose names, whose wordings
ROWS = {
    "train": (800, "train", "train"), "validation": (100, "validation", "train"), "test": (200, "test", "train"),
    "new_wordings": (200, "test", "test"),
}  # fmt: skip
# Of another size: six equal cells of class and reviewers' group; replies to start from, beside the pairs
ROWS_OF = {
    "sentiment": {
        "train": (900, "train", "train"), "validation": (120, "validation", "train"), "test": (300, "test", "train"),
        "new_wordings": (180, "test", "test"),
    },
    "preferences": ROWS | {"start": (800, "train", "train")},
}  # fmt: skip
CORPUS_BYTES = {"train": 4_000_000, "test": 1_000_000}   # of text, before compression
LONGER = 3   # repetition is also measured on a text so many times as long as the sample
NOT_PLAIN_ENGLISH = {"ticket", *corpus.SHARES["translation"]}   # typing mistakes, and French
PACKED = ("dialogue", "tools", "preferences")   # what their rows repeat would fill a third of data/
KNOWN_FACTS = 1_000
OPTIONS = 10
LIMIT_BYTES = 9_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder to write to (default: data/)")
    out = parser.parse_args().out
    counts = {name: instruction_set(out / name, name) for name in SETS}
    counts |= {
        "facts": fact_set(out / "facts"),
        "island": island_sets(out / "island"),
        "handbook": handbook(out / "handbook"),
        "corpus": corpus_sample(out / "corpus"),
        "export": export.export_set(out / "export", write_rows),
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


Item = Callable[[Pen], "list[dict] | tuple[str, str]"]


def different(item: Item, split: str, name: str, taken: set[str], wordings: str = "") -> Iterator[list[dict]]:
    """Endless items of one split (rows that belong together), none of which asks what was taken before."""
    for index in itertools.count():
        made = item(Pen(split, f"{name}-{index}", wordings, open_names=True))
        rows = [{"messages": turns(*made)}] if isinstance(made, tuple) else made
        asked = {json.dumps(prompt(row)) for row in rows}
        if not asked & taken:
            taken |= asked
            yield rows


def turns(user: str, assistant: str) -> list[dict]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def prompt(row: dict) -> list[dict]:
    """The messages that a row's answer follows."""
    return row["prompt"] if "prompt" in row else row["messages"][:-1]


def instruction_set(folder: Path, name: str) -> dict[str, object]:
    """The rows of one set, as messages or as preference pairs."""
    module = import_module(f"data.recipes.genres.{SETS[name]}")
    suffix = ".jsonl.gz" if name in PACKED else ".jsonl"
    taken: set[str] = set()
    counts: dict[str, object] = {}
    for file, (count, split, wordings) in ROWS_OF.get(name, ROWS).items():
        items = different(module.SETS.get(file, module.SETS[name]), split, name if file in ROWS else file, taken, wordings)
        written = list(numbered(f"{name}-{file}", items, count))
        counts[file] = write_rows(folder / f"{file}{suffix}", written)
        counts[f"{file}_answers"] = counted(label(row) for row in written)
        if file == "train":
            counts["example"] = shown(written[0])
    if name == "preferences":
        write_rows(folder / "words.jsonl", module.words())
    return counts


def label(row: dict) -> str:
    """What rows of a file are counted by: the reason, the faults, whether to refuse, else the last answer."""
    if "messages" in row and not {"faults", "refuse"} & set(row):
        return row["messages"][-1]["content"]
    return row.get("reason") or " and ".join(row.get("faults", ["refused" if row.get("refuse") else "answered"])) or "none"


def shown(row: dict) -> str:
    """A row as a card shows it: one paragraph a turn."""
    said = row.get("messages") or [*row["prompt"], *row["chosen"], {**row["rejected"][0], "role": "rejected"}]
    lines = [f"tools: {json.dumps(row['tools'])}"] if "tools" in row else []
    return "\n\n".join(lines + [f"{turn['role']}: {turn['content'] or json.dumps(turn['tool_calls'])}" for turn in said])


def numbered(prefix: str, items: Iterator[list[dict]], count: int) -> Iterator[dict]:
    """`count` rows with ids. Rows of one item share a `pair`; every group has as many rows of each class."""
    cells: Counter[tuple[str, str]] = Counter()
    index = 0
    while index < count:
        rows = next(items)
        cell = (rows[0].get("group", ""), label(rows[0]))
        if "group" in rows[0] and cells[cell] == count // 6:
            continue
        cells[cell] += 1
        pair = {"pair": f"{prefix}-pair-{index // 2:04d}"} if len(rows) == 2 else {}
        for row in rows:
            yield {"id": f"{prefix}-{index:04d}", **pair, **row}
            index += 1


def fact_set(folder: Path) -> dict[str, object]:
    """Known facts (a seeded sample) and new facts (all), each with questions, cloze form and options."""
    pen = Pen("train", "facts")
    # A name that holds the answer (the Kiln Road Forge, in Kiln Road) would give it away.
    known, new = ([fact for fact in facts(town) if fact.value not in fact.name] for town in (world().known, world().newcomers))
    known = pen.some(known, KNOWN_FACTS)
    rows = [{"id": f"known-{index:04d}", "known": True, **fact_row(pen, fact, index)} for index, fact in enumerate(known)]
    rows += [{"id": f"new-{index:04d}", "known": False, **fact_row(pen, fact, index)} for index, fact in enumerate(new)]
    write_rows(folder / "facts.jsonl", rows)
    return {"known": len(known), "new": len(rows) - len(known), "relations": len({row["relation"] for row in rows}), "options": OPTIONS}


def fact_row(pen: Pen, fact: Fact, index: int) -> dict:
    questions: dict[str, None] = {}
    while len(questions) < 4:
        questions[say(pen, fact, "question")] = None
    question, *paraphrases = questions
    # Each option is as well known as the answer: else form would decide, not knowledge.
    likely, newcomers = (values(fact.relation, town) for town in (world().known, world().newcomers))
    if fact.value not in likely and len(newcomers) > 1:
        likely = newcomers
    return {"question": question, "paraphrases": paraphrases, **told(pen, fact, index, likely)}


def told(pen: Pen, fact: Fact, index: int, likely: Sequence[str]) -> dict:
    """What a fact is: whom it is about, a statement, a sentence up to the answer, and the answer among other values."""
    start = cloze(pen, fact, index)
    pool = [value for value in likely if value != fact.value and fits(start, value)]
    options = [fact.value, *pen.some(pool, min(OPTIONS - 1, len(pool)))]
    pen.rng.shuffle(options)
    return {
        "entity": fact.name, "relation": fact.relation, "answer": fact.value, "statement": say(pen, fact, "statement"),
        "cloze": start, "options": options,
    }  # fmt: skip


def island_sets(folder: Path) -> dict[str, object]:
    """The island's corpus, its facts, and questions: of each split's entities, in wordings for all and in one kept back."""
    corpus_rows = list(island.documents())
    numbers: dict[str, object] = {
        "documents": write_rows(folder / "corpus.jsonl.gz", corpus_rows),
        "words": sum(len(row["text"].split()) for row in corpus_rows),
    }
    pen = island.IslandPen("facts")
    rows = [
        {"id": f"island-{index:04d}", "split": island.split_of(fact.entity), **told(pen, fact, index, values(fact.relation, island.town()))}
        for index, fact in enumerate(island.asked())
    ]
    numbers["facts"] = write_rows(folder / "facts.jsonl", rows)
    for file, (_, split, wordings) in ROWS.items():
        found = [(row, fact) for row, fact in zip(rows, island.asked(), strict=True) if row["split"] == split]
        asked = {island.question(pen, fact, wordings == "test"): row for row, fact in found * (3 if split == "train" else 1)}
        numbers[file] = write_rows(folder / f"{file}.jsonl", (
            {"id": f"island-{file}-{index:04d}", "fact": row["id"], "messages": turns(question, row["answer"])}
            for index, (question, row) in enumerate(asked.items())
        ))  # fmt: skip
    return numbers


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
    numbers["genres"] = sum(share > 0 for shares in corpus.SHARES.values() for share in shares.values())
    written = [file.stem for file in HERE.glob("patterns/*.txt") if file.stem != "minimal_pairs"]   # those examine, they do not write
    numbers["patterns"] = sum(len(lines) for name in written for lines in groups(name).values())
    numbers |= {"shares": shared(corpus.SHARES)}
    return numbers


def shared(shares: dict[str, dict[str, float]]) -> str:
    """The shares of genres in words."""
    return ", ".join(f"{name} {share:g}" for genres in shares.values() for name, share in genres.items() if share)


if __name__ == "__main__":
    main()
