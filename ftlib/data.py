"""Read data of any usual kind, and turn conversations into tokens with a response mask."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import formats
from ftlib.formats import Message, NoUsableRow, Records, Reported, Row, names, recognise
from ftlib.formats import messages as messages
from ftlib.settings import DATA, HUB_ID, Settings, WorkbookError, closest

if TYPE_CHECKING:
    import torch
    from transformers import BatchEncoding
    from transformers import PreTrainedTokenizerBase as Tokenizer

# One turn is a token that names its role, the text, and, after an assistant's turn, the end token, which
# belongs to the answer: a model that is not trained on it never stops. Thinking stands before the answer,
# tool calls after it as JSON.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{% if message['reasoning_content'] %}"
    "{{ '<|think|>' + message['reasoning_content'] + '<|/think|>' }}{% endif %}"
    "{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}{% set call = call['function'] or call %}"
    "{{ '<|call|>{\"name\": ' + call['name'] | tojson + ', \"arguments\": ' }}"
    "{{ call['arguments'] if call['arguments'] is string else call['arguments'] | tojson }}{{ '}' }}"
    "{% endfor %}"
    "{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
GENERATION = re.compile(r"{%-?\s*generation\b")
END_MARKS = re.compile(
    r"\s*(?:(?:<\|(?:endoftext|end_of_text|im_end|eot_id|eos|end)\|>|</s>|<eos>|<end_of_turn>)\s*)+$"
)
OBJECT_ON_A_LINE = re.compile(r"\s*{.*}\s*\n")
PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
LIMIT = 2**29  # bytes of a file, unpacked: its rows take several times as much memory
FOREIGN = {  # how files begin that are no data, in small letters
    b"version https://git-lfs": "is a Git-LFS pointer, not the data: fetch that with `git lfs pull`",
    (b"<!doctype html", b"<html"): "is an HTML page, not data: fetch the file itself, not a page about it",
    b"pk\x03\x04": "is a zip archive, as Excel files are: unpack it, or save the sheet as CSV",
    b"sqlite format 3": "is an SQLite database: name it as sqlite:///FILE?table=NAME",
    (b"\xff\xfe", b"\xfe\xff"): "is UTF-16 text: save it as UTF-8",
}


def read(path_or_id: str | Path) -> Records:
    """Read a data file, a data set of the hub, or rows of a database, and recognise their format.

    path_or_id: a path to CSV, TSV, JSON, JSONL or plain text (also .gz, .zst) or to Parquet; a hub id
    ORGANISATION/NAME, of which the split "train", or else the first, is read; an SQL URL with ?table=NAME or
    ?query=SELECT..., such as sqlite:///file.db?table=reviews. Where content and name disagree on compression,
    Parquet, or JSON against JSONL, the content decides; the header of a table decides what parts its cells.
    The rows of a JSON object that is none itself are the list under "train", or else under the first key that
    has one, or its values. Paragraphs of plain text are its rows.

    Rows that are not usable are reported with a reason. Raises WorkbookError for what cannot be read at all.
    """
    source = str(path_or_id)
    if "://" in source:
        return _sql(source)
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        raise WorkbookError(f"{source!r} is a folder: name a file in it")
    if os.path.exists(path):
        notes: list[str] = []
        return recognise(_rows(source, path, notes), source, notes)
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


def conversations(path_or_id: str, tokenizer: Tokenizer, max_length: int, at_least: int = 20) -> Records:
    """What `read` and `trainable` find in a source; WorkbookError when that is less than `at_least` rows."""
    records = trainable(read(path_or_id), tokenizer, max_length)
    if len(records.used) < at_least:
        why = f": row {records.reported[0].row}: {records.reported[0].reason}" if records.reported else ""
        few = f"{records.source}: rows to train on: {len(records.used)}, and this needs {at_least}"
        raise WorkbookError(few + why)
    return records


def trainable(records: Records, tokenizer: Tokenizer, max_length: int = 512) -> Records:
    """What of `records` can be trained on and asked, as conversations (lists of messages): those are `used`.

    Reported too are: a KTO answer that is labelled false; a conversation whose last answer begins only after
    max_length tokens; one that the chat template cannot encode. An end mark in the text of an answer is taken
    off. Raises NoUsableRow when none is left, and WorkbookError for plain text, which has no turns.
    """
    unused = {row.row for row in records.reported}
    numbers = (number for number in range(1, records.rows + 1) if number not in unused)
    used: list[list[Message]] = []
    reported, seen = list(records.reported), Counter()
    for number, record in zip(numbers, records.used, strict=True):
        turns = messages(record, records.format)
        try:
            if records.format == "kto" and not record["label"]:
                seen["answers are undesired (labelled false) and kept out of supervised training"] += 1
                raise WorkbookError("its answer is undesired, as its label is false")
            ends = [turn["role"] == "assistant" and END_MARKS.sub("", turn["content"]) for turn in turns]
            plain = [turn | {"content": end} if end else turn for turn, end in zip(turns, ends, strict=True)]
            seen["rows have an end mark in an answer: taken off, as the template adds one"] += plain != turns
            mask = encode(tokenizer, plain).response_mask
            begins = [place for place, (before, now) in enumerate(pairwise([0, *mask])) if now > before]
            if not begins or begins[-1] >= max_length:
                late = f"its last answer begins after {max_length} tokens"
                raise WorkbookError(late if begins else "no answer in it carries loss (weight 0)")
            cut = f"rows have more than {max_length} tokens: their last answer is cut and loses its end"
            seen[cut] += len(mask) > max_length
            used.append(plain)
        except WorkbookError as error:
            reported.append(Reported(number, str(error)))
    reported.sort(key=lambda row: row.row)
    rows = [{"turns": turns} for turns in used]
    hidden = formats.idle(rows, ["turns"], lambda row: encode(tokenizer, row["turns"]))
    left_out = records.left_out + ["rejected"] * (records.format == "preference") + hidden
    notes = records.notes + [f"{count} {what}" for what, count in seen.items() if count]
    found = replace(records, used=used, reported=reported, left_out=left_out, notes=notes)
    if not used:
        why = f"row {reported[0].row}: {reported[0].reason}"
        raise NoUsableRow(f"{records.source} has no row to train on: {why}", found)
    try:
        split(used, (0.8, 0.2), seed=0)
    except WorkbookError as error:
        found.notes.append(str(error))
    return found


def inspect_report(records: Records, pieces: Sequence[tuple[str, bool]] = ()) -> dict:
    """What `python -m ftlib inspect FILE --json` prints; rows == used + len(reported).

    pieces: of the first used row, as of `pieces`.
    """
    example = {
        "messages": records.used[0] if pieces and isinstance(records.used[0], list) else [],
        "rendered": "".join(text for text, _ in pieces),
        "loss_on": [text for text, carries_loss in pieces if carries_loss],
    }
    counts = {"format": records.format, "rows": records.rows, "used": len(records.used)}
    kept = {"left_out": records.left_out, "notes": records.notes, "example": example if pieces else None}
    return counts | {"reported": [asdict(row) for row in records.reported]} | kept


def pieces(tokenizer: Tokenizer, row: Mapping | Sequence[Message], max_length: int = 512) -> list[tuple]:
    """A conversation, or a record of plain text, as a model sees it, in pieces: (text, carries loss).

    Of a plain text every token carries loss, given the token that begins a document.
    """
    if isinstance(row, Mapping):
        return [(tokenizer.bos_token or "", False), (row["text"], True)]
    text, places, encoded = _tokens(tokenizer, row)
    found, start = [], 0
    tokens = zip(encoded.response_mask[:max_length], places, strict=False)
    for bit, run in groupby(tokens, key=lambda token: token[0]):
        *_, (_, (_, end)) = run
        found.append((text[start:end], bit == 1))
        start = end
    return found


def _suffix(name: str) -> str:
    """The suffix that says what a file holds, below that of its compression."""
    return Path(PACKED.sub("", name)).suffix.lower()


def _rows(source: str, path: Path, notes: list[str]) -> list[Row]:
    try:
        with path.open("rb") as file:
            content = b"".join(_within(source, iter(lambda: file.read(2**20), b"")))
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
    if content[:200].count(0) > 66:
        raise WorkbookError(f"{source} is UTF-16 text without a mark, or no text: save it as UTF-8")
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = f"byte 0x{content[error.start]:02x} at byte position {error.start}"
        line = content.count(b"\n", 0, error.start) + 1
        raise WorkbookError(f"{source} is not UTF-8 text: {place} (line {line}); save it as UTF-8") from None
    return list(READERS[suffix](source, text, notes))


def _within(source: str, parts: Iterable, size: Callable = len) -> Iterator:
    """The parts of a file, up to LIMIT bytes: a small archive can unpack into more than the memory holds."""
    total = 0
    for part in parts:
        if (total := total + size(part)) > LIMIT:
            raise WorkbookError(f"{source} holds more than {LIMIT / 1e6:.0f} MB, unpacked: take a part of it")
        yield part


def _refuse(source: str, content: bytes) -> None:
    start = content.removeprefix(b"\xef\xbb\xbf").strip()[:200].lower()
    if not start:
        raise WorkbookError(f"{source} is empty")
    for signature, what in FOREIGN.items():
        if start.startswith(signature):
            raise WorkbookError(f"{source} {what}")


def _unpacked(source: str, content: bytes) -> bytes:
    """The content of a .gz or .zst file; that of another as it is."""
    import pyarrow

    kind = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}.get(content[:2])
    if kind is None:
        if named := PACKED.search(source):
            raise WorkbookError(f"{source} is no {named[0]} file, whatever its name says: fetch it again")
        return content
    try:
        stream = pyarrow.input_stream(pyarrow.py_buffer(content), compression=kind)
        content = b"".join(_within(source, iter(lambda: stream.read(2**20), b"")))
    except OSError as error:
        what = "truncated" if "Truncated" in str(error) else f"damaged ({error})"
        raise WorkbookError(f"{source}: this {kind} file is {what}: fetch it again") from None
    _refuse(source, content)
    return content


def _table(source: str, text: str, notes: list[str], delimiter: str = ",") -> Iterator[Row]:
    """Rows of a CSV text with a header; cells in quotes may hold line breaks, blank lines are no rows.

    What the header holds most of, outside quotes, parts the cells: "," or ";", a tab or "|".
    """
    first = re.sub('"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    delimiter = max((delimiter, *",;\t|"), key=first.count)
    limit = csv.field_size_limit(len(text) + 1)
    read: list[str] = []  # the lines of a row, as they stand
    lines = (read.append(line) or line for line in io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        for line, cells, problem in _cells(source, reader):
            end = reader.line_num
            over = f" (the row goes on to line {end}: is a quote never closed?)" if end > line else ""
            # A text may have line breaks, but hardly so that each of its lines has the cells of a row.
            whole = all(part.count(delimiter) == len(header) - 1 > 0 for part in read)
            if over and not problem and whole and (delimiter == "\t" or len(read) > 2):
                problem = "merges lines that look like rows"
            read.clear()
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


def _json(source: str, text: str, notes: list[str], lines: bool = False) -> Iterator[Row]:
    """Rows of a JSON array or object; else of JSONL, if the file is called so or begins like it."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not (lines or OBJECT_ON_A_LINE.match(text)):
            end = text.rstrip()
            cut = getattr(error, "pos", 0) >= len(end) or not end.endswith(("}", "]"))
            what = "is cut off or broken" if cut else "is not valid JSON"
            raise WorkbookError(f"{source} {what}: {error}") from None
    else:
        yield from map(Row, whole if isinstance(whole, list) else _inside(whole, notes))
        return
    # Not splitlines(): JSON may hold other separators of lines, such as U+2028, as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield Row(json.loads(line), number)
            except (ValueError, RecursionError) as error:
                yield Row(None, number, f"not JSON: {error}".replace("line 1 column", "column"))


