"""English and French: sentence pairs, phrase books, lessons, dictionary pages, small bilingual stories; and the set `translate`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from ..french import IL, PRONOUNS, Phrase, Subject, Words, english_number, french_number, rows
from ..grammar import SMALLEST_SPLIT_GROUP, Pattern, expand, groups, parse, tidy
from ..pen import Pen
from ..world import Person

SEPARATOR = " || "
LONGEST = 1300   # characters of sentences in one document
_KEPT = {"test": 3, "validation": 6}
# themes of the phrase book (`translation_frame.theme`, in the order of its lines) and the groups they draw from
_THEMES = (
    ("moving", "under"), ("shopping",), ("question",), ("time",), ("where", "there_is"), ("having",), ("negation",), ("people", "being"),
)  # fmt: skip


# English side, French side, names of the slots, and the adjectives that must not be missing: (slot, of its object?, field)
Pair = tuple[Pattern, Pattern, tuple[str, ...], tuple[tuple[str, bool, str], ...]]
_FIELDS = {"coloured": "colour", "sized": "size"}


@cache
def pairs(group: str, split: str) -> tuple[Pair, ...]:
    """The pattern pairs of a group that a split may use (as `grammar.patterns`)."""
    lines = groups("translation")[group]
    if len(lines) >= SMALLEST_SPLIT_GROUP:
        if split in _KEPT:
            lines = lines[_KEPT[split] :: 8]
        else:
            lines = tuple(line for index, line in enumerate(lines) if index % 8 not in _KEPT.values())
    return tuple(_parsed(line) for line in lines)


def _parsed(line: str) -> Pair:
    english, french = (parse(side) for side in line.split(SEPARATOR))
    slots = [part for part in (*english, *french) if not isinstance(part, str)]
    needs = {(name, "thing" in path, _FIELDS[step]) for _, name, path, _ in slots for step in path if step in _FIELDS}
    return english, french, tuple(dict.fromkeys(part[1] for part in slots)), tuple(needs)


@cache
def sentence_groups() -> tuple[str, ...]:
    return tuple(groups("translation"))


def sentence(words: Words, group: str = "") -> tuple[str, str]:
    """One English sentence and its French one."""
    pen = words.pen
    return filled(words, pen.pick(pairs(group or pen.pick(sentence_groups()), pen.wordings)))


# `ma femme` is a wife and `ma fille` a daughter
_NOT_SAID = re.compile(r"\b(?:my|our|your|their) (?:old )?(?:woman|man|girl|boy)\b")


def filled(words: Words, pair: Pair, given: dict | None = None) -> tuple[str, str]:
    """A pattern pair with its slots drawn (some may be given)."""
    english, french, names, needs = pair
    while True:
        slots: dict = dict(given or {})
        for name in names:
            if name not in slots:
                slots[name] = words.slot(name.rstrip("23"), slots)
        if "place2" in slots and slots["place"].bare == slots["place2"].bare:
            continue
        # bread has no size and a doctor no colour: such sentences would be those of another pattern
        if all(getattr(slots[name].thing if inner else slots[name], field) for name, inner, field in needs):
            said_in_english = expand(english, words.pen.rng, slots)
            if not _NOT_SAID.search(said_in_english):
                return _capital(said_in_english), _capital(expand(french, words.pen.rng, slots))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def several(words: Words, count: int, chosen: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """`count` different pairs, fewer where they grow long."""
    found: dict[str, str] = {}
    size = 0
    for _ in range(3 * count):
        english, french = sentence(words, words.pen.pick(chosen) if chosen else "")
        if english not in found:
            found[english] = french
            size += len(english) + len(french)
        if len(found) == count or size > LONGEST:
            break
    return list(found.items())


LAYOUTS = (
    "{en}\n{fr}\n", "English: {en}\nFrench: {fr}\n", "{en} = {fr}", "{en} | {fr}", "{fr} = {en}", "French: {fr}\nEnglish: {en}\n",
    "EN {en}\nFR {fr}", "{en} -> {fr}", "{fr} -> {en}", "- {en} {fr}", "{fr}\n{en}\n", "{en} ({fr})", "{fr} ({en})", "{en} / {fr}",
    "en: {en}\nfr: {fr}\n", "[English] {en} [French] {fr}", "\"{en}\" - \"{fr}\"",
)  # fmt: skip


WORD_LAYOUTS = (
    "{le} = {the}", "{the}: {le}", "{the} - {le}", "{le}: {the}", "{a} = {un}", "{un}, {a}", "{fr} ({sex}): {en}",
    "{en}: {fr}, {sex}",
)  # fmt: skip


def laid_out(pen: Pen, found: list[tuple[str, str]]) -> str:
    """Pairs in one of many layouts, the same all through."""
    layout, numbered = pen.pick(LAYOUTS), pen.chance(0.2)
    lines = []
    for number, (english, french) in enumerate(found, 1):
        line = layout.format(en=english, fr=french)
        lines.append(f"{number}. {line}" if numbered else line)
    return "\n".join(lines).strip()


def _frame(pen: Pen) -> dict:
    who = pen.visitor() if pen.chance(0.6) else pen.person()
    return {
        "who": who, "other": pen.visitor() if pen.chance(0.6) else pen.person(), "number": pen.number(1, 99),
        "place": pen.place(), "weekday": pen.pick(rows("day"))[0],
    }  # fmt: skip


def sentence_pairs(pen: Pen) -> str:
    """A list of sentence pairs, with or without a heading or an introduction."""
    body = laid_out(pen, several(Words(pen), pen.number(5, 12)))
    draw = pen.rng.random()
    if draw < 0.3:
        return pen.say("translation_frame.heading", **_frame(pen)) + "\n" + body
    if draw < 0.65:
        return pen.say("translation_frame.intro", **_frame(pen)) + "\n" + body
    return body


def phrase_book(pen: Pen) -> str:
    """Sentences under one or two themes."""
    words, parts = Words(pen), []
    themes = pen.some(range(len(_THEMES)), pen.number(1, 2))
    if pen.chance(0.6):
        parts.append(pen.say("translation_frame.heading", **_frame(pen)))
    for theme in themes:
        # the lines of the group belong to _THEMES, so they are taken by position and not by split
        heading = tidy(expand(parse(groups("translation_frame")["theme"][theme]), pen.rng, {}))
        parts.append(heading + "\n" + laid_out(pen, several(words, pen.number(3, 6), _THEMES[theme])))
    return "\n\n".join(parts)


def word_list(pen: Pen, words: Words, kinds: list[str], count: int) -> list[str]:
    """Nouns with their articles, in one layout; they go into the stock of the document."""
    style, lines = pen.pick(WORD_LAYOUTS), []
    for _ in range(count):
        noun = words.phrase(pen.pick(kinds))
        line = style.format(**noun_slots(noun))
        if line not in lines:
            lines.append(line)
    return lines


def noun_slots(noun: Phrase) -> dict[str, str]:
    return {
        "le": noun.le, "the": noun.the, "a": noun.a, "un": noun.un, "fr": noun.fr, "en": noun.bare, "plural": noun.plusieurs,
        "les": noun.les, "the_many": noun.the_many, "sex": "f" if noun.feminine else "m",
        "gender": "feminine" if noun.feminine else "masculine",
    }  # fmt: skip


def lesson(pen: Pen) -> str:
    """Words, example sentences built from them, then a new sentence."""
    words, frame = Words(pen, again=0.9), _frame(pen)
    kinds = pen.some(("thing", "place", "animal", "person", "food"), 2)
    lines = word_list(pen, words, kinds, pen.number(4, 7))
    if pen.chance(0.5):
        lines += [f"{row[3]} = to {row[0]}" for row in pen.some(rows("verb"), 2)]
    bare = [row[1] for row in words.stock.get(kinds[0], []) + words.stock.get(kinds[1], [])]
    # the sentences that use most of the listed words come first; the next one is the new sentence
    ranked = sorted(several(words, 16), key=lambda pair: -sum(word in pair[0] for word in bare))
    count = pen.number(3, 5)
    found, fresh = ranked[:count], ranked[count : count + 1]
    pen.rng.shuffle(found)
    parts = [
        pen.say("translation_frame.words_head"), "\n".join(lines), pen.say("translation_frame.sentences_head"), laid_out(pen, found),
        pen.say("translation_frame.new_head", **frame), laid_out(pen, fresh),
    ]  # fmt: skip
    if pen.chance(0.5):
        parts.insert(0, pen.say("translation_frame.heading", **frame))
    return "\n".join(parts)


def dictionary(pen: Pen) -> str:
    """Dictionary entries: noun, gender, plural, an example; or a page of words only."""
    words = Words(pen)
    if pen.chance(0.3):
        return _words_only(pen)
    entries = []
    for _ in range(pen.number(4, 7)):
        kind = pen.pick([kind for kind in ("thing", "place", "animal", "person", "food") if _pairs_with(kind, pen.split)])
        english, french, values = _example(words, kind)
        # raw: tidying would mend French as if it were English
        entries.append(_capital(pen.raw("translation_frame.entry", {**values, "english": english, "french": french})))
    return "\n".join(dict.fromkeys(entries))


def _example(words: Words, kind: str) -> tuple[str, str, dict[str, str]]:
    """A pair of sentences about one noun, and the noun's own forms."""
    noun = words.phrase(kind)
    return *filled(words, words.pen.pick(_pairs_with(kind, words.pen.split)), {kind: noun}), noun_slots(noun)


