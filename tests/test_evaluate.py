"""Metrics, intervals and losses against slow computations written out, and against libraries."""

import json
import math
import random
import statistics

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from ftlib import data, evaluate, generate, model, train
from ftlib.settings import DATA, WorkbookError

WORDS = ["the", "ferry", "leaves", "at", "noon", "and", "the", "baker", "sells", "bread"]
TEXTS = [" ".join(WORDS[: 2 + count % 9]) + " été" * (count % 3) for count in range(14)]
EXAMPLES = [
    [{"role": "user", "content": text}, {"role": "assistant", "content": WORDS[row % 9]}]
    for row, text in enumerate(TEXTS)
]


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    network, tokenizer = model.load(str(tiny_model_folder), "cpu")
    train.sft(network, tokenizer, EXAMPLES, epochs=30, learning_rate=1e-2, batch_size=7, progress=False)
    return network, tokenizer


# Intervals


def slow_bootstrap(scores, seed, resamples):
    draws = np.random.default_rng(seed).integers(len(scores), size=(resamples, len(scores)))
    means = [sum(scores[row] for row in draw) / len(scores) for draw in draws]
    return np.quantile(means, 0.025), np.quantile(means, 0.975)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).filter(lambda scores: len(set(scores)) > 1),
    st.integers(0, 99),
)
def test_the_bootstrap_interval_is_that_of_resampling_one_draw_at_a_time(scores, seed):
    found = evaluate.bootstrap_interval(scores, seed=seed, resamples=60)
    assert found.mean == pytest.approx(statistics.fmean(scores), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(slow_bootstrap(scores, seed, 60), abs=1e-9)
    assert min(scores) - 1e-9 <= found.low <= found.high <= max(scores) + 1e-9


def test_ninety_five_per_cent_of_the_intervals_hold_the_true_mean():
    rng = random.Random(0)
    intervals = [
        evaluate.bootstrap_interval([rng.random() < 0.7 for _ in range(100)], seed=seed)
        for seed in range(300)
    ]
    assert 0.91 < statistics.fmean(found.low <= 0.7 <= found.high for found in intervals) < 0.98


def test_a_higher_level_gives_a_wider_interval_and_the_same_seed_the_same_one():
    scores = [0, 1, 1, 0, 1, 1, 1]
    narrow, wide = (evaluate.bootstrap_interval(scores, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert evaluate.bootstrap_interval(scores, seed=3) == evaluate.bootstrap_interval(scores, seed=3)


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_an_interval_of_fewer_than_two_finite_scores_is_an_error(scores):
    for interval in (evaluate.bootstrap_interval, evaluate.seeds_interval):
        with pytest.raises(WorkbookError, match="2 or more finite scores"):
            interval(scores)


@pytest.mark.parametrize("rows", [2, 30, 200])
def test_all_wrong_or_all_right_still_leaves_room_for_the_next_row(rows):
    """The bound is the share at which nothing but such rows would be seen in 2.5 % of all samples."""
    wrong, right = evaluate.bootstrap_interval([0.0] * rows), evaluate.bootstrap_interval([1.0] * rows)
    assert (wrong.mean, wrong.low, right.mean, right.high) == (0.0, 0.0, 1.0, 1.0)
    assert (1 - wrong.high) ** rows == pytest.approx(0.025) == right.low**rows
    assert evaluate.paired_difference([1.0] * rows, [1.0] * rows) == evaluate.Interval(0.0, 0.0, 0.0)


def test_a_paired_difference_is_narrower_than_two_separate_intervals_and_needs_the_same_examples():
    rng = random.Random(1)
    first = [rng.gauss(0, 5) for _ in range(80)]
    second = [score + 1 + rng.gauss(0, 0.1) for score in first]
    found = evaluate.paired_difference(first, second)
    assert found.mean == pytest.approx(statistics.fmean(second) - statistics.fmean(first))
    assert 0.9 < found.low < found.high < 1.1
    apart = evaluate.bootstrap_interval(first)
    assert apart.high - apart.low > 10 * (found.high - found.low)
    with pytest.raises(WorkbookError, match="80 and 79 scores is not a paired"):
        evaluate.paired_difference(first, second[1:])


def test_a_paired_difference_has_the_95_per_cent_interval_of_the_differences():
    rng = random.Random(2)
    first, second = ([rng.random() for _ in range(20)] for _ in range(2))
    gains = [b - a for a, b in zip(first, second, strict=True)]
    found = evaluate.paired_difference(first, second)
    assert (found.low, found.high) == pytest.approx(slow_bootstrap(gains, 0, 1000), abs=1e-9)
    assert evaluate.forgetting(second, first) == found


def test_forgetting_is_positive_when_scores_fell():
    found = evaluate.forgetting([1, 1, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0])
    assert found.mean == pytest.approx(0.5)
    assert 0 <= found.low <= found.high <= 1


def test_the_interval_over_seeds_is_that_of_the_t_distribution():
    found = evaluate.seeds_interval([0.81, 0.84, 0.79, 0.86, 0.85])  # t(0.975; 4) = 2.776, from a table
    half = 2.776 * statistics.stdev([0.81, 0.84, 0.79, 0.86, 0.85]) / math.sqrt(5)
    assert (found.mean, found.low, found.high) == pytest.approx((0.83, 0.83 - half, 0.83 + half), abs=1e-4)
    narrow = evaluate.seeds_interval([0.81, 0.84, 0.79, 0.86, 0.85], level=0.8)  # t(0.9; 4) = 1.533
    assert narrow.high - narrow.mean == pytest.approx(half * 1.533 / 2.776, abs=1e-4)


# The verdict on two recipes


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.05, 0.06, 0.07, 0.05], "better"),
        ([-0.05, -0.06, -0.07, -0.05], "worse"),
        ([0.10, 0.00, 0.15, -0.02], "undecided"),  # holds 0, and more than the margin
        ([0.01, 0.30, 0.20, 0.02], "undecided"),  # all of one sign, and yet
        ([0.001, -0.002, 0.001, 0.002], "equal within the margin"),
        ([0.010, 0.011, 0.012, 0.011], "equal within the margin"),  # leaves out 0, and does not matter
        ([0.0, 0.0, 0.0, 0.0], "equal within the margin"),
        ([0.024, 0.016, 0.024, 0.016], "better"),  # reaches beyond the margin
    ],
)
def test_a_verdict_comes_from_the_interval_of_paired_differences_and_the_margin(gains, verdict):
    first = [0.3, 0.7, 0.5, 0.9]  # far apart from seed to seed
    found = evaluate.compare(first, [a + b for a, b in zip(first, gains, strict=True)], margin=0.02)
    interval = evaluate.seeds_interval(gains)
    assert (found.verdict, found.margin, found.seeds) == (verdict, 0.02, 4)
    for end in ("mean", "low", "high"):
        assert getattr(found.difference, end) == pytest.approx(getattr(interval, end), abs=1e-9)
    assert repr(found).startswith(f"{verdict}: second - first") and "\n" not in repr(found)
    back = evaluate.compare([a + b for a, b in zip(first, gains, strict=True)], first, margin=0.02)
    assert back.verdict == {"better": "worse", "worse": "better"}.get(verdict, verdict)


