"""English and French side by side: nouns, subjects, verbs and times that agree, for the pattern pairs of `patterns/translation.txt`.

Every object has attributes for both languages; a pair such as `{act.did} {thing.the}. || {act.past} {thing.le}.` names
one for each side. Forms are chosen so that one English sentence has one French one and back: `you` is `vous`, `they`
is `ils`, past is the passé composé, and nothing agrees with a person whose gender the sentence does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .grammar import lexicon
from .pen import Pen
from .world import Person

Row = tuple[str, ...]
VOWELS = tuple("aeiouàâéèêîôûœAEIOUÉÎ")
JE, IL, NOUS, VOUS, ILS = range(5)


@cache
def rows(name: str) -> tuple[Row, ...]:
    """The entries of a word list with columns separated by tabs."""
    return tuple(tuple(line.split("\t")) for line in lexicon(f"translation_{name}"))


@cache
def helper(name: str) -> Row:
    """The five present forms of a helper verb."""
    return next(row[1:] for row in rows("helper") if row[0] == name)


@dataclass(frozen=True)
class Both:
    """A word or phrase that does not change: a day, a month, a time."""

    en: str
    fr: str


@dataclass(frozen=True)
class Name:
    """Somebody's name in both languages: the same, but `Mr` is `M.` and `Mrs` is `Mme`."""

    en: str
    en_fr: str

    @property
    def de(self) -> str:
        return f"d'{self.en_fr}" if self.en_fr.startswith(VOWELS) else f"de {self.en_fr}"


def article(word: str) -> str:
    """`word` with `a` or `an`.

    >>> article("old hat"), article("useful book")
    ('an old hat', 'a useful book')
    """
    return f"an {word}" if word[0] in "aeiou" and not word.startswith(("use", "uni", "one")) else f"a {word}"


@dataclass(frozen=True)
class Phrase:
    """A noun, alone or with an adjective, and the adjectives drawn for it."""

    bare: str
    many: str
    fr: str
    plusieurs: str
    feminine: bool
    elides: bool                 # takes l' and d'
    led: bool = False            # begins with an adjective: `de petits bateaux`
    colour: Row = ()
    size: Row = ()
    predicate: Row = ()

    def _form(self, adjective: Row, plural: bool = False) -> str:
        return adjective[1 + self.feminine + 2 * plural]

    @property
    def coloured(self) -> Phrase:
        if not self.colour:
            return self
        return Phrase(
            f"{self.colour[0]} {self.bare}", f"{self.colour[0]} {self.many}", f"{self.fr} {self._form(self.colour)}",
            f"{self.plusieurs} {self._form(self.colour, True)}", self.feminine, self.elides,
        )  # fmt: skip

    @property
    def sized(self) -> Phrase:
        if not self.size:
            return self
        special = self.size[5] != "-" and self.elides and not self.feminine
        word = self.size[5] if special else self._form(self.size)
        return Phrase(
            f"{self.size[0]} {self.bare}", f"{self.size[0]} {self.many}", f"{word} {self.fr}",
            f"{self._form(self.size, True)} {self.plusieurs}", self.feminine, False, led=True,
        )  # fmt: skip

    # English
    the = property(lambda self: f"the {self.bare}")
    the_many = property(lambda self: f"the {self.many}")
    a = property(lambda self: article(self.bare))
    my = property(lambda self: f"my {self.bare}")
    our = property(lambda self: f"our {self.bare}")
    your = property(lambda self: f"your {self.bare}")
    their = property(lambda self: f"their {self.bare}")
    this = property(lambda self: f"this {self.bare}")
    quality = property(lambda self: self.predicate[0])
    en_colour = property(lambda self: self.colour[0])

    # French
    les = property(lambda self: f"les {self.plusieurs}")
    des = property(lambda self: f"{'de' if self.led else 'des'} {self.plusieurs}")
    un = property(lambda self: f"{'une' if self.feminine else 'un'} {self.fr}")
    notre = property(lambda self: f"notre {self.fr}")
    votre = property(lambda self: f"votre {self.fr}")
    leur = property(lambda self: f"leur {self.fr}")
    qualite = property(lambda self: self._form(self.predicate))
    qualites = property(lambda self: self._form(self.predicate, True))
    fr_colour = property(lambda self: self._form(self.colour))
    fr_colours = property(lambda self: self._form(self.colour, True))
    open = property(lambda self: "ouverte" if self.feminine else "ouvert")
    closed = property(lambda self: "fermée" if self.feminine else "fermé")

    @property
    def le(self) -> str:
        return f"l'{self.fr}" if self.elides else f"{'la' if self.feminine else 'le'} {self.fr}"

    @property
    def du(self) -> str:
        return f"de {self.le}" if self.elides or self.feminine else f"du {self.fr}"

    @property
    def de(self) -> str:
        return f"d'{self.fr}" if self.elides else f"de {self.fr}"

    @property
    def de_many(self) -> str:
        return f"d'{self.plusieurs}" if self.elides else f"de {self.plusieurs}"

    @property
    def mon(self) -> str:
        vowel = self.fr.startswith(VOWELS) or self.elides
        return f"{'ma' if self.feminine and not vowel else 'mon'} {self.fr}"

    @property
    def ce(self) -> str:
        if self.feminine:
            return f"cette {self.fr}"
        return f"{'cet' if self.fr.startswith(VOWELS) or self.elides else 'ce'} {self.fr}"


