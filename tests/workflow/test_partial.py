"""`snakemake partial` on an unfinished study: what it shows, and that it touches nothing else."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from bnstudy.training.command import seal

RUNS = "results/runs/dataset~digits"
LOST = "norm~batch/epochs~2/probe_every~5/batch_size~32/seed~1"  # and its log
BROKEN = "norm~none/epochs~2/probe_every~5/batch_size~64/seed~2"  # and its log tells why
CELL = "network~none_he"
SABOTAGE = """

unharmed = run


def run(data, cell, *others):
    if cell["network"] == "none_he":
        raise SystemExit("struck by lightning")
    return unharmed(data, cell, *others)
"""


def contents(study: Path) -> dict[str, str]:
    """The hash of every file but Snakemake's own and those that the partial report writes."""
    own = ("results/partial/", "report/partial.html", "results/logs/partial.log", ".snakemake/")
    files = {str(path.relative_to(study)): path for path in study.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if not name.startswith(own)
    }


def cells_of(soup: BeautifulSoup, table: str) -> list[dict[str, str]]:
    """The rows of a table of the page by the heads of its columns."""
    heads = [head.get_text() for head in soup.select(f"#tab-{table} thead th")]
    return [
        dict(zip(heads, (cell.get_text() for cell in row.select("th, td")), strict=True))
        for row in soup.select(f"#tab-{table} tbody tr")
    ]


@pytest.fixture
def unfinished(finished):
    """A study of which two runs are missing, a cell failed, and the report was never made."""
    study = finished.study
    shutil.rmtree(study / "report")
    with open(finished.root / "workflow/bnstudy/studies/init_gradients.py", "a") as module:
        module.write(SABOTAGE)
    failed = finished.snakemake("--cores", "2")
    assert failed.returncode == 1
    assert f"{CELL}.log: struck by lightning" in failed.stdout + failed.stderr
    assert "`snakemake --cores 1 partial` reports" in failed.stdout + failed.stderr
    for run in (LOST, BROKEN):
        shutil.rmtree(study / RUNS / run)
    log = study / "results/logs/train/dataset~digits"
    (log / f"{LOST}.log").unlink()
    (log / f"{BROKEN}.log").write_text("10 %\r50 %\nkilled by the storm\n\n")
    return finished


def test_partial_report_shows_what_there_is_and_touches_nothing_else(unfinished, browser):
    study = unfinished.study
    before, plan = contents(study), unfinished.plan().counts
    said = unfinished.run("partial")
    page = study / "report/partial.html"
    assert str(page) in said
    assert contents(study) == before
    assert unfinished.plan().counts == plan  # what is left to do is still to be done
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")

    missing = {row["missing"]: row for row in cells_of(soup, "missing")}
    assert set(missing) == {
        *("dataset digits, norm batch, epochs 2, probe_every 5, batch_size 32, seed 1",),
        *("dataset digits, norm none, epochs 2, probe_every 5, batch_size 64, seed 2", "network none_he"),
    }
    assert (
        missing["dataset digits, norm batch, epochs 2, probe_every 5, batch_size 32, seed 1"]["reason"] == "not started"
    )
    broken = missing["dataset digits, norm none, epochs 2, probe_every 5, batch_size 64, seed 2"]
    assert broken["reason"].endswith("its log says: killed by the storm")
    assert (study / broken["log"]).read_text().startswith("10 %")
    assert (study / missing["network none_he"]["log"]).is_file()
    assert "This report is partial: 2 runs of the grid and 1 cell" in soup.get_text().replace("\N{NO-BREAK SPACE}", " ")
    assert soup.title.get_text().endswith("(partial)")

    counts = {(row["batch size"], row["normalization"]): row["n"] for row in cells_of(soup, "arms")}
    assert counts == {
        ("32", "no normalization"): "3",
        ("32", "batch normalization"): "2",
        ("64", "no normalization"): "2",
        ("64", "batch normalization"): "3",
    }
    for row in cells_of(soup, "comparison"):
        if row["measure"] == "test accuracy":
            seeds = {"32": (0, 2), "64": (0, 1), "all": (0,)}[row["batch size"]]
            sizes = (32, 64) if row["batch size"] == "all" else (row["batch size"],)
            pairs = [(size, seed) for size in sizes for seed in seeds]
            gain = sum(accuracy(study, "batch", *p) - accuracy(study, "none", *p) for p in pairs)
            shown = row["difference"].replace("\N{MINUS SIGN}", "-")
            assert float(shown) == pytest.approx(100 * gain / len(pairs), abs=0.0051)
            assert row["seeds"].endswith(f"/{len(seeds)}")

    # The grid and S5 are incomplete, S0 is complete.
    heads = soup.select("[id^=tab-exact] tbody th, #tab-scorecard tbody th")
    judged = {th.get_text().split()[0].rstrip(":") for th in heads}
    assert "M1" in judged
    assert not judged & {"S4.1b", "B3", "B17", "B18", "B8"}
    without = soup.select_one("#tab-not-run").get_text()
    assert all(name in without for name in ("B3", "B17", "B18"))

    tab = browser.new_page(viewport={"width": 390, "height": 844})
    logged = []
    tab.on("console", lambda message: logged.append(message.text))
    tab.goto(page.as_uri())
    assert tab.locator("#tab-missing").is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert logged == []
    tab.close()

    page.unlink()
    unfinished.run("partial")  # though nothing has changed
    assert page.is_file()


