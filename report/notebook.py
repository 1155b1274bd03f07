# %% [markdown] tags=["remove-cell"]
# # What batch normalization does to training
#
# The same network with and without batch normalization, trained from the same weights on the same
# images: what the method is, an implementation that runs in front of you, and a study of many seeds
# that says what it does and how sure one may be. Run the cells from top to bottom; they find the
# results wherever this notebook lies. Without results, `make` in the checkout makes them.

# %% tags=["parameters"]
# Where the study is, as seen from its folder. `data` may name several datasets.
config = "results/run_config.yaml"
tables = "results/tables"
claims = "config/claims.yaml"
data = ["results/data/mnist/prepared.safetensors"]

# %% tags=["remove-cell"]
from functools import partial
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from torch import nn

from bnstudy import provenance
from bnstudy.networks import mlp, norms
from bnstudy.report import design, exhibits, figures, findings, pictures, verdict_exhibits, verdicts
from bnstudy.report.look import looks_of, series
from bnstudy.report.panels import small_multiples
from bnstudy.report.rendering import slug
from bnstudy.report.reporting import Report
from bnstudy.report.words import say
from bnstudy.settings import Settings
from bnstudy.tables import dictionary
from bnstudy.training import loop

torch.set_num_threads(1)  # the same sums in the same order, whatever the machine
report = Report(config, tables, data, claims)
results, judged = report.results, report.claims
runs, metrics = results.runs, results.metrics  # a row per run; a row per run, step and measure
first = results.datasets[0]

# Processes of their own draw the figures, while networks are trained and sentences found
pairs = (partial(figures.paired_differences, level=norm) for norm in results.treatments)
compared = [
    *(figures.learning_curves, *pairs, figures.train_against_validation, pictures.confusion),
    *(figures.probe_curves, figures.steps_to_target, figures.batch_size_effect),
    figures.accuracy_by_time,
]
compared = [figure(results, dataset) for figure in compared for dataset in results.datasets]
scorecard = verdict_exhibits.ratios(judged)
of_studies = {name: verdict_exhibits.of_study(judged, name) for name in judged.headings}
report.draw_ahead([*compared, scorecard, *chain(*of_studies.values())])


def show(study):
    """What came out of a study: its figures, its verdicts, its cells, and what else it measured."""
    *own, cells = of_studies[study]
    report.figure(*own)
    report.bullets(verdicts.verdict_sentences(judged.of(study)))
    report.table(verdict_exhibits.exact(judged, study))
    report.figure(cells)
    report.table(verdict_exhibits.further(judged, study))


# %% tags=["remove-input"]
report.opening({claim.id: slug(claim.heading) for claim in judged.judged if claim.was_run})
for dataset in results.datasets:
    report.text(findings.headline(results, dataset)[1])
    report.table(exhibits.key_numbers(results, dataset))
if missing := exhibits.missing(results):
    report.text("## What is missing")
    report.table(missing)

# %% [markdown]
# ## 1. Introduction
#
# {{ text/introduction.md }}

# %% tags=["remove-input"]
report.bullets(design.design(results))

# %% [markdown]
# {{ text/numbers.md }}
#
# ## 2. Understanding batch normalization
#
# {{ text/concept.md }}
#
# {{ text/credited.md }}

# %% tags=["remove-input"]
for benefit in verdicts.QUOTES["benefits"]:
    report.text(*findings.benefit(judged, benefit))

# %% [markdown]
# {{ text/layer.md }}

# %% tags=["remove-input"]
report.figure(pictures.computation())

# %% [markdown]
# A batch of four samples, worked by hand, with $\gamma = 1.5$ and $\beta = 0.5$:

# %%
x = pd.Series([4.0, 5.0, 7.0, 8.0])
gamma, beta, epsilon = 1.5, 0.5, 1e-5
mean, variance = x.mean(), x.var(ddof=0)
normalized = (x - mean) / (variance + epsilon) ** 0.5
output = gamma * normalized + beta
steps = pd.DataFrame({"input": x, "normalized": normalized, "output": output})
report.figure(pictures.four_samples(steps), live={"kind": "playground"})

