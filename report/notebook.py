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

# %% tags=["parameters"]
# Paths as seen from the folder in which the workflow ran. `data` may name several datasets.
config = "results/run_config.yaml"
tables = "results/tables"
claims = "config/claims.yaml"
data = ["results/data/mnist/prepared.safetensors"]

# %% tags=["remove-cell"]
from pathlib import Path

import pandas as pd
import torch

from bnstudy import provenance
from bnstudy.networks import mlp as models
from bnstudy.report import (
    design,
    exhibits,
    figures,
    findings,
    interactions,
    materials,
    verdict_exhibits,
    verdict_figures,
    verdicts,
)
from bnstudy.report.explorer import explorer
from bnstudy.report.rendering import slug
from bnstudy.report.reporting import Report

torch.set_num_threads(1)
report = Report(config, tables, data)
results = report.results
judged = verdicts.Claims.load(claims, tables, report.config)

# %% tags=["remove-input"]
report.opening()
report.notice(design.unfinished(results))

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.learning_curves(results, dataset), live=explorer(results, dataset))

# %% tags=["remove-input"]
report.verdicts({claim.id: slug(claim.heading) for claim in judged.judged})
report.text(design.subtitle(results))

# %% tags=["remove-input"]
for dataset in results.datasets:
    answer, limits = findings.headline(results, dataset)
    report.text(f"> {answer}", limits)

# %% tags=["remove-input"]
for dataset in results.datasets:
    report.table(exhibits.key_numbers(results, dataset))

# %% [markdown]
# Every number on this page is computed from the tables of the study when the page is built, and so
# is every sentence that states a finding. [Section](#training-and-evaluation) shows the evidence of
# the main comparison, [section](#analysis) weighs it, [section](#claims-one-by-one) takes the
# claims about batch normalization one by one, and [Provenance](#provenance) says how to obtain it
# all again.

# %% tags=["remove-input"]
if missing := materials.missing(results):
    report.text("## What is missing")
    report.table(missing)

# %% [markdown]
# ## Claims at a glance

# %% tags=["remove-input"]
report.text(f"> {verdicts.headline(judged)}")
if card := verdict_figures.scorecard(judged):
    report.figure(card)

# %% [markdown]
# The claims are those of a text that sums up what textbooks say. For each of them the measure, the
# smallest effect that matters and the probability that the claim comes out right were written down
# in advance. A claim is *supported* if Holm p is below 0.05 and the mean effect is as claimed and
# at least the smallest that matters; *refuted* if that is so in the opposite direction; *not
# supported* if the 90 % interval excludes an effect as large as the claim needs; and *inconclusive*
# otherwise. *Mixed* says that a part of the study came out significantly the other way. Statements
# that can be checked exactly hold or do not hold.

# %% tags=["remove-input"]
for table in (verdict_exhibits.scorecard(judged), verdict_exhibits.exact(judged)):
    if table:
        report.table(table)
report.text(verdicts.surprises(judged), verdicts.not_run_sentence(judged.judged))

# %% [markdown]
# ## 1. Introduction
#
# A neural network learns in small steps, and each layer has to work with whatever the layers before
# it put out at that moment. Batch normalization (Ioffe and Szegedy 2015) gives every feature of a
# layer the same mean and the same spread, measured anew on each batch of training samples. It is
# one of the most used building blocks of deep learning, and it is credited with a long list of
# benefits, from faster training to better generalization.
#
# This study asks which of those benefits can be measured on a small network, and how sure one may
# be. It compares networks that differ in nothing but their normalization:

# %% tags=["remove-input"]
report.bullets(design.design(results))

# %% [markdown]
# **How to read the numbers.** Because both members of a pair share their seed, what remains between
# them is the effect of the normalization, and the seeds show how much that effect varies. A *95 %
# interval* is the t-interval of the mean difference over seeds. The *p* value is that of an exact
# sign-flip test: if the normalization did nothing, each difference could as well have had the other
# sign, and p is the share of all sign patterns with a mean at least as far from zero as the one
# observed. *Holm p* is that value corrected for the number of comparisons made together. A
# difference is called higher or lower here only if Holm p is below 0.05 and the interval excludes
# zero. Otherwise the text says that no difference could be shown, which is not the same as saying
# that there is none. Words that may be new are explained in the [Glossary](#glossary).

# %% [markdown]
# ## 2. Understanding batch normalization
#
# ### The idea
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
# ### The computation
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
# Sections [S8](#s8-small-batches) and [S9](#s9-statistics-at-inference) measure how much that
# matters.

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

