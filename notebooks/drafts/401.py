# %% [md]
# 4.01 Supervised fine-tuning

**In half a minute a model that only goes on writing learns to sort the tickets of a help desk. You write every step of it: the tokens, the mask, the loss and the loop.**

| | |
|---|---|
| You make | a fine-tuned model, and a measured answer to "how many examples are enough?" |
| You need | Python, and the idea of a gradient |
| Expected | EXPECTED |
| Time and memory | tiny: a minute on two CPU cores, 1.5 GB · small: 15 minutes on a free cloud GPU |
| Before | 3.02 hyperparameters · **after** 4.03 LoRA |
# %% #bootstrap
BOOTSTRAP
# %% #parameters
task: str = "triage"           # triage | extract | arithmetic | summarise | reply | ...
examples: int = 400            # 8 to 100000: training examples
test_examples: int = 200       # 20 to 10000: rows that an evaluation reads
epochs: int = 4                # 1 to 50: passes over the training examples
learning_rate: float = 1e-3    # 1e-6 to 0.1: peak step size of the optimiser
batch_size: int = 16           # 1 to 256: examples in one update
seeds: int = 5                 # 2 to 20: repetitions of each experiment
seed: int = 0                  # 0 to 10000: every random choice follows from it
data_path: str = ""            # your own file; "" = the data shipped with the workbook
model_id: str = ""             # another base model; "" = the model of the tier
tier: str = "tiny"             # tiny | small | large
# %%
from ftlib import check, settings

chosen = settings.start(
    "4.01", task=task, examples=examples, test_examples=test_examples, epochs=epochs,
    learning_rate=learning_rate, batch_size=batch_size, seeds=seeds, seed=seed,
    data_path=data_path, model_id=model_id, tier=tier,
)
# %% [md]
## Where we are going

Here are three tickets that the model never trained on. The base model answers them, and so does the same model after the training of this chapter. For now `train.sft` does that training; by section 4 you will have written it yourself.
# %%
from ftlib import data, generate, model, plot, train

base_model, tokenizer = model.load(chosen.model, chosen.device)
every_row, test_rows = data.examples(chosen, tokenizer)
train_rows = every_row[: chosen.examples]
result = train.sft(
    model.clone(base_model), tokenizer, train_rows, epochs=chosen.epochs,
    learning_rate=chosen.learning_rate, batch_size=chosen.batch_size, seed=chosen.seed,
)
few_rows = test_rows[:3]
requests = [row[:-1] for row in few_rows]
before, after = (
    generate.answers(network, tokenizer, requests, max_new_tokens=32)
    for network in (base_model, result.model)
)
plot.table([
    {"request": row[-2]["content"], "before": old, "after": new}
    for row, old, new in zip(few_rows, before, after)
])
# %% [md]
The base model has read about the town, and goes on in that vein. Nobody has told it what a ticket asks for. Training does, with turn after turn of this wheel. The numbers are the sections that build it.
# %%
plot.cycle({
    "1 · tokens": "a request and its answer,\nas one row of numbers",
    "1 · mask": "which of the tokens does\nthe assistant write?",
    "2 · loss": "how much do those tokens\nsurprise the model?",
    "3 · update": "move each weight a little,\nto be surprised less",
}, back="the next batch", caption="Supervised fine-tuning")
# %% [md]
## 1 · A conversation becomes tokens

A language model continues a row of token numbers. So an exchange is written as one row, with marks that say who speaks: that is a *chat template*. The *response mask* is 1 on the tokens that the assistant writes, 0 on all others. Do both by hand.
# %% #nbval-check-output
question, answer = "Where is the library?", "In Mill Lane."
text = f"<|bos|><|user|>{question}<|assistant|>{answer}<|eos|>"
row = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
start = text.index(answer)  # a token is the assistant's when it begins here or later
response_mask = [int(first >= start) for first, _ in row["offset_mapping"]]
plot.tokens(tokenizer.tokenize(text), response_mask, "Two turns as tokens")
# %% [md]
The sign `▁` stands for a space: in front of a small word as part of its token, else alone. The mark `<|eos|>` ends the answer and belongs to it: a model that never learns to write it never stops.

