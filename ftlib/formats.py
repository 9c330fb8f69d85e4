"""From rows, as a file holds them, to records in a format that was recognised; `data.read` makes the rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ftlib.settings import WorkbookError, one_line

Message = dict[str, object]

PROMPTS = ("prompt", "question", "problem")
PAIRS = (("prompt", "completion"), ("problem", "solution"), ("question", "answer"))
PAIRS += (("prompt", "canonical_solution"),)
LABELS = ("label", "category", "intent", "topic")
VERDICTS = ("label", "kto_tag")
SYSTEMS = ("system", "system_prompt", "system_message")
CONTEXTS = ("context", "passage")
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
REASONING = ("reasoning_content", "reasoning", "thinking")  # the first is the name that chat templates read

ALPACA = ("alpaca", {"instruction": "instruction", "output": "output"})
TURNS = (("messages", {"messages": "messages"}), ("sharegpt", {"conversations": "conversations"}))
ANSWERED = [("prompt/completion", {"prompt": prompt, "completion": answer}) for prompt, answer in PAIRS]
# Each format with the column that holds each of its fields, the most demanding first: a row fits the first
# whose columns it has, a file the one that most of its rows fit. Each dialogue with a verdict is KTO.
SHAPES: tuple[tuple[str, dict[str, str]], ...] = (
    ("preference", {"chosen": "chosen", "rejected": "rejected"}),
    *(("kto", fields | {"label": tag}) for tag in VERDICTS for _, fields in (*ANSWERED, ALPACA, *TURNS)),
    ALPACA,
    *TURNS,
    *ANSWERED,
    *(("text/label", {"text": "text", "label": label}) for label in LABELS),
    ("text", {"text": "text"}),
)
UNKNOWN: tuple[str, dict[str, str]] = ("unknown", {})
KNOWN = (
    "instruction, output · conversations · messages · prompt, completion · problem, solution · question, "
    "answer · chosen, rejected · text with label, category, intent or topic · text"
)
ROLES = {"human": "user", "gpt": "assistant"} | {
    role: role for role in ("user", "assistant", "system", "tool")
}
# What may follow a turn: after an assistant's tool calls come their results, and then the assistant again.
NEXT = {"user": ("assistant",), "assistant": ("user",), "calls": ("tool",), "tool": ("tool", "assistant")}
TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
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
    prompt/completion: both; KTO: label as bool, prompt and completion as messages; preference: prompt,
    chosen and rejected as messages). columns: every name that a row has. source: what was read, without its
    password. left_out: columns, and fields of turns, that do not reach the model. notes: what else to know.
    """

    format: str
    rows: int
    used: list[dict]
    reported: list[Reported]
    columns: list[str]
    source: str
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """A summary in lines; the first 20 reported rows."""
        lines = [f"{self.source}: {self.format}", f"columns: {names(self.columns)}"]
        lines += [f"left out: {names(self.left_out)}"] * bool(self.left_out) + self.notes
        lines += [f"rows: {self.rows} = {len(self.used)} used + {len(self.reported)} reported"]
        lines += [f"  row {row.row}: {row.reason}" for row in self.reported[:20]]
        return "\n".join(lines + [f"  and {len(self.reported) - 20} more"] * (len(self.reported) > 20))


class NoUsableRow(WorkbookError):
    """Every row of a source was reported; `records` says why."""

    def __init__(self, message: str, records: Records):
        super().__init__(message)
        self.records = records


def recognise(rows: Sequence[Row], source: str, notes: Sequence[str] = ()) -> Records:
    """The rows as records of the one format that most of them fit; the others are reported with a reason.

    Raises WorkbookError when there is no row, NoUsableRow when there is none to use.
    """
    if not rows:
        raise WorkbookError(f"{source} has no rows")
    values = [row.value for row in rows if isinstance(row.value, dict)]
    columns = list(dict.fromkeys(name for value in values for name in value))
    votes = Counter(found for value in values if (found := shape(value)) is not None)
    name, fields = SHAPES[max(votes, key=lambda found: (votes[found], -found))] if votes else UNKNOWN
    used: list[dict] = []
    plain: list[dict] = []
    reported: list[Reported] = []
    for number, row in enumerate(rows, start=1):
        try:
            used.append(_record(row, name, fields))
            plain.append(row.value)
        except WorkbookError as error:
            line = f"line {row.line}: " if row.line else ""
            reported.append(Reported(number, one_line(f"{line}{error}")))
    left_out = idle(plain, fields.values(), lambda row: messages(_record(Row(row), name, fields), name))
    left_out = [column for column in columns if column != "text"] if name == "text" else left_out
    records = Records(name, len(rows), used, reported, columns, source, left_out, list(notes))
    if not used:
        why = f"row 1 of {len(rows)}: {reported[0].reason}"
        if not votes and columns:
            why = f"its columns are {one_line(names(columns), 90)}, and a row needs {KNOWN}"
        raise NoUsableRow(f"{source} has no usable row: {why}", records)
    return records


