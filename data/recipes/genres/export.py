"""The set `export`: what a help desk's old software hands over, with every defect that its readers meet, and the truth.

Tickets of the set `triage`, in other combinations, are written down as such software would: copies, tickets sent again in
other words, contradictions, missing fields, HTML, two encodings, personal data, French, tickets of the test file. The truth
says of each line what was planted in it, so that whatever finds or mends something can be scored.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from ..grammar import expand, parse, tidy
from ..pen import Pen
from ..world import Person
from . import desk

COLUMNS = ("ticket", "received", "closed", "name", "message", "reply")
TICKETS = 620   # different ones, in English, of which these many lack something
NO_REPLY, NO_MESSAGE = 36, 14
COPIES, AGAIN, CONTRADICTED = 60, 70, 30   # further lines: the same ticket, nearly the same, the same with another reply
LEAKED, FRENCH, JUNK, CUT = 20, 40, 12, 6
HTML, CP1252, MOJIBAKE, SPELLING = 0.3, 0.15, 0.08, 0.25   # shares of the lines
NO_NAME, NO_DATE, BACKWARDS = 0.1, 0.05, 0.03
ALIKE = 0.4     # two different tickets are less alike than this, and so are a ticket and a row of the test file
EMPTY = ("", "", "-", "n/a", "none", "?")
WORTHLESS = ("test", "test 2", "asdf", "please ignore", "xxx", "hello")
FIRST_DAY, FIRST_TICKET = date(2032, 1, 5), 1001

# What writers add about themselves, by kind; patterns as in `grammar`.
ADDED = {
    "name": ("yours, {who}.", "my name is {who}.", "regards, {who}.", "thank you - {who}.", "greetings, {who.first}."),
    "phone": ("[ring|call] me on {phone}.", "my telephone is {phone}.", "you reach me on {phone} after {time}."),
    "email": ("please write to {email}.", "my e-mail is {email}.", "an answer to {email} will do."),
    "address": ("I live at {address}.", "our house is {address}.", "please come to {address}."),
    "account": ("please pay it into {account}.", "my account is {account}."),
    "other": ("{other} saw it too.", "ask {other}, who was with me.", "I have already spoken to {other}."),
}  # fmt: skip
SHARES = {"name": 0.4, "phone": 0.14, "email": 0.12, "address": 0.1, "account": 0.05, "other": 0.08}
# What looks like personal data, or like HTML, and is neither.
DECOYS = (
    "I rang your desk on 10-555 [twice|before].", "your desk at 10-555 was [busy|engaged].",
    "my old bill was {less} {low} crowns, this one {more} {high}.", "the Morning Star and the Blue Heron [were|are] both late.",
)  # fmt: skip
DECOY_SHARE = 0.12
BEFORE = ("second letter:", "I wrote this before.", "[reminder|still no answer]:", "once more:")

# French tickets by topic. They take an English word or two from the town, as its French visitors do.
FRENCH_TICKETS = {
    "ferry": (
        "bonjour, le bateau pour {boat.destination} est parti sans nous et il faut changer notre réservation {code}.",
        "à quelle heure part le bateau pour {boat.destination} et est-ce que nous pouvons prendre les vélos avec nous ?",
    ),
    "parking": (
        "j'ai une amende {code} pour ma voiture dans {street}, mais la machine était cassée.",
        "est-ce que je peux garer ma voiture dans {street} pour la nuit sans payer une amende ?",
    ),
    "rubbish": (
        "la poubelle devant notre maison dans {street} est pleine et les hommes ne sont pas venus cette semaine.",
        "où est-ce que je peux apporter une vieille table et des chaises cassées ?",
    ),
    "permits": (
        "je voudrais construire un petit mur dans le jardin et je cherche le bon formulaire pour la demande.",
        "notre demande {code} pour une porte dans {street} est restée sans réponse.",
    ),
    "water": (
        "il n'y a pas d'eau dans {street} et le robinet de la cuisine ne donne rien.",
        "la facture d'eau {code} est trop haute et je ne comprends pas pourquoi.",
    ),
    "library": (
        "je n'ai pas encore fini le livre de la bibliothèque et je voudrais le garder une semaine de plus.",
        "ma carte de lecteur {code} ne marche pas et je ne peux pas prendre les livres.",
    ),
    "lost": (
        "j'ai perdu mon parapluie noir près de {place.short} et je le cherche partout.",
        "nous avons trouvé une clé dans {street} et nous voudrions la rendre.",
    ),
    "events": (
        "est-ce qu'il y a encore des places pour la fête et combien coûte une entrée pour les enfants ?",
        "notre groupe voudrait chanter à la fête et nous cherchons une salle pour la musique.",
    ),
}  # fmt: skip
FRENCH_ADDED = (
    "merci pour votre réponse.", "nous restons dans la ville pour quelques jours.", "pouvez-vous nous aider, s'il vous plaît ?",
    "je ne parle pas bien l'anglais.", "excusez-moi, c'est la deuxième fois que j'écris.",
)  # fmt: skip


@dataclass
class Ticket:
    """One line of the export. `message` and `reply` are as they should be; `raw` is what the export says in some columns."""

    who: Person
    message: str
    reply: str
    personal: list[tuple[str, str]] = field(default_factory=list)   # (kind, text), as they stand in the message
    defects: list[str] = field(default_factory=list)
    language: str = "en"
    group: str = ""            # tickets that say the same share it; of a leaked one it is the id of the test row
    raw: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"


def say(pen: Pen, lines: tuple[str, ...], slots: dict) -> str:
    return tidy(expand(parse(pen.pick(lines)), pen.rng, slots))


# ---- tickets as they should be -----------------------------------------------------------------------------------


def windows(text: str) -> set[tuple[str, ...]]:
    """The runs of three words of a text."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def different(pen: Pen, others: list[str]) -> Iterator[tuple[str, str]]:
    """Endless (message, topic), each unlike all before it and unlike all `others`."""
    seen = [windows(text) for text in others]
    while True:
        request, topic = desk.triage(pen)
        message = request.partition("\n")[2]
        mine = windows(message)
        if all(len(mine & one) < ALIKE * len(mine | one) for one in seen):
            seen.append(mine)
            yield message, topic


