"""Tables from synthetic run folders, against values worked out by hand."""

import json
import math
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bnstudy.errors import UserError
from bnstudy.provenance import config_sha256, prepared_header
from bnstudy.scoring import RESULTS, failed, fails_below
from bnstudy.settings import SETTINGS, as_dict, make, run_name
from bnstudy.tables import aggregate as tables
from bnstudy.training.command import seal

ROOT = Path(__file__).parents[2]
TABLES = tables.TABLES


def study(norms=("none", "batch"), batch_sizes=(16, 32), seeds=(0, 1, 2)) -> dict:
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= yaml.safe_load((ROOT / "config" / "studies.yaml").read_text())
    config["exploratory"] = True
    config["grid"] = {"dataset": ["digits"], "norm": list(norms), "batch_size": list(batch_sizes), "seed": list(seeds)}
    return config


def metrics_text(run: dict) -> str:
    rows = [(0, 0, "probe", metric, 0.1) for metric in ("accuracy", "loss")]
    if run["status"] == "ok":
        end = run["n_steps"]
        rows += [
            (5, end, split, metric, run[f"{key}_{metric}"])
            for key, split in (("test", "test"), ("train", "train_subset"), ("val", "validation"))
            for metric in ("accuracy", "loss")
        ]
    else:
        rows.append((1, 3, "train", "loss", math.nan))
    body = "".join(f"{e},{s},{split},{m},{v!r}\n" for e, s, split, m, v in rows)
    return "epoch,step,split,metric,value\n" + body


def cell_of(run: str) -> dict:
    cell = dict(part.split("~") for part in run.split("/"))
    return {key: SETTINGS[key].read(value) for key, value in cell.items()}


def confusion(accuracy: float | None, n_test: int) -> list[list[int]] | None:
    """All images in the first class, the wrong ones taken for the second."""
    if accuracy is None:
        return None
    right = round(accuracy * n_test)
    return [[right, n_test - right, *[0] * 8], *[[0] * 10 for _ in range(9)]]


class Results:
    """A folder of results, with a run for each cell of the grid unless told otherwise."""

    def __init__(self, folder: Path, config: dict, *, order=None, **values):
        self.folder, self.config = folder, config
        folder.mkdir(parents=True)
        self.config_file = folder / "run_config.yaml"
        self.config_file.write_text(yaml.safe_dump(config))
        grid = config["grid"]
        names = [
            f"dataset~{d}/norm~{n}/batch_size~{b}/seed~{s}"
            for d in grid["dataset"]
            for n in grid["norm"]
            for b in grid["batch_size"]
            for s in grid["seed"]
        ]
        for name in order(names) if order else names:
            self.write(name, **values)

    def path(self, name: str, file: str = "run.json") -> Path:
        return self.folder / "runs" / name / file

    def write(self, name: str, **values) -> None:
        cell = cell_of(name)
        settings = as_dict(make(cell))
        run = {
            "run": name,
            "status": "ok",
            "n_parameters": 17_226,
            "n_train": 1_150,
            "n_validation": 287,
            "n_test": 800,
            "n_classes": 10,
            "n_steps": 200,
            "steps_done": 200,
            "train_loss": 0.5,
            "train_accuracy": 0.75,
            "val_loss": 0.5,
            "val_accuracy": 0.75,
            "test_loss": 0.5,
            "test_accuracy": 0.75,
            "steps_to_target": 100,
            "observed": {},
            "observers": [],
            "device": "cpu",
            "python": "3.11.7",
            "torch": "2.15.0",
            "git_commit": "unknown",
            "code_sha256": "c" * 64,
            "config_sha256": config_sha256(settings),
            "data_sha256": "d" * 64,
            "environment": "Python 3.12 on cpu",
            "settings": settings,
        } | {key: value(cell) if callable(value) else value for key, value in values.items()}
        run = {"confusion": confusion(run["test_accuracy"], run["n_test"])} | run
        timing = {
            "start_seconds": 2.5,
            "data_seconds": 0.1,
            "training_seconds": 9.0,
            "evaluation_seconds": 0.5,
            "wall_seconds": 12.1,
            "cpu_seconds": 11.9,
            "resumptions": 2,
            "epoch_seconds": [1.0, 4.0, 2.0, 1.5, 0.5],
            "peak_memory_mb": 480.5,
            "host": "node1",
            "device_name": "a processor",
            "threads": 1,
        }
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(json.dumps(run, indent=2))
        self.path(name, "timing.json").write_text(json.dumps(timing))
        self.path(name, "metrics.csv").write_text(metrics_text(run))
        seal(self.path(name).parent)

    def diverge(self, name: str) -> None:
        nothing = dict.fromkeys([*RESULTS, "steps_to_target"])
        self.write(name, status="diverged", steps_done=3, **nothing)

    def edit(self, name: str, **values) -> None:
        run = json.loads(self.path(name).read_text()) | values
        self.path(name).write_text(json.dumps(run))
        seal(self.path(name).parent)

    def aggregate(self, *options: str) -> dict[str, pd.DataFrame]:
        out = self.folder / "tables"
        argv = [str(self.config_file), "--results", str(self.folder), "--out", str(out), *options]
        tables.main(argv)
        return {name: pd.read_csv(out / f"{name}.csv", keep_default_na=False, na_values=[""]) for name in TABLES}

    def bytes(self) -> dict[str, bytes]:
        self.aggregate()
        return {name: (self.folder / "tables" / f"{name}.csv").read_bytes() for name in TABLES}