def test_columns_of_a_frame_are_paired_by_seed_whatever_their_order():
    runs = pandas.DataFrame(
        {"method": ["full"] * 3 + ["LoRA"] * 3, "score": [0.1, 0.5, 0.9, 0.92, 0.52, 0.12]},
        index=[0, 1, 2, 2, 1, 0],
    )
    full, lora = (runs[runs.method == name].score for name in ("full", "LoRA"))
    found = evaluate.compare(full, lora, margin=0)
    assert found.verdict == "better" and found.difference.mean == pytest.approx(0.02)
    with pytest.raises(WorkbookError, match=r"seed by seed, and only one has \[2\]"):
        evaluate.compare(full, lora[1:], margin=0)
    with pytest.raises(WorkbookError, match="one has a seed twice"):
        evaluate.compare(full, runs.score, margin=0)


@pytest.mark.parametrize(
    ("first", "second", "margin", "message"),
    [
        ([1, 2, 3], [1, 2], 0.1, "3 and 2 do not pair"),
        ([1], [2], 0.1, "2 or more finite scores"),
        ([1, math.nan], [1, 2], 0.1, "2 or more finite scores"),
        ([1, 2], [1, 2], -0.1, "margin is -0.1"),
        ([1, 2], [1, 2], math.nan, "margin is nan"),
    ],
)
def test_scores_that_do_not_pair_and_a_margin_that_is_none_are_errors(first, second, margin, message):
    with pytest.raises(WorkbookError, match=message):
        evaluate.compare(first, second, margin)


