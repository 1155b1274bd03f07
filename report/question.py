# %% tags=["parameters"]
# Paths as seen from the folder in which the workflow ran. `data` may name several datasets.
config = "results/run_config.yaml"
tables = "results/tables"
claims = "config/claims.yaml"
data = ["results/data/mnist/prepared.safetensors"]

# %% tags=["remove-cell"]
from itertools import chain

from bnstudy import provenance
from bnstudy.report import design, exhibits, figures, findings, pictures
from bnstudy.report.reporting import Report
from bnstudy.report.words import say

report = Report(config, tables, data)
results = report.results

# %% tags=["remove-input"]
report.opening({claim["id"]: "tab-claims" for claim in report.config["claims"]})
for dataset in results.datasets:
    answer, limits = findings.headline(results, dataset)
    report.text(f"> {answer}", limits)
for dataset in results.datasets:
    report.table(exhibits.key_numbers(results, dataset))

# %% [markdown]
# {{ text/this_page.md }}

# %% tags=["remove-input"]
if missing := exhibits.missing(results):
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
# {{ text/learning_curves.md }}

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
    report.frame("by-hand", summary, n=len(pairs))

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.text(design.why_no_comparison(results))
    for level in results.treatments:
        report.figure(figures.paired_differences(results, dataset, level))
        report.table(exhibits.comparison(results, dataset, level))
        report.table(exhibits.comparison(results, dataset, level, others=True))

# %% tags=["remove-input"]
if results.cell_axes:
    report.text("### Does it depend on the other settings?", say("question", "interactions"))
    for dataset in report.each_dataset():
        by_axis = (findings.contrasts(results, dataset, axis) for axis in results.cell_axes)
        report.bullets(chain(*by_axis))

# %% [markdown]
# ### Training against validation
#
# The gap between both losses says how much of what was learned is about the training images alone.
# Both are measured in evaluation mode, so that noise which only training has does not count.

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.figure(figures.train_against_validation(results, dataset))
    gaps = [results.gap(dataset, level) for level in results.treatments]
    report.bullets(findings.gap_sentence(gap) for gap in gaps if gap)

# %% tags=["remove-input"]
by_class = [exhibits.classes(results, dataset) for dataset in results.datasets]
if any(by_class):
    report.text("### By class", say("question", "classes"))
    for dataset, table in zip(results.datasets, by_class, strict=True):
        report.table(table)
        report.figure(pictures.confusion(results, dataset))

# %% [markdown]
# ### Every arm

# %% tags=["remove-input"]
for dataset in report.each_dataset():
    report.table(exhibits.arms(results, dataset))

# %% [markdown]
# ## 3. The claims
#
# {{ text/verdicts.md }}

# %% tags=["remove-input"]
asked = [claim["id"] for claim in report.config["claims"]]
if asked and (judged := results.claims) is not None:
    report.table(exhibits.claims(judged[judged["id"].isin(asked)]))
else:
    report.text(say("question", "no claim"))

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
    costs.append(say("cost", "caution") if any(costs) else "")
    report.text(" ".join(filter(None, costs)))

# %% [markdown]
# ## 5. How it was measured
#
# {{ text/method.md }}
#
# ## 6. Data, networks and settings

# %% tags=["remove-input"]
for name, images in report.data.items():
    report.text(design.dataset_sentence(images))
    report.figure(pictures.sample_images(images, f"samples-{name}"))
    report.figure(pictures.class_balance(images, f"balance-{name}"))
report.table(exhibits.splits(results))
report.text(design.scaling_sentence(results))
for dataset in results.values("dataset"):
    networks = pictures.networks(report.config, report.data[dataset])
    report.figure(pictures.network_blocks(results, dataset, networks))
    report.table(exhibits.parameters(results, dataset, networks))
report.table(exhibits.settings_table(results))

# %% [markdown]
# ## 7. What this cannot tell

# %% tags=["remove-input"]
report.bullets(design.scope(results))

# %% [markdown]
# {{ text/limits.md }}
#
# ## Provenance
#
# {{ text/reproduce.md }}

# %% tags=["remove-input"]
report.table(exhibits.origin(results, report.data))
report.table(exhibits.versions(results, provenance.versions()))
for dataset in report.each_dataset():
    report.table(exhibits.times(results, dataset))
report.text("The configuration as it was recorded:")
report.show_config()
report.text(design.citation(results))
