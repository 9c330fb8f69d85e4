# %% [md]
# 4.03 LoRA

**A small file teaches the model a task and leaves every weight of it as it was. You write the mechanism, show it equal to the library's, and measure what it can do and what it cannot.**

| | |
|---|---|
| You make | an adapter, and a measured answer to "which rank, where, at which learning rate?" |
| You need | chapter 4.01, and what a matrix product is |
| Expected | EXPECTED |
| Time and memory | tiny: a minute on two CPU cores, 1.5 GB · small: 15 minutes on a free cloud GPU |
| Before | 4.01 supervised fine-tuning · **after** 5.01 metrics and loss curves |
# %% #bootstrap
BOOTSTRAP
# %% #parameters
task: str = "translate"        # triage | extract | arithmetic | summarise | reply | ...
rank: int = 8                  # 1 to 256: width of the narrow middle
examples: int = 400            # 8 to 100000: training examples
test_examples: int = 200       # 20 to 10000: rows that an evaluation reads
epochs: int = 6                # 1 to 50: passes over the training examples
learning_rate: float = 4e-3    # 1e-6 to 0.1: of LoRA; full fine-tuning takes a quarter
batch_size: int = 16           # 1 to 256: examples in one update
seeds: int = 3                 # 2 to 20: repetitions of each experiment
seed: int = 0                  # 0 to 10000: every random choice follows from it
data_path: str = ""            # your own file; "" = the data shipped with the workbook
model_id: str = ""             # another base model; "" = the model of the tier
tier: str = "tiny"             # tiny | small | large
# %%
from ftlib import artefact, check, claims, data, evaluate, experiment, model, settings

chosen = settings.start(
    "4.03", task=task, rank=rank, examples=examples, test_examples=test_examples,
    epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, seeds=seeds,
    seed=seed, data_path=data_path, model_id=model_id, tier=tier,
)
# %% [md]
## Where we are going

An *adapter* is a small set of new weights beside the old ones, which stay frozen. For now `peft` adds it and `train.sft` trains it; by section 2 you will have written it yourself.