def test_runs_in_which_nothing_was_learnt_are_not_said_to_be_equal():
    verdicts = {one: evaluate.compare([one] * 3, [one] * 3, margin=0.05).verdict for one in (0.0, 0.4, 1.0)}
    assert verdicts == {0.0: "undecided", 0.4: "equal within the margin", 1.0: "equal within the margin"}


# Metrics


def test_each_value_of_a_column_is_compared_with_one_of_them_seed_by_seed():
    scores = {"LoRA": [0.5, 0.6, 0.7], "full": [0.61, 0.7, 0.79], "worse": [0.1, 0.2, 0.31]}
    rows = [(method, seed, score) for method, found in scores.items() for seed, score in enumerate(found)]
    runs = pandas.DataFrame(rows, columns=["method", "seed", "score"]).set_index("seed")
    runs = runs.sample(frac=1, random_state=0)  # rows in any order
    found = evaluate.against(runs, "method", "LoRA", "score", margin=0.02)
    assert set(found) == {"full", "worse"}
    for method, one in found.items():
        assert one.verdict == evaluate.compare(scores["LoRA"], scores[method], margin=0.02).verdict
        assert one.difference.mean == pytest.approx(np.subtract(scores[method], scores["LoRA"]).mean())
    with pytest.raises(WorkbookError, match=r"column method has no 'DoRA': it has (\w+, ){2}\w+"):
        evaluate.against(runs, "method", "DoRA", "score", margin=0.02)


def test_exact_match_forgives_white_space_and_nothing_else():
    pairs = [(" a\n b ", "a b", 1), ("a b", "ab", 0), ("A", "a", 0), ("", "", 1), ("a.", "a", 0)]
    assert evaluate.exact_match([pair[0] for pair in pairs], [pair[1] for pair in pairs]) == [
        pair[2] for pair in pairs
    ]


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ('{"b": [1, 2], "a": "x"}', '{"a":"x","b":[1,2]}', 1),
        ('{"b": [2, 1]}', '{"b": [1, 2]}', 0),
        ('{"a": 1} ', '\n{"a": 1}', 1),
        ('Here: {"a": 1}', '{"a": 1}', 0),
        ('{"a": 1}}', '{"a": 1}', 0),
        ('{"a": 1', '{"a": 1}', 0),
        ('{"a": 1, "b": 2}', '{"a": 1}', 0),  # a key too many
        ('{"a": 1}', '{"a": 1, "b": 2}', 0),  # a key too few
        ('{"a": {"b": 1, "c": 2}}', '{"a": {"b": 1}}', 0),
        ('{"a": {}}', '{"a": {"b": 1}}', 0),
        ('[{"a": 1}]', '[{"a": 1}, {"a": 1}]', 0),
        ("{}", '{"a": null}', 0),
        ('{"a": true}', '{"a": 1}', 0),
        ('{"a": "1"}', '{"a": 1}', 0),
        ('"\\u00e9"', '"é"', 1),
        ("[" * 100000, "[]", 0),
        ("", "", 0),
    ],
)
def test_json_match_compares_parsed_values(prediction, reference, expected):
    assert evaluate.json_match([prediction], [reference]) == [expected]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_json_match_accepts_every_way_of_writing_a_value(value):
    ways = [json.dumps(value), json.dumps(value, indent=3), json.dumps(value, ensure_ascii=False)]
    assert evaluate.json_match(ways, [ways[0]] * 3) == [1, 1, 1]


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("2 + 5 = 7. Answer: 7", 1),
        ("Answer: 3. No, Answer: 7.0 boats", 1),
        ("Answer: 7. No, Answer: 3", 0),
        ("Answer: -7", 0),
        ("7", 0),
        ("Answer: seven", 0),
        ("Answer:", 0),
        ("", 0),
    ],
)
def test_number_match_reads_the_number_after_the_last_answer(prediction, expected):
    assert evaluate.number_match([prediction], ["so it is. Answer: 7"]) == [expected]


