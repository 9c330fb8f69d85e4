"""Read data of any usual kind, and turn conversations into tokens with a response mask."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib.formats import Message, Records, Reported, Row, names, recognise
from ftlib.formats import NoUsableRow as NoUsableRow
from ftlib.formats import messages as messages
from ftlib.settings import DATA, HUB_ID, WorkbookError, closest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

# One turn is a token that names its role, the text, and, after an assistant's turn, the end token, which belongs to the
# answer: a model that is not trained on it never stops. Thinking stands before the answer, tool calls after it as JSON.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{% if message['reasoning_content'] %}{{ '<|think|>' + message['reasoning_content'] + '<|/think|>' }}{% endif %}"
    "{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}{{ '<|call|>' + (call['function'] or call) | tojson }}{% endfor %}"
    "{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
GENERATION = re.compile(r"{%-?\s*generation\b")
OBJECT_ON_A_LINE = re.compile(r"\s*{.*}\s*\n")
PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)


def read(path_or_id: str | Path) -> Records:
    """Read a data file, a data set of the hub, or rows of a database, and recognise their format.

    path_or_id: a path to CSV, TSV, JSON, JSONL or plain text (also .gz, .zst) or to Parquet; a hub id
    ORGANISATION/NAME, of which the split "train", or else the first, is read; an SQL URL with ?table=NAME or
    ?query=SELECT..., such as sqlite:///file.db?table=reviews. Where content and name disagree on compression,
    Parquet, or JSON against JSONL, the content decides. Paragraphs of plain text are its rows.

    Rows that are not usable are reported with a reason. Raises WorkbookError for what cannot be read at all.
    """
    source = str(path_or_id)
    if "://" in source:
        return _sql(source)
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        raise WorkbookError(f"{source!r} is a folder: name a file in it")
    if os.path.exists(path):
        return recognise(_rows(source, path), source)
    if os.path.isdir(path.parent):
        near = closest(path.name, [entry.name for entry in path.parent.iterdir()])
        raise WorkbookError(f"there is no file {source!r}{near}")
    if HUB_ID.fullmatch(source) and _suffix(source) not in READERS:
        return _hub(source)
    raise WorkbookError(f"there is no file {source!r}: there is no folder {str(path.parent)!r}")


def absolute(path_or_id: str) -> str:
    """The same source, named so that it is found from any folder: a file, or that of an SQLite URL."""
    if path_or_id.startswith("sqlite:///"):
        import sqlalchemy

        url = sqlalchemy.make_url(path_or_id)
        return url.set(database=os.path.abspath(url.database or "")).render_as_string(hide_password=False)
    path = Path(path_or_id).expanduser()
    return str(path.resolve()) if path_or_id and path.exists() else path_or_id


def conversations(
    path_or_id: str, tokenizer: PreTrainedTokenizerBase, max_length: int, at_least: int = 20
) -> Records:
    """What `read` finds, as conversations (lists of messages) to train on and to ask: those are `used`.

    Reported too are: a KTO answer that is labelled false; a conversation whose last answer begins only after
    max_length tokens; one that the chat template cannot encode. Raises WorkbookError when fewer than
    `at_least` are left, and for plain text, which has no turns.
    """
    records = read(path_or_id)
    unused = {row.row for row in records.reported}
    numbers = (number for number in range(1, records.rows + 1) if number not in unused)
    used: list[list[Message]] = []
    reported = list(records.reported)
    for number, record in zip(numbers, records.used, strict=True):
        conversation = messages(record, records.format)
        try:
            if records.format == "kto" and not record["label"]:
                raise WorkbookError("its answer is labelled false")
            mask = encode(tokenizer, conversation).response_mask
            if max(start for start, (now, then) in enumerate(pairwise(mask)) if then > now) + 1 >= max_length:
                raise WorkbookError(f"its last answer begins after {max_length} tokens")
            used.append(conversation)
        except WorkbookError as error:
            reported.append(Reported(number, str(error)))
    reported.sort(key=lambda row: row.row)
    if len(used) < at_least:
        why = f": row {reported[0].row}: {reported[0].reason}" if reported else ""
        few = f"{records.source} has {len(used)} rows to train on, and this needs {at_least}"
        raise WorkbookError(few + why)
    return replace(records, used=used, reported=reported)


def inspect_report(records: Records) -> dict:
    """What `python -m ftlib inspect FILE --json` prints; rows == used + len(reported)."""
    reported = [asdict(row) for row in records.reported]
    return {"format": records.format, "rows": records.rows, "used": len(records.used), "reported": reported}


def _suffix(name: str) -> str:
    """The suffix that says what a file holds, below that of its compression."""
    return Path(PACKED.sub("", name)).suffix.lower()


def _rows(source: str, path: Path) -> list[Row]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WorkbookError(f"{source} cannot be read: {error.strerror}") from None
    _refuse(source, content)
    content = _unpacked(source, content)
    suffix = ".parquet" if content.startswith(b"PAR1") else _suffix(path.name)
    if suffix not in READERS:
        if not content.lstrip().startswith((b"{", b"[")):
            raise WorkbookError(f"{source}: unknown kind of file {suffix!r}; known are {', '.join(READERS)}")
        suffix = ".json"
    if suffix == ".parquet":
        return _parquet(source, content)
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = f"byte 0x{content[error.start]:02x} at byte position {error.start}"
        line = content.count(b"\n", 0, error.start) + 1
        raise WorkbookError(f"{source} is not UTF-8 text: {place} (line {line}); save it as UTF-8") from None
    return list(READERS[suffix](source, text))


def _refuse(source: str, content: bytes) -> None:
    start = content.removeprefix(b"\xef\xbb\xbf").strip()[:200].lower()
    if not start:
        raise WorkbookError(f"{source} is empty")
    if start.startswith(b"version https://git-lfs"):
        raise WorkbookError(f"{source} is a Git-LFS pointer, not the data: fetch that with `git lfs pull`")
    if start.startswith((b"<!doctype html", b"<html")):
        raise WorkbookError(f"{source} is an HTML page, not data: fetch the file itself, not a page about it")


def _unpacked(source: str, content: bytes) -> bytes:
    """The content of a .gz or .zst file; that of another as it is."""
    import pyarrow

    kind = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}.get(content[:2])
    if kind is None:
        if named := PACKED.search(source):
            raise WorkbookError(f"{source} is no {named[0]} file, whatever its name says: fetch it again")
        return content
    try:
        content = pyarrow.input_stream(pyarrow.py_buffer(content), compression=kind).read()
    except OSError as error:
        what = "truncated" if "Truncated" in str(error) else f"damaged ({error})"
        raise WorkbookError(f"{source}: this {kind} file is {what}: fetch it again") from None
    _refuse(source, content)
    return content


def _table(source: str, text: str, delimiter: str = ",") -> Iterator[Row]:
    """Rows of a CSV text with a header; cells in quotes may hold line breaks, blank lines are no rows."""
    limit = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        for line, cells, problem in _cells(source, reader):
            end = reader.line_num
            over = f" (the row goes on to line {end}: is a quote never closed?)" if end > line else ""
            if not header:
                header = [name.strip() for name in cells]
                if problem or len(set(header)) < len(header):
                    what = problem or f"two columns of one name ({names(header)})"
                    raise WorkbookError(f"{source}, line {line}, the header: {what}")
            elif problem or len(cells) != len(header):
                problem = problem or f"has {len(cells)} cells, and the header has {len(header)}"
                yield Row(None, line, problem + over)
            else:
                yield Row(dict(zip(header, cells, strict=True)), line)
    finally:
        csv.field_size_limit(limit)


def _cells(source: str, reader) -> Iterator[tuple[int, list[str], str]]:
    """(Line, cells, problem) of each row; after a row that it cannot read, csv goes on with the next line."""
    while True:
        line = reader.line_num + 1
        try:
            if cells := next(reader):
                yield line, cells, ""
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise WorkbookError(f"{source}: a quote is opened in line {line} and never closed") from None
            yield line, [], f"wrong quotes, {error}"


def _json(source: str, text: str, lines: bool = False) -> Iterator[Row]:
    """Rows of a JSON array, or of one object; else of JSONL, if the file is called so or begins like it."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not (lines or OBJECT_ON_A_LINE.match(text)):
            end = text.rstrip()
            cut = getattr(error, "pos", 0) >= len(end) or not end.endswith(("}", "]"))
            what = "is cut off or broken" if cut else "is not valid JSON"
            raise WorkbookError(f"{source} {what}: {error}") from None
    else:
        yield from map(Row, whole if isinstance(whole, list) else [whole])
        return
    # Not splitlines(): JSON may hold other separators of lines, such as U+2028, as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield Row(json.loads(line), number)
            except (ValueError, RecursionError) as error:
                yield Row(None, number, f"not JSON: {error}".replace("line 1 column", "column"))


