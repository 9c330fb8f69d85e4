"""Brightwater: the world is consistent, the language keeps its splits, and data/ is what the recipes make."""

import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.recipes import build, corpus, facts, grammar
from data.recipes.pen import Pen
from data.recipes.world import JOBS, world

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
        if document.genre != "dialogue_turns":
            assert "<|" not in document.text
        assert not re.search(r"\{\^?\w+(\.\w+)*\}|<\w+(#\w+)?>", document.text), (
            document.text
        )  # an unfilled slot or list


def test_late_in_the_stream_grammar_and_sums_join_in():
    late = [corpus.document("train", corpus.LATE_FROM + index) for index in range(300)]
    early = [corpus.document("train", corpus.LATE_FROM - 1 - index) for index in range(300)]
    assert {document.genre for document in late} - {document.genre for document in early} >= {"plain", "sums"}
    assert not {"plain", "sums"} & {document.genre for document in early}
    for document in late:
        if document.genre == "sums":
            for sum_ in re.split(r"\n|; |\. ", document.text):
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


def test_the_recipes_still_write_what_the_base_model_was_trained_on():
    recipe = json.loads((ROOT / "data" / "base-model" / "recipe.json").read_text())
    assert corpus.digest("train", recipe["seed"]) == recipe["stream"]


@pytest.mark.parametrize("name", build.SETS)
def test_an_instruction_set_keeps_its_splits_apart(name):
    rows = {
        split: [
            json.loads(line) for line in (ROOT / "data" / name / f"{split}.jsonl").read_text().splitlines()
        ]
        for split in build.ROWS
    }
    users = {split: {row["messages"][0]["content"] for row in found} for split, found in rows.items()}
    for file, (count, *_) in build.ROWS.items():
        assert len(rows[file]) == len(users[file]) == count
    assert len(set().union(*users.values())) == sum(count for count, *_ in build.ROWS.values())


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
