# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

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

# %% tags=["remove-input"]
from itertools import pairwise

import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from torch import nn

from bnstudy import provenance
from bnstudy.networks import mlp, norms
from bnstudy.report import (
    analysis,
    design,
    exhibits,
    figures,
    findings,
    materials,
    verdict_exhibits,
    verdict_figures,
    verdicts,
)
from bnstudy.report.explorer import explorer
from bnstudy.report.look import Drawing, looks_of, series
from bnstudy.report.panels import small_multiples
from bnstudy.report.rendering import slug
from bnstudy.report.reporting import Report
from bnstudy.report.tables import Exhibit
from bnstudy.tables import dictionary
from bnstudy.training import loop

torch.set_num_threads(1)  # the same sums in the same order, whatever the machine
report = Report(config, tables, data, claims)
results, judged = report.results, report.claims
runs, metrics = results.runs, results.metrics  # a row per run; a row per run, step and measure
first = results.datasets[0]

# %% tags=["remove-input"]
report.opening()
report.notice(design.unfinished(results))

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.learning_curves(results, dataset), live=explorer(results, dataset))

# %% tags=["remove-input"]
report.verdicts({claim.id: slug(claim.heading) for claim in judged.judged if claim.was_run})
report.text(design.subtitle(results), design.byline(results))

# %% tags=["remove-input"]
for dataset in results.datasets:
    report.text(findings.headline(results, dataset)[1])
    report.table(exhibits.key_numbers(results, dataset))

# %% tags=["remove-input"]
if missing := materials.missing(results):
    report.text("## What is missing")
    report.table(missing)

# %% [markdown]
# ## 1. Introduction
#
# A neural network learns in small steps, and each layer has to work with whatever the layers before
# it put out at that moment. Batch normalization
# ([Ioffe and Szegedy 2015](https://arxiv.org/abs/1502.03167)) gives every feature of a layer the same
# mean and the same spread, measured anew on each batch of training images. It is one of the most used
# building blocks of deep learning, and it is credited with a long list of benefits, from faster
# training to better generalization, some of which contradict each other.
#
# Which of them can be measured on a small network, and how sure may one be?
# [Section 2](#2.-Understanding-batch-normalization) explains the method,
# [section 3](#3.-Dataset-and-preprocessing) prepares the images,
# [section 4](#4.-Model-implementation) writes both networks down, and
# [section 5](#5.-Training-and-evaluation) trains them, here and in the study, at several batch sizes.
# [Section 6](#6.-Analysis-and-interpretation) weighs what came out. What each claim rests on stands
# in the [appendix](#A.-Claims-one-by-one). Every sentence that states a finding is made from the
# tables of the study.

# %% tags=["remove-input"]
report.bullets(design.design(results))

# %% [markdown]
# **How to read the numbers.** Runs that share a seed are a pair: what remains between them is the
# effect of the normalization, and the seeds show how much it varies. A *95 % interval* is the
# interval of the differences that the test does not reject. A difference is called higher or lower only if
# that interval excludes zero and the exact test, corrected for the number of comparisons, gives
# p < 0.05. Otherwise none could be shown, which is not the same as showing that there is none. The
# [method](#D.-Method) has the details, the [glossary](#G.-Glossary) the words.

# %% [markdown]
# ## 2. Understanding batch normalization
#
# ### Concept
#
# Take one feature of a hidden layer, that is one number which the layer computes for every sample.
# Over a batch of samples this number has some mean and some spread, and both drift as the weights
# change. Batch normalization removes them: it subtracts the mean of the batch and divides by its
# standard deviation. Two learned parameters per feature, a scale and a shift, then give the network
# back the freedom to choose mean and spread for itself, but now directly, by two numbers, and not
# as a side effect of all the weights below.
#
# The price is that the output for one sample depends on the other samples in its batch. At
# prediction time that would be unwanted, so the layer then uses averages of the statistics that it
# kept during training. A network with batch normalization therefore behaves differently in
# *training mode* and in *evaluation mode*, which matters for how it is measured.

# %% [markdown]
# ### Benefits
#
# What follows is what the method is credited with, in the words of a student's solution of an
# assignment that sums up the textbooks, and why one may expect it. Beside each benefit stands what
# this study found. Effects are oriented so that above zero, for ratios above one, is as claimed.

# %% [markdown]
# **Faster convergence:** “allowing the network to converge faster” (line 62). If the inputs of
# every layer keep their scale, one learning rate fits all layers at all times, so fewer steps are
# lost. The first explanation was that the layers no longer chase a moving distribution of inputs,
# called covariate shift; that is disputed
# ([Santurkar et al. 2018](https://arxiv.org/abs/1805.11604)).

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B3", "B1a", "B1b", "B2"]))

# %% [markdown]
# **Higher learning rates:** “higher learning rates can be used” (line 63). The output does not
# depend on the scale of the weights before the layer, and their gradient shrinks as they grow. A
# step that was too large makes the next one smaller
# ([Bjorck et al. 2018](https://arxiv.org/abs/1806.02375)).

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B4", "B4b", "B5", "B6"]))