Two tasks run through the chapter, since LoRA does not treat them alike. Some rows of each train, some are held back to choose learning rates, some test.
# %%
base_model, tokenizer = model.load(chosen.model, chosen.device)
main_task = "your rows" if chosen.data_path else chosen.task
contrast = "translate" if main_task == "triage" else "triage"
shipped = [data.load(contrast, split) for split in ("train", "test")]
second_task = [[row["messages"] for row in split] for split in shipped]
sources = {main_task: data.examples(chosen, tokenizer), contrast: second_task}
rows = {}
for name, (pool, test_rows) in sources.items():
    cut, most = min(chosen.examples, len(pool) * 4 // 5), chosen.test_examples
    rows[name] = pool[:cut], pool[cut:][:most], test_rows[:most]

usual = {"task_type": "CAUSAL_LM", "target_modules": "all-linear"}
usual |= {"r": chosen.rank, "lora_alpha": 2 * chosen.rank}
variants = {"LoRA": usual, "full": None}
# %%
import copy
import functools
import random

import torch
from peft import LoraConfig, get_peft_model

from ftlib import generate, plot, train


@functools.lru_cache(maxsize=2)  # the last two runs are kept, not made again
def tuned(task, variant, rate_factor, seed):
    """The base model after training on a task: an adapter, or all weights ("full")."""
    rate, options = rate_factor * chosen.learning_rate, variants[variant]
    return train.sft(
        model.clone(base_model), tokenizer, rows[task][0], epochs=chosen.epochs,
        learning_rate=rate if options else rate / 4, batch_size=chosen.batch_size,
        seed=seed, adapter=LoraConfig(**options) if options else None,
    )
# %%
result = tuned(main_task, "LoRA", 1, chosen.seed)
requests = [row[:-1] for row in rows[main_task][2][:3]]
before = generate.answers(base_model, tokenizer, requests, max_new_tokens=32)
after = generate.answers(result.model, tokenizer, requests, max_new_tokens=32)
counts = model.parameters(result.model)
plot.table([
    {"request": request[-1]["content"], "before": old, "after": new}
    for request, old, new in zip(requests, before, after)
], f"{counts['trainable']:,} of {counts['total']:,} numbers were trained")
# %% [md]
Where are those numbers? Beside a frozen matrix W stand two thin ones, A and B. Their product is as large as W and is added to it. The drawing is to scale, for a square layer as wide as this model.
# %%
width, left = base_model.config.hidden_size, 0
shapes = {"W (frozen)": (width, width), "+ B": (width, rank), "· A": (rank, width)}
figure, axes = plot.figure(height=2.6)
for name, (tall, wide) in shapes.items():
    axes.bar(left + wide / 2, tall, wide, bottom=(width - tall) / 2)
    axes.text(left + wide / 2, -0.25 * width, f"{name}\n{tall} × {wide}", ha="center")
    left += wide + 0.4 * width
axes.set(xlim=(0, left), ylim=(-0.3 * width, width), aspect="equal")
axes.set_axis_off()
alt = ", ".join(f"{name}: {tall} by {wide}" for name, (tall, wide) in shapes.items())
plot.show(figure, "The weight in use is W plus a multiple of B · A", alt)
# %% [md]
## 1 · Low rank, by hand

Full fine-tuning adds a matrix ΔW to each weight. LoRA guesses that ΔW can be written as B·A with a narrow middle (Hu et al., 2021). The width of that middle is the *rank*. Take 4 × 4 and rank 1.
# %% #nbval-check-output
A = torch.tensor([[1.0, 0.0, 2.0, 0.0]])  # 1 x 4: what to look for in the input
B = torch.tensor([[0.0], [1.0], [0.0], [-1.0]])  # 4 x 1: what to write when it is found
x = torch.tensor([3.0, 5.0, 1.0, 7.0])
assert torch.equal((B @ A) @ x, B @ (A @ x))  # the large matrix is never needed
B @ A
# %% [md]
Four rows, and each is a multiple of the same row: eight numbers describe sixteen. In general rank · (inputs + outputs) numbers describe inputs · outputs.

**Guess** A matrix is 100 × 100 and the rank 10. What share of its numbers is trained? From which rank on is nothing saved?
<details><summary>The usual guess</summary>A tenth, and rank 100. But there are two thin matrices: a fifth, and rank 50.</details>
# %% #nbval-check-output
def claim(row, says, seen, held):
    """Record a claim of the guide; held: whether it holds in each case tried."""
    verdict = "holds" if all(held) else "partly" if any(held) else "does not hold"
    claims.record(row, says, seen, verdict=verdict, where=f"4.03, {model_id or tier}")

def lora_size(rank, inputs, outputs):
    """How many numbers A and B have together."""
    return rank * (inputs + outputs)

assert lora_size(10, 100, 100) == 2_000 and lora_size(50, 100, 100) == 100 * 100
claim("4-022", "100 x 100, rank 10: 80 % fewer numbers", "2,000 of 10,000", [True])
claim("d6", "LoRA: 80 % fewer", "2 r / d of them; all at r = d / 2", [True, False])
# %% [md]
## 2 · From scratch, then with the library

What do A and B hold before training? A first version draws both at random.
# %% #nbval-check-output
draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(0))
weight, down, up, inputs = draw(64, 64), draw(4, 64), draw(64, 4), draw(64, 8)
off = (up @ down @ inputs).norm() / (weight @ inputs).norm()
print(f"before any training, the output is off by {off:.0%} of its size")
# %% [md]
That is its flaw: training starts from a damaged model. With both at zero nothing would ever move, for the gradient of each is multiplied by the other. The final version sets only B to zero: training starts exactly at the base model.

The update is scaled by α / rank, so that a larger rank does not mean a larger update.
# %%
class LoRALinear(torch.nn.Module):
    """A frozen linear layer plus a trainable low-rank update (Hu et al., 2021)."""

    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        A = torch.randn(rank, base.in_features) / base.in_features**0.5
        self.down = torch.nn.Parameter(A.to(base.weight))  # A; up is B
        self.up = torch.nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.down.T @ self.up.T)