The library does the same with the template that the tokenizer carries. Both must agree, number by number.
# %% #nbval-check-output
conversation = [
    {"role": "user", "content": question}, {"role": "assistant", "content": answer},
]
encoded = data.encode(tokenizer, conversation)
learnt = [token for token, bit in zip(encoded.ids, encoded.response_mask) if bit]
if tokenizer.chat_template == data.CHAT_TEMPLATE:  # another model writes other marks
    assert encoded.ids == row["input_ids"] and encoded.response_mask == response_mask
tokenizer.decode(learnt)
# %% [md]
**Notice** The answer carries loss, from its first space to the mark that ends it. The question carries none.
# %% [md]
## 2 · Loss on the response only

The model predicts each token from those before it. *Cross-entropy* is minus the logarithm of the probability that it gave to the token that came. A toy first: two positions, a vocabulary of three.

**Guess** What does a model pay that knows nothing and guesses among three?
<details><summary>The usual guess</summary>One third, since that is the probability. The loss is minus its logarithm: ln 3 = 1.10.</details>
# %% #nbval-check-output
import torch
from torch.nn.functional import cross_entropy

logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])  # no idea; leans to 0
targets = torch.tensor([1, 0])
probability = logits.softmax(-1)[torch.arange(2), targets]
assert torch.isclose(cross_entropy(logits, targets), -probability.log().mean())
probability, -probability.log()
# %% [md]
The loss of a batch is the mean over its tokens. A first version takes every token, the user's too. How many of them are the assistant's?
# %% #nbval-check-output
def loss_on_everything(network, batch):
    """Mean cross-entropy over all tokens but padding: the first version."""
    inputs = batch["input_ids"], batch["attention_mask"]
    logits = network(*inputs).logits[:, :-1]  # position t predicts token t + 1
    targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)[:, 1:]
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

encoded_rows = [data.encode(tokenizer, row, 512) for row in train_rows]
of_assistant = sum(sum(row.response_mask) for row in encoded_rows)
share = of_assistant / sum(len(row.ids) for row in encoded_rows)
print(f"{share:.0%} of all tokens belong to the assistant")
# %% [md]
That is its flaw: most of what it teaches is how users write. The final version drops the user's tokens from the sum. Their labels become -100, the number that cross-entropy ignores.
# %%
def response_loss(network, batch):
    """Mean cross-entropy over the assistant's tokens; labels are -100 elsewhere."""
    targets = batch["labels"][:, 1:]
    kept = (targets != -100).any(dim=0).nonzero()[:, 0]  # the others need no logits
    inputs = batch["input_ids"], batch["attention_mask"]
    logits = network(*inputs, logits_to_keep=kept).logits
    targets = targets[:, kept].flatten()
    return cross_entropy(logits.flatten(0, 1), targets, ignore_index=-100)

batch = data.collate(encoded_rows[:8], tokenizer.pad_token_id).to(chosen.device)
with torch.no_grad():
    print(f"everything: {loss_on_everything(base_model, batch):.2f} nats a token")
    print(f"response: {response_loss(base_model, batch):.2f} nats a token")
# %% [md]
Does the mask do what it says? A user's token must not pull on the model. So the gradient of the loss with respect to the logits is exactly zero wherever the next token is the user's, and nowhere else.
# %% #nbval-check-output
logits = base_model(batch["input_ids"], batch["attention_mask"]).logits[:, :-1]
logits, targets = logits.detach().requires_grad_(), batch["labels"][:, 1:]
cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
pulls = logits.grad.abs().sum(-1) > 0
assert torch.equal(pulls, targets != -100)
print(f"{pulls.sum()} of {batch['attention_mask'].sum()} tokens carry gradient")
# %% [md]
## 3 · The loop, from scratch

The rest is a loop: take a batch, measure the loss, ask each weight which way lowers it, move a small step. AdamW scales the step of each weight (Loshchilov and Hutter, 2019). The step size rises briefly, then falls along a cosine.
# %%
import math

from transformers import get_cosine_schedule_with_warmup


