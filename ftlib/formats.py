"""From rows, as a file holds them, to records in a format that was recognised; `data.read` makes the rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftlib.settings import WorkbookError

Message = dict[str, str]

PROMPTS = ("prompt", "question", "problem")
PAIRS = (
    ("prompt", "completion"),
    ("problem", "solution"),
    ("question", "answer"),
    ("prompt", "canonical_solution"),
)
LABELS = ("label", "category", "intent", "topic")

# Each format with the column that holds each of its fields, the most demanding first: a row fits the first
# whose columns it has, a file the one that most of its rows fit.
SHAPES: tuple[tuple[str, dict[str, str]], ...] = (
    ("preference", {"chosen": "chosen", "rejected": "rejected"}),
    *(("kto", {"prompt": prompt, "completion": answer, "label": "label"}) for prompt, answer in PAIRS),
    ("alpaca", {"instruction": "instruction", "output": "output"}),
    ("messages", {"messages": "messages"}),
    ("sharegpt", {"conversations": "conversations"}),
    *(("prompt/completion", {"prompt": prompt, "completion": answer}) for prompt, answer in PAIRS),
    *(("text/label", {"text": "text", "label": label}) for label in LABELS),
    ("text", {"text": "text"}),
)
UNKNOWN: tuple[str, dict[str, str]] = ("unknown", {})
KNOWN = (
    "instruction, output (Alpaca) · conversations (ShareGPT) · messages (OpenAI) · prompt, completion · "
    "problem, solution · question, answer · prompt, canonical_solution · chosen, rejected (preference) · "
    "prompt, completion, label (KTO) · text and label, category, intent or topic · text"
)
ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
TRUTH = {"true": True, "1": True, "false": False, "0": False}
TURN = re.compile(r"\n\n(Human|Assistant):")  # of the HH transcripts (Bai et al., 2022)


@dataclass(frozen=True)
class Row:
    """A row of a file: its value, or the problem why there is none; the line where it begins, if known."""

    value: object = None
    line: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Reported:
    """A row that is not used. row: counted from 1, without header and blank lines. reason: begins with the
    line where that is known."""

    row: int
    reason: str


@dataclass(frozen=True)
class Records:
    """What a source holds: rows == len(used) + len(reported), always.

    format: a name in SHAPES. used: the rows in order, exact duplicates kept, with all their columns, and with
    the format's fields where the file names or writes them otherwise (text/label: text, and label as text;
    prompt/completion: both; KTO: label as bool; preference: prompt, chosen and rejected as messages).
    columns: every name that a row has. source: what was read, without its password.
    """

    format: str
    rows: int
    used: list[dict]
    reported: list[Reported]
    columns: list[str]
    source: str

    def __str__(self) -> str:
        """A summary in lines; the first 20 reported rows."""
        lines = [f"{self.source}: {self.format}", f"columns: {names(self.columns)}"]
        lines += [f"rows: {self.rows} = {len(self.used)} used + {len(self.reported)} reported"]
        lines += [f"  row {row.row}: {row.reason}" for row in self.reported[:20]]
        return "\n".join(lines + [f"  and {len(self.reported) - 20} more"] * (len(self.reported) > 20))


class NoUsableRow(WorkbookError):
    """Every row of a source was reported; `records` says why."""

    def __init__(self, message: str, records: Records):
        super().__init__(message)
        self.records = records


def recognise(rows: Sequence[Row], source: str) -> Records:
    """The rows as records of the one format that most of them fit; the others are reported with a reason.

    Raises WorkbookError when there is no row, NoUsableRow when there is none to use.
    """
    if not rows:
        raise WorkbookError(f"{source} has no rows")
    values = [row.value for row in rows if isinstance(row.value, dict)]
    columns = list(dict.fromkeys(name for value in values for name in value))
    votes = Counter(shape for value in values if (shape := _shape(value)) is not None)
    name, fields = SHAPES[max(votes, key=lambda shape: (votes[shape], -shape))] if votes else UNKNOWN
    used: list[dict] = []
    reported: list[Reported] = []
    for number, row in enumerate(rows, start=1):
        try:
            used.append(_record(row, name, fields))
        except WorkbookError as error:
            line = f"line {row.line}: " if row.line else ""
            reported.append(Reported(number, f"{line}{error}"))
    records = Records(name, len(rows), used, reported, columns, source)
    if not used:
        why = f"row 1 of {len(rows)}: {reported[0].reason}"
        if not votes and columns:
            why = f"its columns are {names(columns)}, and a row needs {KNOWN}"
        raise NoUsableRow(f"{source} has no usable row: {why}", records)
    return records


def _shape(value: dict) -> int | None:
    """The index in SHAPES of the first shape that a row fits; a KTO label must be a truth value."""
    for index, (name, fields) in enumerate(SHAPES):
        fits = all(value.get(column) is not None for column in fields.values())
        if fits and (name != "kto" or str(value["label"]).lower() in TRUTH):
            return index
    return None


def _record(row: Row, name: str, fields: Mapping[str, str]) -> dict:
    """The row with the fields of its format; WorkbookError with the reason when it is not usable."""
    if row.problem:
        raise WorkbookError(row.problem)
    if not isinstance(row.value, dict):
        raise WorkbookError(f"is {_kind(row.value)}, not an object with named fields")
    if name == "unknown":
        raise WorkbookError(f"fits no known format: it has {names(row.value) or 'no fields'}")
    if name == "preference":
        return row.value | _preference(row.value)
    for field, column in fields.items():
        if field != column and not isinstance(row.value.get(column), (list, int)):
            _text(row.value, column)  # so that a reason names the column of the file
    record = row.value | {field: row.value.get(column) for field, column in fields.items()}
    if name == "kto":
        record["label"] = TRUTH.get(str(record["label"]).lower())
        if record["label"] is None:
            raise WorkbookError(f"label is {row.value.get('label')!r}, not true or false")
    if name == "text/label" and isinstance(record["label"], int):
        record["label"] = str(record["label"])
    if name == "text":
        _text(record, "text")
    else:
        messages(record, name)
    return record


def messages(record: Mapping, format: str) -> list[Message]:
    """The conversation of a record: [{"role": "system", "user" or "assistant", "content": text}, ...].

    format: as in `Records.format`. An Alpaca input stands below its instruction, after a blank line. The
    answer of a preference pair is the chosen one. A KTO answer comes whatever its label: leave out those
    labelled False before you train on them. Raises WorkbookError for a record that is not usable, and for
    plain text, which has no turns.

    >>> messages({"instruction": "Add.", "input": "1 + 1", "output": "2"}, "alpaca")
    [{'role': 'user', 'content': 'Add.\\n\\n1 + 1'}, {'role': 'assistant', 'content': '2'}]
    """
    if format == "messages":
        return _ordered(_turns(record, "messages"))
    if format == "sharegpt":
        return _ordered(_turns(record, "conversations"))
    if format == "alpaca":
        return _ordered([*_alpaca_prompt(record), _said("assistant", _text(record, "output"))])
    if format == "preference":
        return _ordered([*record["prompt"], *record["chosen"]])
    if format in ("prompt/completion", "kto"):
        return _ordered([*_side(record, "prompt", "user"), *_side(record, "completion", "assistant")])
    if format == "text/label":
        return [_said("user", _text(record, "text")), _said("assistant", _text(record, "label"))]
    raise WorkbookError(f"{format} has no turns: this needs data with questions and answers ({KNOWN})")


def _said(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def names(columns: Iterable[object]) -> str:
    """Names of columns in one line; what cannot be printed is shown as Python writes it."""
    joined = ", ".join(map(str, columns))
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in joined)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    names = {str: "text", bool: "truth value", int: "number", float: "number", type(None): "null"}
    return f"a {names.get(type(value), type(value).__name__)}"


def _text(record: Mapping, field: str, called: str = "") -> str:
    """A field that must be a text with something in it; `called` is its name for the user."""
    text, called = record.get(field), called or field
    if text is None:
        raise WorkbookError(f"{called} is missing")
    if not isinstance(text, str):
        raise WorkbookError(f"{called} is {_kind(text)}, not a text")
    if not text.strip():
        raise WorkbookError(f"{called} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WorkbookError(f"{called} has half a character (a lone surrogate) at {error.start}") from None
    return text


def _alpaca_prompt(record: Mapping) -> list[Message]:
    below = record.get("input")
    blank = below is None or (isinstance(below, str) and not below.strip())
    instruction = _text(record, "instruction")
    return [_said("user", instruction if blank else f"{instruction}\n\n{_text(record, 'input')}")]


def _turns(record: Mapping, field: str) -> list[Message]:
    """A list of {"role", "content"} or {"from", "value"} as messages."""
    turns, found = record.get(field), []
    if turns is None or turns == []:
        raise WorkbookError(f"{field} is {'missing' if turns is None else 'empty'}")
    if not isinstance(turns, list):
        raise WorkbookError(f"{field} is {_kind(turns)}, not a list of turns")
    for number, turn in enumerate(turns, start=1):
        where = f"{field}, turn {number}"
        if not isinstance(turn, dict):
            raise WorkbookError(f"{where} is {_kind(turn)}, not an object")
        speaker, content = ("role", "content") if "role" in turn else ("from", "value")
        role = _text(turn, speaker, f"{where}: {speaker}")
        if role not in ROLES:
            raise WorkbookError(f"{where} has the role {role!r}; known are {', '.join(ROLES)}")
        found.append(_said(ROLES[role], _text(turn, content, f"{where} ({role}): {content}")))
    return found


def _ordered(found: list[Message]) -> list[Message]:
    """The messages, if in order: perhaps the system's, then user and assistant by turns, the latter last."""
    start = found[0]["role"] == "system"
    for number, message in enumerate(found[start:]):
        expected = ("user", "assistant")[number % 2]
        if message["role"] != expected:
            place = f"turn {number + 1 + start} is {message['role']}, not {expected}"
            raise WorkbookError(f"roles out of order: {place}")
    if found[-1]["role"] != "assistant":
        raise WorkbookError(f"roles out of order: there is no answer to the last turn, {found[-1]['role']}")
    return found