@cache
def _pairs_with(kind: str, split: str) -> tuple[Pair, ...]:
    return tuple(pair for group in sentence_groups() for pair in pairs(group, split) if kind in pair[2])


def _words_only(pen: Pen) -> str:
    """Nouns, verbs, adjectives, numbers and days in one list."""
    joint = pen.pick((" = ", ": ", " - ", ", in French ", " | "))
    pool = [f"the {row[1]}{joint}{_article(row)}" for row in pen.some(rows("noun"), 9)]
    pool += [f"to {row[0]}{joint}{row[3]}" for row in pen.some(rows("verb"), 5)]
    pool += [f"{row[0]}{joint}{row[1]}, {row[2]}" for row in pen.some(rows("adjective"), 4)]
    pool += [f"{english_number(number)}{joint}{french_number(number)}" for number in pen.some(range(2, 100), 5)]
    pool += [f"{row[0]}{joint}{row[1]}" for row in (pen.pick(rows("day")), pen.pick(rows("month")), pen.pick(rows("when_next")))]
    pen.rng.shuffle(pool)
    head = pen.say("translation_frame.heading", **_frame(pen)) + "\n" if pen.chance(0.6) else ""
    return head + "\n".join(pool[: pen.number(10, 24)])


def _article(row: tuple[str, ...]) -> str:
    elides = row[3].startswith(tuple("aeiouéêèâîôûœh")) and "aspirate" not in row[7]
    return f"l'{row[3]}" if elides else f"{'la' if row[5] == 'f' else 'le'} {row[3]}"


