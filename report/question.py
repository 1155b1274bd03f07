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
import pandas as pd

from bnstudy import provenance
from bnstudy.report import design, exhibits, figures, findings, interactions, materials
from bnstudy.report.explorer import explorer
from bnstudy.report.reporting import Report
from bnstudy.report.tables import Exhibit

report = Report(config, tables, data)
results = report.results

# %% tags=["remove-input"]
report.opening()
report.notice(design.unfinished(results))

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.learning_curves(results, dataset), live=explorer(results, dataset))

# %% tags=["remove-input"]
report.verdicts({claim["id"]: "tab-claims" for claim in report.config["claims"]})
report.text(design.subtitle(results), design.byline(results))

# %% tags=["remove-input"]
for dataset in results.datasets:
    answer, limits = findings.headline(results, dataset)
    report.text(f"> {answer}", limits)

# %% tags=["remove-input"]
for dataset in results.datasets:
    report.table(exhibits.key_numbers(results, dataset))

# %% [markdown]
# Every number on this page, and every sentence that states a finding, is computed from the tables of
# the study when the page is built. [Section](#what-came-out) shows the evidence,
# [section](#how-it-was-measured) says how differences were told from chance, and
# [section](#what-this-cannot-tell) where the answer ends.

# %% tags=["remove-input"]
if missing := materials.missing(results):
    report.text("## What is missing")
    report.table(missing)

# %% [markdown]
# ## 1. What was compared
#
# Networks that differ in one setting and share everything else, down to the random numbers:

# %% tags=["remove-input"]
report.bullets(design.design(results))

# %% [markdown]
# ## 2. What came out
#
# ### Learning curves
#
# Where one curve runs above another from the first epoch on, learning is faster; where they part at
# the end, what was learned differs. The second figure asks of every run when it was first good
# enough.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.steps_to_target(results, dataset))

# %% [markdown]
# ### Paired differences
#
# Runs of two arms that share a seed are a pair. Their difference is free of what the seed brings to
# both, so a small effect shows that would drown in the spread of the runs. With pandas that is a
# table of seeds by levels and a subtraction:

# %% tags=["unfolded"]
runs = results.scored("test_accuracy")  # a failed run counts as guessing
by_seed = runs.pivot_table(index="seed", columns=results.axis, values="value")
if results.treatments:
    baseline = by_seed[results.baseline]
    pairs = 100 * by_seed[results.treatments].sub(baseline, axis=0).dropna()
    summary = pairs.agg(["mean", "min", "max"]).T.map("{:+.2f}".format)
    names = [results.level_name(level) for level in summary.index]
    summary.insert(0, "level", names)
    caption = f"Percentage points of test accuracy, {len(pairs)} seeds."
    report.table(Exhibit("by-hand", caption, summary))

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.why_no_comparison(results))
    for level in results.treatments:
        report.figure(figures.paired_differences(results, dataset, level))
        report.table(exhibits.comparison(results, dataset, level))
        report.table(exhibits.full_comparison(results, dataset, level))

# %% tags=["remove-input"]
if results.cell_axes:
    report.text(
        "### Does it depend on the other settings?",
        "The mean over all cells may hide that a level helps in some and hurts in others. So its "
        "effect is compared between the ends of every other axis that was swept:",
    )
    for dataset in report.each_dataset():
        report.bullets(
            sentence
            for axis in results.cell_axes
            for sentence in interactions.contrasts(results, dataset, axis)
        )

# %% [markdown]
# ### Training against validation
#
# The gap between both losses says how much of what was learned is about the training images alone.
# Both are measured in evaluation mode, so that noise which only training has does not count.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.train_against_validation(results, dataset))
    report.bullets(
        sentence
        for level in results.treatments
        for sentence in findings.gap_sentences(results, dataset, level)
    )

# %% tags=["remove-input"]
by_class = [exhibits.classes(results, dataset) for dataset in results.datasets]
if any(by_class):
    report.text(
        "### By class",
        "An equal mean can hide that some classes were traded for others. What follows is there to "
        "look for that; with so many rows some differences are large by chance.",
    )
    for dataset, table in zip(results.datasets, by_class, strict=True):
        report.table(table)
        if confusion := figures.confusion(results, dataset):
            report.figure(confusion)

# %% [markdown]
# ### Every arm

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(exhibits.arms(results, dataset))