RUN = "dataset~digits/norm~batch/batch_size~16/seed~1"
SETTINGS_OF_RUN = as_dict(make(cell_of(RUN)))


def row(comparison: pd.DataFrame, batch_size: int | None, metric: str, level: object = "batch") -> pd.Series:
    found = comparison.query("metric == @metric and level == @level")
    if batch_size is None:
        found = found.query("scope == 'all'")
    else:
        found = found.query("scope == 'cell' and batch_size == @batch_size")
    assert len(found) == 1
    return found.iloc[0]


HEADERS = {
    "runs": "run,dataset,norm,batch_size,seed,status,n_parameters,n_classes,n_steps,train_loss,train_accuracy,"
    "val_loss,val_accuracy,test_loss,test_accuracy,steps_to_target,device,python,torch,git_commit,"
    "code_sha256,config_sha256,data_sha256,environment",
    "metrics": "dataset,norm,batch_size,seed,epoch,step,split,metric,value",
    "timings": "run,dataset,norm,batch_size,seed,start_seconds,data_seconds,training_seconds,"
    "evaluation_seconds,wall_seconds,cpu_seconds,seconds_per_epoch,peak_memory_mb,resumptions,job_seconds,"
    "job_cpu_seconds,job_max_rss_mb,host,device_name",
    "comparison": "axis,level,baseline,dataset,batch_size,scope,metric,mean_baseline,mean_level,"
    "difference,ci_low,ci_high,p,p_holm,effect_size,share_of_seeds,n,n_diverged",
    "classes": "dataset,norm,batch_size,seed,class,n,accuracy",
    "confusion": "dataset,norm,batch_size,true,predicted,count",
}


@pytest.mark.parametrize("name", TABLES)
def test_columns(tmp_path, name):
    text = Results(tmp_path / "results", study()).bytes()[name].decode()
    assert text.split("\n")[0] == HEADERS[name]


def test_order(tmp_path):
    made = Results(tmp_path / "results", study(batch_sizes=(128, 32), seeds=(10, 9))).aggregate()
    # Numbers sort as numbers, names as names.
    keys = made["runs"][["norm", "batch_size", "seed"]].itertuples(index=False, name=None)
    assert list(keys) == [(n, b, s) for n in ("batch", "none") for b in (32, 128) for s in (9, 10)]
    cells = made["comparison"][["scope", "batch_size"]].drop_duplicates()
    assert cells["scope"].tolist() == ["cell", "cell", "all"]
    assert cells["batch_size"].tolist()[:2] == [32, 128]
    assert cells["batch_size"].isna().tolist() == [False, False, True]


def test_values_come_through_unchanged(tmp_path):
    results = Results(tmp_path / "results", study())
    value = 0.1 + 0.2
    results.write(RUN, val_loss=value, steps_to_target=None)
    made = results.aggregate()
    run = made["runs"].set_index("run").loc[RUN]
    assert run["val_loss"] == value
    assert math.isnan(run["steps_to_target"])
    text = (results.folder / "tables" / "metrics.csv").read_text()
    assert "digits,batch,16,1,5,200,validation,loss,0.30000000000000004\n" in text
    assert len(made["metrics"]) == 12 * 8
    assert "\r" not in text