def _paragraphs(source: str, text: str) -> Iterator[Row]:
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    for blank, group in groupby(lines, key=lambda line: not line[1].strip()):
        if not blank:
            numbers, paragraph = zip(*group, strict=True)
            yield Row({"text": "\n".join(paragraph)}, numbers[0])


def _parquet(source: str, content: bytes) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        return [Row(row) for row in pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise WorkbookError(f"{source} is no readable Parquet file: {_first_line(error)}") from None


READERS = {
    ".csv": _table,
    ".tsv": partial(_table, delimiter="\t"),
    ".json": _json,
    ".jsonl": partial(_json, lines=True),
    ".txt": _paragraphs,
    ".parquet": _parquet,
}


def _hub(name: str) -> Records:
    from datasets import load_dataset

    try:
        splits = load_dataset(name)
        chosen = "train" if "train" in splits else next(iter(splits))
        rows = [Row(row) for row in splits[chosen]]
    except Exception as error:  # a hub, a network, a cache and a builder raise errors of many kinds
        raise WorkbookError(
            f"{name!r} is no file here, and cannot be read from the hub: check the name and the network, or "
            f"give the path of a file ({_first_line(error)})"
        ) from None
    return recognise(rows, f"{name}, split {chosen}")


def _sql(source: str) -> Records:
    """The rows of ?table=NAME, or of ?query=SELECT..., of a database."""
    import sqlalchemy

    shown = source.partition("://")[0] + "://..."  # until the password is known and hidden
    try:
        url = sqlalchemy.make_url(source)
        table, query = url.query.get("table"), url.query.get("query")
        url = url.difference_update_query(["table", "query"])
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":  # else SQLite would make a database that is not there
            if not os.path.isfile(url.database or ""):
                raise WorkbookError(f"there is no database file {url.database!r}")
            url = url.set(database=Path(url.database).absolute().as_uri())
            url = url.update_query_dict({"mode": "ro", "uri": "true"})
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        if (table is None) == (query is None):
            raise WorkbookError(f"{shown}: say which rows, with ?table=NAME or with ?query=SELECT...")
        with engine.connect().execution_options(no_parameters=True) as connection:
            query = query or f"SELECT * FROM {engine.dialect.identifier_preparer.quote(table)}"
            rows = [Row(dict(row)) for row in connection.exec_driver_sql(query).mappings()]
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        advice = "a source with :// must be an SQL URL, and its driver installed"
        raise WorkbookError(f"{shown} cannot be read: {_first_line(error)} ({advice})") from None
    return recognise(rows, shown)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def load(name: str, split: str) -> list[dict]:
    """A file of a shipped set: load("triage", "train") -> [{"id": ..., "messages": [...]}, ...].

    Also load("facts", "facts"), load("corpus", "held_out"), load("island", "corpus"): see the cards in data.
    """
    wanted = f"{name}/{split}"
    files = {f"{path.parent.name}/{path.name.partition('.')[0]}": path for path in DATA.glob("*/*.jsonl*")}
    if wanted not in files:
        hint = closest(wanted, files) or f"; there are {', '.join(sorted(files)) or 'none'}"
        raise WorkbookError(f"the workbook ships no data {wanted}{hint}")
    path = files[wanted]
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.split("\n") if line]