def _inside(whole: object, notes: list[str]) -> list:
    """The rows that an object holds: a list under a key, or all its values; or it is the one row."""
    if not isinstance(whole, dict) or formats.shape(whole) is not None:
        return [whole]
    lists = {key: len(value) for key, value in whole.items() if value and formats.objects(value) == value}
    if lists:
        chosen = "train" if "train" in lists else next(iter(lists))
        others = names(f"{key} ({lists.get(key, 'no')} rows)" for key in whole if key != chosen)
        notes.append(f"the rows are those of {chosen!r}" + f"; not read: {others}" * bool(others))
        return whole[chosen]
    if len(whole) > 1 and all(isinstance(value, dict) for value in whole.values()):
        notes.append("the rows are the values of an object; its keys are not read")
        return list(whole.values())
    return [whole]


def _paragraphs(source: str, text: str, notes: list[str]) -> Iterator[Row]:
    lines = text.replace("\r\n", "\n").split("\n")
    paragraphs = 0
    for blank, group in groupby(enumerate(lines, start=1), key=lambda line: not line[1].strip()):
        if not blank:
            paragraphs += 1
            numbers, paragraph = zip(*group, strict=True)
            yield Row({"text": "\n".join(paragraph)}, numbers[0])
    if (full := sum(bool(line.strip()) for line in lines)) > paragraphs:
        ways = "part the lines by blank ones (sed G FILE > NEW), or save them as CSV or JSONL"
        notes.append(f"a row is a paragraph: {paragraphs} of {full} lines. Where a line is an item, {ways}")