def said(pen: Pen) -> str:
    """Prose about how things are said, with both sentences quoted."""
    words, lines = Words(pen), []
    slots = _frame(pen)
    for english, french in several(words, pen.number(4, 7)):
        # raw, as tidying would mend the French; the quotations lose their full stop before the sentence's own
        values = {**slots, "english": english.rstrip("."), "french": french.rstrip(".")}
        lines.append(_capital(pen.raw("translation_frame.said", values)) + ".")
    return pen.pick(("\n", " ")).join(lines).replace('?".', '?"')


_STORY_GROUPS = (
    ("past", "past", "moving", "linked", "colour"), ("future", "future", "helper", "moving"), ("present", "colour", "linked", "negation"),
    ("past", "negation", "linked", "helper"), ("present", "past", "future", "helper", "moving"),
)  # fmt: skip


def story(pen: Pen) -> str:
    """Three to six sentences about one person, in English and in French."""
    words = Words(pen, again=0.85)
    who = words.namesake()
    words.subject = _hero(pen, who)
    found = several(words, pen.number(3, 6), pen.pick(_STORY_GROUPS))
    english, french = " ".join(pair[0] for pair in found), " ".join(pair[1] for pair in found)
    frame = {**_frame(pen), "who": who}
    head = pen.say("translation_frame.story_head", **frame) + "\n" if pen.chance(0.6) else ""
    draw = pen.rng.random()
    if draw < 0.4:
        return f"{head}{english}\n\n{french}"
    if draw < 0.6:
        return f"{head}{french}\n\n{english}"
    if draw < 0.8:
        return f"{head}English: {english}\nFrench: {french}"
    return head + laid_out(pen, found)


def _hero(pen: Pen, who: Person) -> Callable[..., Subject]:
    """A subject for each sentence: the name first, then mostly the pronoun."""
    she, told = who.gender == "she", []

    def subject(kind: str = "any") -> Subject:
        if told and pen.chance(0.7):
            return PRONOUNS[who.he]
        told.append(who.first)
        return Subject(who.first, who.first, IL, she)

    return subject


_SET_GROUPS = ("present", "past", "future", "negation", "being", "having")


def translate(pen: Pen) -> tuple[str, str]:
    """A short sentence to be translated, either way; common words only."""
    words = Words(pen, core=True, again=0.0)
    while True:
        english, french = sentence(words, pen.pick(_SET_GROUPS))
        if 4 <= len(english.split()) <= 9:
            break
    if pen.chance(0.5):
        return f"Translate into French: {english}", french
    return f"Translate into English: {french}", english


GENRES = {
    "sentence_pairs": sentence_pairs, "phrase_book": phrase_book, "french_lesson": lesson, "dictionary": dictionary, "said_in_french": said,
    "bilingual_story": story,
}  # fmt: skip
SETS = {"translate": translate}