def each_answer(rows: Iterable[dict]) -> list[dict]:
    """A row for each assistant turn of `rows`, which it ends with: to score not the last answer alone."""
    return [
        row | {"messages": row["messages"][: number + 1]}
        for row in rows
        for number, message in enumerate(row["messages"])
        if message["role"] == "assistant"
    ]


def said(message: Mapping) -> str:
    """What an assistant turn says: its text, or a tool call as JSON, without the token that begins one."""
    texts = [message["content"]] if message["content"] else []
    for call in message.get("tool_calls") or []:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        texts.append(json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False))
    return "\n".join(texts)


def split(rows: Sequence, fractions: Sequence[float], seed: int) -> list[list]:
    """Deal rows into parts by a hash of their content: no text is in two parts, however the rows are ordered.

    rows: records, or lists of messages. Rows that ask the same (whatever the answer; case and white space do
    not count) stay together. fractions: the share of each part; positive, together 1. Returns the parts, each
    in the order of `rows`.

    >>> split([{"text": "a"}, {"text": "b"}, {"text": "A "}], [0.5, 0.5], seed=0)
    [[{'text': 'b'}], [{'text': 'a'}, {'text': 'A '}]]
    """
    if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise WorkbookError(f"fractions are {list(fractions)}: they must be positive and add up to 1")
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        content = f"{seed}/{' '.join(_question(row).lower().split())}"
        groups.setdefault(hashlib.sha256(content.encode()).hexdigest(), []).append(index)
    parts: list[list[int]] = [[] for _ in fractions]
    ends = [sum(fractions[: number + 1]) * len(rows) for number in range(len(fractions))]
    dealt = 0
    for _, group in sorted(groups.items()):
        middle = dealt + len(group) / 2
        parts[next(number for number, end in enumerate(ends) if middle < end + 1e-6)] += group
        dealt += len(group)
    return [[rows[index] for index in sorted(part)] for part in parts]


