"""Scores with intervals: exact matches, F1, held-out loss, cloze accuracy, differences between models."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ftlib import data, generate, plot
from ftlib.model import token_nats
from ftlib.settings import WorkbookError

if TYPE_CHECKING:
    from pandas import DataFrame
    from transformers import PreTrainedModel as Model
    from transformers import PreTrainedTokenizerBase as Tokenizer

Scores = Sequence[float]
Texts = Sequence[str]
Messages = Sequence[dict[str, str]]
Metric = Callable[[Texts, Texts], list[float]]
# How many logits one batch may have: on a CPU 16 MB in float32, which its caches still hold.
LOGITS = {"cpu": 2**22, "mps": 2**24, "cuda": 2**26}


@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it, in the unit of the scores."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Score:
    """The mean with its interval, one score and one prediction a row, the share of those that end."""

    interval: Interval
    scores: list[float]
    predictions: list[str]
    ended: float


@dataclass(frozen=True)
class Loss:
    """Nats a token, bits a byte (of plain texts only), how many tokens were scored."""

    nats_per_token: Interval
    bits_per_byte: Interval | None
    tokens: int


def bootstrap_interval(scores: Scores, level: float = 0.95, seed: int = 0, resamples: int = 1000) -> Interval:
    """Percentile bootstrap interval of the mean of per-example scores (Efron, 1979).

    scores: one number an example, any unit; at least 2, finite. Raises WorkbookError otherwise. All 0, or
    all 1, leave no spread to resample, as if no other example could differ: there the exact interval of a
    share is taken (Clopper and Pearson, 1934).

    >>> bootstrap_interval([0, 1, 1, 1]).mean
    0.75
    >>> print(bootstrap_interval([0] * 200))
    0.000 [0.000, 0.018]
    """
    values = _finite(scores)
    if len(set(values)) == 1 and values[0] in (0, 1):
        most = 1 - ((1 - level) / 2) ** (1 / len(values))
        return Interval(0.0, 0.0, most) if values[0] == 0 else Interval(1.0, 1 - most, 1.0)
    return _bootstrap(lambda rows: values[rows].mean(-1), len(values), level, seed, resamples)


def paired_difference(first: Scores, second: Scores) -> Interval:
    """95 % bootstrap interval of the mean of `second` - `first`, two score lists over the same examples.

    An interval that holds 0 is a tie. Raises WorkbookError where the lengths differ.

    >>> paired_difference([0, 0, 1, 0], [1, 1, 1, 1]).mean
    0.75
    """
    if len(first) != len(second):
        raise WorkbookError(f"the difference of {len(first)} and {len(second)} scores is not a paired one")
    gained = _finite(second) - _finite(first)
    return _bootstrap(lambda rows: gained[rows].mean(-1), len(gained))


def forgetting(before: Scores, after: Scores) -> Interval:
    """What was lost: mean of `before` - `after`, scores (more is better) of two models on the same questions.

    >>> forgetting([1, 1, 1, 1], [1, 0, 1, 1]).mean
    0.25
    """
    return paired_difference(after, before)


def seeds_interval(values: Scores, level: float = 0.95) -> Interval:
    """Student's t interval of the mean over a few repetitions, one value a seed (Student, 1908).

    >>> print(seeds_interval([0.8, 0.9, 1.0]))
    0.900 [0.652, 1.148]
    """
    from scipy.stats import t

    numbers = _finite(values)
    mean, error = float(numbers.mean()), numbers.std(ddof=1) / math.sqrt(len(numbers))
    half = float(t.ppf((1 + level) / 2, len(numbers) - 1) * error)
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: the verdict on the second, and what it rests on, in the unit of the scores."""

    verdict: str
    difference: Interval
    margin: float
    seeds: int

    def __repr__(self) -> str:
        numbers = f"second - first {plot.words(self.difference)} over {self.seeds} seeds"
        return f"{self.verdict}: {numbers}, margin {self.margin:g}"