def _parquet(source: str, content: bytes) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        batches = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).iter_batches(1024)
        within = _within(source, batches, lambda batch: batch.nbytes)
        return [Row(row) for batch in within for row in batch.to_pylist()]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise WorkbookError(f"{source} is no readable Parquet file: {_first_line(error)}") from None


READERS = {".csv": _table, ".tsv": partial(_table, delimiter="\t"), ".json": _json}
READERS |= {".jsonl": partial(_json, lines=True), ".txt": _paragraphs, ".parquet": _parquet}


def _hub(name: str) -> Records:
    from datasets import load_dataset

    try:
        splits = load_dataset(name)
        chosen = "train" if "train" in splits else next(iter(splits))
        rows = [Row(row) for row in splits[chosen]]
        others = names(f"{other} ({len(splits[other])} rows)" for other in splits if other != chosen)
    except Exception as error:  # a hub, a network, a cache and a builder raise errors of many kinds
        what = "is no file here, and cannot be read from the hub: check name and network, or give a file"
        raise WorkbookError(f"{name!r} {what} ({_first_line(error)})") from None
    return recognise(rows, f"{name}, split {chosen}", [f"not read: {others}"] * bool(others))


def _sql(source: str) -> Records:
    """The rows of ?table=NAME, or of ?query=SELECT..., of a database."""
    import sqlalchemy

    shown = source.partition("://")[0] + "://..."  # until the password is known and hidden
    try:
        url = sqlalchemy.make_url(source)
        table, query = url.query.get("table"), url.query.get("query")
        url = url.difference_update_query(["table", "query"])
        shown = url.set(query={}).render_as_string(hide_password=True)  # some passwords stand in the query
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
    Tools that a row offers stand in its system turn, as in all conversations (`messages`).
    """
    wanted = f"{name}/{split}"
    files = {f"{path.parent.name}/{path.name.partition('.')[0]}": path for path in DATA.glob("*/*.jsonl*")}
    if wanted not in files:
        hint = closest(wanted, files) or f"; there are {', '.join(sorted(files)) or 'none'}"
        raise WorkbookError(f"the workbook ships no data {wanted}{hint}")
    path = files[wanted]
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = [json.loads(line) for line in text.split("\n") if line]
    return [_offered(row) if "tools" in row else row for row in rows]


def _offered(row: dict) -> dict:
    rest = {name: value for name, value in row.items() if name != "tools"}
    return rest | {"messages": messages(row, "messages")}


def examples(
    chosen: Settings, tokenizer: Tokenizer, max_length: int = 512, task: str = ""
) -> tuple[list, list]:
    """The conversations that a chapter trains on, and those that it tests on: at most `test_examples`.

    Of the user's own file (data_path) they are four fifths and one fifth, and what it holds is printed.
    task: a shipped set to read in place of either, as a second task beside the chapter's own.
    """
    if (path := chosen.parameters.get("data_path")) and not task:
        records = conversations(str(path), tokenizer, max_length)
        print(records)
        train, test = split(records.used, (0.8, 0.2), chosen.seed)
    else:
        source = task or chosen.task
        train, test = ([row["messages"] for row in load(source, name)] for name in ("train", "test"))
    return train, test[: chosen.test_examples]


def as_table(conversations: Iterable[Sequence[Message]], prompt: str = "") -> list[dict[str, str]]:
    """Conversations as rows of a table: `ticket` (a number), `message` (the last request), `reply` to it.

    prompt: what every request begins with, which `message` leaves out.

    >>> turns = [{"role": "user", "content": "Topic? No boat."}, {"role": "assistant", "content": "ferry"}]
    >>> as_table([turns], prompt="Topic? ")
    [{'ticket': '1', 'message': 'No boat.', 'reply': 'ferry'}]
    """
    rows = []
    for number, (*_, request, answer) in enumerate(conversations, start=1):
        message = request["content"].removeprefix(prompt)
        rows.append({"ticket": str(number), "message": message, "reply": said(answer)})
    return rows


def own_tables(chosen: Settings, tokenizer: Tokenizer) -> tuple[list[dict], list[dict], dict[str, dict]]:
    """The user's file as `as_table` writes it: rows to train on, rows to test on, what is known of the first.

    Nobody has noted days and names, and nobody knows which rows repeat others or hold personal data.
    """
    train, test = map(as_table, examples(chosen, tokenizer))
    rows = [row | {"received": "", "closed": "", "name": ""} for row in train]
    return rows, test, {row["ticket"]: {"repeats": "", "personal": []} for row in rows}


def columns(rows: Sequence[Mapping], filled: Callable[[object], bool]) -> list[dict[str, object]]:
    """What stands in each column of a table: the share of its cells that are `filled`, how many values.

    >>> columns([{"name": "Ida", "age": ""}, {"name": "Ida", "age": "7"}], filled=bool)
    [{'column': 'name', 'filled': 1.0, 'values': 1}, {'column': 'age', 'filled': 0.5, 'values': 2}]
    """
    found = []
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [row.get(name) for row in rows]
        share = sum(map(filled, cells)) / len(cells)
        found.append({"column": name, "filled": share, "values": len(set(cells))})
    return found


SMALL_WORDS = {  # of which every text of a language is full
    "en": {"the", "is", "and", "my", "to", "of", "we", "in", "for", "was", "you", "not", "it", "have", "i"},
    "fr": {"le", "la", "les", "est", "et", "je", "nous", "pour", "une", "des", "pas", "dans", "il", "sur"},
}


def language(text: str) -> str:
    """The language of whose small words a text has most: "en" or "fr"; of equally many, English.

    >>> language("Je voudrais savoir pourquoi le bateau est en retard."), language("Where is my bin?")
    ('fr', 'en')
    """
    words = set(text.lower().split())
    return max(SMALL_WORDS, key=lambda name: len(words & SMALL_WORDS[name]))


def without_stop_words(text: str) -> str:
    """The text without the small frequent words of English, as scikit-learn lists them.

    >>> without_stop_words("My bins were not emptied.")
    'bins emptied.'
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return " ".join(word for word in text.split() if word.lower() not in ENGLISH_STOP_WORDS)