@dataclass(frozen=True)
class Side:
    """A preposition of place; in French `de` runs together with the article that follows."""

    en: str
    fr: str
    kind: str
    slots: dict

    def _of(self, phrase: Phrase) -> str:
        return f"{self.fr} {phrase.du if self.kind == 'de' else phrase.le}"

    fr_of_place = property(lambda self: self._of(self.slots["place"]))
    fr_of_place2 = property(lambda self: self._of(self.slots["place2"]))


@dataclass(frozen=True)
class Subject:
    """Who does it. Participles and adjectives agree only where `feminine` is told by the words themselves."""

    en: str
    fr: str
    person: int
    feminine: bool = False

    @property
    def third(self) -> bool:
        return self.person == IL

    def before(self, verb: str) -> str:
        """The subject and its verb: `je porte`, `j'ai`."""
        if self.fr == "je" and verb.startswith(VOWELS):
            return f"j'{verb}"
        return f"{self.fr} {verb}".strip()

    @property
    def que(self) -> str:
        return f"qu'{self.fr}" if self.fr.startswith(VOWELS) else f"que {self.fr}"

    def ending(self) -> str:
        return ("e" if self.feminine else "") + ("s" if self.person == ILS else "")


PRONOUNS = {
    "I": Subject("I", "je", JE), "you": Subject("you", "vous", VOUS), "he": Subject("he", "il", IL),
    "she": Subject("she", "elle", IL, True), "we": Subject("we", "nous", NOUS), "they": Subject("they", "ils", ILS),
}  # fmt: skip
BE = ("am", "is", "are", "are", "are")


def ne(verb: str, second: str = "pas") -> str:
    """`verb` denied: `ne porte pas`, `n'a pas`."""
    return f"n'{verb} {second}" if verb.startswith(VOWELS) else f"ne {verb} {second}"