# %% tags=["remove-input"]
words = {"mean": mean, "variance": variance, "x": x, "normalized": normalized}
report.text(say("four samples", "first", gamma=gamma, beta=beta, end=output[0], **words))

# %% [markdown]
# {{ text/running_statistics.md }}
#
# {{ text/backward.md }}


# %% tags=["unfolded"]
def batch_norm(x, gamma, beta, epsilon):
    mean, variance = x.mean(0), x.var(0, unbiased=False)
    normalized = (x - mean) / torch.sqrt(variance + epsilon)
    return gamma * normalized + beta, normalized, variance


def batch_norm_backward(gradient, normalized, variance, gamma, epsilon):
    along_spread = normalized * (gradient * normalized).mean(0)
    remaining = gradient - gradient.mean(0) - along_spread
    return gamma / torch.sqrt(variance + epsilon) * remaining


# %%
generator = torch.Generator().manual_seed(0)
samples, gradient = (torch.randn(32, 5, generator=generator).double() for _ in range(2))
samples = (3 * samples + 2).requires_grad_()
layer = torch.nn.BatchNorm1d(5).double()
with torch.no_grad():
    layer.weight.copy_(torch.linspace(0.5, 2, 5))
    layer.bias.copy_(torch.linspace(-1, 1, 5))

y = layer(samples)
y.backward(gradient)
x, g, b, eps = samples.detach(), layer.weight.detach(), layer.bias.detach(), layer.eps
expected, normalized, variance = batch_norm(x, g, b, eps)
backward = batch_norm_backward(gradient, normalized, variance, g, eps)
checks = {
    "output, training mode": (y, expected),
    "gradient of the input": (samples.grad, backward),
    "gradient of the scale": (layer.weight.grad, (gradient * normalized).sum(0)),
    "gradient of the shift": (layer.bias.grad, gradient.sum(0)),
    "running mean": (layer.running_mean, 0.1 * x.mean(0)),
    "running variance": (layer.running_var, 0.9 + 0.1 * x.var(0, unbiased=True)),
}

layer.eval()
samples.grad = None
layer.zero_grad()
y = layer(samples)
y.backward(gradient)
slope = g / torch.sqrt(layer.running_var + eps)
checks["output, evaluation mode"] = (y, slope * (x - layer.running_mean) + b)
checks["gradient of the input, evaluation mode"] = (samples.grad, slope * gradient)

largest = {name: float((a - b).detach().abs().max()) for name, (a, b) in checks.items()}
agreement = pd.Series(largest, name="largest difference").rename_axis("quantity").reset_index()
agreement["verdict"] = np.where(agreement["largest difference"] < 1e-12, "agrees", "differs")
report.frame("check", agreement)

# %% [markdown]
# ## 3. Dataset and preprocessing

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.dataset_sentence(report.data[dataset], in_a_row=True))
    report.figure(pictures.sample_images(report.data[dataset], results.label("samples", dataset)))

# %% [markdown]
# {{ text/loading.md }}

# %%
images = report.data[first]
order = torch.randperm(len(images.train_images), generator=torch.Generator().manual_seed(0))
n_learn, _ = results.split_sizes(first)
learn, validate = order[:n_learn], order[n_learn:]
report.table(exhibits.splits(results))

# %% tags=["remove-input"]
report.text(design.scaling_sentence(results))

# %%
# (pixel / largest - middle) / spread, in a row; standardized pixels take both from what is learned
every = images.train_images.float() / images.pixel_max
(scaling,) = results.values("scaling")
middle, spread = (0.5, 0.5) if scaling == "symmetric" else (0.0, 1.0)
if scaling == "standardize":
    middle, spread = every[learn].mean().item(), every[learn].std().item()