def accuracy(study: Path, norm: str, size: object, seed: int) -> float:
    run = study / RUNS / f"norm~{norm}/epochs~2/probe_every~5/batch_size~{size}/seed~{seed}/run.json"
    return json.loads(run.read_text())["test_accuracy"]


def test_runs_of_other_settings_or_other_code_do_not_count(finished):
    study = finished.study
    for run, key, value in ((LOST, "code_sha256", "0" * 64), (BROKEN, "settings", {"learning_rate": 0.5})):
        path = study / RUNS / run / "run.json"
        content = json.loads(path.read_text())
        content[key] = content[key] | value if isinstance(value, dict) else value
        path.write_text(json.dumps(content))
        seal(path.parent)
    finished.run("partial")
    text = (study / "results/partial/tables/missing.csv").read_text().splitlines()
    assert len(text) == 3
    assert any(LOST in line and "another version of the training code" in line for line in text)
    assert any(BROKEN in line and "learning_rate" in line for line in text)


def test_nothing_to_report_is_said_in_one_sentence(checkout):
    checkout.configure("grid: {dataset: [digits]}")
    done = checkout.snakemake("--cores", "1", "partial")
    text = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert "none of the 96 runs of the grid can be used (most often: not started)" in text
    assert "Traceback" not in text
    assert not (checkout.root / "results/runs").exists()


def test_data_that_cannot_be_had_cost_the_studies_of_them_alone(finished):
    """No source that can be reached has Fashion-MNIST; digits need none."""
    study = finished.study
    (study / "empty").mkdir()
    registry = finished.root / "workflow/bnstudy/data/registry.yaml"  # a machine may have Debian's
    registry.write_text(registry.read_text().replace("/usr/share/datasets", "/nowhere"))
    finished.configure(
        "data: {source: empty}\nstudies: {fashion: {enabled: true, seeds: 1}, stability: "
        "{enabled: true, seeds: 1, settings: {dataset: digits, epochs: 1, probe_every: 9}}}"
    )
    nobody = "http://127.0.0.1:1"
    done = finished.snakemake("--cores", "2", HTTPS_PROXY=nobody, HTTP_PROXY=nobody)
    said, page = done.stdout + done.stderr, study / "report/partial.html"
    assert done.returncode == 1
    assert f"a report of the rest is {page}" in said
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    rows = cells_of(soup, "missing")
    assert {row["part of"] for row in rows} == {"fashion"}
    for row in rows:
        assert row["reason"] == ("its images could not be had: no source has the right files of fashion_mnist.")
        assert row["log"] == "results/logs/download/dataset~fashion_mnist.log"
    assert "stability" in {path.stem for path in (study / "results/partial/tables").iterdir()}