# %% [markdown]
# **Better gradient flow:** “it reduces the likelihood of vanishing or exploding gradients” (line
# 66). Activations of equal spread should keep gradients from dying out or blowing up on their way
# through many layers. At the start the opposite can be derived: there the gradients of deep plain
# networks grow because of the normalization ([Yang et al. 2019](https://arxiv.org/abs/1902.08129)).

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B7", "B8", "B9"]))

# %% [markdown]
# **Regularization:** “This noise acts as a form of regularization” (line 70). Each image is
# normalized together with a random set of others. That noise acts like a mild augmentation and may
# replace some dropout ([Luo et al. 2019](https://arxiv.org/abs/1809.00846),
# [Li et al. 2019](https://arxiv.org/abs/1801.05134)).

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B10a", "B10b", "B11", "B12"]))

# %% [markdown]
# **Less dependence on the initial weights:** “reduces the sensitivity of the network to the choice
# of initial weights” (line 74). A badly scaled layer is rescaled by the normalization behind it.

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B13"]))

# %% [markdown]
# **Deeper and more flexible networks:** “enables the design of deeper networks” (line 77). If
# neither activations nor gradients fade, more layers and saturating activation functions become
# usable ([Daneshmand et al. 2020](https://arxiv.org/abs/2003.01652),
# [De and Smith 2020](https://arxiv.org/abs/2002.10444)).

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B14", "B15"]))

# %% [markdown]
# **Steadier training:** “reducing the fluctuations in the loss function” (line 81). In a smoother
# loss the steps go where the gradient says. That should show in the course of the loss and in the
# accuracy at its end.

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B16", "B18"]))

# %% [markdown]
# **Large batches:** “less dependent on the batch size” (line 84). Steadier optimization should
# tolerate the few large steps that big batches allow. Very small batches are the other side: their
# statistics are noisy ([Wu and He 2018](https://arxiv.org/abs/1803.08494)).

# %% tags=["remove-input"]
report.text(analysis.verdicts_on(judged, ["B17", "L1"]))

# %% [markdown]
# ### Working principle and learnable parameters
#
# Let a batch hold $m$ samples, and let $x_i$ be the value of one feature for sample $i$. In
# training mode the layer computes the mean and the variance of the batch,
#
# $$ \mu = \frac{1}{m} \sum_{i=1}^{m} x_i, \qquad
# \sigma^2 = \frac{1}{m} \sum_{i=1}^{m} (x_i - \mu)^2, $$
#
# normalizes every value,
#
# $$ \hat{x}_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}}, $$
#
# and scales and shifts the result by the two learned parameters of the feature, $\gamma$ and
# $\beta$:
#
# $$ y_i = \gamma\,\hat{x}_i + \beta. $$
#
# The constant $\varepsilon$ (PyTorch: $10^{-5}$) keeps the root away from zero. Because of it the
# variance of $\hat{x}$ is $\sigma^2/(\sigma^2+\varepsilon)$, a little below one, and for a feature
# that is constant over the batch it is zero. Training starts with $\gamma = 1$ and $\beta = 0$.
# Scale and shift are parameters, learned like weights; what a person has to choose are
# $\varepsilon$, the momentum below, and where in the network the layer stands.
#
# [Figure](#fig-computation) puts the steps side by side for training mode and for evaluation mode,
# which is the subject of [Running statistics](#running-statistics).

# %% tags=["remove-input"]
report.figure(figures.computation())

# %% [markdown]
# A batch of four samples, worked by hand, with $\gamma = 1.5$ and $\beta = 0.5$:

# %%
x = pd.Series([4.0, 5.0, 7.0, 8.0])
gamma, beta, epsilon = 1.5, 0.5, 1e-5
mean, variance = x.mean(), x.var(ddof=0)
normalized = (x - mean) / (variance + epsilon) ** 0.5
report.figure(
    figures.four_samples(
        pd.DataFrame({"input": x, "normalized": normalized, "output": gamma * normalized + beta})
    ),
    live={"kind": "playground"},
)

# %% tags=["remove-input"]
report.text(
    f"The mean of the batch is {mean:.2f} and its variance {variance:.2f}, so the first sample "
    f"becomes $({x[0]:.0f} - {mean:.0f}) / \\sqrt{{{variance:.1f}}} = {normalized[0]:.3f}$ and "
    f"leaves the layer as ${gamma} \\cdot ({normalized[0]:.3f}) + {beta} = "
    f"{gamma * normalized[0] + beta:.3f}$."
)

