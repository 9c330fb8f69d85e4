"""What the exercises of chapter 4.01 (supervised fine-tuning) must satisfy."""

from __future__ import annotations

from ftlib.check import Exercise, Property


def _count(value: object) -> str | None:
    return None if value == 5 else f"you said {value}"


def _logits(best: list[int]):
    """Logits [1, length, 8] that are sure of one token at each position."""
    import torch

    return 20.0 * torch.nn.functional.one_hot(torch.tensor([best]), 8).float()


def _predicts_next(learner) -> str | None:
    import torch

    loss = float(learner(_logits([3, 4, 5, 0]), torch.tensor([[2, 3, 4, 5]])))
    return None if loss < 0.01 else f"a model that always predicts the next token has loss {loss:.2f}"


def _not_same(learner) -> str | None:
    import torch

    loss = float(learner(_logits([2, 3, 4, 5]), torch.tensor([[2, 3, 4, 5]])))
    return None if loss > 1 else f"a model that repeats what it has just read has loss {loss:.2f}"


def _ignores(learner) -> str | None:
    import torch

    loss = float(learner(_logits([7, 7, 5, 0]), torch.tensor([[-100, -100, -100, 5]])))
    return None if loss < 0.01 else f"wrong guesses where the label is -100 cost {loss:.2f}"


def _clear(learner) -> str | None:
    better, worse = [0.90, 0.91, 0.92, 0.90, 0.91], [0.80, 0.82, 0.81, 0.80, 0.82]
    if (found := learner(better, worse)) != "first":
        return f"0.90 to 0.92 against 0.80 to 0.82 gave {found!r}"
    return (
        None
        if (found := learner(worse, better)) == "second"
        else f"the same the other way round gave {found!r}"
    )


def _tie(learner) -> str | None:
    found = learner([0.80, 0.90, 0.85, 0.95, 0.70], [0.85, 0.84, 0.88, 0.90, 0.72])
    return None if found == "tie" else f"differences of both signs gave {found!r}"


def _paired(learner) -> str | None:
    found = learner([0.52, 0.72, 0.92, 0.32, 0.62], [0.50, 0.70, 0.90, 0.30, 0.60])
    return None if found == "first" else f"0.02 better with every seed gave {found!r}"


ROW = {"instruction": "Name the quay.", "input": "Ferry to Saltholm", "output": "Quay 4."}


def _both(learner) -> str | None:
    found = learner(dict(ROW))
    if [message["role"] for message in found] != ["user", "assistant"]:
        return f"the roles are {[message['role'] for message in found]}"
    request = found[0]["content"]
    missing = [name for name in ("instruction", "input") if ROW[name] not in request]
    if missing:
        return f"the user's message lacks the {missing[0]}: {request!r}"
    return None if found[1]["content"] == ROW["output"] else f"the answer is {found[1]['content']!r}"


def _empty_input(learner) -> str | None:
    request = learner({**ROW, "input": "  "})[0]["content"]
    return None if request == ROW["instruction"] else f"with a blank input the user says {request!r}"


def _refuses(learner) -> str | None:
    try:
        found = learner({**ROW, "output": " "})
    except ValueError:
        return None
    return f"a row without an answer gave {found!r}"


EXERCISES = {
    "4.01.1": Exercise(
        properties=[
            Property(
                "the assistant's tokens and its end marks are counted",
                _count,
                "count 2, 18 and both end marks, nothing else",
            ),
        ],
        planted=[
            ("tokens_with_loss = 3", "the assistant's tokens and its end marks are counted"),
            ("tokens_with_loss = 4", "the assistant's tokens and its end marks are counted"),
        ],
    ),
    "4.01.2": Exercise(
        properties=[
            Property(
                "predicting the next token costs nothing",
                _predicts_next,
                "compare the logits at t with the label at t + 1",
            ),
            Property(
                "repeating the last token costs a lot",
                _not_same,
                "compare the logits at t with the label at t + 1",
            ),
            Property("labels of -100 cost nothing", _ignores, "keep ignore_index=-100"),
        ],
        planted=[
            (
                "def next_token_loss(logits, labels):\n"
                "    loss = torch.nn.CrossEntropyLoss(ignore_index=-100)\n"
                "    return loss(logits.flatten(0, 1), labels.flatten())",
                "predicting the next token costs nothing",
            ),
            (
                "def next_token_loss(logits, labels):\n"
                "    loss = torch.nn.CrossEntropyLoss()\n"
                "    return loss(logits[:, :-1].flatten(0, 1), labels[:, 1:].clamp(min=0).flatten())",
                "labels of -100 cost nothing",
            ),
        ],
    ),
    "4.01.3": Exercise(
        properties=[
            Property(
                "a clear difference is named, whichever comes first",
                _clear,
                "return 'first' or 'second' by the sign of the mean difference",
            ),
            Property("an interval that includes zero is a tie", _tie, "return 'tie' when low <= 0 <= high"),
            Property(
                "seeds are compared in pairs", _paired, "subtract seed by seed before you take the interval"
            ),
        ],
        planted=[
            (
                "def verdict_of(first, second):\n"
                "    return 'first' if sum(first) > sum(second) else 'second'",
                "an interval that includes zero is a tie",
            ),
            (
                "def verdict_of(first, second):\n"
                "    a, b = evaluate.seeds_interval(first), evaluate.seeds_interval(second)\n"
                "    return 'first' if a.low > b.high else 'second' if b.low > a.high else 'tie'",
                "seeds are compared in pairs",
            ),
        ],
    ),
    "4.01.4": Exercise(
        properties=[
            Property(
                "instruction, input and output all arrive",
                _both,
                "join instruction and input with a line break",
            ),
            Property(
                "a blank input leaves no trace", _empty_input, "test row['input'].strip() before you add it"
            ),
            Property(
                "a row without an answer is refused",
                _refuses,
                "raise ValueError when row['output'].strip() is empty",
            ),
        ],
        planted=[
            (
                "def to_messages(row):\n    return [{'role': 'user', 'content': row['instruction']}, "
                "{'role': 'assistant', 'content': row['output']}]",
                "instruction, input and output all arrive",
            ),
            (
                "def to_messages(row):\n"
                "    request = row['instruction'] + '\\n' + row['input']\n"
                "    reply = dict(role='assistant', content=row['output'])\n"
                "    return [dict(role='user', content=request), reply]",
                "a blank input leaves no trace",
            ),
        ],
    ),
}