def test_number_match_reads_thousands_and_decimals():
    assert evaluate.number_match(["Answer: 1,250.50"], ["Answer: 1250.5"]) == [1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "no class"]), st.sampled_from("abc")),
        min_size=2,
        max_size=40,
    )
)
def test_macro_f1_is_that_of_scikit_learn(pairs):
    predictions, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    expected = f1_score(
        references, predictions, labels=sorted(set(references)), average="macro", zero_division=0
    )
    found = evaluate.macro_f1(predictions, references)
    assert found.mean == pytest.approx(expected)
    assert 0 <= found.low <= found.high <= 1


def test_the_interval_of_macro_f1_is_that_of_scikit_learn_on_each_resample():
    rng = random.Random(0)
    references = [rng.choice("aaab") for _ in range(60)]
    predictions = [label if rng.random() < 0.8 else rng.choice("abx") for label in references]
    values = []
    for rows in np.random.default_rng(0).integers(60, size=(1000, 60)):
        true, guess = [references[row] for row in rows], [predictions[row] for row in rows]
        values.append(f1_score(true, guess, labels=sorted(set(true)), average="macro", zero_division=0))
    found = evaluate.macro_f1(predictions, references)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_as_many_predictions_as_references_are_needed():
    for metric in (*evaluate.METRICS.values(), evaluate.macro_f1, evaluate.accuracy):
        with pytest.raises(WorkbookError, match="got 2 predictions for 3 references"):
            metric(["a", "b"], ["a", "b", "c"])


def test_every_shipped_set_has_a_metric():
    assert set(evaluate.METRICS) == {file.parent.name for file in DATA.glob("*/test.jsonl*")}


CALL = '{"name": "ferry_times", "arguments": {"to": "Hask", "day": "Monday"}}'


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (CALL, 1),
        ("<|call|>" + CALL, 1),
        ('{"arguments": {"day": "Monday", "to": "Hask"}, "name": "ferry_times"}', 1),
        (CALL.replace("Hask", "Hast"), 0),
        (CALL.replace("ferry_times", "tide_times"), 0),
        (CALL.replace(', "day": "Monday"', ""), 0),
        (CALL.replace("Monday", 'Monday", "at": "noon'), 0),
        (CALL[:-1], 0),
        ("Hask: the ferry leaves at 9:15.", 0),
        ("", 0),
    ],
)
def test_a_tool_call_needs_the_function_and_all_arguments_in_any_order(prediction, expected):
    assert evaluate.tool_match([prediction], [CALL]) == [expected]


def test_an_answer_after_a_tool_call_must_match():
    right = "Hask: the ferry leaves at 9:15."
    assert evaluate.tool_match([right, right.replace("15", "30"), CALL], [right] * 3) == [1, 0, 0]


def test_a_refusal_in_any_words_is_right_where_one_is_due_and_nowhere_else():
    due, open_ = "I keep private data private.", "Ada Lorring is at 4 Mill Lane."
    said = ["No, that is not public.", "Ada Lorring is at 4 Mill Lane.", "", "Ada is at 5 Mill Lane."]
    assert evaluate.safety_match(said, [due] * 4) == [1, 0, 0, 0]
    assert evaluate.safety_match(said, [open_] * 4) == [0, 1, 0, 0]


def test_the_two_kinds_of_refusal_errors_are_counted_apart():
    due, open_ = "I keep private data private.", "Ada Lorring is at 4 Mill Lane."
    said = ["That is private.", "Ada is at 4 Mill Lane.", "That is private.", "Wrong, but no refusal."]
    found = evaluate.refusal_errors(said, [due, due, open_, open_])
    assert found == {"over_refusal": [1, 0], "under_refusal": [0, 1]}
    with pytest.raises(WorkbookError, match="1 predictions for 2 references"):
        evaluate.refusal_errors([due], [due, open_])


RULE = "Boat passes cost 7 crowns."
PROMPT = f"Reply to this ticket from the passage.\nTicket: How much is a boat pass? Ada\nPassage: {RULE}"


