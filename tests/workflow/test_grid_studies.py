"""A study that is a grid of runs, from one entry in YAML to its table."""

import csv

TABLE = "results/tables/mine.csv"
CONFIG = """
exploratory: true
grid: {dataset: [digits], norm: [none, batch], batch_size: [64], seed: [1000, 1001]}
training: {epochs: 2}
claims:
  - {id: X1, claim: Dropout helps, study: mine, axis: dropout, baseline: 0.0, metric: test_accuracy,
     direction: higher, smallest_effect: 0.3, prior: 0.5}
studies:
  mine:
    code: X1
    title: Is dropout worth it?
    text: A study of one entry.
    enabled: true
    seeds: 2
    settings: {epochs: 2}
    grid: {norm: [none, batch], dropout: [0.0, 0.2]}
    loop: [dropout]
"""


def rows(checkout):
    with open(checkout.study / TABLE) as file:
        return list(csv.DictReader(file))


def test_one_entry_in_yaml_is_a_study(checkout):
    checkout.configure(CONFIG)
    plan = checkout.plan(TABLE)
    # Four of its eight runs are runs of the grid, which are trained there.
    assert plan.counts == {"prepare": 1, "train": 4, "run_study": 2, "merge_study": 1}
    checkout.run(TABLE)
    table = rows(checkout)
    assert [(r["norm"], r["seed"], r["dropout"]) for r in table] == [
        (norm, seed, dropout) for norm in ("none", "batch") for seed in ("1000", "1001") for dropout in ("0.0", "0.2")
    ]
    assert {row["status"] for row in table} == {"ok"}
    log = (checkout.study / "results/logs/studies/mine/norm~batch.log").read_text()
    assert log.count("epoch 2/2") == 2  # of the two that the grid has not
    assert {row["val_loss"] for row in table if row["dropout"] == "0.0"}.isdisjoint(
        row["val_loss"] for row in table if row["dropout"] == "0.2"
    )
    assert not checkout.plan(TABLE).counts
    # What it does not use does not make it again; what makes its rows does.
    checkout.edit("workflow/bnstudy/training/observers/landscape.py")
    checkout.edit("workflow/bnstudy/studies/identities.py")
    checkout.edit("workflow/bnstudy/settings.py")
    checkout.edit("workflow/bnstudy/settings.yaml")
    assert not checkout.plan(TABLE).counts
    checkout.configure("training: {device: cpu, checkpoint_every: 7}")
    assert not checkout.plan(TABLE).counts
    checkout.edit("workflow/bnstudy/studies/rows.py")
    assert checkout.plan(TABLE).counts == {"run_study": 2, "merge_study": 1}


def test_a_study_that_cannot_be_run_is_refused_before_any_job(checkout):
    checkout.configure(CONFIG.replace("loop: [dropout]", "loop: [drop]"))
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "studies.mine.loop: drop is no axis of its grid; there are dropout, norm." in said
    checkout.configure(CONFIG.replace("settings: {epochs: 2}", "settings: {batch_size: 2000}"))
    said = checkout.snakemake("-n").stderr
    assert "studies.mine, batch_size: 2000 is larger than the 1150 training images" in said