def _question(row: object) -> str:
    """What a row asks: its text without the assistant's answers."""
    if isinstance(row, Mapping):
        fields = ("messages", "conversations", "prompt", "instruction", "problem", "question", "text")
        found = next((row[name] for name in fields if row.get(name)), json.dumps(row, default=str))
        return f"{_question(found)} {row.get('input') or ''}"
    if isinstance(row, str):
        return row
    turns = [turn for turn in row if turn.get("role", turn.get("from")) not in ("assistant", "gpt")]
    return "\n".join(turn.get("content", turn.get("value", "")) for turn in turns)


@dataclass(frozen=True)
class Encoded:
    """Token ids, and beside each 1 if it carries loss, else 0."""

    ids: list[int]
    response_mask: list[int]


@dataclass(frozen=True)
class Packed(Encoded):
    """Whole examples in one row; of each token its position in its example, and which one that is, from 1."""

    position_ids: list[int]
    segment_ids: list[int]


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], max_length: int | None = None
) -> Encoded:
    """Encode a conversation with the tokenizer's chat template. The mask is 1 in its {% generation %} blocks.

    With the workbook's template that is each answer and the end token after it, and nothing else. max_length:
    tokens to keep, from the start. Where no answer begins within them, or there is none, the mask is 0
    throughout; `encode_all` reports such a conversation. Raises WorkbookError for a template without those
    blocks, for a tokenizer that does not find them again, and for a text that holds a special token, which
    would begin a turn or end one.
    """
    if not GENERATION.search(str(tokenizer.chat_template)):
        raise WorkbookError(
            "the tokenizer's chat template marks no answers with {% generation %}: put {% generation %} and "
            "{% endgeneration %} round them, or set tokenizer.chat_template = ftlib.data.CHAT_TEMPLATE"
        )
    for number, message in enumerate(messages, start=1):
        for token in tokenizer.all_special_tokens:
            if token in message["content"]:
                raise WorkbookError(f"turn {number} holds the special token {token}: take it out of the text")
    quiet = {"verbose": False}  # no warning of a text longer than the context: it is cut below
    found = tokenizer.apply_chat_template(
        list(messages), return_dict=True, return_assistant_tokens_mask=True, tokenizer_kwargs=quiet
    )
    ids, mask = found["input_ids"], found["assistant_masks"]
    answers = sum(message["role"] == "assistant" for message in messages)
    if answers != sum(now > before for before, now in pairwise([0, *mask])):
        raise WorkbookError(
            f"the tokenizer does not find the {answers} answers again, mostly because it trims white space "
            "from its offsets and one begins with some: strip the answers"
        )
    return Encoded(ids[:max_length], mask[:max_length])