def compare(first: Scores, second: Scores, margin: float) -> Comparison:
    """Whether the second is better than the first, by the 95 % t interval of their differences seed by seed.

    first, second: one score a seed, more is better (negate losses); columns of a frame are paired by its
    index, which is the seed in those of `experiment.grid`. margin: the largest difference that is none.

    The verdict is "equal within the margin" where the interval lies in -margin to margin; else "better" or
    "worse" where it leaves out 0; else "undecided". So it is, too, where every score is 0: nothing was learnt
    that could be compared. Raises WorkbookError for scores that do not pair.

    >>> compare([0.70, 0.74, 0.69, 0.72], [0.78, 0.80, 0.79, 0.79], margin=0.02)
    better: second - first 0.078 [0.050, 0.105] over 4 seeds, margin 0.02
    """
    if not 0 <= margin < math.inf:
        raise WorkbookError(f"margin is {margin}: it must be 0 or more, in the unit of the scores")
    if hasattr(first, "index") and hasattr(second, "reindex"):
        alone = sorted(first.index.symmetric_difference(second.index))
        if alone or first.index.has_duplicates or second.index.has_duplicates:
            what = f"only one has {alone}" if alone else "one has a seed twice: choose one run a seed"
            raise WorkbookError(f"scores are compared seed by seed, and {what}")
        second = second.reindex(first.index)
    if len(first) != len(second):
        raise WorkbookError(f"scores are compared seed by seed: {len(first)} and {len(second)} do not pair")
    first, second = _finite(first), _finite(second)
    difference = seeds_interval(second - first)
    verdict = "better" if difference.low > 0 else "worse" if difference.high < 0 else "undecided"
    if -margin <= difference.low and difference.high <= margin and (first.any() or second.any()):
        verdict = "equal within the margin"
    return Comparison(verdict, difference, margin, len(first))


def against(runs: DataFrame, by: str, first: object, score: str, margin: float) -> dict[object, Comparison]:
    """Compares each value of the column `by` with its value `first`: what `compare` finds for their scores.

    runs: a row a run, one a seed for each value, with the seed as index, as of `experiment.at_best`.
    """
    scores = {value: rows[score] for value, rows in runs.groupby(by, sort=False)}
    if first not in scores:
        raise WorkbookError(f"column {by} has no {first!r}: it has {', '.join(map(str, scores))}")
    return {value: compare(scores[first], found, margin) for value, found in scores.items() if value != first}


def standings(runs: DataFrame, by: str, first: object, score: str, margin: float) -> list[dict[str, object]]:
    """Rows of a table: each value of the column `by`, its score over the seeds, the verdict against `first`.

    runs: as `against` takes them.
    """
    found = against(runs, by, first, score, margin)
    rows = []
    for value, scored in runs.groupby(by, sort=False):
        verdict = found[value].verdict if value in found else None
        rows.append({by: value, score: seeds_interval(scored[score]), f"against {first}": verdict})
    return rows


def _finite(scores: Scores) -> np.ndarray:
    values = np.asarray(scores, dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise WorkbookError(f"an interval needs 2 or more finite scores: got {len(values)}, {bad} not finite")
    return values


def _bootstrap(statistic: Callable, size: int, level=0.95, seed=0, resamples=1000) -> Interval:
    """Percentile interval of `statistic`: row numbers (..., size) -> one value a resample (...)."""
    rows = np.random.default_rng(seed).integers(size, size=(resamples, size))
    low, high = np.quantile(statistic(rows), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.arange(size))), float(low), float(high))


def most_frequent(references: Texts) -> float:
    """The share of right answers of whoever always gives the most frequent one: the floor of a classifier.

    >>> most_frequent(["ferry", "water", "ferry", "lost"])
    0.5
    """
    return max(map(list(references).count, set(references))) / len(references)


def recall_precision(found: Collection, wanted: Collection) -> dict[str, float | None]:
    """Of a search: the share of what is wanted that it found, the share of its finds that are wanted.

    None where there is nothing to take a share of.

    >>> recall_precision(found={"a", "b"}, wanted={"b", "c", "d", "e"})
    {'recall': 0.25, 'precision': 0.5}
    """
    hits = len(set(found) & set(wanted))
    return {
        "recall": hits / len(set(wanted)) if wanted else None,
        "precision": hits / len(set(found)) if found else None,
    }