plain, x = torch.nn.Linear(64, 32), torch.randn(8, 64)
layer = LoRALinear(plain, rank=4, alpha=8)
assert torch.equal(layer(x), plain(x))  # untouched at the start
layer(x).square().sum().backward()
assert plain.weight.grad is None and layer.up.grad.any() and not layer.down.grad.any()
# %% [md]
**Notice** W gets no gradient. B has one at once, A none in the first step. Why does A move from the second step on?

Now put such a layer around every linear layer of the model, the output layer left out.
# %%
def linear_layers(network):
    """Every linear layer but the output layer, by name."""
    head, found = network.get_output_embeddings(), network.named_modules()
    linear = {name: one for name, one in found if isinstance(one, torch.nn.Linear)}
    return {name: one for name, one in linear.items() if one is not head}

def add_lora(network, rank, alpha):
    """Freeze the network and put a LoRALinear around each of its linear layers."""
    network.requires_grad_(False)
    for name, layer in linear_layers(network).items():
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, LoRALinear(layer, rank, alpha))
    return network
# %% [md]
The library does the same. Give both the same A, and a B that is not zero: at zero any two adapters are equal. Then outputs and gradients must agree, matrix by matrix.
# %%
mine = add_lora(model.clone(base_model), chosen.rank, 2 * chosen.rank)
with model.quiet():
    theirs = get_peft_model(model.clone(base_model), LoraConfig(**usual))
pairs = []
for name in linear_layers(base_model):
    own, other = mine.get_submodule(name), theirs.base_model.model.get_submodule(name)
    pairs.append((own.down, other.lora_A["default"].weight))
    pairs.append((own.up, other.lora_B["default"].weight))
for ours, library in pairs:
    library.data.copy_(ours.data.normal_(std=0.02))
# %%
encoded = [data.encode(tokenizer, row, 512) for row in rows[main_task][0][:8]]
batch = data.collate(encoded, tokenizer.pad_token_id).to(chosen.device)
losses = [model.token_nats(network, batch).sum() for network in (mine, theirs)]
torch.testing.assert_close(*losses, atol=1e-3, rtol=1e-4)
sum(losses).backward()
for ours, library in pairs:
    torch.testing.assert_close(ours.grad, library.grad, atol=1e-3, rtol=1e-3)
# %% [md]
With equal gradients, training is the same, too. Now count: the number of weights must be that of the formula. The guide says that such methods train 15 to 20 % of a model, and that most of a model is attention.
# %%
layers, of_model = linear_layers(base_model), model.parameters(base_model)["total"]
attention = [name for name in layers if "attn" in name or "attention" in name]
mlp = [name for name in layers if name not in attention]
shapes = [layer.weight.shape for layer in layers.values()]
trained = {r: sum(lora_size(r, *shape) for shape in shapes) for r in (4, 32, rank)}
assert trained[rank] == counts["trainable"] == sum(one.numel() for one, _ in pairs)
moved = model.changed(result.model, model.snapshot(base_model))
assert all("lora_" in name for name in moved), "a weight of the base model has moved"
# %%
low, high = (trained[r] / of_model for r in (4, 32))
share = sum(layers[name].weight.numel() for name in attention) / of_model
found = f"ranks 4 to 32: {low:.1%} to {high:.1%}; of 4096 x 4096: 0.2 % to 1.6 %"
claim("d3", "typically 15 to 20 % are trained", found, [low >= 0.15, high >= 0.15])
claim("d4", "most parameters are in attention", f"{share:.0%} of all", [share > 0.5])
# %% [md]
**Notice** The wider a matrix, the smaller the share. The shipped model is very narrow.

## 3 · An adapter is a file

It can be saved, loaded, or multiplied out and added to W. A model so *merged* is as fast as before. Take the hardest case: an adapter for the other task with a *new token*, a tag that stands for the instruction.