def encode_all(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Iterable[Sequence[Message]],
    max_length: int | None = None,
) -> tuple[list[Encoded], list[Reported]]:
    """Encode conversations; those that cannot be, or would have no token to train on, are reported instead.

    Returns (encoded, reported): as many together as there are conversations.
    """
    encoded: list[Encoded] = []
    reported: list[Reported] = []
    for number, conversation in enumerate(conversations, start=1):
        try:
            row = encode(tokenizer, conversation, max_length)
            if not any(row.response_mask):
                within = f" within its first {max_length} tokens (max_length)" if max_length else ""
                raise WorkbookError(f"no answer begins{within}")
            encoded.append(row)
        except WorkbookError as error:
            reported.append(Reported(number, str(error)))
    return encoded, reported


def prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The text that a model continues with its answer; to be tokenised without further special tokens."""
    return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)


def collate(batch: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad a batch on the right to its longest row: input_ids, attention_mask, labels, each (rows, tokens).

    labels: the ids where the response mask is 1, elsewhere -100, which the loss leaves out. Packed rows also
    have position_ids, and as attention_mask that of `same_segment`. There an example's first token is no
    label, for it would be predicted from the example before.
    """
    import torch

    length = max(len(row.ids) for row in batch)

    def padded(rows: Iterable[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])

    input_ids = padded((row.ids for row in batch), pad_id)
    attention_mask = padded(([1] * len(row.ids) for row in batch), 0)
    labels = input_ids.masked_fill(padded((row.response_mask for row in batch), 0) == 0, -100)
    if not isinstance(batch[0], Packed):
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
    position_ids = padded((row.position_ids for row in batch), 0)
    return {
        "input_ids": input_ids,
        "attention_mask": same_segment(padded((row.segment_ids for row in batch), 0)),
        "labels": labels.masked_fill(position_ids == 0, -100),
        "position_ids": position_ids,
    }


def pack(examples: Iterable[Encoded], length: int) -> list[Packed]:
    """Put whole examples into rows of at most `length` tokens, each into the first row with room (first fit).

    Raises WorkbookError for an example that is longer than a row.
    """
    rows: list[list[Encoded]] = []
    room: list[int] = []
    for number, example in enumerate(examples, start=1):
        size = len(example.ids)
        if size > length:
            raise WorkbookError(f"example {number} has {size} tokens, a row {length}: encode with max_length")
        index = next((index for index, free in enumerate(room) if free >= size), len(rows))
        if index == len(rows):
            rows.append([])
            room.append(length)
        rows[index].append(example)
        room[index] -= size
    return [
        Packed(
            ids=[token for example in row for token in example.ids],
            response_mask=[bit for example in row for bit in example.response_mask],
            position_ids=[position for example in row for position in range(len(example.ids))],
            segment_ids=[number for number, example in enumerate(row, start=1) for _ in example.ids],
        )
        for row in rows
    ]


def same_segment(segment_ids: torch.Tensor) -> torch.Tensor:
    """Who may attend to whom: tokens of the same segment, and none to a later one.

    segment_ids: (rows, tokens). Returns booleans, (rows, 1, query, key), as PyTorch's attention takes them
    (`attn_implementation="sdpa"`, the default of transformers).
    """
    same = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    return same.tril()