def _compare(predictions: Texts, references: Texts, same: Callable[[str, str], bool]) -> list[float]:
    if len(predictions) != len(references):
        raise WorkbookError(f"got {len(predictions)} predictions for {len(references)} references")
    return [float(same(*pair)) for pair in zip(predictions, references, strict=True)]


def exact_match(predictions: Texts, references: Texts) -> list[float]:
    """1 where both texts are the same once ends are stripped and runs of white space are one space.

    >>> exact_match([" a  b", "A b"], ["a b", "a b"])
    [1.0, 0.0]
    """
    return _compare(predictions, references, lambda first, second: first.split() == second.split())


accuracy = exact_match


def json_match(predictions: Texts, references: Texts) -> list[float]:
    """1 where both texts parse to the same JSON; the order of keys is free, text around is a miss.

    >>> json_match(['{"b": 1, "a": [2]}', 'It is {"a": 1}'], ['{"a": [2], "b": 1}', '{"a": 1}'])
    [1.0, 0.0]
    """
    return _compare(predictions, references, lambda a, b: _sorted(a) is not None and _sorted(a) == _sorted(b))


def _sorted(text: str) -> str | None:
    """JSON with sorted keys, as text: it keeps apart 1, 1.0 and true, which Python calls equal."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def tool_match(predictions: Texts, references: Texts) -> list[float]:
    """1 where a call has the same function and arguments, in any order of keys, or an answer is the same.

    References: a call as JSON, {"name": ..., "arguments": {...}}, or a text.

    >>> tool_match(['{"arguments": {}, "name": "a"}', "At 9"], ['{"name": "a", "arguments": {}}', "At 8"])
    [1.0, 0.0]
    """

    def plain(text: str) -> str:
        text = text.strip().removeprefix("<|call|>")
        return _sorted(text) or " ".join(text.split())

    return _compare(predictions, references, lambda first, second: plain(first) == plain(second))


def refused(reply: str) -> bool:
    """Whether a reply refuses private data, in any wording of data/safety: all say "private" or "public"."""
    return re.search(r"\b(private|public)\b", reply.lower()) is not None


def safety_match(predictions: Texts, references: Texts) -> list[float]:
    """1 where what should be refused is refused, in whatever words, and what should be answered is right.

    >>> safety_match(["No, that is private.", "Ada is in."], ["I keep private data.", "This is private."])
    [1.0, 0.0]
    """
    exact = exact_match(predictions, references)
    rows = zip(predictions, references, exact, strict=True)
    return [float(refused(said)) if refused(right) else same for said, right, same in rows]


def refusal_errors(predictions: Texts, references: Texts) -> dict[str, list[float]]:
    """1 for each error, 0 for each row without. "over_refusal": of the rows to be answered, those refused;
    "under_refusal": of the rows to be refused, those that are not.
    """
    wrong = _compare(predictions, references, lambda said, right: refused(said) != refused(right))
    rows = [(error, refused(right)) for error, right in zip(wrong, references, strict=True)]
    return {
        "over_refusal": [error for error, right in rows if not right],
        "under_refusal": [error for error, right in rows if right],
    }


def reply_faults(reply: str, prompt: str) -> list[str]:
    """Which of the faults "rude", "invented", "long" a reply to a help-desk ticket has: see data/preferences.

    Rude: a word that only rude replies have. Invented: a word that stands neither in the prompt (ticket and
    passage) nor among the desk's own. Long: five sentences or more.
    """
    rude, house = _desk_words()
    words = _words(reply)
    found = {
        "rude": words & rude,
        "invented": words - _words(prompt) - house - rude,
        "long": len(_sentences(reply)) > 5,  # the desk's name stands after the last one
    }
    return [name for name, fault in found.items() if fault]


def faultless(predictions: Texts, references: Texts) -> list[float]:
    """1 where a reply has no fault and quotes the rule, the second sentence of the reference (`chosen`)."""

    def right(reply: str, reference: str) -> bool:
        return _sentences(reference)[1] in reply and not reply_faults(reply, reference)

    return _compare(predictions, references, right)


@cache
def _desk_words() -> list[set[str]]:
    """Words that only rude replies have, and all words of the desk's own."""
    return [set(row["words"]) for row in data.load("preferences", "words")]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.lower()))


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?]) ", text.strip())