LoRA freezes the embeddings, so the tag's row would stay random. `trainable_token_indices` trains that row and no other.
# %%
tag, its_tokenizer = f"<{contrast}>", copy.deepcopy(tokenizer)
its_tokenizer.add_tokens([tag])
new_id = its_tokenizer.convert_tokens_to_ids(tag)

def with_room(network):
    """The network with a row for the tag in its embeddings; some have spare ones."""
    if new_id >= len(network.get_input_embeddings().weight):
        network.resize_token_embeddings(len(its_tokenizer), mean_resizing=False)
    return network

def with_tag(row):  # in the place of an instruction on a line of its own
    first, _, rest = row[0]["content"].partition("\n")
    return [{**row[0], "content": f"{tag} {rest or first}"}, *row[1:]]
# %% [md]
Trained, reloaded, merged, merged and reloaded: four models, and they must agree on every logit but the tag's own, for it is only read. The tokenizer is saved beside the weights. `save_embedding_layers=False` keeps the file small; by default peft saves whole tables of embeddings after a resize.
# %%
second = train.sft(
    with_room(model.clone(base_model)), its_tokenizer,
    [with_tag(row) for row in rows[contrast][0]],
    adapter=LoraConfig(**usual, trainable_token_indices=[new_id]),
    epochs=max(1, chosen.epochs // 2), learning_rate=chosen.learning_rate,
    batch_size=chosen.batch_size, seed=chosen.seed,
).model
merged, folder = model.clone(second).merge_and_unload(), artefact.run_folder("4.03")
with model.quiet():
    second.save_pretrained(folder / "second", save_embedding_layers=False)
    merged.save_pretrained(folder / "merged")
for file in sorted(folder.glob("[ms]e*/*.safetensors")):  # merged and second
    print(f"{file.parent.name}: {file.stat().st_size / 1e6:.1f} MB")
# %%
ticket = with_tag(rows[contrast][2][0])[:-1]
prompt = data.prompt(its_tokenizer, ticket)
ids = its_tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]

@torch.no_grad()
def logits(network):  # without the tag's own: it is read, and never to be written
    return network(ids.to(chosen.device)).logits[..., : len(tokenizer)]

due = logits(second)
torch.testing.assert_close(logits(merged), due, atol=1e-3, rtol=1e-3)
for name in ("second", "merged"):
    its_tokenizer.save_pretrained(folder / name)
    reloaded, _ = model.load(str(folder / name), chosen.device)
    torch.testing.assert_close(logits(reloaded), due, atol=1e-3, rtol=1e-3)
# %% [md]
So one base model serves many tasks. Load the second adapter beside the first, and name the one that shall answer. Both use the same frozen weights.
# %%
with model.quiet():
    served = with_room(model.clone(result.model))  # its adapter is called "default"
    served.load_adapter(folder / "second", adapter_name="second")
shown = []
for name, request in (("default", requests[0]), ("second", ticket)):
    served.set_adapter(name)
    [answer] = generate.answers(served, its_tokenizer, [request], max_new_tokens=32)
    shown.append({"adapter": name, "request": request[-1]["content"], "answer": answer})
torch.testing.assert_close(logits(served), due, atol=1e-3, rtol=1e-3)
plot.table(shown)
# %% [md]
## 4 · Which rank does a task need?

Before any LoRA is trained, a full fine-tuning can tell. The *singular value decomposition* writes its ΔW as a sum of rank-1 matrices, weighted by *singular values*, the largest first. The first r are the best approximation of rank r (Eckart and Young, 1936). Put only those on the base model.

LoRA leaves the embeddings alone. So do it with their part of the update, and without.
# %%
facts = [fact for fact in data.load("facts", "facts") if fact["known"]]
facts = random.Random(0).sample(facts, min(len(facts), chosen.test_examples))
goal = "minus loss" if chosen.data_path else "score"  # of both, more is better

