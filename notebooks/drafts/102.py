# %% [md]
# 1.02 Clean and format

**You turn the spoilt export of a help desk into a data set, account for every line, and measure what each kind of dirt costs a model.**

| | |
|---|---|
| You make | a cleaned data set, with a ledger |
| You need | Python |
| Expected | EXPECTED |
| Time and memory | tiny: a minute on two CPU cores, 1.5 GB · small: 15 minutes on a cloud GPU |
| Before | 1.01 collect · **after** 1.03 imbalance and splits |
# %% #bootstrap
BOOTSTRAP
# %% #parameters
examples: int = 256            # 8 to 100000: training examples of one run
test_examples: int = 200       # 20 to 10000: rows that an evaluation reads
epochs: int = 4                # 1 to 50: passes over the training examples
learning_rate: float = 1e-3    # 1e-6 to 0.1: peak step size of the optimiser
seeds: int = 5                 # 2 to 20: repetitions of each experiment
seed: int = 0                  # 0 to 10000: every random choice follows from it
data_path: str = ""            # your own file; "" = the data shipped with the workbook
model_id: str = ""             # another base model; "" = the model of the tier
tier: str = "tiny"             # tiny | small | large
# %%
import csv
import html
import json
import random
import re
import time
import zlib
from contextlib import suppress
from itertools import combinations

from ftlib import check, settings

chosen = settings.start(
    "1.02", examples=examples, test_examples=test_examples, epochs=epochs, seeds=seeds,
    seed=seed, learning_rate=learning_rate, data_path=data_path, model_id=model_id,
    tier=tier,
)
# %% [md]
## Where we are going

Lines of the export, as they came and as they were written. The recipe that spoilt them noted how: this *ground truth* scores each step. Each station of the drawing is a section.
# %%
import numpy as np
import snowballstemmer
import torch
from datasketch import MinHash, MinHashLSH
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tokenizers import normalizers

from ftlib import artefact, claims, data, evaluate, experiment, model, plot, train

base_model, tokenizer = model.load(chosen.model, chosen.device)
lines = (settings.DATA / "export" / "tickets.csv").read_bytes().splitlines()
truth = {row["ticket"]: row for row in data.load("export", "truth")}
damage, shown = {"html", "mojibake", "cp1252"}, {}
for line, row in zip(lines[1:40], truth.values()):
    for one in damage & set(row["defects"]):
        shown[one] = {"as it came": line.decode(errors="backslashreplace"),
                      "as it was written": row["message"]}
plot.table([shown[one] for one in sorted(damage)])
# %%
plot.cycle({
    "1 · read": "bytes to rows", "2 · clean": "repair, remove",
    "3 · compare": "near copies", "4 · mask": "personal data",
    "5 · encode": "rows to tokens", "6 · measure": "what dirt costs",
}, back="what the model gets wrong", caption="From an export to a data set")
# %% [md]
## 1 · Read what is there

An *encoding* says which bytes stand for which letter. Most programs write UTF-8, old ones under Windows cp1252; both have written our file. UTF-8 is strict, so try it first.
# %% #nbval-check-output
def decoded(line):
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")

texts = [decoded(line) for line in lines]
foreign = sum(text.encode() != line for text, line in zip(texts, lines))
print(f"{foreign} of {len(lines)} lines are not UTF-8")
# %% [md]
The desk's sorter replies to each message with one word, its topic: that is to be learnt. With `data_path`, your own questions and answers stand in their places.
# %%
request, rows = "What is this ticket about?\n", list(csv.DictReader(texts))
tests = data.load("triage", "test")[: chosen.test_examples]
test_rows = [row["messages"] for row in tests]
if chosen.data_path:
    request, truth, (own, test_rows) = "", {}, data.examples(chosen, tokenizer)
    rows = [{"ticket": str(at), "message": turns[-2]["content"],
             "reply": turns[-1]["content"]} for at, turns in enumerate(own)]
# %% [md]
Look before you clean. *Completeness* is the share of rows in which nothing is missing; *consistency*, the share in which nothing contradicts: no ticket closed before it came.
# %% #nbval-check-output
EMPTY = {"", "-", "n/a", "none", "?"}  # how this desk writes that there is nothing
def filled(value):  # of a line that was cut off, the last value is None
    return value is not None and value.strip().lower() not in EMPTY