class Act:
    """A subject with a verb (and perhaps an object) in the tenses of both languages."""

    def __init__(self, subject: Subject, verb: Row | None = None, thing: Phrase | None = None, predicate: Row = ()):
        self.subject, self.verb, self.predicate = subject, verb, predicate
        if thing is not None:
            self.thing = thing

    def _en(self, words: str) -> str:
        return f"{self.subject.en} {words}".strip()

    def _modal(self, name: str) -> str:
        return helper(name)[self.subject.person]

    @property
    def _auxiliary(self) -> str:
        return self._modal(self.verb[10])

    @property
    def _participle(self) -> str:
        return self.verb[9] + (self.subject.ending() if self.verb[10] == "être" else "")

    @property
    def _does(self) -> str:
        return "does" if self.subject.third else "do"

    @property
    def _be(self) -> str:
        return BE[self.subject.person]

    # present
    now = property(lambda self: self._en(self.verb[1] if self.subject.third else self.verb[0]))
    present = property(lambda self: self.subject.before(self.verb[4 + self.subject.person]))
    now_not = property(lambda self: self._en(f"{self._does} not {self.verb[0]}"))
    present_pas = property(lambda self: f"{self.subject.fr} {ne(self.verb[4 + self.subject.person])}".strip())
    now_never = property(lambda self: self._en(f"never {self.verb[1] if self.subject.third else self.verb[0]}"))
    present_jamais = property(lambda self: f"{self.subject.fr} {ne(self.verb[4 + self.subject.person], 'jamais')}".strip())
    do = property(lambda self: f"{self._does} {self.subject.en} {self.verb[0]}")
    est_ce = property(lambda self: f"est-ce {self.subject.que} {self.verb[4 + self.subject.person]}")

    # past
    did = property(lambda self: self._en(self.verb[2]))
    past = property(lambda self: f"{self.subject.before(self._auxiliary)} {self._participle}")
    did_not = property(lambda self: self._en(f"did not {self.verb[0]}"))
    past_pas = property(lambda self: f"{self.subject.fr} {ne(self._auxiliary)} {self._participle}".strip())
    did_ask = property(lambda self: f"did {self.subject.en} {self.verb[0]}")
    est_ce_past = property(lambda self: f"est-ce {self.subject.que} {self._auxiliary} {self._participle}")

    # helpers and an infinitive
    going = property(lambda self: self._en(f"{self._be} going to {self.verb[0]}"))
    va = property(lambda self: self._with("going"))
    going_not = property(lambda self: self._en(f"{self._be} not going to {self.verb[0]}"))
    va_pas = property(lambda self: self._without("going"))
    can = property(lambda self: self._en(f"can {self.verb[0]}"))
    peut = property(lambda self: self._with("can"))
    can_not = property(lambda self: self._en(f"cannot {self.verb[0]}"))
    peut_pas = property(lambda self: self._without("can"))
    can_ask = property(lambda self: f"can {self.subject.en} {self.verb[0]}")
    est_ce_peut = property(lambda self: f"est-ce {self.subject.que} {self._modal('can')} {self.verb[3]}")
    must = property(lambda self: self._en(f"must {self.verb[0]}"))
    doit = property(lambda self: self._with("must"))
    wants = property(lambda self: self._en(f"{'wants' if self.subject.third else 'want'} to {self.verb[0]}"))
    veut = property(lambda self: self._with("want"))
    wants_not = property(lambda self: self._en(f"{self._does} not want to {self.verb[0]}"))
    veut_pas = property(lambda self: self._without("want"))
    likes = property(lambda self: self._en(f"{'likes' if self.subject.third else 'like'} to {self.verb[0]}"))
    aime = property(lambda self: self._with("like"))

    def _with(self, modal: str) -> str:
        return f"{self.subject.before(self._modal(modal))} {self.verb[3]}"

    def _without(self, modal: str) -> str:
        return f"{self.subject.fr} {ne(self._modal(modal))} {self.verb[3]}"

    # to be and to have
    is_ = property(lambda self: self._en(self._be))
    is_not = property(lambda self: self._en(f"{self._be} not"))
    est = property(lambda self: self.subject.before(self._modal("être")))
    est_pas = property(lambda self: f"{self.subject.fr} {ne(self._modal('être'))}")
    quality = property(lambda self: self.predicate[0])
    qualite = property(lambda self: self.predicate[1 + self.subject.feminine + 2 * (self.subject.person == ILS)])
    has = property(lambda self: self._en("has" if self.subject.third else "have"))
    has_not = property(lambda self: self._en(f"{self._does} not have"))
    a = property(lambda self: self.subject.before(self._modal("avoir")))
    a_pas = property(lambda self: f"{self.subject.fr} {ne(self._modal('avoir'))}")


@cache
def number_words(language: int) -> dict[int, str]:
    """Words for 0 to 20, the tens and 100; language 1 is English, 2 French."""
    return {int(row[0]): row[language] for row in rows("number")}


def english_number(number: int) -> str:
    """A number from 0 to 100 in words.

    >>> english_number(42)
    'forty-two'
    """
    words = number_words(1)
    if number in words:
        return words[number]
    return f"{words[number - number % 10]}-{words[number % 10]}"