def stems(text: str) -> str:
    """The words of a text in small letters, each cut to its stem (Porter's rules for English, Snowball).

    >>> stems("My bins were not emptied.")
    'my bin were not empti'
    """
    import snowballstemmer

    return " ".join(snowballstemmer.stemmer("english").stemWords(re.findall(r"\w+", text.lower())))


def with_wrong_replies(rows: Sequence[dict], share: float, seed: int) -> list[dict]:
    """The rows, of which the first ones, so large a share, get another row's reply, which is wrong.

    >>> with_wrong_replies([{"reply": "ferry"}, {"reply": "water"}], share=0.5, seed=0)
    [{'reply': 'water'}, {'reply': 'water'}]
    """
    rng, found = random.Random(seed), list(rows)
    for at in range(round(share * len(rows))):
        others = [row["reply"] for row in rows if row["reply"] != rows[at]["reply"]]
        found[at] = rows[at] | {"reply": rng.choice(others)}
    return found


def with_copies(rows: Sequence[dict], share: float, seed: int, of: int = 5) -> list[dict]:
    """The rows, of which the first ones, so large a share, give way to copies of the last `of`.

    >>> with_copies([{"reply": "ferry"}, {"reply": "water"}], share=0.5, seed=0, of=1)
    [{'reply': 'water'}, {'reply': 'water'}]
    """
    rng, spoilt = random.Random(seed), round(share * len(rows))
    return [rng.choice(rows[-of:]) for _ in range(spoilt)] + list(rows[spoilt:])


