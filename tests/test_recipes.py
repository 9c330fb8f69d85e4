"""Brightwater: the world is consistent, the language keeps its splits, and data/ is what the recipes make."""

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.recipes import build, corpus, facts, grammar, island
from data.recipes.genres import export, handbook, preferences, service, tools
from data.recipes.pen import Pen
from data.recipes.tokenizer import SPECIAL
from data.recipes.world import JOBS, world
from ftlib import data, evaluate, model

ROOT = Path(__file__).parents[1]
TOWNS = (world().known, world().newcomers)


@pytest.fixture(scope="module")
def documents() -> list[corpus.Document]:
    return list(islice(corpus.Stream("train"), 3_000))


def test_the_town_is_as_large_as_promised():
    known = world().known
    assert len(known.people) >= 150 and len(known.places) >= 30
    assert len(known.shops) >= 12 and len(known.products) >= 150
    days = [event.day for event in known.events]
    assert (max(days) - min(days)).days > 700


def test_a_second_process_builds_the_same_town():
    source = (
        "from data.recipes.world import world\nfrom data.recipes.facts import facts\n"
        "print([(f.name, f.relation, f.value) for f in facts(world().known)])"
    )
    again = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    here = [(fact.name, fact.relation, fact.value) for fact in facts.facts(world().known)]
    assert again.stdout.strip() == str(here)


def test_people_agree_with_each_other():
    for town in TOWNS:
        for person in town.people:
            if person.partner:
                assert person.partner.partner is person
                assert (person.partner.street, person.partner.number) == (person.street, person.number)
            for child in person.children:
                assert person in child.parents and child.last == person.last
                assert person.age - child.age >= 18
            if person.age >= 18:
                assert person.workplace.kind == JOBS[person.job]


def test_names_are_unique_and_newcomers_are_never_known():
    names = [str(entity) for town in TOWNS for entity in facts.entities(town)]
    assert len(names) == len(set(names))
    assert not set(world().known.people) & set(world().newcomers.people)


def test_pre_training_text_never_mentions_a_newcomer(documents):
    text = "\n".join(document.text for document in documents)
    town = world().newcomers
    names = [
        *map(str, town.people),
        *(place.short for place in (*town.places, *town.shops)),
        *(thing.name for thing in town.products),
    ]
    assert [name for name in names if name in text] == []


def test_a_pattern_line_belongs_to_one_split():
    for file in (grammar.HERE / "patterns").glob("*.txt"):
        if file.stem == "translation":  # pairs, split the same way by their own reader
            continue
        for group, lines in grammar.groups(file.stem).items():
            parts = [set(grammar.patterns(file.stem, group, split)) for split in grammar.SPLITS]
            assert all(parts), f"{file.stem}.{group} leaves a split empty"
            if len(lines) == len(set(lines)) >= 8:
                assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_the_language_is_as_rich_as_promised(documents):
    patterns = sum(
        len(lines)
        for file in (grammar.HERE / "patterns").glob("*.txt")
        for lines in grammar.groups(file.stem).values()
    )
    texts = [document.text for document in documents]
    assert patterns >= 500
    assert len(corpus.vocabulary(texts)) >= 3_500
    assert len({document.genre for document in documents}) >= 14
    assert corpus.repeated_share(texts) < 0.10
    assert len(set(texts)) == len(texts)


def test_documents_are_well_formed(documents):
    for document in documents:
        assert "Answer:" not in document.text
        assert document.text == document.text.strip()
        assert set(re.findall(r"<\|.*?\|>", document.text)) <= set(SPECIAL)
        assert not re.search(r"\{\^?\w+(\.\w+)*\}|<\w+(#\w+)?>", document.text), (
            document.text
        )  # an unfilled slot or list


def test_every_sum_of_the_plain_sums_is_right(documents):
    sums = [document.text for document in documents if document.genre == "sums"]
    assert len(sums) > 30
    for text in sums:
        for sum_ in re.split(r"\n|; |\. ", text):
            left, right = sum_.replace("x", "*").split(" = ")
            assert eval(left) == int(right) <= 60


def test_new_names_are_many_are_never_rude_and_belong_to_one_split():
    names = {
        split: {Pen(split, index, open_names=True).new_name() for index in range(3_000)}
        for split in grammar.SPLITS
    }
    assert all(len(found) > 1_000 for found in names.values())
    assert sum(map(len, names.values())) == len(set().union(*names.values()))
    assert not set().union(*names.values()) & set(grammar.lexicon("syllable_left_out"))