# %% [markdown]
# ### Running statistics
#
# For evaluation mode the layer keeps an exponential moving average of the batch statistics. After
# every training batch, with momentum $\alpha$ (PyTorch: 0.1),
#
# $$ \bar{\mu} \leftarrow (1-\alpha)\,\bar{\mu} + \alpha\,\mu, \qquad
# \bar{\sigma}^2 \leftarrow (1-\alpha)\,\bar{\sigma}^2 + \alpha\,\frac{m}{m-1}\,\sigma^2 . $$
#
# Such an average remembers only the recent past: a batch that lies $t$ batches back has the weight
# $\alpha (1-\alpha)^t$, and with $\alpha = 0.1$ the last 19 or so batches carry most of it (the mean
# of so many batches would be as noisy). In evaluation mode the layer is a fixed affine map,
#
# $$ y = \gamma\,\frac{x - \bar{\mu}}{\sqrt{\bar{\sigma}^2 + \varepsilon}} + \beta, $$
#
# the same for each sample whatever its neighbours, and it can be merged into the linear layer
# before it, so that a trained network pays nothing for it.
#
# Running statistics and batch statistics are never quite the same, for four reasons:
#
# - **Noise.** The mean of a batch of $m$ samples scatters around the mean of all samples with a
#   standard deviation of about $\sigma/\sqrt{m}$; the average over batches is steadier.
# - **Lag.** The weights change at every step, and the average still holds the statistics of the
#   weights before. It is not the mean over the training set under the weights of the end.
# - **Start.** The average begins at mean 0 and variance 1, whatever the data, and needs some tens of
#   batches to forget that.
# - **Two variances.** The average stores the unbiased variance, with $m-1$ in its denominator, while
#   the batch itself is normalized by the biased one, with $m$. For a batch of two the one is twice
#   the other.
#
# The studies S8 and S9 of the [appendix](#A.-Claims-one-by-one) measure how much that matters.

# %% [markdown]
# ### The backward pass
#
# Training needs the derivatives of the loss $L$. Write $g_i = \partial L/\partial y_i$ for what
# arrives from above. The two parameters act on every sample of the batch, so their derivatives are
# sums:
#
# $$ \frac{\partial L}{\partial \beta} = \sum_{i=1}^{m} g_i, \qquad
# \frac{\partial L}{\partial \gamma} = \sum_{i=1}^{m} g_i\,\hat{x}_i . $$
#
# An input $x_i$ reaches the loss in three ways: through its own $\hat{x}_i$, through the mean
# $\mu$, and through the variance $\sigma^2$, which both enter every $\hat{x}_j$ of the batch.
#
# **Step 1, the statistics.** Each sample has the weight $1/m$ in the mean. In the variance the way
# through $\mu$ adds nothing, because the deviations from the mean sum to zero:
#
# $$ \frac{\partial \mu}{\partial x_i} = \frac{1}{m}, \qquad
# \frac{\partial \sigma^2}{\partial x_i} = \frac{2}{m}\,(x_i - \mu) -
# \frac{2}{m}\,\frac{\partial \mu}{\partial x_i} \sum_{j=1}^{m} (x_j - \mu)
# = \frac{2}{m}\,(x_i - \mu). $$
#
# **Step 2, the normalized values.** With $s = \sqrt{\sigma^2+\varepsilon}$ we have
# $\hat{x}_j = (x_j - \mu)/s$ and $\partial s/\partial x_i = (x_i-\mu)/(m s) = \hat{x}_i/m$. By the
# quotient rule
#
# $$ \frac{\partial \hat{x}_j}{\partial x_i} = \frac{1}{s}
# \left( \delta_{ij} - \frac{\partial \mu}{\partial x_i} \right) - \frac{x_j - \mu}{s^2}\,
# \frac{\partial s}{\partial x_i} = \frac{1}{s}
# \left( \delta_{ij} - \frac{1}{m} - \frac{\hat{x}_i\,\hat{x}_j}{m} \right), $$
#
# where $\delta_{ij}$ is one for $i=j$ and zero otherwise.
#
# **Step 3, the chain rule.** Since $\partial L/\partial \hat{x}_j = g_j\,\gamma$,
#
# $$ \frac{\partial L}{\partial x_i} = \sum_{j=1}^{m} g_j\,\gamma\,
# \frac{\partial \hat{x}_j}{\partial x_i} = \frac{\gamma}{\sqrt{\sigma^2+\varepsilon}}
# \left( g_i - \frac{1}{m}\sum_{j=1}^{m} g_j - \frac{\hat{x}_i}{m} \sum_{j=1}^{m} g_j\,\hat{x}_j
# \right). $$
#
# The three terms in the bracket belong to the three ways. Together the last two take out of the
# gradient whatever would only change the mean or the spread of the feature, since the layer would
# undo such a change anyway. It also follows that a bias in the linear layer right before is without
# effect: it moves all $x_i$ alike, and the gradient for that is zero.