def each_answer(rows: Iterable[dict]) -> list[dict]:
    """A row for each assistant turn of `rows`, which it ends with, to score every answer."""
    return [
        row | {"messages": row["messages"][: number + 1]}
        for row in rows
        for number, message in enumerate(row["messages"])
        if message["role"] == "assistant"
    ]


def said(message: Mapping) -> str:
    """What an assistant's message of a conversation says: its text, or tool calls as JSON, one a line."""
    texts = [message["content"]] if message["content"] else []
    for call in message.get("tool_calls") or []:
        texts.append(json.dumps(call["function"], ensure_ascii=False))
    return "\n".join(texts)


def split(rows: Sequence, fractions: Sequence[float], seed: int) -> list[list]:
    """Deal rows into parts by a hash of their content: no text is in two parts, however the rows are ordered.

    rows: records, or lists of messages. Rows that ask the same (whatever the answer; case and white space do
    not count) stay together. fractions: the share of each part; positive, together 1. Returns the parts, each
    in the order of `rows`. Raises WorkbookError when a part gets none, since too few rows ask something else.

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
    if not all(parts):
        asked = f"{len(rows)} rows ask {len(groups)} questions, and those that ask the same stay together"
        raise WorkbookError(f"{asked}: part {parts.index([]) + 1} gets none, so no row is left to test on")
    return [[rows[index] for index in sorted(part)] for part in parts]


def _question(row: object) -> str:
    """What a row asks: its text without the assistant's answers."""
    if isinstance(row, Mapping):
        fields = ("messages", "conversations", "prompt", "instruction", "problem", "question", "text")
        found = next((row[name] for name in fields if row.get(name)), json.dumps(row, default=str))
        beside = (str(row.get(name) or "") for name in ("input", *formats.CONTEXTS))
        return " ".join([_question(found), *beside])
    if isinstance(row, str):
        return row
    turns = [turn for turn in row if turn.get("role", turn.get("from")) not in ("assistant", "gpt")]
    return "\n".join(str(turn.get("content", turn.get("value"))) for turn in turns)


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