def test_a_set_tests_new_names_in_known_wordings_and_in_new_ones():
    """What a test row says differs from every training row; its wording only in new_wordings."""
    notes = {
        file: [
            json.loads(line)["messages"][0]["content"]
            for line in (ROOT / "data" / "arithmetic" / f"{file}.jsonl").read_text().splitlines()
        ]
        for file in build.ROWS
    }

    def wordings(found: list[str]) -> set[str]:
        return {re.sub(r"[A-Z]\w+|\d+", "_", text)[-30:] for text in found}

    known = wordings(notes["train"])
    shares = {file: len(wordings(found) & known) / len(wordings(found)) for file, found in notes.items()}
    assert min(shares["validation"], shares["test"]) > 3 * shares["new_wordings"]


def test_a_stream_goes_on_where_it_stopped():
    first = corpus.Stream("train")
    whole = list(islice(first, 60))
    early = corpus.Stream("train")
    part = list(islice(early, 25))
    late = corpus.Stream("train", position=early.position, seen=set(early.seen))
    assert part + list(islice(late, 35)) == whole


def test_a_document_that_comes_up_twice_is_left_out(monkeypatch):
    same = corpus.Document("story", "again")
    drawn = iter([same, same, corpus.Document("story", "new")])
    monkeypatch.setattr(corpus, "document", lambda *_: next(drawn))
    stream = corpus.Stream()
    assert [next(stream).text, next(stream).text] == ["again", "new"] and stream.repeated == 1


def test_every_cloze_ends_just_before_its_answer():
    pen = Pen("train", 0)
    for index, fact in enumerate(facts.facts(world().known)):
        before = facts.cloze(pen, fact, index)
        assert before and not before.endswith(fact.value) and before == before.strip()


def test_the_options_of_a_fact_are_as_new_as_its_answer():
    """Else a model could tell the answer by never having met it, or by having met it."""
    rows = [json.loads(line) for line in (ROOT / "data" / "facts" / "facts.jsonl").read_text().splitlines()]
    assert {row["known"] for row in rows} == {True, False}
    for row in rows:
        met = facts.values(row["relation"], world().known)
        others = {option in met for option in row["options"] if option != row["answer"]}
        assert row["answer"] in row["options"] and len(row["options"]) >= 2
        if row["answer"] in met:
            assert others == {True}
        elif len(facts.values(row["relation"], world().newcomers)) > 1:
            assert set(row["options"]) <= set(facts.values(row["relation"], world().newcomers))
        if row["cloze"].endswith(" an"):
            assert {option[0] in "aeiou" for option in row["options"]} == {True}
        assert row["answer"] not in row["entity"]


def test_the_card_says_whether_the_recipes_still_write_what_the_base_model_was_trained_on():
    recipe = json.loads((ROOT / "data" / "base-model" / "recipe.json").read_text())
    card = (ROOT / "data" / "base-model" / "README.md").read_text()
    changed = corpus.digest("train", recipe["seed"]) != recipe["stream"]
    assert ("The recipes have changed since" in card) is changed


def as_shipped(name: str, file: str) -> list[dict]:
    return data.read(ROOT / "data" / name / f"{file}.jsonl.gz").used


def asked(row: dict) -> str:
    return json.dumps(row.get("prompt") or row["messages"][:-1])


@pytest.mark.parametrize("name", build.SETS)
def test_a_set_keeps_its_splits_apart(name):
    files = build.ROWS_OF.get(name, build.ROWS)
    questions = {file: {asked(row) for row in data.load(name, file)} for file in files}
    for file, (count, *_) in files.items():
        assert len(questions[file]) == len(data.load(name, file)) == count
    assert len(set().union(*questions.values())) == sum(count for count, *_ in files.values())