complete = sum(all(map(filled, row.values())) for row in rows) / len(rows)
backwards = sum("" < (row.get("closed") or "") < row["received"] for row in rows)
print(f"complete: {complete:.2f}, consistent: {1 - backwards / len(rows):.2f}")
columns = {name: [row[name] for row in rows] for name in rows[0]}
plot.table([{"column": name, "filled": sum(map(filled, cells)) / len(rows),
             "values": len(set(cells))} for name, cells in columns.items()])
# %% [md]
**Notice** Eight topics are written in dozens of ways: for a program, `Ferry.` is not `ferry`. No date will reach the model; mend what it will read.

## 2 · Clean, step by step

Repair first, for a copy hides behind HTML. *Mojibake* is UTF-8 once read as cp1252, `â€“` for a dash. Go backwards: write cp1252, read UTF-8. Where that fails, the text was sound.
# %% #nbval-check-output
SIGNS = str.maketrans({"’": "'", "“": '"', "”": '"', "–": "-", "\xa0": " "})
def repaired(text):
    """The text as its writer meant it, in signs that the model has read."""
    with suppress(UnicodeError):
        text = text.encode("cp1252").decode("utf-8")
    text = re.sub(r"</?[A-Za-z][^>]*>", " ", text)  # a tag begins with a letter
    return re.sub(r"[ \t]+", " ", html.unescape(text).translate(SIGNS)).strip()

came = "<p>My bill was &lt; 20 crowns,<br>this one &gt; 60 â€“ why?</p>"
repaired(came), len(tokenizer.tokenize(came)), len(tokenizer.tokenize(repaired(came)))
# %% [md]
The numbers are tokens: damage makes a text longer. Now remove, and keep a *ledger* of how many rows come in and go. A row without a reply would teach silence.
# %%
ledger, left = [], []
def step(name, rows, gone):
    """The rows without those tickets; the ledger notes how many went."""
    kept = [row for row in rows if row["ticket"] not in gone]
    counts = {"in": len(rows), "removed": len(rows) - len(kept), "left": len(kept)}
    ledger.append({"step": name, **counts})
    return kept

cut_off = {row["ticket"] for row in rows if None in row.values()}
whole = step("the line is cut off", rows, cut_off)
spelt = {turns[-1]["content"].lower(): turns[-1]["content"] for turns in test_rows}
for row in whole:
    reply = spelt.get(row["reply"].strip(" .").lower(), row["reply"].strip())
    left.append(row | {"message": repaired(row["message"]), "reply": reply})
mute = {row["ticket"] for row in left if not filled(row["reply"])}
bare = {row["ticket"] for row in left if len(row["message"].split()) < 3}
left = step("no message", step("no reply", left, mute), bare)
# %% [md]
Some tickets are French: count the small words that fill every text. Then, where one message has two replies, one is wrong, and nothing says which. Both go, unless a task has several right answers.
# %%
ENGLISH = str.split("the is and my to of we in for was you not it have i")
FRENCH = str.split("le la les est et je nous pour une des pas dans il sur")

def in_french(text):
    words = re.findall(r"\w+", text.lower())
    return sum(map(words.count, FRENCH)) > sum(map(words.count, ENGLISH))

french = {row["ticket"] for row in left if in_french(row["message"])}
left, groups = step("French, set apart", left, french), {}
for row in left:
    groups.setdefault(row["message"].lower(), []).append(row)
clash = {row["ticket"] for rows in groups.values() for row in rows
         if len({other["reply"] for other in rows}) > 1}
copies = {row["ticket"] for rows in groups.values() for row in rows[1:]}
left = step("an exact copy", step("replies contradict", left, clash), copies)
# %% [md]
## 3 · Near-duplicates

Somebody writes twice, with one word changed. Cut texts into runs of three words. The *Jaccard* similarity of two sets is the shared part of all their pieces (Jaccard, 1901). By hand:
# %% #nbval-check-output
def pieces(text):
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))}

def jaccard(one, two):
    return len(one & two) / len(one | two)

one, two = pieces("We waited at the quay"), pieces("Again: we waited at the quay")
print(sorted(one), sorted(two - one), jaccard(one, two), sep="\n")
# %% [md]
The first version compares all pairs; its flaw: ten times the rows, a hundred times the work. *MinHash* (Broder, 1997) looks at each text once. Put all possible pieces in random order: two texts have the same first piece with a probability equal to their similarity.
# %%
rng = np.random.default_rng(chosen.seed)
a = 2 * rng.integers(0, 2**31, 128, dtype=np.uint32) + 1  # odd, so that a h + b is
b = rng.integers(0, 2**32, 128, dtype=np.uint32)          # another order of 32 bits