def prepare(indices):
    return (every[indices].flatten(1) - middle) / spread, images.train_labels[indices]


stored = np.array([0.0, 1.0, every.mean().item(), every.std().item()])
seen = (stored - [middle, middle, middle, 0]) / spread
pixels = pd.DataFrame([stored * images.pixel_max, seen])
pixels.columns = ["smallest", "largest", "mean", "standard deviation"]
pixels.insert(0, "pixels", ["as stored", "as the network sees them"])
report.frame("pixels", pixels, title=images.title)

# %% tags=["remove-input"]
report.text(design.centring_sentence(images.title, *pixels.iloc[1, 3:5]))

# %% [markdown]
# **Class balance.** Accuracy is easy to read only if the classes are about equally common.

# %%
labels = pd.Series(images.train_labels.numpy(), name="images").map(dict(enumerate(images.classes)))
shares = labels.value_counts(normalize=True).reindex(images.classes).mul(100)


def draw():
    axes = {"x": "share of images (%)", "y": "class", "yscale": None}
    height = 0.21 * len(shares) + 0.2
    panels = small_multiples(shares.reset_index(), None, None, height=height, **axes)
    for ax, _ in panels:
        sns.barplot(x=shares.to_numpy(), y=list(shares.index), color="#56b4e9", saturation=1, ax=ax)
    return panels.finish()


table = shares.rename("share of images (%)").rename_axis("class").reset_index()
words = {"title": images.title, "n": len(labels), "equal": 100 / len(shares)}
words |= {"low": shares.min(), "least": shares.idxmin()}
words |= {"high": shares.max(), "most": shares.idxmax()}
report.drawing("balance", table, draw, **words)

# %% [markdown]
# ## 4. Model implementation
#
# ### The feedforward network without batch normalization
#
# Linear layers, each but the last followed by its activation function.

# %% tags=["unfolded"]
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
(activation,) = (ACTIVATIONS[name] for name in results.values("activation"))


class PlainNetwork(nn.Sequential):
    def __init__(self, widths):
        *hidden, (last, n_classes) = pairwise(widths)
        layers = []
        for n_in, n_out in hidden:
            layers += [nn.Linear(n_in, n_out), activation()]
        super().__init__(*layers, nn.Linear(last, n_classes))


# %% [markdown]
# {{ text/normalized.md }}


# %% tags=["unfolded"]
class NormalizedNetwork(nn.Sequential):
    def __init__(self, widths):
        *hidden, (last, n_classes) = pairwise(widths)
        layers = []
        for n_in, n_out in hidden:
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), activation()]
        super().__init__(*layers, nn.Linear(last, n_classes))


# %%
hidden = report.config["model"]["hidden"]
widths = [images.train_images[0].numel(), *hidden, len(images.classes)]
networks = {"none": PlainNetwork, "batch": NormalizedNetwork}


def new_network(norm):
    torch.manual_seed(0)
    return networks[norm](widths)


rows = []
for norm in networks:
    network = new_network(norm)
    learned = sum(parameter.numel() for parameter in network.parameters())
    kept = sum(buffer.numel() for buffer in network.buffers() if buffer.dim())
    rows.append([norms.NORMS[norm].title, learned, kept])
report.frame("numbers learned", rows, label="parameters")

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    built = pictures.networks(report.config, report.data[dataset])
    report.figure(pictures.network_blocks(results, dataset, built))

# %% [markdown]
# Is this the network that the study trained? Its weights are copied into one that the study's own
# code builds (the [code that trained](#D.-Method) stands in the appendix); both must put out the same.

# %%
inputs, _ = prepare(validate[:100])
largest = {}
for norm in networks:
    chosen = Settings(hidden=tuple(hidden), norm=norm, activation=results.values("activation")[0])
    ours, theirs = new_network(norm), mlp.build_mlp(chosen, widths[:1], widths[-1])
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    largest[norm] = (ours(inputs) - theirs(inputs)).abs().max().item()
print({norm: f"largest difference {difference:g}" for norm, difference in largest.items()})

