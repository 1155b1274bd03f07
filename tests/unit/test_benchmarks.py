"""The arithmetic of the benchmarks: medians, what counts as slower, pairs, the stopwatch."""

import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import processes

    return processes


@pytest.fixture
def peers(processes):
    import peers

    return peers


def test_row_has_the_median_the_range_and_whether_the_goal_is_reached(processes):
    row = processes.summary_row("step", [3.0, 1.0, 2.5], "x", at_most=2.4)
    assert (row["median"], row["least"], row["most"], row["rounds"]) == (2.5, 1.0, 3.0, 3)
    assert (row["target"], row["reached"]) == ("<= 2.4", "no")
    assert processes.summary_row("step", [2.0], "x", at_most=2.4)["reached"] == "yes"
    assert processes.summary_row("step", [2.0], "x", at_least=2.4)["reached"] == "no"
    assert processes.summary_row("step", [2.0], "x")["target"] == ""


@pytest.mark.parametrize(
    ("median", "expected"),
    [(1.9, "same"), (2.1, "same"), (2.29, "same"), (2.31, "SLOWER"), (1.66, "same"), (1.64, "faster")],
)
def test_verdict_on_a_ratio(processes, median, expected):
    """The baseline's rounds lie between 1.9 and 2.1 around 2: slower is above 2.3 = 1.15 x 2, faster below 1.9 / 1.15."""
    before = {"median": "2", "least": "1.9", "most": "2.1"}
    assert processes.verdict({"median": median, "unit": "x"}, before) == expected


def test_verdict_allows_what_the_baseline_itself_spread_over(processes):
    before = {"median": "2", "least": "1", "most": "3"}
    assert processes.verdict({"median": 2.9, "unit": "x"}, before) == "same"
    assert processes.verdict({"median": 3.1, "unit": "x"}, before) == "SLOWER"


def test_seconds_and_new_quantities_have_no_verdict(processes):
    """Seconds depend on the machine: ratios are what is compared."""
    assert processes.verdict({"median": 9.0, "unit": "s"}, {"median": "1", "most": "1"}) == ""
    assert processes.verdict({"median": 9.0, "unit": "x"}, None) == ""


def test_table_is_read_as_it_was_written(processes, tmp_path):
    rows = [{"a": 0.123456789, "b": "none", "c": 3}]
    processes.write_table(tmp_path / "new/table.csv", rows)
    assert processes.read_table(tmp_path / "new/table.csv") == [{"a": "0.123457", "b": "none", "c": "3"}]
    assert processes.read_table(tmp_path / "missing.csv") == []


def test_stopwatch_counts_the_child_and_not_this_process(processes, tmp_path):
    """This process holds PyTorch; a child that holds 100 MB has some more than that."""
    code = "import time; time.sleep(0.3); held = bytearray(100_000_000)"
    measured = processes.measure([sys.executable, "-c", code], tmp_path / "log")
    assert measured["wall_seconds"] > 0.3
    assert 100 < measured["peak_memory_mb"] < 150


def test_failing_process_is_an_error_with_its_output(processes, tmp_path):
    with pytest.raises(RuntimeError, match="no such thing"):
        processes.measure([sys.executable, "-c", "exit('no such thing')"], tmp_path / "log")


def test_peers_are_compared_within_a_turn(peers):
    """Ours takes 10 s, then 20 s on a machine that is twice as slow: the ratio is 3 both times."""
    times = [
        {"turn": turn, "way": way, "wall_seconds": seconds * slow}
        for turn, slow in enumerate((1, 2))
        for way, seconds in zip(peers.WAYS, (30, 20, 40, 10), strict=True)
    ]
    assert peers.ratios_of(times) == {"notebook": [3, 3], "scripts + parallel": [2, 2], "Lightning + Hydra": [4, 4]}
    accuracies = [
        {"turn": turn, "way": way, "batch_size": size, "val_accuracy": accuracy + 0.01 * worse}
        for turn in range(2)
        for size, worse in ((32, 0), (64, -1))
        for way, accuracy in zip(peers.WAYS, (0.91 + 0.02 * turn, 0.9, 0.9, 0.9), strict=True)
    ]
    differences = peers.differences_of(accuracies)
    assert differences["notebook"] == pytest.approx([1, 3])
    assert differences["Lightning + Hydra"] == pytest.approx([0, 0])
    rows = {row["quantity"]: row for row in peers.summarize(times, accuracies)}
    row = rows["notebook - this pipeline: mean validation accuracy"]
    assert (row["median"], row["least"], row["most"]) == pytest.approx((2, 1, 3))


def test_time_of_a_study_is_the_sum_over_its_jobs(processes, tmp_path):
    import by_study

    noted = {"train/a/seed~0": 3, "train/a/seed~1": 3, "studies/depth/norm~none": 5, "render": 8}
    for name, seconds in noted.items():
        path = tmp_path / f"results/benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n{seconds}\t1\n")
    found = [tuple(row.values()) for row in by_study.table(tmp_path)]
    assert found == [("render", 1, 8, 8), ("grid", 2, 6, 3), ("depth", 1, 5, 5)]


def test_grid_of_a_benchmark_is_one_that_the_workflow_runs(processes, tmp_path):
    config = processes.write_grid(tmp_path / "few.yaml", grid={"norm": ["batch"], "seed": [3]})
    command = processes.snakemake(tmp_path, "--configfile", config, "-n", "--", "tables")
    processes.measure(command, tmp_path / "log")
    assert re.search(r"train +4\b", (tmp_path / "log").read_text())


def test_peer_that_trained_other_cells_is_refused(peers, tmp_path):
    table = tmp_path / "table.csv"
    lines = [f"{n},{b},0.9" for n in peers.NORMS for b in peers.BATCH_SIZES]
    table.write_text("\n".join(["norm,batch_size,val_accuracy", *lines]))
    assert len(peers.read_accuracies(table)) == 8
    table.write_text("\n".join(["norm,batch_size,val_accuracy", *lines[:-1]]))
    with pytest.raises(ValueError, match="other cells"):
        peers.read_accuracies(table)


def test_numbers_in_the_readme_are_those_of_the_tables(processes):
    """After `make bench` or `make bench-peers`, `python benchmarks/readme.py` prints the new ones."""
    import readme

    assert "\n".join(readme.lines()) in (BENCHMARKS.parent / "README.md").read_text()


def test_cost_of_a_job_in_the_readme_is_that_of_the_table(processes):
    rows = processes.read_table(processes.RESULTS / "scale.csv")
    ms = {
        int(row["runs"]): f"{1000 * float(row['wall_seconds']) / int(row['runs']):.0f} ms"
        for row in rows
        if row["what"] == "jobs"
    }
    words = " ".join((BENCHMARKS / "README.md").read_text().split())
    assert f"{ms[10_000]} of Snakemake's time in a study of 10,000 runs and {ms[50_000]} in one" in words