def reached(network, task, conversations):
    """The interval of the score; of your own rows, of minus the loss."""
    if chosen.data_path:
        nats = evaluate.loss(network, tokenizer, conversations).nats_per_token
        return evaluate.Interval(-nats.mean, -nats.high, -nats.low)
    answered = [{"messages": row} for row in conversations]
    return evaluate.score(network, tokenizer, answered, task).interval
# %%
def measured(network, task):
    """What it reached on rows held back and on test rows; known facts it recalls."""
    held_back, test = (reached(network, task, part).mean for part in rows[task][1:])
    known = sum(evaluate.cloze(network, tokenizer, facts)) / len(facts)
    return {"held back": held_back, goal: test, "known facts": known}

@torch.no_grad()
def cut_to_rank(task, embeddings, seed, rank):
    """The base model plus a low-rank part of what full fine-tuning adds to it."""
    full, network = tuned(task, "full", 1, seed).model, model.clone(base_model)
    for name, layer in linear_layers(network).items():
        update = full.get_submodule(name).weight - layer.weight
        left, values, right = torch.linalg.svd(update, full_matrices=False)
        layer.weight += left[:, :rank] * values[:rank] @ right[:rank]
    if embeddings == "trained":
        for end in ("get_input_embeddings", "get_output_embeddings"):
            getattr(network, end)().weight.copy_(getattr(full, end)().weight)
    return measured(network, task)
# %% [md]
**Guess** The drawing gave the width of a matrix. What rank does each of the two tasks need?
<details><summary>The usual guess</summary>Half the width. But an update is no noise: most of it points in few directions.</details>
# %%
run_seeds = range(chosen.seed, chosen.seed + chosen.seeds)
cut_runs = experiment.grid(
    cut_to_rank, task=list(rows), embeddings=["as before", "trained"], seed=run_seeds,
    rank=sorted({1, 2, 4, 8, 16, 64, width}), keep="4.03 cut to rank",
)
for name in rows:
    named = cut_runs[cut_runs["task"] == name].rename(columns={goal: name})
    plot.curve(named, x="rank", y=name, by="embeddings")
# %% [md]
**Notice** Where does each curve reach its full height, and what do the embeddings add? `translate` needs next to no rank and no embeddings, `triage` both.

## 5 · Rank, places, learning rate

Now train adapters: other ranks, places, a larger α, and the embeddings in full, beside LoRA (`modules_to_save`). Each has its own best learning rate (Schulman et al., 2025), chosen on the rows held back.

**Guess** At a rate far too low, does rank matter?
<details><summary>The usual guess</summary>As much as at a good rate. The figure shows whether.</details>
# %%
blocks = list(range(base_model.config.num_hidden_layers))
half = len(blocks) // 2
ends = sorted({name.rpartition(".")[2] for name in layers})  # such as q_proj, k_proj
table, head = base_model.get_input_embeddings(), base_model.get_output_embeddings()
[table_name] = [name for name, module in base_model.named_modules() if module is table]
tied = table.weight is head.weight  # one matrix at both ends, and it has to stay so
changes = {
    "attention": {"target_modules": attention},
    "MLP": {"target_modules": mlp},
    "lower half": {"target_modules": ends, "layers_to_transform": blocks[:half]},
    "upper half": {"target_modules": ends, "layers_to_transform": blocks[half:]},
    "and embeddings": {"modules_to_save": [table_name], "ensure_weight_tying": tied},
    "larger α": {"lora_alpha": 16 * chosen.rank},
}
ranks = {"LoRA": chosen.rank} | {f"rank {r}": r for r in (1, 4, 32, 64)}
changes |= {name: {"r": r, "lora_alpha": 2 * r} for name, r in ranks.items()}
variants |= {name: usual | change for name, change in changes.items()}
# %%
def one_run(task, variant, rate_factor, seed):
    return measured(tuned(task, variant, rate_factor, seed).model, task)