def test_comparison_by_hand(tmp_path):
    # Differences 0.125, 0.25, 0.375: mean 0.25, sd 0.125, and too few for an interval.
    def accuracy(cell):
        gain = (cell["seed"] + 1) / 8 if (cell["norm"], cell["batch_size"]) == ("batch", 16) else 0
        return 0.5 + gain

    results = Results(tmp_path / "results", study(), test_accuracy=accuracy)
    made = results.aggregate()["comparison"]
    one = row(made, 16, "test_accuracy")
    assert one[["mean_baseline", "mean_level", "difference"]].tolist() == [0.5, 0.75, 0.25]
    assert math.isnan(one["ci_low"])
    assert (one["p"], one["effect_size"], one["share_of_seeds"]) == (0.25, 2, 1)
    assert (one["n"], one["n_diverged"]) == (3, 0)
    # Holm over two batch sizes: 0.25 and 1.
    assert one["p_holm"] == 0.5
    other = row(made, 32, "test_accuracy")
    assert other[["difference", "p", "p_holm"]].tolist() == [0, 1, 1]
    assert math.isnan(other["effect_size"])
    assert other["share_of_seeds"] == 0
    # Over all: the mean of both batch sizes, one of eight metrics with p = 0.25.
    pooled = row(made, None, "test_accuracy")
    assert pooled["difference"] == 0.125
    assert (pooled["p"], pooled["p_holm"]) == (0.25, 1)
    assert len(made) == 3 * 8


def test_lower_loss_and_fewer_steps_are_better(tmp_path):
    def fewer(cell):
        return 50 if cell["norm"] == "batch" and cell["seed"] else 100

    def lower(cell):
        return fewer(cell) / 100

    results = Results(tmp_path / "results", study(), steps_to_target=fewer, val_loss=lower)
    made = results.aggregate()["comparison"]
    for metric, difference in (
        ("steps_to_target", -100 / 3),
        ("ln_steps_to_target", -2 * math.log(2) / 3),
        ("val_loss", -1 / 3),
    ):
        assert row(made, 16, metric)["difference"] == pytest.approx(difference)
        assert row(made, 16, metric)["share_of_seeds"] == pytest.approx(2 / 3)


def test_a_diverged_run_scores_as_a_guess(tmp_path):
    results = Results(tmp_path / "results", study())
    results.diverge(RUN)
    made = results.aggregate()
    assert made["runs"].set_index("run").loc[RUN, "status"] == "diverged"
    assert made["runs"].set_index("run").loc[RUN, list(RESULTS)].isna().all()
    comparison = made["comparison"]
    for metric, mean in (
        ("test_accuracy", (0.75 + 0.1 + 0.75) / 3),
        ("train_loss", (0.5 + math.log(10) + 0.5) / 3),
        ("steps_to_target", (100 + 200 + 100) / 3),
        ("ln_steps_to_target", math.log(100 * 200 * 100) / 3),
    ):
        assert row(comparison, 16, metric)["mean_level"] == pytest.approx(mean)
    assert (row(comparison, 16, "val_loss")[["n", "n_diverged"]] == [3, 1]).all()
    assert row(comparison, 32, "val_loss")["n_diverged"] == 0
    assert row(comparison, None, "val_loss")["n_diverged"] == 1


def test_a_target_never_reached_counts_the_whole_budget(tmp_path):
    results = Results(tmp_path / "results", study())
    results.write(RUN, steps_to_target=None)
    made = results.aggregate()["comparison"]
    assert row(made, 16, "steps_to_target")["mean_level"] == pytest.approx(400 / 3)
    assert row(made, 16, "steps_to_target")["n_diverged"] == 0


def test_a_single_seed_has_a_difference_and_nothing_more(tmp_path):
    made = Results(tmp_path / "results", study(seeds=(4,))).aggregate()["comparison"]
    assert (made["n"] == 1).all()
    assert made[["ci_low", "ci_high", "effect_size"]].isna().all(axis=None)
    assert (made[["p", "p_holm"]] == 1).all(axis=None)


@pytest.mark.parametrize("norms", [("none",), ("batch",), ("batch", "layer")])
def test_nothing_to_compare_with(tmp_path, norms):
    made = Results(tmp_path / "results", study(norms=norms)).aggregate()["comparison"]
    assert len(made) == 0
    assert ",".join(made.columns) == HEADERS["comparison"]