def french_number(number: int, feminine: bool = False) -> str:
    """A number from 0 to 100 in French words.

    >>> french_number(71), french_number(80), french_number(91), french_number(21, feminine=True)
    ('soixante et onze', 'quatre-vingts', 'quatre-vingt-onze', 'vingt et une')
    """
    words = number_words(2)
    if number == 1 and feminine:
        return "une"
    if number in words:
        return words[number]
    tens = 80 if number > 80 else min(number - number % 10, 60)   # soixante-quinze, quatre-vingt-quinze
    unit = french_number(number - tens, feminine)
    if number % 10 == 1 and tens < 80:
        return f"{words[tens]} et {unit}"
    return f"{words[tens].removesuffix('s') if tens == 80 else words[tens]}-{unit}"


def hour(pen: Pen) -> Both:
    """A time of day on the half or quarter hour."""
    number, part = pen.number(1, 11), pen.pick(("full", "full", "half", "past", "to"))
    heures = "heure" if number == 1 else "heures"
    en, fr = english_number(number), f"{french_number(number, True)} {heures}"
    if part == "half":
        return Both(f"half past {en}", f"{fr} et demie")
    if part == "past":
        return Both(f"a quarter past {en}", f"{fr} et quart")
    if part == "to":
        return Both(f"a quarter to {en}", f"{fr} moins le quart")
    return Both(f"{en} o'clock", fr)


@cache
def nouns(kind: str, core: bool) -> tuple[Row, ...]:
    """The nouns of a class; `inside` and `furniture` are marked by a note, `kin` are listed."""
    if kind == "kin":
        return tuple(row for row in rows("noun") if row[1] in lexicon("translation_kin"))
    marked = kind in ("inside", "furniture")
    chosen = [row for row in rows("noun") if (kind in row[7].split(",") if marked else row[0] == kind)]
    return tuple(row for row in chosen if row[6] == "core") if core else tuple(chosen)


@cache
def verbs(kind: str, core: bool) -> tuple[Row, ...]:
    """The verbs of a class: `object` (any that takes one), `alone`, `move`."""
    def wanted(row: Row) -> bool:
        return row[12] not in ("alone", "move") if kind == "object" else row[12] == kind

    return tuple(row for row in rows("verb") if wanted(row) and (row[11] == "core" or not core))


@cache
def adjectives(kind: str) -> tuple[Row, ...]:
    return tuple(row for row in rows("adjective") if kind in row[6].split(","))


@cache
def before(kind: str) -> tuple[Row, ...]:
    """The adjectives that stand before a noun of this class in French."""
    return tuple(row for row in adjectives("before") if kind in row[6].split(",") or (row[0] == "new" and kind in ("thing", "place")))


@cache
def moods() -> tuple[Row, ...]:
    """What somebody may be today and not tomorrow: age is left out."""
    return tuple(row for row in adjectives("person") if row[0] not in ("old", "young"))