runs = experiment.grid(
    one_run, task=list(rows), variant=list(variants), rate_factor=[1, 1 / 8, 1 / 2, 2],
    seed=run_seeds, keep="4.03 variants",
)
runs["rank"] = runs["variant"].map(ranks)
of_task = runs[runs["task"] == contrast]
plot.curve(of_task.dropna(subset="rank"), x="rank", y=goal, by="rate_factor")
# %% [md]
**Notice** One line a rate. At the lowest, can you see what rank does? Who sweeps the rank only there finds that it does not matter.

Now compare the variants, each at its best rate. The guide says that attention is often enough; Biderman et al. (2024) put the MLP first.
# %%
def at_best_rate(task, variant):
    """The runs, one a seed, at the rate that is best on the rows held back."""
    found = runs[(runs["task"] == task) & (runs["variant"] == variant)]
    best = found.groupby("rate_factor")["held back"].mean().idxmax()
    return found[found["rate_factor"] == best]

def compared(variant, other="LoRA"):
    """A variant against another one on each task, both at their best rates."""
    found = {}
    for name in rows:
        first, second = (at_best_rate(name, one)[goal] for one in (other, variant))
        found[name] = evaluate.compare(first, second, margin=0.05)
    return found
# %%
shown = []
for variant in variants:
    line = {"variant": variant}
    for name, found in compared(variant).items():
        best = at_best_rate(name, variant)
        line |= {name: best[goal].mean(), f"{name}: rate": max(best["rate_factor"])}
        line |= {f"{name}: than LoRA": found.verdict}
    shown.append(line)
plot.table(shown, f"LoRA: rank {rank}, all linear layers. Rates: in units of its own")
# %% [md]
**Notice** Do "and embeddings" and the ranks do what section 4 foretold for each task? And which column tells that a larger α is much like a larger learning rate?
# %%
def over_tasks(row, says, found, wanted):
    """Record a claim from a comparison for each task; undecided is half a yes."""
    seen = [one.verdict for one in found.values()]
    held = [verdict in wanted for verdict in seen] + [True] * ("undecided" in seen)
    claim(row, says, "; ".join(f"{name}: {one}" for name, one in found.items()), held)

equal, most = "equal within the margin", compared("rank 64", "rank 32")
over_tasks("4-023", "ranks 4 to 32 are a good trade-off", most, ("worse", equal))
over_tasks("4-024", "attention is enough", compared("attention"), ("better", equal))
over_tasks("d5", "few trained parameters beat all", compared("full"), ("worse",))
# %% [md]
## 6 · What it forgets, at equal scores

Adapters are said to forget less. But what learns less forgets less, too. So take the highest score that both methods reach with every seed; of the runs that reach it, the one that keeps most facts speaks for its method.

**Guess** W is frozen. Does that protect what the model knows?
<details><summary>The usual guess</summary>Yes, no weight of it moves. But what counts is W plus the update, and that moves as far as the rate drives it.</details>
# %%
of_both = of_task[of_task["variant"].isin(["full", "LoRA"])]
knew = {"base model": sum(evaluate.cloze(base_model, tokenizer, facts)) / len(facts)}
plot.curve(of_both, x="rate_factor", y=goal, by="variant")
plot.curve(of_both, x="rate_factor", y="known facts", by="variant", floor=knew)

def at_equal_scores(task):
    """Whether LoRA keeps more facts than full fine-tuning where both reach a score."""
    found = runs[(runs["task"] == task) & runs["variant"].isin(["full", "LoRA"])]
    least = found.groupby(["variant", found.index])["held back"].max().min()
    good = found[found["held back"] >= least]
    left = good.groupby(["variant", good.index])["known facts"].max()
    return evaluate.compare(left["full"], left["LoRA"], margin=0.05)

less = {name: at_equal_scores(name) for name in rows}
over_tasks("4-013", "few trained parameters mean less forgetting", less, ("better",))
# %% [md]
**Notice** One dial moves both curves. The study that found LoRA to forget less (Biderman et al., 2024) is of far larger models. Another model does not know this town: read no forgetting from its facts.

## Exercises