# %% [markdown]
# ### Does PyTorch compute this?
#
# The formulas above, in a few lines, against `torch.nn.BatchNorm1d` on random numbers in double
# precision:


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
checks = {
    "output, training mode": (y, expected),
    "gradient of the input": (
        samples.grad,
        batch_norm_backward(gradient, normalized, variance, g, eps),
    ),
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

agreement = pd.DataFrame(
    {"quantity": name, "largest difference": float((ours - theirs).detach().abs().max())}
    for name, (theirs, ours) in checks.items()
)
agreement["verdict"] = np.where(agreement["largest difference"] < 1e-12, "agrees", "differs")
report.table(
    Exhibit(
        "check",
        "torch.nn.BatchNorm1d against the formulas, largest absolute difference over all elements, "
        "in double precision. It agrees below 1e-12.",
        agreement,
        {"largest difference": "{:.1e}".format},
        words=("verdict",),
    )
)

# %% [markdown]
# ## 3. Dataset and preprocessing

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(
        f"{design.dataset_sentence(report.data[dataset])} A network sees an image as "
        f"{report.data[dataset].train_images[0].numel():,} numbers in a row; where a pixel lies is "
        "lost to it."
    )
    report.figure(figures.sample_images(report.data[dataset], results.label("samples", dataset)))

# %% [markdown]
# **Loading.** The images were downloaded once, verified by their checksums and written to one file of
# bytes, which every run opens. The training images are divided at random, by the seed of the run, into
# images to learn from and images to validate on; both arms of a pair get the same division. The test
# images play no part in any choice: a run looks at them once, after its last step.

# %%
images = report.data[first]
order = torch.randperm(len(images.train_images), generator=torch.Generator().manual_seed(0))
n_learn, n_validate = results.split_sizes(first)
learn, validate = order[:n_learn], order[n_learn:]

sizes = pd.DataFrame(
    {"training": [n_learn], "validation": [n_validate], "test": [len(images.test_images)]},
    index=pd.Index([images.title], name="dataset"),
)
report.table(Exhibit("splits", "Number of images in each split.", sizes.reset_index()))

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


pixels = pd.DataFrame(
    {
        "pixels": ["as stored", "as the network sees them"],
        "smallest": [0.0, -middle / spread],
        "largest": [float(images.pixel_max), (1 - middle) / spread],
        "mean": [every.mean().item() * images.pixel_max, (every.mean().item() - middle) / spread],
        "standard deviation": [every.std().item() * images.pixel_max, every.std().item() / spread],
    }
)
report.table(
    Exhibit(
        "pixels",
        f"Pixel values of {images.title}, over the images for training and validation (no unit).",
        pixels,
        dict.fromkeys(pixels.columns[1:], "{:,.3f}".format),
    )
)

# %% tags=["remove-input"]
report.text(design.centring_sentence(images.title, *map(float, pixels.iloc[1, 3:5])))

# %% [markdown]
# **Class balance.** Accuracy is easy to read only if the classes are about equally common.

# %%
labels = pd.Series(images.train_labels.numpy(), name="images").map(dict(enumerate(images.classes)))
shares = labels.value_counts(normalize=True).reindex(images.classes).mul(100)


def draw(layout):
    height = 0.21 * len(shares) + 0.2
    panels = small_multiples(
        shares.reset_index(), None, None, layout, x="share of images (%)", y="class",
        yscale=None, height=height, width=5.6,
    )  # fmt: skip
    for ax, _ in panels:
        sns.barplot(x=shares.to_numpy(), y=list(shares.index), color="#56b4e9", saturation=1, ax=ax)
    return panels.finish()


report.figure(
    Drawing(
        "balance",
        f"Bars between {shares.min():.1f} percent (class {shares.idxmin()}) and {shares.max():.1f} "
        f"percent (class {shares.idxmax()}).",
        f"Share of each class in the {len(labels):,} images for training and validation of "
        f"{images.title}; equal shares would be {100 / len(shares):.3g} %.",
        shares.rename("share of images (%)").rename_axis("class").reset_index(),
        draw,
    )
)

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
# ### The same with batch normalization
#
# One line more: the layer stands between each hidden linear layer and its activation. It draws no
# random numbers, so from the same seed both networks start with the same linear weights.


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


parameters = pd.DataFrame(
    {
        "network": [norms.NORMS[norm].title for norm in networks],
        "trainable parameters": [
            sum(p.numel() for p in new_network(norm).parameters()) for norm in networks
        ],
        "running statistics": [
            sum(b.numel() for b in new_network(norm).buffers() if b.dim()) for norm in networks
        ],
    }
)
report.table(
    Exhibit(
        "parameters",
        "Numbers that are learned, and numbers that are only kept for evaluation.",
        parameters,
        dict.fromkeys(parameters.columns[1:], "{:,}".format),
    )
)

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    built = figures.networks(report.config, report.data[dataset])
    report.figure(figures.network_blocks(results, dataset, built))

# %% [markdown]
# Is this the network that the study trained? Its weights are copied into one that the study's own
# code builds (the [code that trained](#D.-Method) stands in the appendix); both must put out the same.

# %%
inputs, _ = prepare(validate[:100])
largest = {}
for norm in networks:
    ours, theirs = new_network(norm), mlp.build_model(widths[0], widths[-1], hidden=tuple(hidden),
                                                      norm=norm, activation=results.values("activation")[0])  # fmt: skip
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    largest[norm] = (ours(inputs) - theirs(inputs)).abs().max().item()
print({norm: f"largest difference {difference:g}" for norm, difference in largest.items()})

# %% [markdown]
# ## 5. Training and evaluation
#
# ### Training
#
# Evaluation mode is what a user of the network would see: there batch normalization takes its running
# statistics. The training loop goes through the images in a random order, batch by batch, and looks at
# the validation images every few steps.


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
    for step, loss, accuracy in train(
        network, learning, validation, batch_size, optimizer, set(study["step"])
    ):
        rows.append({"norm": norm, "step": step, "loss": loss, "accuracy": accuracy})
live = pd.DataFrame(rows)

# %% [markdown]
# Beside it the study, at the same steps and the same batch size: other divisions of the images, other
# weights and orders, so the live run should lie among its seeds.

# %%
arms = looks_of(list(networks), "none", results.level_name)


def draw(layout):
    panels = small_multiples(
        study, None, None, layout, x="step", y="validation accuracy (%)", yscale="percent",
        height=2.2, width=5.6,
    )  # fmt: skip
    for ax, _ in panels:
        style = series(arms, "norm", markers=False)
        sns.lineplot(study, x="step", y="value", ax=ax, alpha=0.4, lw=4, **style)
        sns.lineplot(live, x="step", y="accuracy", ax=ax, **style | {"errorbar": None})
    return panels.finish(arms)


ends = live[live["step"] == live["step"].max()].set_index("norm")["accuracy"]
report.figure(
    Drawing(
        "live",
        f"Two pairs of rising lines. After {live['step'].max()} steps the live networks are right on "
        f"{100 * ends['none']:.1f} percent without and {100 * ends['batch']:.1f} percent with batch "
        "normalization.",
        f"Accuracy on 2,000 validation images of {images.title} over the first steps at batch size "
        f"{batch_size}: thin lines are the networks trained above, wide ones the means of the study "
        f"({results.n_seeds}) with their 95 % intervals.",
        live,
        draw,
    )
)

# %%
seeds = study.groupby(["norm", "step"])["value"].agg(["min", "mean", "max"])
beside = live.set_index(["norm", "step"])[["accuracy"]].join(seeds, how="inner").mul(100)
beside = beside.groupby("norm", sort=False).tail(4).round(2).reset_index()
beside["inside"] = np.where(beside["accuracy"].between(beside["min"], beside["max"]), "yes", "no")
beside["norm"] = beside["norm"].map(results.level_name)
report.table(
    Exhibit(
        "live",
        f"Validation accuracy (%) of the live networks beside the study's seeds, batch size "
        f"{batch_size}: is the live value inside the range of the seeds?",
        beside.rename(columns={"norm": "network", "accuracy": "live"}),
        dict.fromkeys(("live", "min", "mean", "max"), "{:.2f}".format),
        words=("inside",),
    )
)

# %% [markdown]
# ### Comparing performance
#
# From here on the numbers are those of the study. Losses are mean cross-entropies in nats per image;
# guessing among $C$ classes costs $\ln C$. The training loss comes in two kinds: *as trained*, the mean
# over an epoch while the weights change, in training mode; and *in evaluation mode*, after the epoch.
# Only the second may be compared with the validation loss, and all tables use it. Speed is counted in
# optimizer steps until the validation accuracy first reaches the target, as the median of three
# measurements in a row, so that a single lucky one does not count. The curves of all epochs are in
# [figure](#fig-curves).

# %%
# Mean and standard deviation over the seeds; a run that failed counts as one that guesses
names = {"test_accuracy": "test accuracy (%)", "val_accuracy": "validation accuracy (%)",
         "test_loss": "test loss (nats)", "val_loss": "validation loss (nats)",
         "train_loss": "training loss (nats)"}  # fmt: skip


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
table = pd.DataFrame(cells).reset_index()
table["norm"] = table["norm"].map(results.level_name)
table["dataset"] = table["dataset"].map(results.title)
table = table.drop(columns="dataset") if len(results.datasets) == 1 else table
report.table(
    Exhibit(
        "arms",
        f"Every arm after {results.epochs} epochs: mean ± standard deviation over the seeds "
        f"({results.n_seeds}).",
        table.rename(columns={"batch_size": "batch size", "norm": "normalization"}),
        words=("normalization",),
    )
)

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
        report.table(exhibits.full_comparison(results, dataset, norm))

# %% [markdown]
# **Training against validation.** The gap between both says how much of what was learned is about the
# training images alone.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.train_against_validation(results, dataset))

# %% [markdown]
# ### By class
#
# An equal mean can hide that some classes were traded for others. Nothing is tested here: with so many
# classes some differences are large by chance.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(exhibits.classes(results, dataset))
    if confusion := figures.confusion(results, dataset):
        report.figure(confusion)

# %% [markdown]
# ### Experimenting with batch sizes
#
# All runs see each image equally often. A larger batch therefore means fewer steps, each of them along
# a gradient that is less noisy.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.probe_curves(results, dataset))
    report.figure(figures.steps_to_target(results, dataset))

# %%
# Steps to the target; a run that never came there counts with all its steps
steps = results.scored("steps_to_target").assign(
    missed=runs["steps_to_target"].isna(), logarithm=lambda frame: np.log(frame["value"])
)
table = steps.groupby(["dataset", "batch_size", "norm"]).agg(
    **{
        "geometric mean": ("logarithm", lambda values: np.exp(values.mean())),
        "fewest": ("value", "min"),
        "most": ("value", "max"),
        "never reached": ("missed", "sum"),
    }
)
table.insert(3, "images seen", table["geometric mean"] * table.index.get_level_values("batch_size"))
table = table.reset_index()
table["norm"] = table["norm"].map(results.level_name)
table["dataset"] = table["dataset"].map(results.title)
table = table.drop(columns="dataset") if len(results.datasets) == 1 else table
report.table(
    Exhibit(
        "steps",
        f"Optimizer steps to {results.target} validation accuracy over the seeds "
        f"({results.n_seeds}). Images seen are the geometric mean times the batch size.",
        table.rename(columns={"batch_size": "batch size", "norm": "normalization"}),
        dict.fromkeys(("geometric mean", "fewest", "most", "images seen"), "{:,.0f}".format),
        words=("normalization",),
    )
)

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
        for title, paragraphs in analysis.PARAGRAPHS.items():
            report.text(f"### {title}" + f" {results.arm(norm)}" * (len(results.treatments) > 1))
            report.text(*paragraphs(results, judged, dataset, norm))

# %% [markdown]
# ### What remains under other conditions
#
# Pixels between -1 and 1 are not centred, and a few epochs are few. If the gain came from centring the
# input, it would be gone with standardized pixels; if it were speed alone, long training would even it
# out. Two studies repeat the comparison to see.

# %% tags=["remove-input"]
if remaining := analysis.remaining_table(judged):
    report.table(remaining)
else:
    report.text("Neither study is part of this run; `make` has both.")

# %% [markdown]
# ### Advantages and limitations

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    for norm in results.treatments:
        report.table(analysis.balance(results, judged, dataset, norm))

# %% [markdown]
# Beside what can be measured stand limits of the method itself. The output for a training image depends
# on the images that happen to be in its batch, so a network is not the same in training and in use; the
# running statistics must be kept with the weights and fit the data that it will see; a batch of one
# cannot be trained on; and on several machines the statistics have to be shared or are those of a part
# of the batch ([Wu and Johnson 2021](https://arxiv.org/abs/2105.07576)).

# %% [markdown]
# ## 7. Conclusion

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(
        findings.headline(results, dataset)[0],
        *(" ".join(findings.conclusion(results, dataset, norm)) for norm in results.treatments),
    )
report.text(verdicts.headline(judged), analysis.remains(judged, "points"))

# %% [markdown]
# ### Limits of this study

# %% tags=["remove-input"]
report.bullets(design.scope(results))

# %% [markdown]
# ## 8. References
#
# - Bjorck, N., Gomes, C. P., Selman, B., and Weinberger, K. Q. (2018). Understanding batch
#   normalization. *Advances in Neural Information Processing Systems* 31.
#   [arXiv:1806.02375](https://arxiv.org/abs/1806.02375)
# - Brock, A., De, S., Smith, S. L., and Simonyan, K. (2021). High-performance large-scale image
#   recognition without normalization. *International Conference on Machine Learning*, PMLR 139.
#   [arXiv:2102.06171](https://arxiv.org/abs/2102.06171)
# - Daneshmand, H., Kohler, J., Bach, F., Hofmann, T., and Lucchi, A. (2020). Batch normalization
#   provably avoids rank collapse for randomly initialised deep networks. *Advances in Neural
#   Information Processing Systems* 33. [arXiv:2003.01652](https://arxiv.org/abs/2003.01652)
# - De, S., and Smith, S. L. (2020). Batch normalization biases residual blocks towards the identity
#   function in deep networks. *Advances in Neural Information Processing Systems* 33.
#   [arXiv:2002.10444](https://arxiv.org/abs/2002.10444)
# - Fisher, R. A. (1935). *The Design of Experiments.* Oliver and Boyd, Edinburgh. (Section 21, the
#   sign-flip test.)
# - He, K., Zhang, X., Ren, S., and Sun, J. (2015). Delving deep into rectifiers: surpassing
#   human-level performance on ImageNet classification. *IEEE International Conference on Computer
#   Vision*, 1026-1034. [arXiv:1502.01852](https://arxiv.org/abs/1502.01852)
# - Hoffer, E., Hubara, I., and Soudry, D. (2017). Train longer, generalize better: closing the
#   generalization gap in large batch training of neural networks. *Advances in Neural Information
#   Processing Systems* 30. [arXiv:1705.08741](https://arxiv.org/abs/1705.08741)
# - Holm, S. (1979). A simple sequentially rejective multiple test procedure. *Scandinavian Journal
#   of Statistics* 6(2), 65-70.
# - Ioffe, S., and Szegedy, C. (2015). Batch normalization: accelerating deep network training by
#   reducing internal covariate shift. *Proceedings of the 32nd International Conference on Machine
#   Learning*, PMLR 37, 448-456. [arXiv:1502.03167](https://arxiv.org/abs/1502.03167)
# - Kingma, D. P., and Ba, J. (2015). Adam: a method for stochastic optimization. *International
#   Conference on Learning Representations.* [arXiv:1412.6980](https://arxiv.org/abs/1412.6980)
# - LeCun, Y., Bottou, L., Bengio, Y., and Haffner, P. (1998). Gradient-based learning applied to
#   document recognition. *Proceedings of the IEEE* 86(11), 2278-2324.
#   [doi:10.1109/5.726791](https://doi.org/10.1109/5.726791)
# - Li, X., Chen, S., Hu, X., and Yang, J. (2019). Understanding the disharmony between dropout and
#   batch normalization by variance shift. *IEEE Conference on Computer Vision and Pattern
#   Recognition*, 2682-2690. [arXiv:1801.05134](https://arxiv.org/abs/1801.05134)
# - Luo, P., Wang, X., Shao, W., and Peng, Z. (2019). Towards understanding regularization in batch
#   normalization. *International Conference on Learning Representations.*
#   [arXiv:1809.00846](https://arxiv.org/abs/1809.00846)
# - Page, E. B. (1963). Ordered hypotheses for multiple treatments: a significance test for linear
#   ranks. *Journal of the American Statistical Association* 58(301), 216-230.
# - PyTorch contributors. *BatchNorm1d.* PyTorch documentation.
#   [docs.pytorch.org](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html)
# - Santurkar, S., Tsipras, D., Ilyas, A., and Mądry, A. (2018). How does batch normalization help
#   optimization? *Advances in Neural Information Processing Systems* 31.
#   [arXiv:1805.11604](https://arxiv.org/abs/1805.11604)
# - Wu, Y., and He, K. (2018). Group normalization. *European Conference on Computer Vision*, 3-19.
#   [arXiv:1803.08494](https://arxiv.org/abs/1803.08494)
# - Wu, Y., and Johnson, J. (2021). Rethinking "Batch" in BatchNorm.
#   [arXiv:2105.07576](https://arxiv.org/abs/2105.07576)
# - Xiao, H., Rasul, K., and Vollgraf, R. (2017). Fashion-MNIST: a novel image dataset for
#   benchmarking machine learning algorithms. [arXiv:1708.07747](https://arxiv.org/abs/1708.07747)
# - Yang, G., Pennington, J., Rao, V., Sohl-Dickstein, J., and Schoenholz, S. S. (2019). A mean
#   field theory of batch normalization. *International Conference on Learning Representations.*
#   [arXiv:1902.08129](https://arxiv.org/abs/1902.08129)

# %% [markdown]
# ## A. Claims one by one
#
# The claims are those of the text quoted above. For each of them the measure, the smallest effect that
# matters and the probability that it comes out right were written down before any result was seen. A
# claim is judged by the interval of its effect, at the level that Holm's correction for all claims leaves:
# it is *supported* if the interval lies above the smallest effect that matters, *refuted* if it lies
# below its opposite, *not supported* if it lies below the smallest effect that matters, and
# *inconclusive* if it reaches to both sides of it. *Mixed* says
# that a part of the study came out the other way. Statements that can be checked exactly hold or do
# not hold.

# %%
overview = judged.frame().query("verdict != 'not run'")
print(pd.crosstab(overview["kind"], overview["verdict"]).to_string())

# %% tags=["remove-input"]
if card := verdict_figures.scorecard(judged):
    report.figure(card)
report.table(verdict_exhibits.scorecard(judged))
report.text(verdicts.surprises(judged))
report.table(verdict_exhibits.not_run(judged))

# %% [markdown]
# Each study below asks one thing of many networks. Every seed gives one number, oriented so that above
# zero is as the claim says. Further measures and single cells are exploratory: they describe, and
# decide nothing.


# %% tags=["remove-cell"]
def show(study):
    """What came out of a study: its figures, its verdicts, its cells, and what else it measured."""
    found = judged.of(study)
    for drawing in verdict_figures.of_study(judged, study):
        report.figure(drawing)
    report.bullets(verdicts.verdict_sentences(found))
    report.table(verdict_exhibits.exact(judged, study))
    if cells := verdict_figures.cells(found, study):
        report.figure(cells)
    report.table(verdict_exhibits.further(judged, study))


# %% [markdown]
# ### S1 Speed and accuracy
#
# The grid of [section 5](#5.-Training-and-evaluation) settles three claims. Let $T(B)$ be the steps to
# the target at batch size $B$. The effect of a seed on speed is the mean over the batch sizes of
#
# $$ d(B) = \ln \frac{T_{\mathrm{none}}(B)}{T_{\mathrm{batch}}(B)} , $$
#
# so that $e^{d}$ is a ratio of numbers of steps. Accuracy is compared by differences. How much
# the outcome depends on the batch size is the slope of $\ln(\text{validation loss})$ over $\log_2
# B$, without its sign, times the range of $\log_2 B$.

# %% tags=["remove-input"]
show("core")

# %% [markdown]
# A step with batch normalization costs more, so the same runs are shown once more, against their own
# seconds instead of their steps:

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.accuracy_by_time(results, dataset))