def encode(tokenizer: Tokenizer, messages: Sequence[Message], max_length: int | None = None) -> Encoded:
    """Encode a conversation with the tokenizer's chat template. The mask is 1 in its {% generation %} blocks.

    With the workbook's template that is each answer and the end token after it, and nothing else; an answer
    of weight 0 is left out. max_length: tokens to keep, from the start. Where no answer begins within them,
    or there is none, the mask is 0 throughout; `encode_all` reports such a conversation. Raises WorkbookError
    for a template without those blocks, or that cannot render the conversation, or leaves out a text or tool
    calls; and for a text that holds a special token, which would begin a turn or end one.
    """
    encoded = _tokens(tokenizer, messages)[2]
    return Encoded(encoded.ids[:max_length], encoded.response_mask[:max_length])


def encode_text(tokenizer: Tokenizer, text: str, max_length: int | None = None) -> Encoded:
    """Encode a plain text as pre-training reads it: every token carries loss but the one that begins it.

    That is the tokenizer's first token, or the end token where it has none. max_length: tokens to keep.
    """
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    ids = [start, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]][:max_length]
    return Encoded(ids, [0] + [1] * (len(ids) - 1))


def _tokens(tokenizer, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]], Encoded]:
    """A conversation as text, the place of each token in it (start, end), and the tokens themselves."""
    if not GENERATION.search(str(tokenizer.chat_template)):
        advice = "put {% generation %} and {% endgeneration %} round them, or "
        advice += "set tokenizer.chat_template = ftlib.data.CHAT_TEMPLATE"
        raise WorkbookError(f"the tokenizer's chat template marks no answers: {advice}")
    text, blocks = _render(tokenizer, messages)
    _whole_and_plain(tokenizer, messages, text)
    answers = [message for message in messages if message["role"] == "assistant"]
    if len(blocks) != len(answers):
        raise WorkbookError(f"the chat template marks {len(blocks)} answers, and there are {len(answers)}")
    try:
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    except NotImplementedError:
        raise WorkbookError("the tokenizer does not say where its tokens stand: take a fast one") from None
    places, mask = found["offset_mapping"], [0] * len(found["input_ids"])
    for (start, end), answer in zip(blocks, answers, strict=True):
        # A token that was trimmed to nothing, as one of spaces alone may be, stands at its end.
        inside = [spot for spot, (a, b) in enumerate(places) if start < b and min(a, b - 1) < end]
        if not inside:
            raise WorkbookError("the tokenizer does not find an answer again in the text that it has read")
        for spot in inside:
            mask[spot] = int(answer.get("weight") != 0)
    return text, places, Encoded(found["input_ids"], mask)