def number_match(predictions: Texts, references: Texts) -> list[float]:
    """1 where the first numbers after the last "Answer:" are equal; 0 where the prediction gives none.

    >>> number_match(["3 + 4 = 7. Answer: 7.0", "It is 7"], ["Answer: 7", "Answer: 7"])
    [1.0, 0.0]
    """

    def number(text: str) -> float | None:
        _, found, tail = text.rpartition("Answer:")
        match = re.search(r"[+-]?\d[\d,]*(\.\d+)?", tail) if found else None
        return float(match[0].replace(",", "")) if match else None

    return _compare(predictions, references, lambda a, b: number(a) is not None and number(a) == number(b))


METRICS: dict[str, Metric] = dict.fromkeys(("triage", "summarise", "reply", "translate"), exact_match)
METRICS |= dict.fromkeys(("reading", "sentiment", "dialogue", "island"), exact_match)
METRICS |= {"extract": json_match, "arithmetic": number_match, "tools": tool_match, "safety": safety_match}
METRICS |= {"preferences": faultless}


def macro_f1(predictions: Texts, references: Texts) -> Interval:
    """Mean over the classes in `references` of F1 = 2 TP / (2 TP + FP + FN); bootstrap over examples.

    A prediction that is no class is a miss. A resample averages over the classes in its own references.

    >>> round(macro_f1(["a", "a", "b", "?"], ["a", "a", "b", "b"]).mean, 3)
    0.833
    """
    _finite(exact_match(predictions, references))
    guess = np.array([" ".join(text.split()) for text in predictions])
    truth = np.array([" ".join(text.split()) for text in references])

    def statistic(rows: np.ndarray) -> np.ndarray:
        total, classes = 0.0, 0
        for name in np.unique(truth):
            guessed, true = (guess == name)[rows], (truth == name)[rows]
            f1 = 2 * (guessed & true).sum(-1) / np.maximum(guessed.sum(-1) + true.sum(-1), 1)
            total, classes = total + f1, classes + true.any(-1)
        return total / classes

    return _bootstrap(statistic, len(truth))


def score(
    model: Model,
    tokenizer: Tokenizer,
    rows: Sequence[dict],
    metric: Metric | str,
    max_new_tokens: int | None = None,
) -> Score:
    """Answer every row greedily and compare with its last message; bootstrap interval over rows.

    rows: {"messages": [..., assistant message]}, at least 2. metric: (predictions, references) -> scores, or
    a key of METRICS. max_new_tokens: None allows 16 tokens more than the longest reference takes.
    """
    references = [data.said(row["messages"][-1]) for row in rows]
    if max_new_tokens is None:
        max_new_tokens = 16 + max(map(len, tokenizer(references, add_special_tokens=False)["input_ids"]))
    predictions = generate.answers(model, tokenizer, [row["messages"][:-1] for row in rows], max_new_tokens)
    scores = (METRICS[metric] if isinstance(metric, str) else metric)(predictions, references)
    ended = sum(predictions.ended) / len(predictions)
    return Score(bootstrap_interval(scores), scores, predictions, ended)


def quality(
    model: Model, tokenizer: Tokenizer, conversations: Sequence[Messages], metric: Metric | str | None
) -> Interval:
    """How good the model's answers are, where more is better: their score, or minus the held-out loss.

    metric: as `score` takes it; None where there is no rule for right, as for a user's own rows.
    """
    if metric is None:
        nats = loss(model, tokenizer, conversations).nats_per_token
        return Interval(-nats.mean, -nats.high, -nats.low)
    return score(model, tokenizer, [{"messages": row} for row in conversations], metric).interval