def shape(value: dict) -> int | None:
    """The index in SHAPES of the first shape that a row fits; a KTO label must be a truth value."""
    for index, (name, fields) in enumerate(SHAPES):
        fits = all(value.get(column) is not None for column in fields.values())
        if fits and (name != "kto" or str(value[fields["label"]]).lower() in TRUTH):
            return index
    return None


def idle(rows: Iterable[Mapping], columns: Iterable[str], seen: Callable[[Mapping], object]) -> list[str]:
    """Columns of rows, and fields of the turns in `columns`, without which what is `seen` would be the same.

    Of each the first 20 rows in which it holds something are tried: what a name means does not change later.
    """
    tried: dict[str, list[Mapping]] = {}
    for row in rows:
        turns = [turn for column in columns for turn in objects(row.get(column))]
        for name, value in [pair for part in (row, *turns) for pair in part.items()]:
            if not _blank(value) and len(found := tried.setdefault(name, [])) < 20:
                found.append(row)

    def view(row: Mapping) -> object:
        try:
            return seen(row)
        except (WorkbookError, KeyError):
            return None

    return [name for name in tried if all(view(row) == view(_without(row, name)) for row in tried[name])]


def _without(row: Mapping, name: str) -> dict:
    """The row without a column, and without the field of that name in its turns."""
    kept = {key: value for key, value in row.items() if key != name}
    turns = {key: value for key, value in kept.items() if value and objects(value) == value}
    return kept | {key: [_without(turn, name) for turn in value] for key, value in turns.items()}


def objects(value: object) -> list[dict]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _blank(value: object) -> bool:
    return value is None or value == [] or value == {} or (isinstance(value, str) and not value.strip())


def _record(row: Row, name: str, fields: Mapping[str, str]) -> dict:
    """The row with the fields of its format; WorkbookError with the reason when it is not usable."""
    if row.problem:
        raise WorkbookError(row.problem)
    if not isinstance(row.value, dict):
        raise WorkbookError(f"is {_kind(row.value)}, not an object with named fields")
    if name == "unknown":
        raise WorkbookError(f"fits no known format: it has {names(row.value) or 'no fields'}")
    if media := [column for column in MEDIA if not _blank(row.value.get(column))]:
        raise WorkbookError(f"has {media[0]}, which a model of text cannot see: leave it out to use the row")
    if name == "preference":
        return row.value | _preference(row.value)
    if name == "text":
        return row.value | {"text": _text(row.value, "text")}
    if name == "kto":
        *plain, verdict = fields.values()
        label = TRUTH.get(str(row.value.get(verdict)).lower())
        if label is None:
            raise WorkbookError(f"{verdict} is {row.value.get(verdict)!r}, not true or false")
        form = next(found for found, columns in SHAPES if [*columns.values()] == plain)
        *prompt, answer = _conversation(row.value, form, plain)
        return row.value | {"prompt": prompt, "completion": [answer], "label": label}
    answer = _conversation(row.value, name, [*fields.values()])[-1]["content"]
    if name == "text/label" and answer == "-1":
        raise WorkbookError(f"{fields['label']} is -1, which mostly means no label: give a class a name")
    record = row.value | {field: row.value.get(column) for field, column in fields.items()}
    return record | ({"label": answer} if name == "text/label" else {})