# %% [markdown]
# ## 5. Training and evaluation
#
# {{ text/training.md }}


# %% tags=["unfolded"]
@torch.no_grad()
def evaluate(network, inputs, labels):
    """Mean cross-entropy in nats and share of images whose most probable class is right."""
    network.eval()
    logits = network(inputs)
    network.train()
    accuracy = (logits.argmax(1) == labels).float().mean()
    return F.cross_entropy(logits, labels).item(), accuracy.item()


def train(network, learning, validation, batch_size, optimizer, look_at):
    """One pass over the images to learn from; yields step, validation loss and accuracy."""
    inputs, labels = learning
    yield 0, *evaluate(network, *validation)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1))
    for step, batch in enumerate(order.split(batch_size), start=1):
        loss = F.cross_entropy(network(inputs[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in look_at:
            yield step, *evaluate(network, *validation)


# %% [markdown]
# Both networks, live: some hundred steps on a part of the images, which takes seconds.

# %%
said = {name: results.values(name)[0] for name in ("learning_rate", "optimizer")}
batch_sizes = [int(size) for size in results.values("batch_size")]
batch_size = 64 if 64 in batch_sizes else batch_sizes[0]
n_steps = min(400, len(learn) // batch_size)
learning, validation = prepare(learn[: n_steps * batch_size]), prepare(validate[:2000])
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}

# The study's own measurements at this batch size, to look at the same steps
keys = {"split": "probe", "metric": "accuracy", "batch_size": batch_size, "dataset": first}
study = results.select(metrics, **keys)
study = study[(study["step"] <= n_steps) & study["norm"].isin(list(networks))]

rows = []
for norm in networks:
    network = new_network(norm)
    optimizer = OPTIMIZERS[said["optimizer"]](network.parameters(), lr=said["learning_rate"])
    seen = train(network, learning, validation, batch_size, optimizer, set(study["step"]))
    rows += [(norm, *measured) for measured in seen]
live = pd.DataFrame(rows, columns=["norm", "step", "loss", "accuracy"])

# %% [markdown]
# Beside it the study, at the same steps and the same batch size: other divisions of the images, other
# weights and orders, so the live run should lie among its seeds.

# %%
arms = looks_of(list(networks), "none", results.level_name)


def draw():
    axes = {"x": "step", "y": "validation accuracy (%)", "yscale": "percent"}
    panels = small_multiples(study, None, None, height=2.2, **axes)
    for ax, _ in panels:
        style = series(arms, "norm", markers=False)
        sns.lineplot(study, x="step", y="value", ax=ax, alpha=0.4, lw=4, **style)
        sns.lineplot(live, x="step", y="accuracy", ax=ax, **style | {"errorbar": None})
    return panels.finish(arms)


ends = live[live["step"] == live["step"].max()].set_index("norm")["accuracy"]
words = {"title": images.title, "batch_size": batch_size, "seeds": results.n_seeds}
report.drawing("live", live, draw, ends=100 * ends, last=live["step"].max(), **words)

# %%
seeds = study.groupby(["norm", "step"])["value"].agg(["min", "mean", "max"])
beside = live.set_index(["norm", "step"])[["accuracy"]].join(seeds, how="inner").mul(100)
beside = beside.groupby("norm", sort=False).tail(4).round(2).reset_index()
beside["inside"] = np.where(beside["accuracy"].between(beside["min"], beside["max"]), "yes", "no")
beside["norm"] = beside["norm"].map(results.level_name)
beside = beside.rename(columns={"norm": "network", "accuracy": "live"})
report.frame("live", beside, batch_size=batch_size)

# %% [markdown]
# {{ text/performance.md }}

# %%
# Mean and standard deviation over the seeds; a run that failed counts as one that guesses
names = {"test_accuracy": "test accuracy (%)", "val_accuracy": "validation accuracy (%)",
         "test_loss": "test loss (nats)", "val_loss": "validation loss (nats)",
         "train_loss": "training loss (nats)"}  # fmt: skip


def in_words(table):
    """Levels and datasets as a reader calls them; one dataset needs no column."""
    table = table.reset_index()
    table["norm"] = table["norm"].map(results.level_name)
    if "dataset" in table:
        table["dataset"] = table["dataset"].map(results.title)
        table = table.drop(columns="dataset") if len(results.datasets) == 1 else table
    return table.rename(columns={"batch_size": "batch size", "norm": "normalization"})


def mean_and_spread(values, digits):
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


cells = {}
for name, title in names.items():
    scale, digits = (100, 2) if name.endswith("accuracy") else (1, 4)
    scored = results.scored(name).assign(value=lambda frame, s=scale: s * frame["value"])
    groups = scored.groupby(["dataset", "batch_size", "norm"])["value"]
    cells[title] = groups.agg(mean_and_spread, digits=digits)
    if groups.size().nunique() > 1:  # of an unfinished study
        cells["n"] = groups.size()
report.frame("arms by hand", in_words(pd.DataFrame(cells)), label="arms", results=results)

# %% [markdown]
# **Pairs.** Runs of two arms that share a seed are a pair. Their difference is free of what the seed
# brings to both:

# %%
by_seed = results.scored("test_accuracy").pivot_table(index="seed", columns="norm", values="value")
if {"none", "batch"} <= set(by_seed):
    points = 100 * (by_seed["batch"] - by_seed["none"]).dropna()
    print(points.round(2).rename("points of test accuracy, by seed").to_string())

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.why_no_comparison(results))
    for norm in results.treatments:
        report.figure(figures.paired_differences(results, dataset, norm))
        report.table(exhibits.comparison(results, dataset, norm))
        report.table(exhibits.comparison(results, dataset, norm, others=True))

# %% [markdown]
# **Training against validation.** The gap between both says how much of what was learned is about the
# training images alone.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.train_against_validation(results, dataset))

# %% [markdown]
# {{ text/by_class.md }}

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(exhibits.classes(results, dataset))
    report.figure(pictures.confusion(results, dataset))

# %% [markdown]
# {{ text/batch_sizes.md }}

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.probe_curves(results, dataset), figures.steps_to_target(results, dataset))

# %%
# Steps to the target; a run that never came there counts with all its steps
steps = results.scored("steps_to_target").assign(
    missed=runs["steps_to_target"].isna(), logarithm=lambda frame: np.log(frame["value"])
)
groups = steps.groupby(["dataset", "batch_size", "norm"])
table = groups["value"].agg(["min", "max"]).set_axis(["fewest", "most"], axis=1)
table.insert(0, "geometric mean", groups["logarithm"].agg(lambda logs: np.exp(logs.mean())))
table["images seen"] = table["geometric mean"] * table.index.get_level_values("batch_size")
table["never reached"] = groups["missed"].sum()
report.frame("steps", in_words(table), results=results)

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.batch_size_effect(results, dataset))