# %% [markdown]
# ## 3. The claims
#
# A claim is written into the configuration before any result is known, with its measure, its
# direction, the smallest effect that matters and the probability that it will come out right.

# %%
found = report.tables / "claims.csv"
judged = pd.read_csv(found, keep_default_na=False, na_values=[""]) if found.exists() else None
asked = [claim["id"] for claim in report.config["claims"]]
if judged is not None:
    judged = judged[judged["id"].isin(asked)]

# %% tags=["remove-input"]
if asked and judged is not None:
    report.table(exhibits.claims(judged))
else:
    report.text(
        "This configuration makes no claim, so nothing on this page was announced as a test; what "
        "was found should be tested anew, with other seeds, before anything is built on it."
    )

# %% [markdown]
# ## 4. Conclusion

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.why_no_comparison(results))
    costs = []
    for level in results.treatments:
        report.text(" ".join(findings.conclusion(results, dataset, level)))
        costs += findings.parameter_cost(results, dataset, level)
        costs.append(findings.time_cost(results, dataset, level)[1])
    report.text(" ".join([*filter(None, costs), findings.CAUTION]) if any(costs) else "")

# %% [markdown]
# ## 5. How it was measured
#
# **Pairing.** A seed fixes the division of the images, the initial weights, the order of the samples
# and the noise, each by its own generator, so that drawing one more number in one place moves
# nothing elsewhere. The effect of a seed is the difference between its two runs; where several
# settings were combined, the mean of those differences over all combinations.
#
# **Interval and test.** The test assumes no distribution: if the compared setting did nothing, each difference could as well
# have had the other sign, and p is the share of all patterns of signs with a mean at least as far
# from zero as the one observed (Fisher 1935). With $n$ seeds it cannot be smaller than $2/2^n$.
# The 95 % interval holds the effects that the same test does not reject.
#
# **Several tests.** Who looks at many measures finds one that differs by chance. Holm's method
# multiplies the smallest p by the number of tests, the next by one less, and so on (Holm 1979). It
# spans the measures of the means, and the cells of each measure. A difference is called higher or
# lower here only if p, corrected so, is below 0.05; the p that is shown is not corrected. Otherwise none could be
# shown, which is not the same as showing that there is none.
#
# **Verdicts.** A claim is judged by the interval of its effect, at the level that Holm's correction for all claims leaves:
# it is *supported* if the interval lies above the smallest effect that matters, *refuted* if it lies
# below its opposite, *not supported* if it lies below the smallest effect that matters, and
# *inconclusive* if it reaches to both sides of it.
#
# **Scores.** Accuracy is the share of images whose most probable class is the right one. Losses are
# mean cross-entropies in nats per image; guessing among $C$ classes costs $\ln C$. Steps count until
# the median of three successive measurements on a fixed set of validation images reaches the target.
# A run that diverged, or ended hardly better than guessing, counts as one that guesses; none is left
# out. The test images are looked at once, after the last step.

# %% [markdown]
# ## 6. Data, networks and settings

# %% tags=["remove-input"]
for name, images in report.data.items():
    report.text(design.dataset_sentence(images))
    report.figure(figures.sample_images(images, f"samples-{name}"))
    report.figure(figures.class_balance(images, f"balance-{name}"))
report.table(materials.splits(results))
report.text(design.scaling_sentence(results))
for dataset in report.each_dataset():
    networks = figures.networks(report.config, report.data[dataset])
    report.figure(figures.network_blocks(results, dataset, networks))
    report.table(materials.parameters(results, dataset, networks))
report.table(materials.settings_table(results))

# %% [markdown]
# ## 7. What this cannot tell

# %% tags=["remove-input"]
report.bullets(design.scope(results))

# %% [markdown]
# ## Provenance
#
# The same configuration makes this page again. The same seed on the same machine with the same
# versions gives byte-identical tables, apart from those of run times; another machine may round sums
# differently, so expect the findings to agree there, not the last digits.

# %% tags=["remove-input"]
report.table(materials.origin(results, report.data))
report.table(materials.versions(results, provenance.versions()))
for dataset in report.each_dataset():
    report.table(exhibits.times(results, dataset))

# %% tags=["remove-input"]
report.text("The configuration as it was recorded:")
report.show_config()
report.text(design.citation(results))