def personal_slots(pen: Pen, who: Person) -> dict[str, object]:
    mail = f"{who.first}.{who.last}".lower() + pen.pick((" (at) ", "@", "@", "@", "@", "@", "@")) + "post.example"
    account = f"BW{pen.number(10, 99)} " + " ".join(str(pen.number(1000, 9999)) for _ in range(3))
    slots = {"who": who, "other": pen.visitor(), "email": mail, "account": account, "time": pen.time()}
    slots["phone"] = f"{pen.number(20, 99)}{pen.pick('-- ')}{pen.number(100, 999)}"
    slots["address"] = f"{pen.number(2, 90)} {pen.pick(desk.lexicon('street'))}"
    return slots


def ticket(pen: Pen, message: str, topic: str) -> Ticket:
    """A ticket to which its writer adds something personal, or something that only looks so."""
    who = pen.visitor()
    while who.first in message:   # as in `the Chapel of Saint Ida`, which is nobody's name
        who = pen.visitor()
    slots, parts, found = personal_slots(pen, who), [message], []
    for kind, share in SHARES.items():
        if pen.chance(share):
            said = say(pen, ADDED[kind], slots)
            texts = [text for text in (str(who), who.first) if text in said] if kind == "name" else [str(slots[kind])]
            found.append(("name" if kind == "other" else kind, texts[0]))
            parts.insert(len(parts) if kind == "name" or pen.chance(0.6) else 0, said)
    if pen.chance(DECOY_SHARE):
        parts.append(say(pen, DECOYS, {"less": "<", "more": ">", "low": pen.number(10, 30), "high": pen.number(40, 90)}))
    return Ticket(who, " ".join(parts), topic, found)