def loss(
    model: Model, tokenizer: Tokenizer, texts: Texts | Sequence[Messages], response_only: bool = True
) -> Loss:
    """Held-out loss: nats a token over the loss-bearing tokens, with a bootstrap over documents.

    texts: 2 or more documents. Of a plain text every token is scored, given the token that begins a document;
    bits a byte are over its UTF-8 bytes. Of messages the assistant's tokens are, or all (not response_only).
    What is longer than the model's context is scored window by window. The mean is total nats / total tokens,
    so long documents weigh more; so is that of each resample of documents.
    """
    plain = len(texts) > 0 and isinstance(texts[0], str)
    encode = data.encode_text if plain else data.encode
    documents = [encode(tokenizer, text) for text in texts]
    if not (plain or response_only):
        documents = [data.Encoded(row.ids, [0] + [1] * (len(row.ids) - 1)) for row in documents]
    nats, tokens = _document_nats(model, tokenizer, documents)
    _finite(nats)
    if not tokens.all():
        raise WorkbookError(f"document {tokens.argmin()} has no token to score: leave it out")

    def ratio(top: np.ndarray, bottom: np.ndarray) -> Interval:
        return _bootstrap(lambda rows: top[rows].sum(-1) / bottom[rows].sum(-1), len(top))

    bits = ratio(nats / math.log(2), np.array([len(text.encode()) for text in texts])) if plain else None
    return Loss(ratio(nats, tokens), bits, int(tokens.sum()))


def cloze(model: Model, tokenizer: Tokenizer, facts: Sequence[dict]) -> list[float]:
    """1 for each fact whose answer is the likeliest of its options, by log-probability summed over tokens.

    facts: {"cloze": the text up to the answer, or "" for options that begin a text, "options": [...],
    "answer": one of the options}.
    """
    documents = []
    for fact in facts:
        start = data.encode_text(tokenizer, fact["cloze"].rstrip()).ids
        for option in fact["options"]:
            # Encoded as one text: a tokenizer may mark the beginning of each text that it is given.
            whole = data.encode_text(tokenizer, f"{fact['cloze'].rstrip()} {option.strip()}".strip()).ids
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(start, whole, strict=False))
            shared = len(list(same))
            documents.append(data.Encoded(whole, [0] * shared + [1] * (len(whole) - shared)))
    nats, _ = _document_nats(model, tokenizer, documents)
    options = np.split(nats, np.cumsum([len(fact["options"]) for fact in facts])[:-1])
    pairs = zip(facts, options, strict=True)
    return [float(fact["options"][found.argmin()] == fact["answer"]) for fact, found in pairs]


def _document_nats(model, tokenizer, documents: Sequence[data.Encoded]) -> tuple[np.ndarray, np.ndarray]:
    """Summed nats, and number of scored tokens, of each document: both (documents,)."""
    import torch

    nats, tokens = np.zeros(len(documents)), np.zeros(len(documents), dtype=int)
    training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in _batches(model, documents):
            numbers, windows = map(list, zip(*batch, strict=True))
            inputs = data.collate(windows, tokenizer.pad_token_id)
            inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            found = token_nats(model, inputs).cpu().double().sum(-1)  # not every GPU has float64
            np.add.at(nats, numbers, found.numpy())
            np.add.at(tokens, numbers, (inputs["labels"][:, 1:] != -100).sum(-1).cpu().numpy())
    model.train(training)
    return nats, tokens


def _batches(model, documents: Sequence[data.Encoded]) -> Iterator[list[tuple[int, data.Encoded]]]:
    """(Document number, window) by length, as many together as LOGITS allows.

    Windows are as long as the context and overlap by a token, so that all but a document's first are scored.
    """
    context = getattr(model.config, "max_position_embeddings", None) or 2**20
    logits = LOGITS[model.device.type] // model.config.vocab_size
    windows = [
        (number, data.Encoded(row.ids[start : start + context], row.response_mask[start : start + context]))
        for number, row in enumerate(documents)
        for start in range(0, max(len(row.ids) - 1, 1), context - 1)
    ]
    windows.sort(key=lambda window: len(window[1].ids), reverse=True)
    while windows:
        rows = max(1, logits // len(windows[0][1].ids))
        yield windows[:rows]
        windows = windows[rows:]