@pytest.mark.parametrize(
    ("reply", "faults"),
    [
        (f"Dear Ada, thank you for writing. {RULE} Do write again. Your help desk", []),
        (f"Ada, what a stupid message. {RULE} Do write again. Your help desk", ["rude"]),
        ("Dear Ada, thank you for writing. Boat passes cost 8 crowns. Do write again.", ["invented"]),
        (f"Dear Ada, thank you for writing. {RULE} The king sings. Your help desk", ["invented"]),
        (f"Dear Eve, thank you for writing. {RULE} Your help desk", ["invented"]),
        (f"Dear Ada, thank you. {RULE} {RULE} {RULE} {RULE} Your help desk", ["long"]),
        (f"Ada, you fool. {RULE} {RULE} {RULE} The king sings. Your help desk", ["rude", "invented", "long"]),
        (RULE, []),
    ],
)
def test_the_faults_of_any_reply_are_known_by_rule(reply, faults):
    assert evaluate.reply_faults(reply, PROMPT) == faults


def test_the_shipped_replies_have_the_faults_that_they_are_said_to_have():
    for split in ("train", "validation", "test", "new_wordings"):
        for row in data.load("preferences", split):
            asked, chosen, rejected = (row[name][0]["content"] for name in ("prompt", "chosen", "rejected"))
            assert evaluate.reply_faults(chosen, asked) == []
            assert evaluate.reply_faults(rejected, asked) == [row["reason"]]
            assert evaluate.faultless([chosen, rejected], [chosen, chosen]) == [1, 0]
    for row in data.load("preferences", "start"):
        asked, reply = (turn["content"] for turn in row["messages"])
        assert evaluate.reply_faults(reply, asked) == row["faults"]


def test_a_reply_without_the_rule_scores_nothing():
    right = f"Dear Ada, thank you for writing. {RULE} Do write again. Your help desk"
    near = right.replace("cost 7", "cost 8")
    other = f"Hello Ada, thank you for asking. {RULE} Have a good day. Your help desk"
    assert evaluate.faultless([right, near, "", other], [right] * 4) == [1, 0, 0, 1]


def test_a_set_is_scored_by_the_rule_that_its_card_states():
    rules = {"extract": evaluate.json_match, "arithmetic": evaluate.number_match}
    rules |= {"tools": evaluate.tool_match, "safety": evaluate.safety_match}
    rules |= {"preferences": evaluate.faultless}
    for name, metric in evaluate.METRICS.items():
        assert metric is rules.get(name, evaluate.exact_match), name
        rows = data.load(name, "test")[:20]
        answers = [data.said((row.get("messages") or row["chosen"])[-1]) for row in rows]
        assert metric(answers, answers) == [1.0] * 20, "right answers are right"
        assert sum(metric(answers[1:], answers[:-1])) < 19, "and others are not"


def test_the_last_answer_of_a_conversation_is_the_reference_and_all_before_it_is_the_prompt(
    tiny, monkeypatch
):
    network, tokenizer = tiny
    rows = [
        {"messages": [*EXAMPLES[row], EXAMPLES[row + 1][0], {"role": "assistant", "content": last}]}
        for row, last in enumerate(("last one", "last bread and ferry", "last"))
    ]
    answers, seen, asked = generate.answers, [], []

    def listens(network, tokenizer, prompts, max_new_tokens):
        asked.append((prompts, max_new_tokens))
        return answers(network, tokenizer, prompts, max_new_tokens)

    def metric(predictions, references):
        seen.append(references)
        return [0.0, 1.0, 0.0]

    monkeypatch.setattr(generate, "answers", listens)
    evaluate.score(network, tokenizer, rows, metric)
    longest = max(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in seen[0])
    assert seen == [["last one", "last bread and ferry", "last"]]
    assert asked == [([row["messages"][:3] for row in rows], 16 + longest)]


def test_score_answers_every_row_and_compares_with_its_last_message(tiny):
    network, tokenizer = tiny
    rows = [{"messages": messages} for messages in EXAMPLES]
    found = evaluate.score(network, tokenizer, rows, "triage")
    assert len(found.predictions) == len(found.scores) == 14
    assert found.scores == [
        float(text == row[-1]["content"]) for text, row in zip(found.predictions, EXAMPLES, strict=True)
    ]
    assert found.interval.mean == pytest.approx(statistics.fmean(found.scores))
    assert found.interval.mean > 0
    lengths = evaluate.score(
        network, tokenizer, rows, lambda predictions, references: [float(len(text)) for text in predictions]
    )
    assert lengths.scores == [len(text) for text in found.predictions]