def french(pen: Pen) -> Ticket:
    topic = pen.pick(desk.TOPICS)
    slots = desk._slots(pen)
    message = f"{say(pen, FRENCH_TICKETS[topic], slots)} {say(pen, FRENCH_ADDED, slots)}"
    return Ticket(pen.visitor(), message, topic, language="fr", defects=["french"])


# ---- further lines -----------------------------------------------------------------------------------------------


def again(pen: Pen, text: str) -> str:
    """Nearly the same text: words before it, slips of the fingers, or both. What is personal in it stays as it is."""
    kind = pen.pick(("announced", "slips", "slip", "hasty"))
    if kind == "slip":
        text = one_slip(pen, text)
    for _ in range({"slips": 1, "hasty": 2}.get(kind, 0)):
        text = desk.typos(pen.rng, text)
    return text if kind == "slips" else f"{say(pen, BEFORE, {})} {text}"


def one_slip(pen: Pen, text: str) -> str:
    words = text.split(" ")
    usable = [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()]
    at = pen.pick(usable)
    words[at] = desk._mistype(pen.rng, words[at])
    return " ".join(words)


def copied(one: Ticket, defect: str, **changed: str) -> Ticket:
    """Another line that says what a ticket says, but for what has changed."""
    same = {"who": one.who, "message": one.message, "reply": one.reply, "group": one.group} | changed
    return Ticket(**same, personal=list(one.personal), defects=[defect])