def _side(record: Mapping, field: str, role: str) -> list[Message]:
    """A field that is a text of that role, an HH transcript, or a list of turns, as messages."""
    if not isinstance(record.get(field), str):
        return _turns(record, field)
    if not TURN.match(record[field]):
        return [_said(role, _text(record, field))]
    parts = [part.strip() for part in TURN.split(record[field])[1:]]
    turns = [{"from": name, "value": text} for name, text in zip(parts[::2], parts[1::2], strict=True)]
    if role == "user" and turns[-1] == {"from": "Assistant", "value": ""}:
        del turns[-1]  # a prompt that ends with "Assistant:"
    names = {"Human": "human", "Assistant": "gpt"}
    return _turns({field: [turn | {"from": names[turn["from"]]} for turn in turns]}, field)


def _preference(row: Mapping) -> dict[str, list[Message]]:
    """Prompt, chosen and rejected as messages; the prompt of two whole conversations is what they share."""
    if row.get("chosen") == row.get("rejected") and row.get("chosen") is not None:
        raise WorkbookError("chosen equals rejected")
    chosen, rejected = (_side(row, field, "assistant") for field in ("chosen", "rejected"))
    if {chosen[0]["role"], rejected[0]["role"]} == {"assistant"}:
        given = next((field for field in PROMPTS if row.get(field) is not None), None)
        alpaca = given is None and row.get("instruction") is not None
        prompt = _alpaca_prompt(row) if alpaca else _side(row, given or "prompt", "user")
    else:
        shortest = min(len(chosen), len(rejected)) - 1
        shared = next((turn for turn in range(shortest) if chosen[turn] != rejected[turn]), shortest)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if not prompt or prompt[-1]["role"] != "user":
        raise WorkbookError("chosen and rejected do not answer the same turn of a user")
    for answer in (chosen, rejected):
        _ordered([*prompt, *answer])
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