# %% tags=["remove-input"]
for study, said in report.config["studies"].items():
    if study not in judged.studies and not judged.of(study):
        continue  # it stands in the table of what was not run
    report.text(f"### {said['code']} {said['title']}", said.get("text", ""))
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
report.table(verdict_exhibits.published(judged))
report.table(verdict_exhibits.accuracies(judged))

# %% [markdown]
# ## D. Method
#
# **Pairing.** A seed fixes the division of the images, the initial weights, the order of the images and
# the noise, each by its own generator, so that drawing one more number in one place moves nothing
# elsewhere. The effect of a seed is the difference between its two runs, or the mean of those
# differences over the batch sizes.
#
# **Test.** If the normalization did nothing, each difference could as well have had the other sign. The
# *p* value is the share of all patterns of signs whose mean is at least as far from zero as the one
# observed (Fisher 1935). Each effect has this one p, not corrected. The same test against any other
# effect gives the *interval*: it holds the effects that are not rejected. Both assume that differences
# scatter symmetrically around the effect, and nothing else of their distribution. Where several tests
# are made together, what counts as shown is decided by Holm's correction (1979): the smallest p is
# multiplied by their number, the next by one less, and so on. Claims are tested against the smallest
# effect that matters instead of zero, to both sides of it. Trends over ordered settings are tested by
# ranks (Page 1963).
#
# **Scores.** Accuracy is the share of images whose most probable class is the right one. Every mean over
# batches is weighted by the length of the batch. A run that diverged, or ended hardly better than
# guessing, counts as one that guesses; none is left out.
#
# **The code that trained**, as it is:

# %% tags=["remove-input"]
report.source(mlp.build_model, loop.train, loop.evaluate)
report.table(materials.settings_table(results))

# %% [markdown]
# ## E. Provenance

# %% tags=["remove-input"]
report.table(materials.origin(results, report.data))
report.table(verdict_exhibits.registration(judged))
report.table(verdict_exhibits.history(judged))
report.table(materials.versions(results, provenance.versions()))

# %% [markdown]
# **Does the published study reproduce here?** `snakemake --cores all verify` trains some of its runs
# again and compares.

# %% tags=["remove-input"]
if (report.tables / "verification.csv").exists():
    report.table(materials.verification(pd.read_csv(report.tables / "verification.csv")))
for dataset in report.each_dataset():
    report.table(exhibits.times(results, dataset))
report.show_config()

# %% [markdown]
# **To obtain it again,** `make` in a clone of the repository at the commit named above prepares the
# environment, trains every run and renders this page; `make quick` does the same on a small dataset in
# a few minutes and without a network. The same seed on the same machine with the same versions gives
# byte-identical tables, apart from those of run times. On another machine sums of floating-point numbers
# may round differently, so expect the findings to agree, not the last digits.

# %% tags=["remove-input"]
report.text(design.citation(results))

# %% [markdown]
# ## F. Data dictionary
#
# What the columns of the tables mean; the same stands in `docs/tables.md`. An empty cell of a table is
# a value that does not exist. Levels of measurement: nominal (a name), ordinal (an order), interval
# (differences mean something), ratio (so do ratios).