class Words:
    """Draws the words of one document: a small stock that comes up again and again, and now and then another word."""

    def __init__(self, pen: Pen, core: bool = False, again: float = 0.55):
        self.pen, self.core, self.again = pen, core, again
        self.stock: dict[str, list] = {}

    def _drawn(self, kind: str, options: Sequence, size: int = 3):
        stock = self.stock.setdefault(kind, [])
        if len(stock) >= size and self.pen.chance(self.again):
            return self.pen.pick(stock)
        # most words are common ones, so that they are met often
        choice = self.pen.pick(options)
        if len(stock) < size:
            stock.append(choice)
        return choice

    def noun_row(self, kind: str) -> Row:
        core = self.core or self.pen.chance(0.4)
        return self._drawn(kind, nouns(kind, core))

    def phrase(self, kind: str) -> Phrase:
        row = self.noun_row(kind)
        elides = row[3].startswith((*VOWELS, "h")) and "aspirate" not in row[7]
        kind = row[0]
        colour = self._drawn("colour", adjectives("colour")) if kind in ("thing", "place", "animal") else ()
        sizes = before(kind)
        return Phrase(
            row[1], row[2], row[3], row[4], row[5] == "f", elides, colour=colour,
            size=self.pen.pick(sizes) if sizes else (), predicate=self.pen.pick(adjectives(kind)),
        )  # fmt: skip

    def name(self) -> Name:
        if self.stock.get("name") and self.pen.chance(0.6):
            return self.pen.pick(self.stock["name"])
        name = self._new_name()
        self.stock.setdefault("name", []).append(name)
        return name

    def namesake(self) -> Person:
        """A person whose first name takes `de` or `d'` without doubt."""
        while True:
            who = self.pen.visitor() if self.pen.chance(0.6) else self.pen.person()
            if who.first[0] not in "HY":   # d'Hugo or de Hugo: both are found, so neither is taught
                return who

    def _new_name(self) -> Name:
        kind = self.pen.pick(("first", "first", "full", "title"))
        if kind == "title":
            title = self._title()
            return Name(title.en, title.fr)
        who = self.namesake()
        text = who.first if kind == "first" else str(who)
        return Name(text, text)

    def subject(self, kind: str = "any") -> Subject:
        """Somebody who acts; `told` only where the words tell the gender, `ask` without `I`."""
        draw = self.pen.rng.random()
        if kind == "told":
            if draw < 0.5:
                return PRONOUNS[self.pen.pick(("he", "she", "they"))]
            return self._title() if draw < 0.65 else self._somebody()
        if draw < 0.5:
            return PRONOUNS[self.pen.pick(("you", "he", "she", "we", "they") if kind == "ask" else tuple(PRONOUNS))]
        if draw < 0.75:
            name = self.name()
            return Subject(name.en, name.en_fr, IL)
        return self._somebody()

    def _title(self) -> Subject:
        who = self.pen.visitor() if self.pen.chance(0.6) else self.pen.person()
        if who.gender == "she":
            return Subject(f"Mrs {who.last}", f"Mme {who.last}", IL, True)
        return Subject(f"Mr {who.last}", f"M. {who.last}", IL)

    def _somebody(self) -> Subject:
        person = self.phrase("person")
        if person.bare in lexicon("translation_kin"):   # always somebody's
            return Subject(person.my, person.mon, IL, person.feminine)
        return Subject(person.the, person.le, IL, person.feminine)

    def act(self, kind: str = "any") -> Act:
        verb = self._drawn("verb", verbs("object", self.core or self.pen.chance(0.4)), 4)
        return Act(self.subject(kind), verb, self.phrase(self.pen.pick(verb[12].split(","))))

    def slot(self, stem: str, slots: dict) -> object:
        """A value for the slot of this name (digits at the end only tell two of a kind apart)."""
        pen = self.pen
        if stem in ("act", "ask"):
            return self.act("ask" if stem == "ask" else "any")
        if stem == "again":
            return self._again(slots["act"])
        if stem in ("go", "move"):
            verb = self._drawn(stem, verbs("alone" if stem == "go" else "move", self.core or pen.chance(0.4)))
            return Act(self.subject("told" if stem == "move" else "any"), verb)
        if stem in ("have", "feel"):
            return Act(self.subject())
        if stem == "mood":
            return Act(self.subject("told"), predicate=self._drawn("mood", moods()))
        if stem == "who":
            return self.name()
        if stem == "hour":
            return hour(pen)
        if stem in ("count", "price"):
            number = pen.number(2, 12 if stem == "count" else 99)
            return Both(english_number(number), french_number(number, stem == "price"))
        if stem == "side":
            return Side(*pen.pick(rows("side")), slots)
        if stem in ("thing", "place", "inside", "food", "mass", "animal", "person", "furniture", "kin"):
            return self.phrase(stem)
        return Both(*pen.pick(rows(stem)))

    def _again(self, act: Act) -> Act:
        """A second act of the same subject: a pronoun is said again, a name is not."""
        subject = act.subject if act.subject in PRONOUNS.values() else Subject("", "", act.subject.person, act.subject.feminine)
        while True:
            verb = self.pen.pick(verbs("object", self.core))
            if verb != act.verb:
                return Act(subject, verb, self.phrase(self.pen.pick(verb[12].split(","))))