def _render(tokenizer, messages: Sequence[Message], **options: bool) -> tuple[str, list[tuple[int, int]]]:
    """The conversation as the chat template writes it; where its {% generation %} blocks begin and end."""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        template = tokenizer.get_chat_template()
        marks = {"return_assistant_tokens_mask": bool(GENERATION.search(template))}
        options |= {**tokenizer.special_tokens_map, **marks}
        [text], blocks = render_jinja_template([list(messages)], chat_template=template, **options)
    except Exception as error:  # a template is a program, and may raise anything
        raise WorkbookError(f"the chat template cannot render this: {_first_line(error)}") from None
    found: list[tuple[int, int]] = []
    for start, end in blocks[0] if blocks else []:
        joined = found and found[-1][1] == start  # some templates mark the end of an answer apart
        found.append((found.pop()[0] if joined else start, end))
    return text, found


def _whole_and_plain(tokenizer, messages: Sequence[Message], text: str) -> None:
    """WorkbookError for a special token inside a turn, and for what the template has left out of the text."""
    whole = "".join(text.split())
    for number, message in enumerate(messages, start=1):
        content, thought = str(message["content"]), str(message.get("reasoning_content", ""))
        said = content + thought + json.dumps(message.get("tool_calls", ""), ensure_ascii=False)
        for token in tokenizer.all_special_tokens:
            if token in said:
                raise WorkbookError(f"turn {number} holds the special token {token}: take it out of the text")
        forms = (content, json.dumps(content, ensure_ascii=False)[1:-1])  # some show a tool's result as JSON
        if not any("".join(form.split()) in whole for form in forms):
            raise WorkbookError(f"the chat template leaves out the text of turn {number} ({message['role']})")
    plain = [{name: turn[name] for name in turn if name != "tool_calls"} for turn in messages]
    if plain != list(messages) and _render(tokenizer, plain)[0] == text:
        raise WorkbookError("the chat template leaves out the tool calls")


def encode_all(
    tokenizer: Tokenizer, conversations: Iterable[Sequence[Message]], max_length: int | None = None
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


def prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """The text that a model continues with its answer; to be tokenised without further special tokens."""
    return _render(tokenizer, messages, add_generation_prompt=True)[0]


def turn_end(tokenizer: Tokenizer) -> int | None:
    """The id of the first token of the tokenizer's own list that the chat template puts after an answer."""
    turns = [{"role": "user", "content": "Ready?"}, {"role": "assistant", "content": "Yes."}]
    after = _render(tokenizer, turns)[0].rpartition("Yes.")[2]
    added = {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}
    found = min((name for name in added if name in after), key=after.index, default=None)
    return added.get(found)


def collate(batch: Sequence[Encoded], pad_id: int) -> BatchEncoding:
    """Pad a batch on the right to its longest row: input_ids, attention_mask, labels, each (rows, tokens).

    A mapping that can be moved: `.to(device)`.

    labels: the ids where the response mask is 1, elsewhere -100, which the loss leaves out. Packed rows also
    have position_ids, and as attention_mask that of `same_segment`. There an example's first token is no
    label, for it would be predicted from the example before.
    """
    import torch
    from transformers import BatchEncoding

    length = max(len(row.ids) for row in batch)

    def padded(rows: Iterable[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])

    input_ids = padded((row.ids for row in batch), pad_id)
    attention_mask = padded(([1] * len(row.ids) for row in batch), 0)
    labels = input_ids.masked_fill(padded((row.response_mask for row in batch), 0) == 0, -100)
    if not isinstance(batch[0], Packed):
        plain = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
        return BatchEncoding(plain)
    position_ids = padded((row.position_ids for row in batch), 0)
    packed = {
        "input_ids": input_ids,
        "attention_mask": same_segment(padded((row.segment_ids for row in batch), 0)),
        "labels": labels.masked_fill(position_ids == 0, -100),
        "position_ids": position_ids,
    }
    return BatchEncoding(packed)


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