# %% [markdown]
# ## 6. Analysis and interpretation
#
# Five questions, each answered in the same order: what was found, why by the evidence of the studies
# in the [appendix](#A.-Claims-one-by-one), and how sure that is.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.why_no_comparison(results))
    for norm in results.treatments:
        for question in verdicts.QUOTES["questions"]:
            report.text(f"### {question}" + f" {results.arm(norm)}" * (len(results.treatments) > 1))
            report.text(*findings.answer(results, judged, dataset, norm, question))

# %% [markdown]
# {{ text/other_conditions.md }}

# %% tags=["remove-input"]
elsewhere = [findings.remaining_table(results, norm) for norm in results.treatments]
report.table(*elsewhere)
if not any(elsewhere):
    report.text("Neither study is part of this run; `make` has both.")
report.text("### Advantages and limitations")
for dataset in report.each_dataset():
    for norm in results.treatments:
        report.table(findings.balance(results, judged, dataset, norm))

# %% [markdown]
# {{ text/limitations.md }}
#
# ## 7. Conclusion

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(
        findings.headline(results, dataset)[0],
        *(" ".join(findings.conclusion(results, dataset, norm)) for norm in results.treatments),
    )
report.text(verdicts.headline(judged))
report.text(*(findings.remains(results, norm) for norm in results.treatments))
report.text("### Limits of this study")
report.bullets(design.scope(results))