# %% tags=["remove-input"]
report.table(materials.agreement(checks, tolerance=1e-12))

# %% [markdown]
# ### What it is said to do
#
# [Table](#tab-claims) lists what batch normalization is credited with, and how this study measures
# it. These are claims, not results: some of them contradict one another, and the reason why the
# method works is disputed. The distribution of the inputs of a layer need not become steadier for
# training to improve (Santurkar et al. 2018), and the gradients of deep plain networks even grow
# from layer to layer when they start (Yang et al. 2019).

# %% tags=["remove-input"]
report.table(verdict_exhibits.listed_claims(judged))

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
# **Splits.** The training set is divided at random, by the seed of the run, into images to learn
# from and images to validate on. Both arms of a pair get the same division. The test images play no
# part in any choice: a run looks at them once, after its last step.

# %% tags=["remove-input"]
report.table(materials.splits(results))

# %% [markdown]
# **Class balance.** Accuracy is easy to read only if the classes are about equally common; a
# classifier that guesses is then right once in as many times as there are classes.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.class_balance(report.data[dataset], results.label("balance", dataset)))

# %% tags=["remove-input"]
report.text(design.scaling_sentence(results))
report.table(materials.pixels(results, report.data))

# %% tags=["remove-input"]
(scaling,) = results.values("scaling")
for dataset in results.datasets:
    _, _, mean, deviation = materials.scaled_moments(report.data[dataset], scaling)
    report.text(design.centring_sentence(results.title(dataset), mean, deviation))

# %% [markdown]
# ## 4. Models
#
# All networks come from one function, shown here as it is in the code that trained them. A
# normalization layer, where there is one, stands between each hidden linear layer and its
# activation function. It draws no random numbers, so networks built from the same seed start with
# the same linear weights.

# %% tags=["remove-input"]
report.source(models.build_model)

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(materials.parameters(results, dataset, report.layers(dataset)))
    for norm in results.treatments:
        report.text(*findings.parameter_cost(results, dataset, norm))

# %% [markdown]
# ## 5. Training and evaluation
#
# ### How it was trained and measured

# %% tags=["remove-input"]
report.table(materials.settings_table(results))

# %% [markdown]
# Losses are mean cross-entropies in nats per image, $-\frac{1}{N}\sum_{n=1}^{N} \ln p_n$, where
# $p_n$ is the probability that the network gives to the right class of image $n$; guessing among
# $C$ classes costs $\ln C$. Every mean over batches is weighted by the length of the batch. The
# training loss comes in two kinds: *as trained*, the mean over an epoch while the weights change,
# in training mode; and *in evaluation mode*, measured after the epoch on a fixed part of the
# training images. Only the second may be compared with the validation loss, and all tables use it.
# Accuracy is the share of images whose most probable class is the right one.
#
# Speed is counted in optimizer steps until the accuracy on a fixed set of validation images first
# reaches the target, as the median of three measurements in a row, so that a single lucky one does not
# count.

# %% [markdown]
# ### Training against validation

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.train_against_validation(results, dataset))
    report.bullets(findings.gap_sentences(results, dataset))

# %% [markdown]
# ### Steps to the target

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.probe_curves(results, dataset))
    report.figure(figures.steps_to_target(results, dataset))
    report.table(exhibits.steps(results, dataset))

# %% [markdown]
# ### Comparison of the arms

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(exhibits.arms(results, dataset))
    report.text(design.why_no_comparison(results))
    for norm in results.treatments:
        report.figure(figures.paired_differences(results, dataset, norm))
        report.table(exhibits.comparison(results, dataset, norm))
        report.table(exhibits.full_comparison(results, dataset, norm))

# %% [markdown]
# ## 6. Analysis
#
# ### Effect of the batch size
#
# All runs see each image equally often. A larger batch therefore means fewer steps, each of them
# along a gradient that is less noisy.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.batch_size_effect(results, dataset))
    report.bullets(interactions.axis_sentences(results, dataset, "batch_size"))

# %% [markdown]
# ### Advantages and limitations in this study
#
# What follows is sorted by the tables alone: an advantage is what the rule of
# [section](#introduction) shows to be better with the normalization, averaged over the batch sizes,
# a limitation what it shows to be worse, together with what the normalization costs.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.why_no_comparison(results))
    for norm in results.treatments:
        for title, sentences in findings.sorted_verdicts(results, dataset, norm).items():
            report.text(f"**{title}**")
            report.bullets(sentences)