def lines(pen: Pen, test: list[dict]) -> list[Ticket]:
    """All lines of the export, in the order of the file; nothing of their text is spoilt yet."""
    asked = {row["id"]: row["messages"][0]["content"].partition("\n")[2] for row in test}
    made = different(pen, list(asked.values()))
    tickets = [ticket(pen, *next(made)) for _ in range(TICKETS)]
    for number, one in enumerate(tickets):
        one.group = f"group-{number:04d}"
    mute, bare, *whole = split(pen.some(tickets, TICKETS), NO_REPLY, NO_MESSAGE, COPIES, AGAIN, CONTRADICTED)
    for one in mute:
        one.defects.append("no reply")
        one.raw["reply"] = pen.pick(EMPTY)
    for one in bare:
        one.defects.append("no message")
        one.raw["message"] = pen.pick(EMPTY[:3])
    out = [*tickets, *(copied(one, "copy") for one in whole[0])]
    out += [copied(one, "again", message=again(pen, one.message)) for one in whole[1]]
    for one in whole[2]:
        one.defects.append("contradicted")
        out.append(copied(one, "contradicted", reply=desk._other_topic(pen, one.reply)))
    for number, row in enumerate(pen.some(test, LEAKED)):
        message, topic = asked[row["id"]], row["messages"][-1]["content"]
        message = again(pen, message) if number % 2 else message
        out.append(Ticket(pen.visitor(), message, topic, defects=["leaked"], group=row["id"]))
    out += [french(pen) for _ in range(FRENCH)]
    for _ in range(JUNK):
        text = pen.pick(WORTHLESS)
        out.append(Ticket(pen.visitor(), text, pen.pick(desk.TOPICS), defects=["junk"]))
    for _ in range(CUT):
        message, topic = next(made)
        cut = message[: len(message) // 2].replace(",", "")
        out.append(Ticket(pen.visitor(), message, topic, defects=["cut"], raw={"message": cut}))
    return pen.some(out, len(out))


def split(tickets: list[Ticket], *sizes: int) -> list[list[Ticket]]:
    """Parts of these sizes, from the start; the rest belongs to none."""
    parts, start = [], 0
    for size in sizes:
        parts.append(tickets[start : start + size])
        start += size
    return parts


# ---- what the software makes of them -----------------------------------------------------------------------------


def typographic(pen: Pen, text: str) -> str:
    """The signs that word processors put in; there is at least one."""
    words = text.split(" ")
    for at in pen.some(range(1, len(words)), min(2, len(words) - 1)):
        words[at] = "\xa0" + words[at]
    joined = " ".join(words).replace(" \xa0", "\xa0")
    return joined.replace("'", "’").replace(" - ", " – ")


def as_html(pen: Pen, text: str) -> str:
    """The text as a web form stores it."""
    parts = [html.escape(part, quote=False) for part in re.split(r"(?<=[.?!;]) ", text)]
    joined = pen.pick(("<br>", "<br/>", "</p><p>")).join(parts)
    return f"<p>{joined.replace('@', '&#64;').replace(chr(39), '&#39;').replace(' on ', ' on&nbsp;', 1)}</p>"


def misread(text: str) -> str:
    """UTF-8 that was read as Windows' own encoding once."""
    return text.encode("utf-8").decode("cp1252")


def spoil(pen: Pen, one: Ticket) -> None:
    """Spoils the text and the label of a line, and notes how."""
    text, kind = one.raw.get("message", one.message), pen.rng.random()
    if kind < CP1252:
        one.raw["message"], one.encoding = typographic(pen, text), "cp1252"
    elif one.language == "fr":
        return
    elif kind < CP1252 + MOJIBAKE:
        one.raw["message"] = misread(typographic(pen, text))
        one.defects.append("mojibake")
    elif kind < CP1252 + MOJIBAKE + HTML:
        one.raw["message"] = as_html(pen, text)
        one.defects.append("html")
    if pen.chance(SPELLING):
        written = pen.pick((str.capitalize, str.upper, "{}.".format, " {} ".format))
        one.raw["reply"] = written(one.raw.get("reply", one.reply))
        one.defects.append("spelling")


SPARED = {"junk", "cut", "no message", "no reply"}


def cells(pen: Pen, one: Ticket, number: int) -> list[str]:
    """The cells of a line: what the export says."""
    received = FIRST_DAY + timedelta(days=number // 4)
    closed = received + timedelta(days=pen.number(0, 9))
    if pen.chance(BACKWARDS):
        closed = received - timedelta(days=pen.number(1, 400))
        one.defects.append("backwards")
    row = {"ticket": f"T{FIRST_TICKET + number}", "received": str(received), "closed": str(closed), "name": str(one.who)}
    row |= {"message": one.message, "reply": one.reply} | one.raw
    for name, share in {"name": NO_NAME, "closed": NO_DATE}.items():
        if pen.chance(share):
            row[name] = ""
    found = [row[name] for name in COLUMNS]
    return found[:-1] if "cut" in one.defects else found


def line(values: list[str] | tuple[str, ...], encoding: str = "utf-8") -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue().encode(encoding)


def export_set(folder: Path, write_rows: Callable[[Path, list[dict]], int]) -> dict[str, object]:
    """Write tickets.csv and truth.jsonl.gz; returns the figures of the card. The set `triage` lies beside the folder."""
    pen = Pen("train", "export", open_names=True)
    text = (folder.parent / "triage" / "test.jsonl").read_text(encoding="utf-8")
    test = [json.loads(row) for row in text.splitlines()]
    found, truth, content, said = lines(pen, test), [], [line(COLUMNS)], {}
    for number, one in enumerate(found):
        if not SPARED & set(one.defects):
            spoil(pen, one)
        values = cells(pen, one, number)
        content.append(line(values, one.encoding))
        if not content[-1].isascii() and one.encoding != "utf-8":
            one.defects.append("cp1252")
        repeats = said.setdefault(one.group or values[0], values[0])   # the first ticket that says the same
        planted = {"personal": one.personal, "language": one.language, "repeats": repeats if repeats != values[0] else ""}
        planted |= {"group": one.group or values[0], "defects": sorted(one.defects)}
        truth.append({"ticket": values[0], "message": one.message, "reply": one.reply, **planted})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tickets.csv").write_bytes(b"".join(content))
    counts = Counter(defect for one in found for defect in one.defects)
    kinds = Counter(kind for one in found for kind, _ in one.personal)
    return {
        "lines": write_rows(folder / "truth.jsonl.gz", truth), "tickets": TICKETS,
        "defects": ", ".join(f"{name} {count}" for name, count in counts.most_common()),
        "personal": ", ".join(f"{name} {count}" for name, count in kinds.most_common()),
        "example": content[1].decode(found[0].encoding).strip(),
    }  # fmt: skip