# %% [markdown]
# {{ text/limits.md }}
#
# ## 8. References
#
# {{ text/references.md }}
#
# ## A. Claims one by one
#
# The claims are those of the text quoted above.
#
# {{ text/verdicts.md }}
#
# *Mixed* says that a part of the study came out the other way. Statements that can be checked exactly
# hold or do not hold.

# %%
overview = judged.frame().query("verdict != 'not run'")
print(pd.crosstab(overview["kind"], overview["verdict"]).to_string())

# %% tags=["remove-input"]
report.figure(scorecard)
report.table(verdict_exhibits.scorecard(judged))
report.text(verdicts.surprises(judged))
report.table(verdict_exhibits.not_run(judged))

# %% [markdown]
# {{ text/studies.md }}
#
# ### S1 Speed and accuracy
#
# {{ text/speed_and_accuracy.md }}

# %% tags=["remove-input"]
show("core")
report.text(say("verdicts", "by time"))
for dataset in report.each_dataset():
    report.figure(figures.accuracy_by_time(results, dataset))

# %% tags=["remove-input"]
for study, said in report.config["studies"].items():
    if study not in judged.studies and not judged.of(study):
        continue  # it stands in the table of what was not run
    report.text(f"### {judged.headings[study]}", said.get("text", ""))
    show(study)
    if study == "identities" and study in judged.studies:
        report.table(verdict_exhibits.checks(judged.table(study)))
if "calibration" in judged.studies:
    report.text(verdicts.calibration_sentence(judged.table("calibration")))

# %% [markdown]
# ## B. Errata of the text

# %% tags=["remove-input"]
report.table(verdict_exhibits.errata(judged))

# %% [markdown]
# ## C. Published values beside ours

# %% tags=["remove-input"]
report.table(verdict_exhibits.published(judged), verdict_exhibits.accuracies(judged))

# %% [markdown]
# ## D. Method
#
# {{ text/method.md }}
#
# **The code that trained**, as it is:

# %% tags=["remove-input"]
report.source(mlp.build_mlp, loop.train, loop.evaluate)
report.table(exhibits.settings_table(results))

# %% [markdown]
# ## E. Provenance

# %% tags=["remove-input"]
report.table(exhibits.origin(results, report.data))
report.table(verdict_exhibits.registration(judged), verdict_exhibits.history(judged))
report.table(exhibits.versions(results, provenance.versions()))
report.text(say("provenance", "verify"))
if (report.tables / "verification.csv").exists():
    report.table(exhibits.verification(pd.read_csv(report.tables / "verification.csv")))
for dataset in report.each_dataset():
    report.table(exhibits.times(results, dataset))
report.show_config()

# %% [markdown]
# {{ text/obtain.md }}
#
# {{ text/reproduce.md }}

# %% tags=["remove-input"]
report.text(design.citation(results))

# %% [markdown]
# ## F. Data dictionary
#
# {{ text/dictionary.md }}

# %% tags=["remove-input"]
files = sorted(report.tables.glob("*.csv"))
columns = {path.stem: list(pd.read_csv(path, nrows=0)) for path in files}
contents = pd.DataFrame({"table": list(columns), "a row": map(dictionary.table, columns)})
report.frame("contents", contents)
report.frame("columns", pd.DataFrame(dictionary.rows(columns)))

# %% [markdown]
# ## G. Glossary
#
# {{ text/glossary.md }}