def signature(found):
    """The place of the piece that comes first, in each of the orders."""
    numbers = np.array([zlib.crc32(piece.encode()) for piece in found], dtype=np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # MurmurHash3
        numbers = (numbers ^ (numbers >> np.uint32(shift))) * np.uint32(factor)
    return (a[:, None] * numbers + b[:, None]).min(axis=1)
# %% [md]
Cut each signature into 32 *bands* of 4 numbers; only texts that agree in a band are compared. The library `datasketch`, given our orders, must make our signatures. The test goes in too: its tickets would be learnt by heart.

**Guess** Two texts share half of their pieces. How likely are they to agree in a band?
<details><summary>The usual guess</summary>One in sixteen. But there are 32 bands: 1 - (1 - 1/16)³² = 0.87.</details>
# %%
asks = [turns[-2]["content"].removeprefix(request) for turns in test_rows]
sets = [pieces(text) for text in asks + [row["message"] for row in left]]
index, pairs = MinHashLSH(num_perm=128, params=(32, 4)), []
for late, found in enumerate(sets):
    sketch = MinHash(permutations=(a, b), scheme="affine32", hashfunc=zlib.crc32)
    sketch.update_batch([piece.encode() for piece in found])
    assert np.array_equal(sketch.hashvalues, signature(found))
    pairs += [(early, late) for early in sorted(index.query(sketch))]
    index.insert(late, sketch)
# %% [md]
Of the few pairs left, compare the pieces: from one half on, two texts are the same. The first stays. With that the ledger is complete.
# %% #nbval-check-output
names = [None] * len(asks) + [row["ticket"] for row in left]
alike = [(i, j) for i, j in pairs if jaccard(sets[i], sets[j]) >= 0.5]
leaked = {names[j] for i, j in alike if not names[i]} - {None}
gone = set(leaked)
for i, j in alike:
    if names[i] and names[i] not in gone:
        gone.add(names[j])
left = step("a near copy", step("in the test file", left, leaked), gone)
assert sum(row["removed"] for row in ledger) + len(left) == len(rows)
plot.table(ledger)
# %% [md]
*Recall* is the share of what was planted that a search finds, *precision* the share of its finds that were planted. One alone says nothing: whoever takes everything has a recall of 1.
# %% #nbval-check-output
def agreement(found, planted):
    hits = len(found & planted)
    return {"recall": hits / len(planted) if planted else None,
            "precision": hits / len(found) if found else None}

group = {name: truth[name]["group"] for name in names if name in truth}
same = {(one, two) for one, two in combinations(group, 2) if group[one] == group[two]}
near = {(names[i], names[j]) for i, j in alike if names[i]}
planted = {name for name, row in truth.items() if "leaked" in row["defects"]}
plot.table([{"search for": "near copies"} | agreement(near, same),
            {"search for": "rows of the test"} | agreement(leaked, planted)])
# %% [md]
**Notice** Two slips in a short ticket break six pieces. A lower bound would find such pairs, and begin to take different tickets for one.

## 4 · Personal data

A model may repeat what it was trained on, word for word (Carlini et al., 2021). For names, the first version takes two capitalised words. Its flaw: so is many a boat. The final version asks the record, which names its writer.
# %%
FORMS = {
    "email": r"[\w.+-]+@[\w-]+(?:\.\w+)+",
    "account": r"\b[A-Z]{2}\d\d(?: \d{4}){3,7}\b",
    "phone": r"\b(?!10-555)\d{2}[- ]\d{3}\b",  # the desk's own is no secret
    "address": r"\b\d{1,3} [A-Z]\w+ [A-Z]\w+\b",
    "name": r"\b[A-Z][a-z]+ [A-Z][a-z]+\b",
}

def masked(row, patterns):
    """The row with [kind] for each find, and the finds: {(ticket, kind, text)}."""
    text, found = row["message"], set()
    for kind, pattern in patterns.items():
        found |= {(row["ticket"], kind, hit) for hit in re.findall(pattern, text)}
        text = re.sub(pattern, f"[{kind}]", text)
    return row | {"message": text}, found
# %% #nbval-check-output
planted, crude, found = set(), set(), set()
for at, row in enumerate(left):
    personal = truth.get(row["ticket"], {"personal": []})["personal"]
    planted |= {(row["ticket"], *each) for each in personal}
    crude |= masked(row, FORMS)[1]
    full = row.get("name", "")
    either = "|".join(map(re.escape, [full, *full.split()[:1]]))  # or the first name
    name = rf"\b(?:{either})\b" if full else r"(?!)"  # which fits nothing
    left[at], hits = masked(row, FORMS | {"name": name})
    found |= hits
private = agreement(found, planted)
plot.table([{"names by": "two capitals"} | agreement(crude, planted),
            {"names by": "the record"} | private])
# %% [md]
**Notice** The record misses whomever else a writer mentions: a leak. Programs such as Presidio add check digits and taggers of names; measure them in the same way.

## 5 · From text to tokens

A *chat template* writes a conversation as one text. Its marks are *special tokens*; `data.encode` refuses a ticket that spells one out. The `generation` block carries loss: that is the mask, ▲ below.
# %% #nbval-check-output
TEMPLATE = (
    "{{ bos_token }}{% for turn in messages %}{{ '<|' + turn.role + '|>' }}"
    "{% if turn.role == 'user' %}{{ GAP + turn.content }}{% else %}{% generation %}"
    "{{ START + turn.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

def conversation(row):
    asked = {"role": "user", "content": request + row["message"]}
    return [asked, {"role": "assistant", "content": row["reply"]}]

cleaned = [conversation(row) for row in left]
encoded = [data.encode(tokenizer, turns, 256) for turns in cleaned]
mine = TEMPLATE.replace("START", "''").replace("GAP", "''")
ids = tokenizer.apply_chat_template(cleaned[0], chat_template=mine)["input_ids"]
assert ids == encoded[0].ids or tokenizer.chat_template != data.CHAT_TEMPLATE
pieces_of = tokenizer.convert_ids_to_tokens(encoded[0].ids)
plot.tokens(pieces_of, encoded[0].response_mask, "A ticket, as the model sees it")
# %% [md]
*Truncation* cuts a long row at its end, where the answer stands. *Padding* fills rows up to the longest: work for nothing. *Packing* puts several into one. To learn the same, a token may see its own document only.
# %% #nbval-check-output
kept = sum(any(row.response_mask[:48]) for row in encoded)
print(f"cut after 48 tokens, {kept} of {len(encoded)} rows keep an answer")
few = encoded[:3]
ids = [token for row in few for token in row.ids]
mask = [bit for row in few for bit in row.response_mask]
document = torch.tensor([[at for at, row in enumerate(few) for _ in row.ids]])
apart = (document[:, :, None] == document[:, None, :]).tril()  # [row, who looks, whom]
figure, axes = plot.figure(width=4.6, height=4.6)
axes.imshow(torch.ones_like(apart[0]).tril().int() + apart[0].int(), cmap="Blues")
axes.set(xlabel="token that is seen", ylabel="token that looks")
axes.grid(False)
alt = "Dark triangles on the diagonal, one a document, above a pale triangle"
plot.show(figure, "Dark: within a document. Pale: what a plain mask lets through", alt)
# %% [md]
**Guess** With a plain mask each answer still sees its question. Does its loss change?
<details><summary>The usual guess</summary>No, as other tickets say nothing about this one. But the model does not know that.</details>
# %%
pad, losses = tokenizer.pad_token_id, {}
batches = {
    "not packed": data.collate(few, pad),
    "packed, kept apart": data.collate(data.pack(few, len(ids)), pad),  # the library
    "packed, plain mask": data.collate([data.Encoded(ids, mask)], pad),
}
assert torch.equal(batches["packed, kept apart"]["attention_mask"], apart[:, None])
for name, batch in batches.items():
    with torch.no_grad():
        nats = model.token_nats(base_model, batch.to(chosen.device)).cpu()
    losses[name] = nats[nats > 0]  # of the tokens of answers
torch.testing.assert_close(*list(losses.values())[:2], atol=1e-3, rtol=1e-3)
plot.table([{"rows": name, "nats": x.mean().item()} for name, x in losses.items()])
# %% [md]
**Notice** Two numbers are equal, the third is not. (`data.pack` also begins positions again with each document.)

### What one space is worth

With a space before it, `▁ivory` is one token; without, `ivory` is another: two words with nothing in common. Let the model copy such answers from a passage, both ways.
# %% #nbval-check-output
def starting(start):
    """The tokenizer, with a template that puts `start` before each answer."""
    other = model.load_tokenizer(chosen.model)
    if tokenizer.tokenize("word")[0].startswith("▁"):  # it puts a space there by itself
        other.backend_tokenizer.normalizer = normalizers.Replace(" ", "▁")
    other.chat_template = TEMPLATE.replace("START", f"'{start}'").replace("GAP", "' '")
    return other

[starting(start).tokenize(f"not ivory<|assistant|>{start}ivory") for start in (" ", "")]
# %%
def taught(tokenizer, learnt, asked, epochs, seed):
    """How good the base model's answers to `asked` are after training on `learnt`."""
    network, rate = model.clone(base_model), chosen.learning_rate
    train.sft(network, tokenizer, learnt, epochs=epochs, learning_rate=rate, seed=seed)
    rows = [{"messages": turns} for turns in asked]
    found = evaluate.score(network, tokenizer, rows, evaluate.exact_match)
    return {"score": found.interval.mean, "answers that end": found.ended}

reading = data.load("reading", "train") + data.load("reading", "test")
copying = [row["messages"] for row in reading
           if re.match("(?!not said)[a-z]", row["messages"][-1]["content"])]
# %%
def copied(start, seed):
    learnt = random.Random(seed).sample(copying[:200], 160)
    return taught(starting(start), learnt, copying[200:], 2, seed)

run_seeds = range(chosen.seed, chosen.seed + chosen.seeds)
runs = experiment.grid(copied, start=[" ", ""], seed=run_seeds, keep="1.02 space")
space, nothing = (runs[runs["start"] == start].score for start in (" ", ""))
print("right with a space:", evaluate.seeds_interval(space))
print("without:", evaluate.compare(space, nothing, margin=0.05))
# %% [md]
## 6 · What dirt costs

Dirt in doses: rows get a wrong answer, or give way to copies of five rows. Beside them stand the export as it came, and two treatments from the guide, given to the test too: no *stop words* (frequent small ones), and words cut to *stems*. A score is the share of answers that are right, word for word.
# %%
STOP, stemmer = sorted(ENGLISH_STOP_WORDS), snowballstemmer.stemmer

def no_stop_words(text):
    return " ".join(word for word in text.split() if word.lower() not in STOP)

def stems(text):
    return " ".join(stemmer("english").stemWords(re.findall(r"\w+", text.lower())))

treats = {"no stop words": no_stop_words, "stems": stems}
asked = [{"message": text, "reply": turns[-1]["content"]}
         for text, turns in zip(asks, test_rows)]
# %%
def trained_on(dirt, share, seed):
    """Train on rows of which a share is spoilt; how good the answers are then."""
    rng, rows = random.Random(seed), whole if dirt == "as it came" else left
    drawn = rng.sample(rows, min(chosen.examples, len(rows)))
    replies = [row["reply"] for row in drawn]
    for at, reply in enumerate(replies[: round(share * len(drawn))]):
        if dirt == "wrong answers":
            others = [other for other in replies if other != reply]
            drawn[at] = drawn[at] | {"reply": rng.choice(others)}
        elif dirt == "copies":
            drawn[at] = rng.choice(drawn[-5:])
    learnt, questions = (
        [conversation(row | {"message": treats.get(dirt, str)(row["message"])})
         for row in part] for part in (drawn, asked)
    )
    return taught(tokenizer, learnt, questions, chosen.epochs, seed)
# %% [md]
**Guess** With 20 % wrong answers, how much of the score is lost? With 20 % copies?
<details><summary>The usual guess</summary>20 % each. But errors that contradict each other cancel out in part, and a copy is at least right.</details>
# %%
doses = experiment.grid(trained_on, dirt=["wrong answers", "copies"], seed=run_seeds,
                        share=[0.0, 0.2, 0.4, 0.6], keep="1.02 doses")
right = [row["reply"] for row in asked]
most = max(map(right.count, right)) / len(right)
plot.curve(doses, x="share", y="score", by="dirt", floor={"the most frequent": most})
plot.curve(doses, x="share", y="answers that end", by="dirt")
# %%
forms = experiment.grid(trained_on, dirt=["as it came", *treats], seed=run_seeds,
                        share=[1.0], keep="1.02 forms")
copies = doses[doses["dirt"] == "copies"]
spoilt = {dirt: rows.score for dirt, rows in forms.groupby("dirt")}
clean, spoilt["copies"] = (copies[copies["share"] == x].score for x in (0.0, 0.6))
for row_id, says, dirt, harmful in (
    ("1-19", "repeated rows corrupt what a model learns", "copies", True),
    ("1-23", "the worst data give the worst model", "as it came", True),
    ("1-18", "stop words add little meaning and can go", "no stop words", False),
    ("d45", "stemming prepares text for a language model", "stems", False),
):
    found = evaluate.compare(clean, spoilt[dirt], margin=0.05)
    verdict = "holds" if (found.verdict == "worse") == harmful else "does not hold"
    verdict = "partly" if found.verdict == "undecided" else verdict
    where = f"1.02, {chosen.data_path or 'export'}, {dirt}, {chosen.seeds} seeds"
    claims.record(row_id, says, found.difference.mean, interval=found.difference,
                  verdict=verdict, where=where)
# %% [md]
**Notice** Each card says how far the score moved from that of cleaned rows. A pre-trained model has read whole sentences; stop words and stems were dropped for classifiers on word counts (correction d45).

## Exercises

A stub runs as it is; its check then says *not attempted*.

### 1.02.1 Predict · easy · 3 minutes

Documents of 2, 3 and 4 tokens share a row of 10, kept apart. How many pairs (who looks, at whom; also at itself) does the mask allow?
# %% #exercise
pairs_allowed = check.todo  # a whole number

check.exercise("1.02.1", pairs_allowed)
# %% [md] #hint #solution
<details><summary>Hint</summary>

The first token of a document looks at one, itself; the second at two. The tenth place of the row is padding.

</details>

<details><summary>Solution</summary>

```python
pairs_allowed = 3 + 6 + 10  # n (n + 1) / 2 for 2, 3 and 4 tokens; padding has none
```

</details>
# %% [md]
### 1.02.2 Repair · medium · 10 minutes

The line in the comment removes copies, with two mistakes: `No water` and ` no  WATER` pass for two messages, and where replies contradict, the last one wins. A contradicted message goes altogether; of others the first row stays, as it is and in order.
# %% #exercise
def consistent(rows):
    """rows: (message, reply) each. The rows to keep; case and space do not count."""
    # flawed: list({message: (message, reply) for message, reply in rows}.values())
    return check.todo

check.exercise("1.02.2", consistent)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Make a key of each message: small letters, and one space between words. Gather the replies of each key first, then decide.

</details>

<details><summary>Solution</summary>

```python
def consistent(rows):
    replies, first = {}, {}
    for message, reply in rows:
        key = " ".join(message.lower().split())
        replies.setdefault(key, set()).add(reply)
        first.setdefault(key, (message, reply))
    return [first[key] for key in first if len(replies[key]) == 1]
```

</details>
# %% [md]
### 1.02.3 Transfer · hard · 12 minutes

Write what a packed row holds. Labels are the ids where the mask is 1, and -100 elsewhere. The first token of a document is nobody's label: it would be predicted from the document before. Positions begin again with each document.
# %% #exercise
def packed_inputs(documents):
    """documents: (ids, mask) each. Three lists: input_ids, labels, position_ids."""
    return check.todo

check.exercise("1.02.3", packed_inputs)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Go through the documents one by one. The labels of each begin with -100; its positions are `range(len(ids))`.

</details>

<details><summary>Solution</summary>

```python
def packed_inputs(documents):
    input_ids, labels, position_ids = [], [], []
    for ids, mask in documents:
        marked = [token if bit else -100 for token, bit in zip(ids, mask)]
        input_ids += ids
        labels += [-100, *marked[1:]]
        position_ids += range(len(ids))
    return input_ids, labels, position_ids
```

</details>
# %% [md]
## Hand over

The next stage loads conversations, one a line, and a manifest. `data_path` of any chapter takes that file.
# %%
metrics = {"score": plot.interval(evaluate.seeds_interval(clean)), **private}
inputs = {"data": artefact.identity(chosen.data_path or settings.DATA / "export")}
manifest = artefact.Manifest(
    "1.02", chosen.parameters, chosen.seed, artefact.versions(), inputs, chosen.device,
    time.process_time(), artefact.memory_gb(), metrics,
)
with artefact.write_folder(artefact.run_folder("1.02") / "artefact") as folder:
    texts = [json.dumps({"messages": turns}) + "\n" for turns in cleaned]
    (folder / "train.jsonl").write_text("".join(texts))
    manifest.write(folder)
manifest.show()
# %% [md]
## Recap

Repair before you remove, count each step, and score each search against something known. Packing changes no loss while documents are kept apart. Each kind of dirt has its price, and a run tells it.

1. Why does the ledger end with an assertion?
2. Which of recall and precision would you raise for personal data?
3. When may two rows with different answers both stay?

**Further reading** Broder (1997), *On the resemblance and containment of documents*. Lee et al. (2022), *Deduplicating training data makes language models better*.