def test_each_normalization_is_a_family_of_its_own(tmp_path):
    def accuracy(cell):
        return 0.5 + (cell["norm"] != "none") * (cell["seed"] + 1) / 8

    results = Results(tmp_path / "results", study(norms=("none", "batch", "layer")), val_accuracy=accuracy)
    made = results.aggregate()["comparison"]
    assert list(made["level"].drop_duplicates()) == ["batch", "layer"]
    for norm in ("batch", "layer"):
        assert row(made, 16, "val_accuracy", norm)["p_holm"] == 0.5  # two batch sizes, not four


def treated(config: dict, compare: dict, **axes: list) -> dict:
    """A configuration that compares another axis."""
    return config | {"compare": compare, "grid": config["grid"] | axes}


def nothing(names: list[str]) -> list[str]:
    return []


def test_any_axis_can_be_the_treatment_over_any_others(tmp_path):
    """Dropout over two norms and two rates: by hand, the effect is seed / 8 at the rate 0.5 alone."""
    config = treated(
        study(norms=("batch", "layer"), batch_sizes=(16,)),
        {"axis": "dropout", "baseline": 0.0},
        dropout=[0.0, 0.5],
        learning_rate=[0.01, 0.5],
    )
    results = Results(tmp_path / "results", config, order=nothing)
    for settings in tables.runs(config).values():
        effect = settings.seed / 8 if settings.dropout and settings.learning_rate == 0.5 else 0.0
        results.write(run_name(settings), val_loss=0.5 + effect)
    made = results.aggregate()
    assert list(made["runs"].columns)[:7] == [
        *("run", "dataset", "norm", "dropout", "learning_rate", "batch_size", "seed")
    ]
    comparison = made["comparison"]
    assert list(comparison.columns)[:8] == [
        *("axis", "level", "baseline", "dataset", "norm", "learning_rate", "batch_size", "scope")
    ]
    assert set(comparison["axis"]) == {"dropout"}
    losses = comparison.query("metric == 'val_loss'").set_index(["scope", "norm", "learning_rate"])
    assert losses.loc[("cell", "batch", 0.5), "difference"] == (0 + 1 + 2) / 8 / 3
    assert losses.loc[("cell", "batch", 0.01), "difference"] == 0
    assert losses.query("scope == 'all'")["difference"].tolist() == [(0 + 1 + 2) / 8 / 3 / 2]
    assert losses.loc[("cell", "batch", 0.5), ["level", "baseline"]].tolist() == [0.5, 0.0]
    # Holm over the four cells: p = 1/2 for two differences that are not zero, of three seeds.
    assert losses.loc[("cell", "batch", 0.5), "p_holm"] == 1


def test_several_levels_are_compared_with_one_baseline(tmp_path):
    config = treated(
        study(norms=("batch",), batch_sizes=(16,)), {"axis": "hidden", "baseline": [32]}, hidden=[[32], [32, 16], [8]]
    )
    results = Results(tmp_path / "results", config, order=nothing)
    for settings in tables.runs(config).values():
        results.write(run_name(settings), val_loss=float(sum(settings.hidden)))
    made = results.aggregate()["comparison"].query("metric == 'val_loss' and scope == 'all'")
    assert dict(zip(made["level"].astype(str), made["difference"], strict=True)) == {"32-16": 16, "8": -24}


def test_a_run_that_ends_near_guessing_scores_like_one_that_diverged(tmp_path):
    """Below 20 % of ten classes at its end: accuracy 0.1, loss ln 10, all its steps."""
    results = Results(tmp_path / "results", study())
    results.write(RUN, val_accuracy=0.1999, test_accuracy=0.25)
    made = results.aggregate()["comparison"]
    assert row(made, 16, "test_accuracy")["mean_level"] == pytest.approx((0.75 + 0.1 + 0.75) / 3)
    assert row(made, 16, "steps_to_target")["mean_level"] == pytest.approx((100 + 200 + 100) / 3)
    assert row(made, 16, "test_loss")["n_diverged"] == 1
    results.write(RUN, val_accuracy=0.2, test_accuracy=0.25)
    made = results.aggregate()["comparison"]
    assert row(made, 16, "test_accuracy")["mean_level"] == pytest.approx((0.75 + 0.25 + 0.75) / 3)