def batches(encoded, size, generator):
    """The rows in random order, `size` at a time, padded."""
    order = torch.randperm(len(encoded), generator=generator).tolist()
    for start in range(0, len(order), size):
        rows = [encoded[index] for index in order[start : start + size]]
        yield data.collate(rows, tokenizer.pad_token_id).to(chosen.device)
# %%
def fine_tune(network, encoded, epochs, rate, size, seed, loss_of=response_loss):
    """Train all weights in place; returns the loss of each step, before its update."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    steps = epochs * math.ceil(len(encoded) / size)
    schedule = get_cosine_schedule_with_warmup(optimiser, steps // 30, steps)
    losses = []
    for _ in range(epochs):
        for batch in batches(encoded, size, generator):
            loss = loss_of(network, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.item())
    return losses
# %% [md]
Before you run it: the loss on the answers of unseen tickets is the dashed line below. Where will the training loss begin, and where will it end?
# %%
from ftlib import evaluate

recipe = chosen.learning_rate, chosen.batch_size, chosen.seed
mine = model.clone(base_model).train()
losses = fine_tune(mine, encoded_rows, chosen.epochs, *recipe)
unseen = evaluate.loss(base_model, tokenizer, test_rows).nats_per_token.mean
figure, axes = plot.figure()
plot.line(axes, range(1, len(losses) + 1), losses, "training")
plot.floor(axes, unseen, "base model, unseen rows")
axes.set(xlabel="step", ylabel="loss (nats a token)")
alt = f"The loss goes from {losses[0]:.2f} to {losses[-1]:.2f} nats"
plot.show(figure, "Loss of each batch, before its update", alt)
# %% [md]
What is it good for? That shows on rows that were not trained on: the loss, the share of right answers, and the share of answers that end by themselves.
# %%
metric = None if chosen.data_path else evaluate.METRICS[chosen.task]
goal = "score" if metric else "loss"

def measure(network):
    """Loss on unseen rows and, where there is a rule for right, the score."""
    found = {"loss": evaluate.loss(network, tokenizer, test_rows).nats_per_token}
    if metric:
        rows = [{"messages": row} for row in test_rows]
        scored = evaluate.score(network, tokenizer, rows, metric)
        found |= {"score": scored.interval, "answers that end": scored.ended}
    return found

at_first, now = measure(base_model), measure(mine.eval())
plot.table([{"model": "base", **at_first}, {"model": "fine-tuned", **now}])
# %% [md]
**Notice** The base model scores nothing, since it goes on where an answer should end. After training the answers end. Which token did that?

## 4 · The same with the library

In practice nobody writes this loop. TRL's `SFTTrainer` has it, with the mask taken from the `{% generation %}` marks of the chat template. Give it the same batches in the same order, and compare the losses.

Two of its defaults are made for a large GPU: 16-bit numbers (`bf16`), and activation checkpointing, which saves memory and costs time.
# %%
from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

steps = min(8, len(encoded_rows) // chosen.batch_size)
few = encoded_rows[: steps * chosen.batch_size]
arguments = SFTConfig(
    max_steps=steps, per_device_train_batch_size=chosen.batch_size,
    learning_rate=chosen.learning_rate, lr_scheduler_type="cosine", weight_decay=0.0,
    assistant_only_loss=True, max_length=512, train_sampling_strategy="sequential",
    bf16=False, activation_checkpointing=False, use_cpu=chosen.device == "cpu",
    logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
)
# %%
shuffle = torch.Generator().manual_seed(chosen.seed)
order = torch.randperm(len(few), generator=shuffle).tolist()
dataset = Dataset.from_list([{"messages": train_rows[index]} for index in order])
theirs = SFTTrainer(
    model.clone(base_model), arguments,
    train_dataset=dataset, processing_class=tokenizer,
)
theirs.remove_callback(PrinterCallback)
theirs.train()
library = [entry["loss"] for entry in theirs.state.log_history if "loss" in entry]
# %%
ours = fine_tune(model.clone(base_model).train(), few, 1, *recipe)
torch.testing.assert_close(torch.tensor(ours), torch.tensor(library), atol=5e-3, rtol=0)
pairs = enumerate(zip(ours, library), start=1)
plot.table([{"step": step, "our loop": a, "SFTTrainer": b} for step, (a, b) in pairs])
# %% [md]
**Notice** Equal losses at the first step show the same mask and the same mean; equal losses later, the same gradients and optimiser. `train.sft`, which made the model at the beginning, is this loop once more, with checkpoints.

## 5 · How many examples are enough?

The guide gives four answers: at least 1 000; 500 to 1 000; a few thousand to a few million; 50 to 100 000. None says for which task and model. So measure, with both losses of section 2.

**Guess** Of the score with 800 examples, how much do 100 examples reach?
<details><summary>The usual guess</summary>One eighth. But much of what a task needs the model can do already; training mostly tells it what to do with that.</details>
# %%
import random

from ftlib import experiment

pool = [data.encode(tokenizer, row, 512) for row in every_row]
losses_of = {"the response": response_loss, "everything": loss_on_everything}

def one_run(size, loss_on, seed):
    """Train on `size` rows, in as many steps as above or more; the result."""
    drawn = random.Random(seed).sample(pool, size)
    epochs = chosen.epochs * max(1, len(train_rows) // size)
    network = model.clone(base_model).train()
    fine_tune(network, drawn, epochs, *recipe[:2], seed, losses_of[loss_on])
    return {goal: measure(network.eval())[goal].mean}
# %% [md]
`experiment.grid` calls that function for each size, loss and seed. The runs take minutes, so the workbook keeps those of the shipped settings and repeats one, to see whether it still holds here. Change a parameter, and all of them are made again.
# %%
parts = [len(train_rows) * part // 8 for part in (1, 2, 4, 8, 16)]
sizes = sorted({min(size, len(pool)) for size in parts})
run_seeds = range(chosen.seed, chosen.seed + chosen.seeds)
runs = experiment.grid(
    one_run, size=sizes, loss_on=list(losses_of), seed=run_seeds, keep="4.01 examples",
)
plot.curve(runs, x="size", y=goal, by="loss_on", floor={"base model": at_first[goal]})
# %% [md]
The curve flattens, but has it ended? `evaluate.compare` takes the differences seed by seed and their 95 % interval. Its verdict is *better* or *worse* where the interval leaves out zero, *equal* where it lies within the margin that we care about, and *undecided* otherwise.
# %%
margin, sign = 0.05, 1 if metric else -1  # of a loss, less is better

def results(size, loss_on="the response"):
    """What these runs reached, one a seed; more is better."""
    chosen_runs = runs[(runs["size"] == size) & (runs["loss_on"] == loss_on)]
    return sign * chosen_runs[goal]

most = sizes[-1]
rivals = {f"{size} examples": results(size) for size in sizes[:-1]}
verdicts = {
    name: evaluate.compare(rival, results(most), margin)
    for name, rival in rivals.items()
}
mask = evaluate.compare(results(most, "everything"), results(most), margin)
plot.table([
    {"against": name, "verdict": found.verdict, "difference": found.difference}
    for name, found in [*verdicts.items(), ("loss on everything", mask)]
], f"{most} examples, loss on the response")
# %% [md]
The four numbers of the guide contradict each other because the question has no single answer (correction d47). It depends on how far the task lies from what the model can do, and on how varied it is. A curve like this one costs less than an argument.
# %%
from ftlib import claims

what, who = chosen.data_path or chosen.task, chosen.model_id or f"{chosen.tier} tier"
where = f"4.01, {what}, {who}, {chosen.seeds} seeds"
equal = [name for name, found in verdicts.items() if found.verdict.startswith("equal")]
claims.record(
    "1-64", "at least 1,000 samples are recommended",
    f"equal to {most} examples: {', '.join(equal) or 'no smaller number'}",
    verdict="does not hold" if equal else "not at this size", where=where,
)
reached = evaluate.seeds_interval(sign * results(most))
claims.record(
    "1-65", "500 to 1,000 examples already give good results", reached.mean,
    interval=reached, where=f"{where}, {most} examples",
    verdict="holds" if metric and reached.low >= 0.8 else "partly",
)
# %% [md]
## 6 · What it forgets, and what replay keeps

Fine-tuning moves every weight, also those that hold what the model knew. The town of the shipped model is known exactly, so forgetting can be counted: facts that pre-training taught, and the loss on prose of the kind it read.
# %%
facts = [fact for fact in data.load("facts", "facts") if fact["known"]]
random.Random(0).shuffle(facts)
facts = facts[: chosen.test_examples]
prose = [row["text"] for row in data.load("corpus", "held_out")[:60]]

def memory(network):
    """Share of known facts recalled, and loss on unseen prose."""
    recalled = evaluate.cloze(network, tokenizer, facts)
    loss = evaluate.loss(network, tokenizer, prose).nats_per_token
    return {"known facts": sum(recalled) / len(recalled), "prose loss": loss.mean}

knew, knows = memory(base_model), memory(result.model)
changed = model.changed(result.model, model.snapshot(base_model))
print(f"{len(changed)} of {len(list(base_model.parameters()))} weight tensors moved")
plot.table([{"model": "base", **knew}, {"model": "fine-tuned", **knows}])
# %% [md]
A cheap remedy is *replay*: beside the new examples, go on reading a little of the old text. Many recommend it, and few measure how much is needed. Mix in beginnings of texts from the pre-training corpus, as long as an example, from none to one for each.

**Guess** How many texts to a hundred examples keep half of what is lost without them?
<details><summary>The usual guess</summary>About a hundred, since old and new should be in balance.</details>
# %%
old_texts = [row["text"] for row in data.load("corpus", "sample")]

def with_replay(replay, seed):
    """Train on the examples and on `replay` times as many old texts."""
    count = min(round(replay * len(encoded_rows)), len(old_texts))
    texts = random.Random(seed).sample(old_texts, count)
    old_rows = [data.encode_text(tokenizer, text, 64) for text in texts]
    network = model.clone(base_model).train()
    fine_tune(network, encoded_rows + old_rows, chosen.epochs, *recipe[:2], seed)
    return {goal: measure(network.eval())[goal].mean, **memory(network)}

shares = [0.0, 0.05, 0.1, 0.25, 0.5, 1.0]
replayed = experiment.grid(
    with_replay, replay=shares, seed=run_seeds, keep="4.01 replay",
)
known = knew["known facts"]
plot.curve(replayed, x="replay", y="known facts", floor={"base model": known})
# %%
plot.curve(replayed, x="replay", y=goal, floor={"base model": at_first[goal]})
without = replayed[replayed["replay"] == 0]
lost = evaluate.seeds_interval(known - without["known facts"])
claims.record(
    "4-010", "fine-tuning on one task makes the model forget others", lost.mean,
    interval=lost, where=f"{where}, share of known facts",
    verdict="holds" if lost.low > 0 else "does not hold",
)
claims.record(
    "d22", "instruction fine-tuning works via prompt engineering",
    f"{len(changed)} weight tensors moved", where=f"{where}, one run",
    verdict="does not hold",
)
# %% [md]
**Notice** One dial, two curves. What is kept rises with the first few texts, long before they are as many as the examples; the second curve says what that costs. The last card is a correction (d22): a prompt moves no weight.

## Exercises

Each has a stub, a check, a hint and a solution. A stub runs as it is; its check then says *not attempted*.

### 4.01.1 Predict · easy · 3 minutes

The text below is a training example with two assistant turns. Each digit and sign is a token, and so is the space `▁` that begins a turn. How many tokens carry loss?

`<|bos|><|user|>1+1?<|assistant|>2<|eos|><|user|>9+9?<|assistant|>18<|eos|>`
# %% #exercise
tokens_with_loss = check.todo  # a whole number

check.exercise("4.01.1", tokens_with_loss)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Both answers carry loss, from the `▁` that begins them to the mark that ends them.

</details>

<details><summary>Solution</summary>

```python
tokens_with_loss = 7  # ▁ 2 <|eos|> and ▁ 1 8 <|eos|>
```

</details>
# %% [md]
### 4.01.2 Repair · medium · 8 minutes

The loss in the comment runs, falls, and teaches the wrong thing: the model learns to repeat the token that it has just read. Repair it.
# %% #exercise
def next_token_loss(logits, labels):
    """logits: [batch, length, vocabulary]; labels: [batch, length], -100: no loss."""
    # flawed: cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    return check.todo  # return the repaired loss

check.exercise("4.01.2", next_token_loss)
# %% [md] #hint #solution
<details><summary>Hint</summary>

The logits at position t are the model's guess for position t + 1. Which logits have no label, and which label has no guess?

</details>

<details><summary>Solution</summary>

```python
def next_token_loss(logits, labels):
    logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return cross_entropy(logits, labels, ignore_index=-100)
```

</details>
# %% [md]
### 4.01.3 Measure · medium · 12 minutes

Two recipes were run with the same seeds. Which is better, or are they equal within a margin, or is it undecided? The 95 % interval of the paired differences decides (`evaluate.seeds_interval`), by the rule of section 5.
# %% #exercise
def verdict_of(first, second, margin):
    """Scores by seed, higher is better: "first", "second", "equal" or "undecided"."""
    return check.todo

check.exercise("4.01.3", verdict_of)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Take the difference seed by seed, then its interval. First ask whether it lies within the margin, ends included; then whether it leaves out zero.

</details>

<details><summary>Solution</summary>

```python
def verdict_of(first, second, margin):
    gain = evaluate.seeds_interval([a - b for a, b in zip(first, second)])
    if -margin <= gain.low and gain.high <= margin:
        return "equal"
    if gain.low > 0:
        return "first"
    return "second" if gain.high < 0 else "undecided"
```

</details>
# %% [md]
### 4.01.4 Transfer · hard · 12 minutes

A colleague sends Alpaca rows: `instruction`, `input` (often blank), `output`. Turn one into messages; a line break stands between instruction and input. Leave a blank input out, and refuse a row without an answer with a `ValueError`: training on it would teach silence.
# %% #exercise
def to_messages(row):
    """row: a dict with instruction, input, output. A user and an assistant message."""
    return check.todo

check.exercise("4.01.4", to_messages)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Join instruction and input with a line break when the input says something. `"  ".strip()` is empty, and empty is false.

</details>

<details><summary>Solution</summary>

```python
def to_messages(row):
    if not row["output"].strip():
        raise ValueError("the row has no output")
    request = row["instruction"]
    if row["input"].strip():
        request += "\n" + row["input"]
    answer = {"role": "assistant", "content": row["output"]}
    return [{"role": "user", "content": request}, answer]
```

</details>
# %% [md]
## Hand over

The next stage loads a folder: weights, tokenizer, and a manifest that says what made them.
# %%
from ftlib import artefact

final = measure(result.model)
metrics = {goal: final[goal], **final}  # the headline first
metrics |= {f"{name} of the base model": was for name, was in at_first.items()}
folder = artefact.hand_over(
    "4.01", chosen, result.model, tokenizer, metrics, result.seconds,
)
reloaded, _ = model.load(str(folder), chosen.device)
assert generate.answers(reloaded, tokenizer, requests, max_new_tokens=32) == after
# %% [md]
## Recap

A conversation is one row of tokens with a mask; only the assistant's tokens carry loss. The loop that trains on them fits on a page, and the library's gives the same losses. A few hundred examples bring out what the base model can already do, at the price of some of what it knew, and a little replay buys part of that back.

1. Why does the end mark belong to the assistant's tokens?
2. Training losses are equal and held-out losses differ. What could be the reason?
3. A curve still rises at its last point. What do you do next, and what do you not yet know?

**Further reading** Wei et al. (2022), *Finetuned language models are zero-shot learners*. Ouyang et al. (2022), *Training language models to follow instructions with human feedback*. Zhou et al. (2023), *LIMA: less is more for alignment*. Loshchilov and Hutter (2019), *Decoupled weight decay regularization*. Scialom et al. (2022), *Fine-tuned language models are continual learners*.
