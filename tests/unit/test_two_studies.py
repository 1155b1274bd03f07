"""Two results folders whose runs differ by known amounts, through `bnstudy compare`."""

import csv

import pytest
from test_tables import Results, study

from bnstudy import cli
from bnstudy.tables.aggregate import aggregate


def made(folder, learning_rate=None, seeds=range(6), **values):
    """The folder of a study with its tables; a learning rate that is given names its runs."""
    config = study(seeds=seeds)
    place = "/batch_size"
    if learning_rate:
        config["training"]["learning_rate"] = learning_rate
        place = f"/learning_rate~{learning_rate}/batch_size"
    found = Results(folder, config, order=lambda names: [n.replace("/batch_size", place) for n in names], **values)
    aggregate(found.config_file, folder, folder / "tables")
    return folder


def compare(capsys, *folders, out):
    cli.load("compare")([*map(str, folders), "--out", str(out)])
    tables = {}
    for name in ("runs", "comparison"):
        with open(out / f"{name}.csv", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    return capsys.readouterr().out, tables


def better(cell):
    """One image in 800 more for the first seed, six for the sixth."""
    return 0.75 + (cell["seed"] + 1) / 800


def test_a_study_is_itself(tmp_path, capsys):
    a, b = made(tmp_path / "a"), made(tmp_path / "b")
    said, tables = compare(capsys, a, b, out=tmp_path / "out")
    assert "Paired by settings and seed, of 24 runs 24 bitwise." in said
    assert "nothing differs" in said
    assert {row["outcome"] for row in tables["runs"]} == {"bitwise"}
    assert {float(row["difference"]) for row in tables["comparison"]} == {0}


def test_differences_and_intervals_by_hand(tmp_path, capsys):
    """Six differences of 1 to 6 images: all of one sign, p = 2/64; the interval ends at the outermost."""
    a = made(tmp_path / "a")
    b = made(tmp_path / "b", test_accuracy=better, code_sha256="e" * 64, torch="2.16.0")
    said, tables = compare(capsys, a, b, out=tmp_path / "out")
    assert "of 24 runs 24 different" in said
    assert "PyTorch 2.15.0\nB: cpu (a processor), Python 3.11.7, PyTorch 2.16.0" in said
    assert "other training code" in said
    changed = [row for row in tables["comparison"] if float(row["difference"])]
    assert {row["metric"] for row in changed} == {"test_accuracy"}
    assert [row["scope"] for row in changed] == ["cell"] * 4 + ["all"]
    for row in changed:
        assert float(row["difference"]) == pytest.approx(3.5 / 800)
        assert [float(row["ci_low"]), float(row["ci_high"])] == pytest.approx([1 / 800, 6 / 800])
        assert float(row["p"]) == 2 / 64
    assert said.count("test_accuracy") == 1


def test_another_setting_pairs_the_same_seeds(tmp_path, capsys):
    a = made(tmp_path / "a")
    b = made(tmp_path / "b", 0.25, seeds=range(2, 9), test_accuracy=better)
    said, tables = compare(capsys, a, b, out=tmp_path / "out")
    assert "learning_rate: 0.001 in A, 0.25 in B" in said
    assert "20 runs are in one of the studies only" in said
    (row,) = (row for row in tables["comparison"] if row["scope"] == "all" and row["metric"] == "test_accuracy")
    assert (row["n"], float(row["difference"])) == ("4", pytest.approx(4.5 / 800))


def test_nothing_to_pair_is_one_sentence(tmp_path, capsys):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", seeds=range(10, 16))
    for folders, sentence in (((a, b), "no run of one study"), ((a, tmp_path), "cannot be read")):
        with pytest.raises(cli.UserError, match=sentence):
            compare(capsys, *folders, out=tmp_path / "out")


def test_verdicts_that_changed(tmp_path, capsys):
    folders = [made(tmp_path / name) for name in "ab"]
    for folder, verdict in zip(folders, ("supported", "inconclusive"), strict=True):
        text = f"id,verdict,effect,ci_low,ci_high\nX,{verdict},0.5,0.1,0.9\nY,not run,,,\n"
        (folder / "tables/claims.csv").write_text(text)
    said, _ = compare(capsys, *folders, out=tmp_path / "out")
    assert said.endswith("X: supported 0.5 (0.1 to 0.9) in A, inconclusive 0.5 (0.1 to 0.9) in B\n")