def messages(record: Mapping, format: str) -> list[Message]:
    """The conversation of a record: [{"role": "system", "user", "assistant", "tool", "content": text}, ...].

    format: as in `Records.format`. A column with a system text becomes the first turn; tools that are offered
    stand below it, a JSON object a line. A context stands above what is asked, an Alpaca input below it, each
    parted by a blank line. An assistant's turn may also have "reasoning_content" (a text), "tool_calls" (in
    the form of OpenAI, with the arguments as an object) and "weight" (0: it carries no loss). The answer of a
    preference pair is the chosen one. A KTO answer comes whatever its label: leave out those labelled False
    before you train on them. Raises WorkbookError for a record that is not usable, and for plain text, which
    has no turns.

    >>> messages({"instruction": "Add.", "input": "1 + 1", "output": "2"}, "alpaca")
    [{'role': 'user', 'content': 'Add.\\n\\n1 + 1'}, {'role': 'assistant', 'content': '2'}]
    """
    if format in ("preference", "kto"):
        return _ordered([*record["prompt"], *record["chosen" if format == "preference" else "completion"]])
    columns = next((fields for name, fields in SHAPES if name == format), {})
    return _conversation(record, format, [*columns.values()])


def _conversation(row: Mapping, format: str, columns: Sequence[str]) -> list[Message]:
    """The messages of a row whose format has these columns."""
    ask, answer = (columns[0], columns[-1]) if columns else ("", "")
    if format in ("messages", "sharegpt"):
        found = _turns(row, ask)
    elif format in ("alpaca", "prompt/completion", "text/label"):
        found = [*_asked(row, ask), *_side(row, answer, "assistant")]
    else:
        raise WorkbookError(f"{format} has no turns: this needs data with questions and answers ({KNOWN})")
    return _ordered(_headed(row, found))


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
    return _clean(record.get(field), called or field)