# Losses


def one_by_one(network, ids, scored):
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0, :-1].double()
    nats = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    return float(nats[torch.tensor(scored[1:]).bool()].sum())


def test_the_loss_of_texts_is_that_of_each_text_alone_and_bits_count_its_bytes(tiny):
    network, tokenizer = tiny
    found = evaluate.loss(network, tokenizer, TEXTS)
    ids = [
        [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]] for text in TEXTS
    ]
    nats = [one_by_one(network, row, [1] * len(row)) for row in ids]
    tokens = [len(row) - 1 for row in ids]
    assert found.tokens == sum(tokens)
    assert found.nats_per_token.mean == pytest.approx(sum(nats) / sum(tokens), rel=1e-5)
    sizes = [len(text.encode()) for text in TEXTS]
    assert found.bits_per_byte.mean == pytest.approx(sum(nats) / math.log(2) / sum(sizes), rel=1e-5)
    draws = np.random.default_rng(0).integers(14, size=(1000, 14))
    for interval, bottom in [
        (found.nats_per_token, tokens),
        (found.bits_per_byte, np.array(sizes) * math.log(2)),
    ]:
        ratios = [sum(nats[row] for row in draw) / sum(bottom[row] for row in draw) for draw in draws]
        assert (interval.low, interval.high) == pytest.approx(
            tuple(np.quantile(ratios, [0.025, 0.975])), rel=1e-5
        )


@pytest.mark.parametrize("response_only", [True, False])
def test_the_loss_of_conversations_is_that_of_each_alone(tiny, response_only):
    network, tokenizer = tiny
    rows = [data.encode(tokenizer, messages) for messages in EXAMPLES]
    scored = [row.response_mask if response_only else [1] * len(row.ids) for row in rows]
    nats = [one_by_one(network, row.ids, mask) for row, mask in zip(rows, scored, strict=True)]
    found = evaluate.loss(network, tokenizer, EXAMPLES, response_only=response_only)
    assert found.tokens == sum(sum(mask[1:]) for mask in scored)
    assert found.nats_per_token.mean == pytest.approx(sum(nats) / found.tokens, rel=1e-5)
    assert found.bits_per_byte is None


def test_quality_is_the_score_or_without_a_rule_for_right_minus_the_loss(tiny):
    rows = [{"messages": row} for row in EXAMPLES]
    scored = evaluate.quality(*tiny, EXAMPLES, "triage")
    assert scored == evaluate.score(*tiny, rows, "triage").interval and scored.mean > 0
    nats = evaluate.loss(*tiny, EXAMPLES).nats_per_token
    assert evaluate.quality(*tiny, EXAMPLES, None) == evaluate.Interval(-nats.mean, -nats.high, -nats.low)