# %% tags=["remove-input"]
files = sorted(report.tables.glob("*.csv"))
columns = {path.stem: list(pd.read_csv(path, nrows=0)) for path in files}
contents = pd.DataFrame({"table": list(columns), "a row": map(dictionary.table, columns)})
report.table(Exhibit("contents", "The tables of this study.", contents, words=("a row",)))
report.table(
    Exhibit(
        "columns",
        "Columns, with the tables that have them.",
        pd.DataFrame(dictionary.rows(columns)),
        words=("tables", "meaning", "unit", "level"),
        fold="Every column of every table",
    )
)

# %% [markdown]
# ## G. Glossary
#
# - **Arm:** one of the things compared, here a network with or without a normalization.
# - **Batch, step, epoch:** a batch is the images that a network sees at once, a step one update of
#   its weights, an epoch one pass over all training images.
# - **Brier score:** the mean squared distance between a stated probability and what happened (1 if
#   the claim came out right, 0 if not).
# - **Cell:** one combination of settings in a study, for example batch size 32.
# - **Decade:** a factor of ten; +0.5 decades are a factor of 3.16.
# - **Diverged:** the loss became infinite or undefined. Such a run counts as a classifier that
#   guesses; none is left out.
# - **d_z:** the mean of the paired differences over their standard deviation, an effect size without
#   unit.
# - **Exploratory:** looked at without having been announced as a test; it describes, and decides
#   nothing.
# - **Exponential moving average:** a mean in which the weight of a value shrinks by the same factor
#   with every new one.
# - **Generalization gap:** validation loss minus training loss, both in evaluation mode.
# - **Geometric mean:** the mean of the logarithms, turned back; right for quantities that are
#   compared by ratios.
# - **Ghost batch:** a group of images that are normalized together, smaller than the batch that the
#   gradient comes from.
# - **Holm's method:** where several tests are made together, one of them easily looks significant by
#   chance. The method multiplies the smallest p by the number of tests, the next by one less, and so
#   on, and never lets a later one be smaller than an earlier one.
# - **Interval:** of a difference, all values that the sign-flip test does not reject at 5 %. In 95 of
#   100 repetitions of a study it covers the true difference. Bands and bars of means are t-intervals: the
#   mean plus and minus a multiple of its standard error.
# - **Nat:** the unit of a loss that is made with natural logarithms.
# - **Page's trend test:** tests whether values rise in an order given beforehand, by their ranks
#   within each seed.
# - **Percentage point (pp):** the unit of a difference of two percentages.
# - **Prior:** the probability given to a claim before any result was seen.
# - **Probe:** a fixed part of the validation images, on which the accuracy is measured often.
# - **Seed:** the number that all random choices of a run follow from. Runs of two arms with the same
#   seed are a pair.
# - **Sign-flip test:** if an arm made no difference, each paired difference could have had the other
#   sign as well. p is the share of all $2^n$ patterns of signs whose mean is at least as far from
#   zero as the one observed, so with $n$ seeds it cannot be smaller than $2/2^n$.
# - **Soft rank:** how many independent directions the activations of a layer use, counted by their
#   singular values; a low one says that a deep network has made all images alike.
# - **Wasserstein distance:** how far one distribution would have to be moved to become another.