def _clean(text: object, called: str) -> str:
    """A value that must be a text with something in it, or a whole number or a truth value, as a text."""
    if text is None:
        raise WorkbookError(f"{called} is missing")
    if isinstance(text, int):
        text = str(text)
    if not isinstance(text, str):
        raise WorkbookError(f"{called} is {_kind(text)}, not a text")
    if not text.strip():
        raise WorkbookError(f"{called} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WorkbookError(f"{called} has half a character (a lone surrogate) at {error.start}") from None
    return text


def _asked(row: Mapping, column: str) -> list[Message]:
    """What a row asks, with a context beside it above the last turn, and an instruction's input below it."""
    *before, last = _side(row, column, "user") if column != "text" else [_said("user", _text(row, column))]
    asked = str(last["content"])
    over = [_text(row, name) for name in CONTEXTS if not _blank(row.get(name))]
    over = [text for text in over if text not in asked]  # some prompts hold their context already
    if column == "instruction" and not _blank(row.get("input")):
        asked += f"\n\n{_text(row, 'input')}"
    return [*before, last | {"content": "\n\n".join([*over, asked])}]


def _headed(row: Mapping, found: list[Message]) -> list[Message]:
    """The messages after a system turn of the row's system column, if it has one, and of its tools."""
    head = "\n\n".join(_text(row, name) for name in SYSTEMS if not _blank(row.get(name)))
    if found and found[0]["role"] == "system":
        if head not in ("", found[0]["content"]):
            raise WorkbookError("has a system column and another text in its system turn: keep one of them")
        head, found = str(found[0]["content"]), found[1:]
    tools = _parsed(row.get("tools"))
    if objects(tools):
        lines = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
        head = "\n".join([head] * bool(head) + lines)
    return [_said("system", _clean(head, "system, with its tools,")), *found] if head else found


def _parsed(value: object) -> object:
    """What a text of JSON holds; anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _turns(record: Mapping, field: str) -> list[Message]:
    """A list of {"role", "content"} or {"from", "value"} as messages; an empty system turn is none."""
    turns, found = record.get(field), []
    if turns is None or turns == []:
        raise WorkbookError(f"{field} is {'missing' if turns is None else 'empty'}")
    if not isinstance(turns, list):
        raise WorkbookError(f"{field} is {_kind(turns)}, not a list of turns")
    for number, turn in enumerate(turns, start=1):
        where = f"{field}, turn {number}"
        if not isinstance(turn, dict):
            raise WorkbookError(f"{where} is {_kind(turn)}, not an object")
        speaker, content = ("role", "content") if turn.get("role") is not None else ("from", "value")
        role = _text(turn, speaker, f"{where}: {speaker}")
        if role not in ROLES:
            raise WorkbookError(f"{where} has the role {role!r}; known are {', '.join(ROLES)}")
        if ROLES[role] != "system" or not _blank(turn.get(content)):
            found.append(_turn(turn, ROLES[role], content, f"{where} ({role})"))
    if not found:
        raise WorkbookError(f"{field} holds an empty system turn and no other")
    return found


def _turn(turn: Mapping, role: str, content: str, where: str) -> Message:
    """A turn as a message: its text, of which parts are joined, and what else an assistant or a tool says."""
    text = turn.get(content)
    if isinstance(text, list):
        kinds = [part.get("type") if isinstance(part, dict) else _kind(part) for part in text]
        if other := [str(kind) for kind in kinds if kind != "text"]:
            raise WorkbookError(f"{where}: {content} has a part of another kind than text: {other[0]}")
        text = "\n".join(_text(part, "text", f"{where}: text") for part in text)
    calls = _calls(turn["tool_calls"], where) if role == "assistant" and turn.get("tool_calls") else []
    said = _said(role, "" if calls and _blank(text) else _clean(text, f"{where}: {content}"))
    if role == "tool":
        said |= {name: turn[name] for name in ("name", "tool_call_id") if turn.get(name)}
    if role != "assistant":
        return said
    if (weight := turn.get("weight")) not in (None, 0, 1):
        raise WorkbookError(f"{where}: weight is {weight!r}, not 0 or 1")
    thought = next((name for name in REASONING if not _blank(turn.get(name))), None)
    said |= {"reasoning_content": _text(turn, thought, f"{where}: {thought}")} if thought else {}
    return said | ({"tool_calls": calls} if calls else {}) | ({"weight": 0} if weight == 0 else {})


def _calls(calls: object, where: str) -> list[dict]:
    """Tool calls in the form of OpenAI, but with the arguments as an object: chat templates expect that."""
    found = []
    for number, call in enumerate(calls if isinstance(calls, list) else [calls], start=1):
        function = call.get("function") or call if isinstance(call, dict) else {}
        name, arguments = function.get("name"), _parsed(function.get("arguments"))
        if not isinstance(name, str) or not (_blank(arguments) or isinstance(arguments, dict)):
            what = "has no name, or arguments that are no JSON object"
            raise WorkbookError(f"{where}: tool call {number} {what}")
        called = {"name": name, "arguments": arguments or {}}
        _clean(json.dumps(called, ensure_ascii=False), f"{where}: tool call {number}")
        known = {"id": call["id"]} if call.get("id") else {}
        found.append({**known, "type": "function", "function": called})
    return found


def _ordered(found: list[Message]) -> list[Message]:
    """The messages, if in order: perhaps the system's, then as in NEXT from a user's to an assistant's."""
    start = found[0]["role"] == "system"
    allowed: tuple[str, ...] = ("user",)
    for number, message in enumerate(found[start:], start=1 + start):
        if message["role"] not in allowed:
            place = f"turn {number} is {message['role']}, not {' or '.join(allowed)}"
            raise WorkbookError(f"roles out of order: {place}")
        allowed = NEXT["calls" if message.get("tool_calls") else str(message["role"])]
    if found[-1]["role"] != "assistant":
        raise WorkbookError(f"roles out of order: there is no answer to the last turn, {found[-1]['role']}")
    return found


def _side(record: Mapping, field: str, role: str) -> list[Message]:
    """A field that is a text of that role, an HH transcript, or a list of turns, as messages."""
    value = record.get(field)
    if isinstance(value, list):
        return _turns(record, field)
    if not TURN.match(str(value)):
        return [_said(role, _text(record, field))]
    parts = [part.strip() for part in TURN.split(str(value))[1:]]
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
        given = (column for column in (*PROMPTS, "instruction") if row.get(column) is not None)
        prompt = _asked(row, next(given, "prompt"))
    else:
        shortest = min(len(chosen), len(rejected)) - 1
        shared = next((turn for turn in range(shortest) if chosen[turn] != rejected[turn]), shortest)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if not prompt or prompt[-1]["role"] not in ("user", "tool"):
        raise WorkbookError("chosen and rejected do not answer the same turn of a user")
    prompt = _headed(row, prompt)
    for answer in (chosen, rejected):
        _ordered([*prompt, *answer])
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