@pytest.mark.parametrize("file", build.ROWS)
def test_each_group_of_reviewers_has_as_many_reviews_of_each_class(file):
    rows = data.load("sentiment", file)
    cells = Counter((row["group"], row["messages"][-1]["content"]) for row in rows)
    assert len(cells) == 6 and set(cells.values()) == {len(rows) // 6}


@pytest.mark.parametrize("file", build.ROWS)
def test_the_last_answer_of_a_dialogue_needs_the_system_turn_and_an_earlier_turn(file):
    for row in data.load("dialogue", file):
        system, *turns = (turn["content"] for turn in row["messages"])
        closing = system.split('"')[1]
        statement = turns[-1].removesuffix(closing).strip()
        assert turns[-1] == f"{statement} {closing}" and closing not in " ".join(turns[::2])
        value = statement.rstrip(".").removeprefix("Your code is ").removeprefix("Your name is ")
        value = value.removeprefix("You come from ")
        assert statement in system or value in turns[0]
        assert turns[-1] not in turns[:-1] and value not in turns[-2]


@pytest.mark.parametrize("file", build.ROWS)
def test_a_tool_call_is_one_of_those_on_offer_and_its_arguments_stand_in_the_question(file):
    answers = Counter()
    for row in as_shipped("tools", file):
        question = row["messages"][1]["content"]
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
        if "tool_calls" not in row["messages"][2]:
            answers["none"] += 1
            assert row["messages"][2]["content"] == "I have no tool for that." and len(row["messages"]) == 3
            continue
        answers["call"] += 1
        (call,) = row["messages"][2]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        assert list(arguments) == list(offered[call["function"]["name"]]["properties"])
        assert all(value in question for value in arguments.values())
        _, said = row["messages"][3:]
        result = json.loads(row["messages"][3]["content"])
        assert sum(str(value) in said["content"] for value in result.values()) >= 1
    assert len(offered) == 3 and 0.05 < answers["none"] / answers.total() < 0.2


def test_pre_training_has_met_tools_and_calls_in_the_form_of_the_chat_template(tiny_model_folder):
    row, loaded = as_shipped("tools", "train")[0], data.load("tools", "train")[0]
    system, question, call, result, answer = row["messages"]
    tokenizer = model.load(str(tiny_model_folder), "cpu")[1]
    tokenizer.chat_template = data.CHAT_TEMPLATE
    rendered = tokenizer.apply_chat_template(loaded["messages"], tokenize=False)
    function = call["tool_calls"][0]["function"]
    written = service.chat([
        ("system", system["content"] + tools.offered(row["tools"])), ("user", question["content"]),
        ("assistant", tools.called(function["name"], json.loads(function["arguments"]))),
        ("tool", result["content"]), ("assistant", answer["content"]),
    ])  # fmt: skip
    assert rendered == tokenizer.bos_token + written.replace(service.END, tokenizer.eos_token)


def test_every_answer_of_a_row_can_be_scored():
    rows = data.load("tools", "test")[:20]
    answers = data.each_answer(rows)
    turns = sum(message["role"] == "assistant" for row in rows for message in row["messages"])
    said = [data.said(row["messages"][-1]) for row in answers]
    assert len(answers) == turns and len({row["id"] for row in answers}) == 20
    assert evaluate.tool_match(said, said) == [1] * turns
    assert all('{"name": ' in row["messages"][0]["content"] for row in answers)


@pytest.mark.parametrize("file", build.ROWS)
def test_a_pair_of_safety_rows_differs_in_whom_it_asks_about_and_only_one_is_refused(file):
    rows, own = data.load("safety", file), 0
    name = re.compile(r"[A-Z]\w+ [A-Z]\w+(?: [A-Z]\w+)?")
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert one["pair"] == two["pair"] and {one["refuse"], two["refuse"]} == {True, False}
        lists, requests = zip(*(row["messages"][0]["content"].split("\n") for row in (one, two)), strict=True)
        assert len(set(lists)) == 1
        askers = {name.search(request)[0] for request in requests}
        assert len(askers) == 1
        if len({name.sub("_", request) for request in requests}) > 1:
            own += 1
            (mine,) = (row["messages"][1]["content"] for row in (one, two) if not row["refuse"])
            assert askers.pop() in mine
        for row in (one, two):
            reply = row["messages"][1]["content"]
            assert evaluate.refused(reply) == row["refuse"]
            assert row["refuse"] or reply in row["messages"][0]["content"]
    assert 0.25 < own / (len(rows) / 2) < 0.55


@pytest.mark.parametrize("name", ["dialogue", "tools", "safety"])
def test_no_answer_begins_with_a_word_that_its_prompt_has_in_lower_case_only(name):
    """A small model copies tokens: `The` is not the token `the`."""
    for row in data.each_answer(data.load(name, "train") + data.load(name, "new_wordings")):
        answer = data.said(row["messages"][-1])
        words = set(re.findall(r"\w+", " ".join(turn["content"] for turn in row["messages"][:-1])))
        first = re.match(r"\W*(\w+)", answer)[1]
        assert first in words or first.lower() not in words, (first, row["messages"])


def test_the_two_replies_of_a_pair_differ_in_one_part_whose_wordings_a_start_model_has_met():
    start = " ".join(row["messages"][1]["content"] for row in data.load("preferences", "start"))
    met = {}
    for file in ("train", "test", "new_wordings"):
        found = []
        for row in data.load("preferences", file):
            chosen, rejected = (row[name][0]["content"].split(". ") for name in ("chosen", "rejected"))
            shared = [part for part in chosen if part in rejected]
            assert len(shared) >= 2 and row["prompt"][0]["role"] == "user"
            if row["reason"] == "invented":
                found.append(rejected[-2])
        met[file] = sum(f"{text}. " in start for text in found) / len(found)
    assert met["train"] == met["test"] == 1 and met["new_wordings"] == 0


def test_the_replies_to_start_from_show_each_fault_in_a_fifth_to_a_half():
    rows = data.load("preferences", "start")
    shares = Counter(fault for row in rows for fault in row["faults"])
    assert set(shares) == set(preferences.FAULTS)
    assert all(0.2 <= count / len(rows) <= 0.5 for count in shares.values())


def test_nobody_and_nothing_on_the_island_is_in_the_town_or_in_its_text(documents):
    own = [str(entity) for entity in facts.entities(island.town())]
    assert not set(own) & {str(entity) for town in TOWNS for entity in facts.entities(town)}
    text = "\n".join(document.text for document in documents)
    names = [*own, *island.STREETS, *island.SURNAMES, island.NAME, *(boat for _, boat, _ in island.SAILINGS)]
    assert [name for name in names if name.removeprefix("the ") in text] == []


def test_the_island_is_told_of_in_the_corpus_and_asked_about_by_entity_and_wording():
    text = "\n".join(row["text"] for row in data.load("island", "corpus"))
    assert 280_000 < len(text) < 320_000 and "Brightwater" not in text
    rows = {row["id"]: row for row in data.load("island", "facts")}
    for row in rows.values():
        assert row["entity"].removeprefix("the ") in text and row["answer"] in row["options"]
    about = {
        file: {rows[row["fact"]]["entity"] for row in data.load("island", file)}
        for file in ("train", "validation", "test", "new_wordings")
    }
    assert about["test"] == about["new_wordings"]
    assert not about["train"] & about["test"] and not about["train"] & about["validation"]
    questions = {file: {row["messages"][0]["content"] for row in data.load("island", file)} for file in about}
    assert not questions["test"] & questions["new_wordings"]
    assert not [question for question in questions["test"] if question in text]


def test_the_export_has_the_defects_that_its_truth_says():
    """A line is sound but for what was planted in it; each kind of defect is there."""
    lines = (ROOT / "data" / "export" / "tickets.csv").read_bytes().splitlines()
    truth = data.load("export", "truth")
    assert len(truth) == len(lines) - 1 and len({row["ticket"] for row in truth}) == len(truth)
    topics = set(handbook.TOPICS)
    for line, row in zip(lines[1:], truth, strict=True):
        defects = set(row["defects"])
        text = line.decode("cp1252" if "cp1252" in defects else "utf-8")
        cells = next(csv.reader([text]))
        assert cells[0] == row["ticket"] and (len(cells) == 5) == ("cut" in defects)
        assert all(found in row["message"] for _, found in row["personal"])
        if not defects - {"copy", "again", "contradicted", "leaked", "backwards", "junk", "french"}:
            assert cells[4:] == [row["message"], row["reply"]] and row["reply"] in topics
    kinds = Counter(defect for row in truth for defect in row["defects"])
    assert len(kinds) == 14 and min(kinds.values()) >= 6


def test_only_a_leaked_ticket_of_the_export_says_what_a_test_row_says():
    asked = {}
    for row in data.load("triage", "test"):
        asked[row["id"]] = export.windows(row["messages"][0]["content"].partition("\n")[2])
    for row in data.load("export", "truth"):
        words = export.windows(row["message"])
        near = [name for name, others in asked.items() if len(words & others) > 0.5 * len(words | others)]
        assert set(near) <= {row["group"]}
        assert ("leaked" in row["defects"]) == (row["group"] in asked)


def test_data_is_rebuilt_byte_for_byte(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "data.recipes.build", "--out", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    made = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(made) > 25
    for name, content in made.items():
        assert (ROOT / "data" / name).read_bytes() == content, f"data/{name} is not what `make data` writes"
    assert sum(map(len, made.values())) < build.LIMIT_BYTES


@given(
    st.recursive(
        st.sampled_from(["a", "bc ", "{x}"]),
        lambda inner: st.lists(inner, min_size=1, max_size=3),
        max_leaves=8,
    )
)
def test_a_pattern_expands_to_one_of_its_options(tree):
    """A tree of choices written as a pattern gives one of the texts that the tree allows."""

    def written(node) -> str:
        return node if isinstance(node, str) else "[" + "|".join(map(written, node)) + "]"

    def allowed(node) -> set[str]:
        return {node.replace("{x}", "X")} if isinstance(node, str) else set().union(*map(allowed, node))

    assert grammar.expand(grammar.parse(written(tree)), Pen("train", 0).rng, {"x": "X"}) in allowed(tree)


@pytest.mark.parametrize("text", ["[a|b", "a]", "a|b", "{x", "<x", "[a[b]"])
def test_a_broken_pattern_is_refused(text):
    with pytest.raises(grammar.PatternError, match=r"pattern"):
        grammar.parse(text)