Each has a stub, a check, a hint and a solution. A stub runs as it is; its check then says *not attempted*.

### 4.03.1 Predict · easy · 4 minutes

In an attention block of width 64, `q` maps 64 numbers to 64, `k` and `v` map 64 to 16 each. LoRA of rank 4 and α 8 is put on these three. How many numbers are trained?
# %% #exercise
trained_numbers = check.todo  # a whole number

check.exercise("4.03.1", trained_numbers)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Each layer has an A of rank × inputs and a B of outputs × rank. α is chosen, not trained.

</details>

<details><summary>Solution</summary>

```python
trained_numbers = 4 * (64 + 64) + 2 * 4 * (64 + 16)
```

</details>
# %% [md]
### 4.03.2 Repair · medium · 8 minutes

The sum in the comment merges an adapter into a weight. With square matrices it runs, and the merged model talks nonsense. Repair it; `down` tells the rank that α is divided by.
# %% #exercise
def merged_weight(weight, down, up, alpha):
    """weight: [outputs, inputs]; down (A): [rank, inputs]; up (B): [outputs, rank]."""
    # flawed: weight + alpha * down.T @ up.T
    return check.todo  # return the repaired sum

check.exercise("4.03.2", merged_weight)
# %% [md] #hint #solution
<details><summary>Hint</summary>

Which product has the shape of `weight` when there are more outputs than inputs? And how does section 2 scale the update?

</details>

<details><summary>Solution</summary>

```python
def merged_weight(weight, down, up, alpha):
    return weight + alpha / len(down) * (up @ down)
```

</details>
# %% [md]
### 4.03.3 Transfer · hard · 12 minutes

A colleague sends one weight before and after full fine-tuning, and asks which rank a LoRA would need. Return the smallest whose best approximation holds at least `share` of the update, by the squares of its singular values: their sum is the size of the update.
# %% #exercise
def rank_needed(before, after, share):
    """before, after: [outputs, inputs]; share: between 0 and 1. A whole number."""
    return check.todo

check.exercise("4.03.3", rank_needed)
# %% [md] #hint #solution
<details><summary>Hint</summary>

`torch.linalg.svdvals` gives the singular values of a matrix, the largest first. Square them, and count how many running sums fall short of the share.

</details>

<details><summary>Solution</summary>

```python
def rank_needed(before, after, share):
    held = torch.linalg.svdvals(after - before).square().cumsum(0)
    return int((held < share * held[-1]).sum()) + 1
```

</details>
# %% [md]
## Hand over

The next stage loads the adapter with its tokenizer, onto the base model that its folder names. The manifest says what made it.
# %%
test_rows = rows[main_task][2]
asked = [row[:-1] for row in test_rows]
ended = generate.answers(result.model, tokenizer, asked, max_new_tokens=64).ended
metrics = {
    goal: reached(result.model, main_task, test_rows),
    f"{goal} of the base model": reached(base_model, main_task, test_rows),
    "answers that end": sum(ended) / len(ended),
}
folder = artefact.hand_over(
    "4.03", chosen, result.model, tokenizer, metrics, result.seconds,
)
reloaded, _ = model.load(str(folder), chosen.device)
assert generate.answers(reloaded, tokenizer, requests, max_new_tokens=32) == after
# %% [md]
## Recap

LoRA freezes a weight and adds a product of two thin matrices, one of which starts at zero. Which rank a task needs, and whether it needs the embeddings, the singular values of a full update tell beforehand. Rank, places and forgetting can be compared only when each setting has its own learning rate.

1. Why does B start at zero, and A not?
2. You add a token and train LoRA on all linear layers. What does the model never learn?
3. Two ranks give equal scores. Name two possible reasons.

**Further reading** Hu et al. (2021), *LoRA: low-rank adaptation of large language models*. Aghajanyan et al. (2020), *Intrinsic dimensionality explains the effectiveness of language model fine-tuning*. Biderman et al. (2024), *LoRA learns less and forgets less*. Schulman et al. (2025), *LoRA without regret*.