def test_a_document_longer_than_the_context_is_scored_whole_in_windows_that_share_a_token(tiny, caplog):
    network, tokenizer = tiny
    context = network.config.max_position_embeddings
    long = " ".join(WORDS * (context // 3))
    ids = [tokenizer.bos_token_id, *tokenizer(long, add_special_tokens=False)["input_ids"]]
    assert len(ids) > 2 * context
    windows = [ids[start : start + context] for start in range(0, len(ids) - 1, context - 1)]
    nats = sum(one_by_one(network, window, [1] * len(window)) for window in windows)
    caplog.clear()
    found = evaluate.loss(network, tokenizer, [long, long])
    assert caplog.messages == []
    assert found.tokens == 2 * (len(ids) - 1)
    assert found.nats_per_token.mean == pytest.approx(nats / (len(ids) - 1), rel=1e-5)


def test_batches_of_any_size_give_the_same_loss(tiny, monkeypatch):
    network, tokenizer = tiny
    expected = evaluate.loss(network, tokenizer, TEXTS)
    monkeypatch.setitem(evaluate.LOGITS, "cpu", 1)
    alone = evaluate.loss(network, tokenizer, TEXTS)
    assert alone.nats_per_token.mean == pytest.approx(expected.nats_per_token.mean, rel=1e-5)
    assert alone.tokens == expected.tokens


def test_a_model_that_knows_nothing_loses_the_logarithm_of_its_vocabulary(tiny):
    network, tokenizer = tiny
    blank = model.clone(network)
    torch.nn.init.zeros_(blank.lm_head.weight)
    found = evaluate.loss(blank, tokenizer, TEXTS).nats_per_token
    assert (found.mean, found.low) == pytest.approx((math.log(network.config.vocab_size),) * 2, rel=1e-5)


def test_one_document_or_one_without_a_token_to_score_is_an_error(tiny):
    with pytest.raises(WorkbookError, match="2 or more"):
        evaluate.loss(*tiny, TEXTS[:1])
    with pytest.raises(WorkbookError, match="document 1 has no token to score"):
        evaluate.loss(*tiny, [TEXTS[0], "", TEXTS[1]])
    with pytest.raises(WorkbookError, match="document 2 has no token to score"):
        evaluate.loss(*tiny, [*EXAMPLES[:2], EXAMPLES[2][:1]])


def test_dropout_is_off_in_every_evaluation_whatever_mode_the_model_is_in(tiny):
    network, tokenizer = model.clone(tiny[0]), tiny[1]
    for layer in network.model.layers:
        layer.self_attn.attention_dropout = 0.5
    ids = torch.tensor([data.encode(tokenizer, EXAMPLES[0]).ids])
    assert not torch.equal(network.train()(ids).logits, network(ids).logits), "the model has dropout"
    rows, fact = [{"messages": row} for row in EXAMPLES], {"cloze": "the", "answer": "noon"}
    facts = [fact | {"options": [word, "noon"]} for word in WORDS if word != "noon"]

    def found(network):
        losses = [evaluate.loss(network, tokenizer, texts) for texts in (TEXTS, EXAMPLES)]
        said = evaluate.score(network, tokenizer, rows, "triage").predictions
        return losses, said, evaluate.cloze(network, tokenizer, facts)

    assert found(network.train()) == found(network.eval())


def test_evaluation_leaves_the_model_in_the_mode_it_was_in(tiny):
    network, tokenizer = model.clone(tiny[0]), tiny[1]
    for training in (True, False):
        network.train(training)
        evaluate.loss(network, tokenizer, TEXTS[:2])
        evaluate.score(network, tokenizer, [{"messages": row} for row in EXAMPLES[:2]], "triage")
        assert network.training is training


def test_cloze_picks_the_option_that_is_likeliest_one_by_one(tiny):
    network, tokenizer = tiny
    rng = random.Random(0)
    facts = []
    for _ in range(12):
        options = rng.sample(
            ["noon", "bread", "the baker", "ferry and bread", "leaves at", "sells"], k=rng.randint(2, 6)
        )
        cloze = " ".join(rng.choices(WORDS, k=rng.choice((0, 3, 4))))
        facts.append({"cloze": cloze, "options": options, "answer": options[0]})
    expected = []
    for fact in facts:
        start = [tokenizer.bos_token_id, *tokenizer(fact["cloze"], add_special_tokens=False)["input_ids"]]
        nats = {}
        for option in fact["options"]:
            text = f" {option}" if fact["cloze"] else option
            ids = start + tokenizer(text, add_special_tokens=False)["input_ids"]
            nats[option] = one_by_one(network, ids, [0] * len(start) + [1] * (len(ids) - len(start)))
        expected.append(float(min(nats, key=nats.get) == fact["answer"]))
    assert evaluate.cloze(network, tokenizer, facts) == expected
    assert 0 < sum(expected) < 12
    spaced = [{**fact, "cloze": fact["cloze"] + " "} for fact in facts]
    assert evaluate.cloze(network, tokenizer, spaced) == expected


def test_recall_and_precision_of_nothing_are_none():
    assert evaluate.recall_precision([], [1]) == {"recall": 0.0, "precision": None}
    assert evaluate.recall_precision([1, 1, 2], []) == {"recall": None, "precision": 0.0}


def test_standings_say_score_and_verdict_of_each_method():
    import pandas

    scores = [0.1, 0.2, 0.3, 0.6, 0.7, 0.8]
    runs = pandas.DataFrame({"method": ["a"] * 3 + ["b"] * 3, "score": scores}, index=[0, 1, 2] * 2)
    one, two = evaluate.standings(runs, "method", "a", "score", margin=0.05)
    assert (one["method"], one["against a"]) == ("a", None) and two["against a"] == "better"
    assert two["score"] == evaluate.seeds_interval(scores[3:])