@pytest.mark.parametrize(("n", "threshold"), [(2, 0.6), (3, 1 / 3 + 0.1), (10, 0.2), (100, 0.02)])
def test_failing_is_twice_chance_or_a_tenth_above_it(n, threshold):
    assert fails_below(n) == pytest.approx(threshold)
    ended = pd.DataFrame({"status": "ok", "val_accuracy": [threshold - 1e-6, 0.99], "n_classes": n})
    assert failed(ended).tolist() == [True, False]
    assert [failed(run) for run in ended.to_dict("records")] == [True, False]


def test_classes_and_confusion_by_hand(tmp_path):
    config = study(norms=("none",), batch_sizes=(16,), seeds=(0, 1))
    results = Results(tmp_path / "results", config, test_accuracy=0.75)
    made = results.aggregate()
    classes = made["classes"].query("seed == 1")
    assert classes["accuracy"].tolist()[0] == 0.75
    assert classes["accuracy"].isna().tolist() == [False] + [True] * 9  # no image of the others
    assert classes["n"].tolist() == [800] + [0] * 9
    counts = made["confusion"].set_index(["true", "predicted"])["count"]
    assert (counts[0, 0], counts[0, 1], counts.sum()) == (1200, 400, 1600)  # both seeds


def test_what_was_observed_becomes_a_column_and_a_comparison(tmp_path):
    def observed(cell):
        return {"weight_norm": cell["seed"]}

    results = Results(tmp_path / "results", study(), observed=observed)
    made = results.aggregate()
    assert made["runs"].set_index("run").loc[RUN, "weight_norm"] == 1
    assert row(made["comparison"], 16, "weight_norm")["mean_level"] == 1
    results.write(RUN, observed={"weight_norm": None})
    known = results.aggregate()["comparison"].query("metric == 'weight_norm'")
    assert known["batch_size"].tolist() == [32]


def test_timings(tmp_path):
    results = Results(tmp_path / "results", study())
    benchmark = results.folder / "benchmarks" / "train" / f"{RUN}.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(
        "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
        "13.5\t0:00:13\t500.00\t1.0\t1.0\t1.0\t0.0\t0.0\t98.0\tNA\n"
    )
    made = results.aggregate()["timings"].set_index("run")
    assert made.loc[RUN, "seconds_per_epoch"] == 1.5  # the median
    assert made.loc[RUN, "job_seconds"] == 13.5
    assert made.loc[RUN, "job_max_rss_mb"] == 524.29  # 500 x 2^20 bytes
    assert math.isnan(made.loc[RUN, "job_cpu_seconds"])
    assert made.loc[RUN, "resumptions"] == 2
    assert made.loc[RUN, "host"] == "node1"
    assert made.loc[RUN, "device_name"] == "a processor"
    by_hand = made.drop(RUN)
    assert by_hand[["job_seconds", "job_cpu_seconds", "job_max_rss_mb"]].isna().all(axis=None)


def test_bytes_depend_on_nothing_but_the_runs(tmp_path):
    def loss(cell):
        return 1 / (3 + cell["seed"] + cell["batch_size"])

    def shuffled(names):
        random.Random(1).shuffle(names)
        return names

    first = Results(tmp_path / "a", study(), val_loss=loss)
    config = study(norms=("batch", "none"), batch_sizes=(32, 16), seeds=(2, 0, 1))
    second = Results(tmp_path / "b c ä" / "re sults", config, order=shuffled, val_loss=loss)
    second.write(RUN.replace("seed~1", "seed~77"))  # outside the grid
    assert first.bytes() == second.bytes() == second.bytes()


