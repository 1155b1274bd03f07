"""Real runs of the workflow: what they write, that they repeat, and how they fail."""

import csv
import json
import shutil

import pytest
import yaml

TABLES = ("runs.csv", "metrics.csv", "comparison.csv")


def read(path):
    with open(path, newline="", encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


def test_quick_study_ends_with_tables_and_report(quick_study):
    results = quick_study.study / "results"
    runs = read(results / "tables/runs.csv")
    assert len(runs) == 12
    assert {run["status"] for run in runs} == {"ok"}
    assert {run["run"] for run in runs} == {
        f"dataset~digits/norm~{norm}/epochs~2/probe_every~5/batch_size~{size}/seed~{seed}"
        for norm in ("none", "batch")
        for size in (32, 64)
        for seed in (0, 1, 2)
    }
    assert len(read(results / "tables/timings.csv")) == 12
    assert {row["level"] for row in read(results / "tables/comparison.csv")} == {"batch"}
    assert (quick_study.study / "report/report.html").stat().st_size > 10_000
    notebook = json.loads((quick_study.study / "report/quick_study.ipynb").read_text())
    assert all(cell.get("execution_count") for cell in notebook["cells"] if is_code(cell))


def is_code(cell: dict) -> bool:
    return cell["cell_type"] == "code" and "".join(cell["source"]).strip() != ""


def test_every_job_leaves_a_log_and_a_benchmark(quick_study):
    results = quick_study.study / "results"
    logs = {path.relative_to(results / "logs").with_suffix("") for path in results.rglob("*.log")}
    times = {path.relative_to(results / "benchmarks").with_suffix("") for path in results.rglob("*.tsv")}
    assert logs == times
    single = ("prepare", "record_config", "aggregate", "judge_claims", "render")
    assert len(logs) == 12 + 15 + 4 + len(single)  # runs, cells of studies, tables of studies


def test_recorded_configuration_is_the_merged_one(quick_study):
    recorded = yaml.safe_load((quick_study.study / "results/run_config.yaml").read_text())
    merged = yaml.safe_load((quick_study.root / "config/config.yaml").read_text())
    quick = yaml.safe_load((quick_study.root / "config/quick.yaml").read_text())
    studies = quick.pop("studies")
    for section, keys in quick.items():
        merged[section] = merged.get(section, {}) | keys if isinstance(keys, dict) else keys
    merged |= yaml.safe_load((quick_study.root / "config/studies.yaml").read_text())
    for name, study in studies.items():
        for key, value in study.items():
            old = merged["studies"][name][key]
            merged["studies"][name][key] = old | value if isinstance(value, dict) else value
    for study in merged["studies"].values():  # what is left open is decided
        study["enabled"] = study["enabled"] is not False
    # What was not said and has a default is written down too.
    said = {key: value for key, value in recorded.items() if key in merged}
    assert said | {"training": merged["training"]} == merged
    assert recorded["training"] == merged["training"] | {"keep_model": False}
    assert recorded["compare"] == {"axis": "norm", "baseline": "none"}


def test_one_core_and_no_profile_give_the_same_bytes(finished, tmp_path):
    """The finished runs had two cores and the profile; timings are all that may differ."""
    finished.configure("grid: {batch_size: [64], seed: [0, 2]}")
    again = type(finished)(finished.root, tmp_path / "one core")
    again.run("--workflow-profile", "none", "tables", cores=1)
    finished.run("tables")
    ours, theirs = again.study / "results", finished.study / "results"
    files = [f"tables/{name}" for name in TABLES]
    files += [str(path.relative_to(ours)) for path in ours.rglob("seed~*/metrics.csv")]
    files += [str(path.relative_to(ours)) for path in ours.rglob("seed~*/run.json")]
    assert len(files) == len(TABLES) + 4 + 4
    for file in files:
        assert (ours / file).read_bytes() == (theirs / file).read_bytes(), file


def test_a_diverged_run_is_a_result(finished):
    shutil.rmtree(finished.study / "results/runs")
    finished.configure(
        "grid: {norm: [none, batch], batch_size: [32], seed: [0, 1]}\n"
        "training: {optimizer: sgd, learning_rate: 1.0e+30, epochs: 1}"
    )
    finished.run("tables")
    runs = read(finished.study / "results/tables/runs.csv")
    diverged = [run for run in runs if run["status"] == "diverged"]
    assert {run["norm"] for run in diverged} >= {"none"}
    assert all(run["test_accuracy"] == "" for run in diverged)
    rows = read(finished.study / "results/tables/comparison.csv")
    assert {row["n_diverged"] for row in rows} == {str(len(diverged))}
    assert {row["n"] for row in rows} == {"2"}


def test_a_failed_run_does_not_stop_the_others_and_is_named(finished):
    bad = "results/runs/dataset~digits/norm~batch/epochs~2/probe_every~5/batch_size~32/seed~5"
    finished.configure("grid: {seed: [0, 5]}")
    (finished.study / bad).mkdir(parents=True)
    # The folder of one run cannot be made where a file of its name is a folder.
    (finished.study / bad / "run.json" / "in the way").mkdir(parents=True)
    done = finished.snakemake("--cores", "2", "tables")
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "These jobs did not finish" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  results/logs/train/")]
    assert "norm~batch/epochs~2/probe_every~5/batch_size~32/seed~5.log: " in line
    trained = finished.study.glob("results/runs/**/seed~5/metrics.csv")
    assert len(list(trained)) == 3


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("grid: {norm: [none, bach]}", "grid.norm[1]"),
        ("training: {epoch: 3}", "training.epoch"),
        ("grid: {batch_size: [1]}", "grid.batch_size[0]"),
    ],
)
@pytest.mark.parametrize("profile", ["none", "profiles/default"])
def test_a_bad_configuration_stops_before_any_job(checkout, text, key, profile):
    (checkout.root / "bad.yaml").write_text(text)
    done = checkout.snakemake(
        "--cores", "1", "--workflow-profile", profile, "--configfile", str(checkout.root / "bad.yaml")
    )
    assert done.returncode == 1
    assert f"\n{key}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "jsonschema" not in done.stderr
    assert not (checkout.root / "results").exists()