# %% [markdown]
# ## 7. Claims one by one
#
# Each study below asks one thing of many networks. What it measures is fixed as a formula, every
# seed gives one number, oriented so that above zero is as the claim says, and the rule of
# [Claims at a glance](#claims-at-a-glance) turns the numbers into a verdict. In each item the claim
# comes first, with the lines of the text that makes it, then what came out, the verdict, what was
# expected, and for which networks and data it was found. Further measures and single cells of a
# study are exploratory: they describe, and decide nothing.


# %% tags=["remove-cell"]
def show(study):
    """What came out of a study: its figures, its verdicts, its cells, and what else it measured."""
    found = judged.of(study)
    if study not in judged.studies and not any(claim.was_run for claim in found):
        report.text(verdicts.study_not_run(judged, study, results.missing))
        return
    for drawing in verdict_figures.of_study(judged, study):
        report.figure(drawing)
    report.bullets(verdicts.verdict_sentences(found))
    if cells := verdict_figures.cells(found, study):
        report.figure(cells)
    if further := verdict_exhibits.further(judged, study):
        report.table(further)


# %% [markdown]
# ### S1 Speed and accuracy
#
# The grid of [section](#training-and-evaluation) settles three claims. Let $T(B)$ be the steps to
# 95 % validation accuracy at batch size $B$. The effect of a seed on speed is the mean over the
# batch sizes of
#
# $$ d(B) = \ln \frac{T_{\mathrm{none}}(B)}{T_{\mathrm{batch}}(B)} , $$
#
# so that $e^{d}$ is a ratio of numbers of steps. Accuracy is compared by differences. How much
# the outcome depends on the batch size is the slope of $\ln(\text{validation loss})$ over $\log_2
# B$, without its sign, times the range of $\log_2 B$. The runs themselves are in
# [figure](#fig-steps) and [figure](#fig-batch-size).

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
    report.text(f"### {said['code']} {said['title']}", said.get("text", ""))
    show(study)
    if study == "identities" and study in judged.studies:
        report.table(verdict_exhibits.checks(judged.table(study)))
if "calibration" in judged.studies:
    report.text(verdicts.calibration_sentence(judged.table("calibration")))

# %% [markdown]
# ### Errata of the text
#
# Some statements of the text are wrong or imprecise whatever a study finds. [Table](#tab-errata)
# puts them right; where a study of this page shows it, the last column leads there.

# %% tags=["remove-input"]
report.table(verdict_exhibits.errata(judged))

# %% [markdown]
# ### Published values beside ours

# %% tags=["remove-input"]
report.table(verdict_exhibits.published(judged))

# %% [markdown]
# ## 8. Conclusion

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(*findings.conclusions(results, dataset))
report.text(verdicts.headline(judged))

# %% [markdown]
# ### Limits of the study
#
# These are the limits of the main comparison. Every claim of [section](#claims-one-by-one) has its
# own scope, which stands beside its verdict.

# %% tags=["remove-input"]
report.bullets(design.scope(results))

# %% [markdown]
# ## 9. References
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
# ## Glossary
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
# - **t-interval:** mean difference plus and minus a multiple of its standard error. In 95 of 100
#   repetitions of a study such an interval covers the true mean, if the differences are about
#   normally distributed.
# - **Wasserstein distance:** how far one distribution would have to be moved to become another.

# %% [markdown]
# ## Provenance
#
# ### Code and data

# %% tags=["remove-input"]
report.table(materials.origin(results, report.data))

# %% [markdown]
# ### The list of claims

# %% tags=["remove-input"]
report.text(verdict_exhibits.origin_sentence(judged))
if changes := verdict_exhibits.history(judged):
    report.table(changes)

# %% [markdown]
# ### Software and hardware

# %% tags=["remove-input"]
report.table(materials.versions(results, provenance.versions()))

# %% [markdown]
# ### Does the published study reproduce here?

# %% tags=["remove-input"]
if (verification := Path(tables, "verification.csv")).exists():
    report.table(materials.verification(pd.read_csv(verification)))
else:
    report.text("Not run: `snakemake --cores all verify` tells.")

# %% [markdown]
# ### Run times

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(exhibits.times(results, dataset))

# %% [markdown]
# ### Configuration

# %% tags=["remove-input"]
report.show_config()

# %% [markdown]
# ### How to reproduce and to cite
#
# In a clone of the repository, at the commit named above, `make` prepares the environment, trains
# every run and renders this page; `make quick` does the same on a small dataset in a few minutes
# and without a network. The same seed on the same machine with the same versions gives
# byte-identical tables, apart from those of run times. On another machine sums of floating-point
# numbers may round differently, so expect the findings to agree, not the last digits.

# %% tags=["remove-input"]
report.text(design.citation(results))