def refused(results: Results, *options: str) -> str:
    with pytest.raises(UserError) as caught:
        results.aggregate(*options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("file", ["run.json", "metrics.csv", "timing.json"])
def test_a_missing_run(tmp_path, file):
    results = Results(tmp_path / "results", study())
    results.path(RUN, file).unlink()
    message = refused(results)
    assert message.startswith("1 of the 12 runs")
    assert f"{RUN}/{file}" in message


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ({"run": RUN.replace("16", "32")}, "says run"),
        ({"config_sha256": "f" * 64}, "not that of its settings"),
        ({"settings": SETTINGS_OF_RUN | {"epochs": 4}}, "epochs 4 where the configuration says 5"),
        ({"settings": SETTINGS_OF_RUN | {"seed": 3}}, "seed 3 where the configuration says 1"),
        ({"settings": SETTINGS_OF_RUN | {"colour": 3}}, "colour 3 where the configuration says None"),
    ],
)
def test_a_run_that_is_not_what_was_asked_for(tmp_path, edit, named):
    results = Results(tmp_path / "results", study())
    results.edit(RUN, **edit)
    message = refused(results)
    assert RUN in message
    assert named in message


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("run.json", lambda text: text[:-9], "is not JSON"),
        ("run.json", lambda text: "[1]", "is not a JSON object"),
        ("run.json", lambda text: "\udcff", "is not JSON"),
        ("run.json", lambda text: text.replace("0.75", "0.76", 1), "is not as it was written"),
        ("metrics.csv", lambda text: "", "is not as it was written"),
        ("metrics.csv", lambda text: text.replace("0.1", "0.2", 1), "is not as it was written"),
        ("metrics.csv", lambda text: text[:-5], "is not as it was written"),
        ("timing.json", lambda text: "", "is not JSON"),
        ("timing.json", lambda text: "{}", "is not as it was written"),
        ("timing.json", lambda text: text.replace("12.1", '"long"'), "lacks a number"),
    ],
)
def test_a_file_that_was_changed(tmp_path, file, change, named):
    results = Results(tmp_path / "results", study())
    path = results.path(RUN, file)
    path.write_text(change(path.read_text()), errors="surrogateescape")
    message = refused(results)
    assert RUN in message
    assert named in message


def test_tables_stay_as_they_were_if_anything_is_wrong(tmp_path):
    results = Results(tmp_path / "results", study())
    before = results.bytes()
    results.write(RUN, val_loss=0.25)
    timing = results.path(RUN, "timing.json")
    timing.write_text(timing.read_text().replace("2.5", '"soon"'))
    assert "lacks a number" in refused(results)
    out = results.folder / "tables"
    assert {path.name for path in out.iterdir()} == {f"{name}.csv" for name in TABLES}
    assert {name: (out / f"{name}.csv").read_bytes() for name in TABLES} == before


def test_mixed_code_is_refused_unless_asked_for(tmp_path):
    results = Results(tmp_path / "results", study())
    results.write(RUN, code_sha256="b" * 64)
    message = refused(results)
    for part in ("11 of cccccccccccc", f"1 of bbbbbbbbbbbb (as {RUN})", "--allow-mixed-code"):
        assert part in message
    assert len(results.aggregate("--allow-mixed-code")["runs"]) == 12


@pytest.mark.parametrize("name", [f"{RUN} (copy)", f"old/{RUN}", RUN.replace("norm~", "")])
def test_a_folder_that_is_no_run_is_refused(tmp_path, name):
    results = Results(tmp_path / "results", study())
    shutil.copytree(results.path(RUN).parent, results.folder / "runs" / name)
    assert f"{name} is not the folder of a run" in refused(results)


def test_runs_outside_the_grid_are_left_alone_and_counted(tmp_path, capsys):
    results = Results(tmp_path / "results", study())
    results.write(RUN.replace("seed~1", "seed~77"))
    assert len(results.aggregate()["runs"]) == 12
    assert "1 runs outside the grid" in capsys.readouterr().err


def test_runs_of_other_data_than_there_is_are_refused(tmp_path, digits_data):
    results = Results(tmp_path / "results", study())
    message = refused(results, "--data", str(digits_data))
    assert message.startswith("12 of 12 (as ")
    assert str(digits_data) in message
    for name in [path.parent for path in (results.folder / "runs").rglob("run.json")]:
        results.edit(str(name.relative_to(results.folder / "runs")), data_sha256=prepared_header(digits_data)["sha256"])
    assert len(results.aggregate("--data", str(digits_data))["runs"]) == 12


def test_mixed_data_is_refused(tmp_path):
    results = Results(tmp_path / "results", study())
    results.write(RUN, data_sha256="b" * 64)
    assert "2 versions of the data of digits" in refused(results, "--allow-mixed-code")


@pytest.mark.parametrize(
    ("text", "named"), [(None, "cannot be read"), ("a: [", "is not YAML"), ("", "no configuration")]
)
def test_a_configuration_that_is_none(tmp_path, text, named):
    results = Results(tmp_path / "results", study())
    results.config_file.unlink()
    if text is not None:
        results.config_file.write_text(text)
    assert named in refused(results)
