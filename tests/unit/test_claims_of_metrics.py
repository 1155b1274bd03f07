"""Claims about a metric of runs: what they leave out, what is refused, and their verdict, by hand."""

import csv
import math
import sys
from subprocess import run

import numpy as np
import pandas as pd
import pytest
import yaml

from bnstudy import config as configuration
from bnstudy.claims import judge, listed
from bnstudy.claims.endpoints.base import metric_endpoint

D1 = {
    "id": "D1",
    "claim": "Dropout makes it more accurate on new images",
    "metric": "test_accuracy",
    "level": 0.5,
    "direction": "higher",
    "smallest_effect": 0.33,
    "prior": 0.4,
}
MINE = {
    "enabled": True,
    "code": "X1",
    "title": "Mine",
    "text": "Of my own.",
    "seeds": 12,
    "grid": {"norm": ["none", "batch"], "learning_rate": [0.01, 0.1]},
}


def configured(**more) -> dict:
    """The default configuration with another question: dropout, on the digits."""
    root = configuration.ROOT / "config"
    config = yaml.safe_load((root / "config.yaml").read_text())
    config["studies"] = {name: study | {"enabled": False} for name, study in configuration.default_studies().items()}
    config["grid"] = {
        "dataset": ["digits"],
        "norm": ["batch"],
        "dropout": [0.0, 0.2, 0.5],
        "batch_size": [32, 64],
        "seed": list(range(12)),
    }
    config |= {"compare": {"axis": "dropout", "baseline": 0.0}, "claims": [D1]} | more
    configuration.check_config(config)
    return config


def refused(claim: dict, **more) -> list[str]:
    config = configured(**more)
    return listed.problems([D1 | claim], config)


def without(key: str) -> list[str]:
    return listed.problems([{k: v for k, v in D1.items() if k != key}], configured())


def test_the_question_about_dropout_is_complete():
    assert listed.problems([D1], configured()) == []
    full = listed.complete(D1, configured())
    assert (full["axis"], full["baseline"], full["unit"]) == ("dropout", 0.0, "percentage points")
    assert full["measure"] == "test accuracy, dropout 0.5 minus dropout 0"
    assert "batch size 32, batch size 64" in full["scope"]
    assert (full["kind"], full["study"], full["endpoint"]) == (*("statistical", "core", "test_accuracy"),)
    lower = listed.complete(D1 | {"metric": "val_loss", "direction": "lower", "scale": "ratio"}, {})
    assert (lower["unit"], lower["measure"][:15]) == ("ln ratio", "validation loss")


def test_the_only_other_level_need_not_be_said():
    config = configured()
    config["grid"]["dropout"] = [0.0, 0.5]
    assert listed.complete({k: v for k, v in D1.items() if k != "level"}, config)["level"] == 0.5


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ({"metric": "test_acuracy"}, "claims[0].metric: there is no test_acuracy; the closest is test_accuracy."),
        ({"level": 0.3}, "claims[0].level: 0.3 is not among the values of dropout ([0.0, 0.2, 0.5])."),
        ({"level": 0}, "claims[0].level: 0 is the baseline itself; name another."),
        ({"axis": "batch_sise", "baseline": 32, "level": 64}, "claims[0].axis: batch_sise is not swept; the closest is batch_size."),
        ({"axis": "batch_size", "level": 64}, "claims[0].baseline: this key is missing; batch size has the values [32, 64]."),
        ({"where": {"batch_size": 128}}, "claims[0].where.batch_size: 128 is not among the values of batch_size ([32, 64])."),
        ({"where": {"norms": "batch"}}, "claims[0].where.norms: is not swept besides; the closest is norm."),
        ({"study": "dept"}, "claims[0].study: there is no dept; the closest is depth."),
        ({"study": "depth"}, "claims[0].study: depth is switched off; write studies.depth.enabled: true."),
        ({"direction": "up"}, 'claims[0].direction: "up" is not one of higher, lower.'),
        ({"smallest_effect": 0}, "claims[0].smallest_effect: 0 is too small; it must be greater than 0."),
        ({"kind": "exact"}, "claims[0].metric: a claim of the configuration is about a metric of runs; name one."),
        ({"smalest_effect": 1}, "claims[0].smalest_effect: there is no such key; the closest is smallest_effect."),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_refused_in_a_sentence(claim, sentence):
    assert refused(claim) == [sentence]


def test_what_is_missing_is_refused():
    assert without("level") == ["claims[0].level: this key is missing; dropout has the values [0.0, 0.2, 0.5]."]
    for key in ("prior", "smallest_effect", "direction", "metric"):
        (sentence,) = without(key)
        assert sentence.startswith(f"claims[0].{key}: this key is missing")


def test_an_id_is_used_once():
    twice = listed.problems([D1, D1], configured())
    assert twice == ["claims[1].id: D1 is used twice; every claim has its own."]
    usual = configured(compare={"axis": "norm", "baseline": "none"})
    usual["grid"]["norm"] = ["none", "batch"]
    (first, *_) = listed.problems([D1 | {"id": "B3", "level": "batch"}], usual)
    assert first == "claims[0].id: B3 is used twice; every claim has its own."


def test_what_an_observer_measures_is_known_by_the_run_alone():
    assert refused({"metric": "weight_norm:1"}) != []
    assert refused({"metric": "weight_norm:1"}, observers=["weight_norms"]) == []
    assert refused({"metric": "train/loss"}) == []


def test_more_claims_than_the_seeds_can_carry():
    seven = [D1 | {"id": f"D{i}"} for i in range(7)]
    few = configured()
    few["grid"]["seed"] = list(range(8))  # 7 * 2/2^8 = 0.055, 7 * 2/2^9 = 0.027
    (sentence,) = listed.problems(seven, few)
    assert sentence.startswith("grid.seed: 8 seeds cannot carry 7 statistical claims")
    assert "take 9," in sentence
    assert listed.problems(seven[:6], few) == []  # 6 * 2/2^8 = 0.047
    aside = [one | {"kind": "exploratory"} for one in seven[1:]]
    assert listed.problems([seven[0], *aside], few) == []
    assert listed.problems(seven, few | {"exploratory": True}) == []


def test_the_seeds_of_a_study_count_too():
    config = configured()
    config["studies"] |= {"mine": MINE | {"seeds": 3}}
    claim = D1 | {"study": "mine", "level": "batch"}
    (sentence,) = listed.problems([claim], config)
    assert sentence.startswith("studies.mine.seeds: 3 seeds cannot carry 1 statistical claims")


def test_a_study_has_a_section_and_a_claim():
    config = configured()
    config["studies"] |= {"mine": MINE}
    assert listed.problems([D1 | {"study": "mine", "level": "batch"}], config) == []
    (sentence,) = listed.problems([D1], config)
    assert sentence.startswith("studies.mine: no claim is about it")
    for key in ("code", "title", "text"):
        config["studies"]["mine"] = {k: v for k, v in MINE.items() if k != key}
        (sentence,) = listed.problems([D1 | {"study": "mine", "level": "batch"}], config)
        assert sentence.startswith(f"studies.mine.{key}: this key is missing")


def test_a_study_of_other_rows_has_no_metric_of_runs():
    config = configured()
    config["studies"] |= {"mine": MINE | {"rows": "step"}}
    (sentence,) = listed.problems([D1 | {"study": "mine", "level": "batch"}], config)
    assert sentence.startswith("claims[0].study: the table of mine has no row for each run")


def test_nothing_slow_is_imported_to_check_claims():
    code = "import sys, bnstudy.claims.listed; print({'torch', 'pandas', 'scipy'} & set(sys.modules))"
    said = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


# Runs by hand: dropout 0.5 adds 1 point at batch size 32 and 2 points at 64.
GAIN = {(0.5, 32): 0.01, (0.5, 64): 0.02}


def runs_of(config: dict) -> pd.DataFrame:
    rows = [
        {
            "run": f"{dropout}/{size}/{seed}",
            "dataset": "digits",
            "norm": "batch",
            "dropout": dropout,
            "batch_size": size,
            "seed": seed,
            "status": "ok",
            "n_classes": 10,
            "n_steps": 100,
            "val_accuracy": 0.9,
            "test_accuracy": 0.9 + 0.001 * seed + GAIN.get((dropout, size), 0),
            "steps_to_target": 50 * (1 + (dropout > 0)),
        }
        for dropout in config["grid"]["dropout"]
        for size in config["grid"]["batch_size"]
        for seed in config["grid"]["seed"]
    ]
    return pd.DataFrame(rows)


def effect_of(runs: pd.DataFrame, **about):
    config = configured()
    claim = listed.complete(D1 | about, config)
    return metric_endpoint(claim, runs, ["dataset", "norm", "dropout", "batch_size", "seed"])


def test_effects_by_hand():
    runs = runs_of(configured())
    higher = effect_of(runs)
    assert higher.effect.tolist() == pytest.approx([1.5] * 12)  # points, the mean of 1 and 2
    assert list(higher.cells) == ["batch size 32", "batch size 64"]
    assert higher.cells["batch size 64"].tolist() == pytest.approx([2] * 12)
    assert effect_of(runs, direction="lower").effect.tolist() == pytest.approx([-1.5] * 12)
    part = effect_of(runs, where={"batch_size": 64, "seed": [3, 5]})
    assert part.effect.to_dict() == pytest.approx({3: 2, 5: 2})
    assert part.cells == {}
    ratio = effect_of(runs, scale="ratio", where={"batch_size": 32}).effect[0]
    assert ratio == pytest.approx(math.log(91 / 90))
    slower = effect_of(runs, metric="ln_steps_to_target", direction="lower")
    assert slower.effect.tolist() == pytest.approx([-math.log(2)] * 12)
    plain = effect_of(runs, metric="steps_to_target", direction="lower")
    assert plain.effect.tolist() == [-50] * 12


def test_other_levels_of_the_treatment_do_not_count():
    runs = runs_of(configured())
    runs.loc[runs["dropout"] == 0.2, "status"] = "diverged"
    found = effect_of(runs, metric="ln_steps_to_target", direction="lower")
    assert found.note == "0 of 48 runs never reached the target."


def test_failed_runs_guess_and_incomplete_seeds_are_left_out():
    runs = runs_of(configured())
    first = (runs["dropout"] == 0.5) & (runs["batch_size"] == 32) & (runs["seed"] == 0)
    runs.loc[first, ["status", "val_accuracy", "test_accuracy"]] = ["diverged", np.nan, np.nan]
    found = effect_of(runs)
    assert found.effect[0] == pytest.approx(((10 - 90) + 2) / 2)
    assert found.note == "1 of 48 runs failed and count as guessing."
    fewer = effect_of(runs[~first])
    assert list(fewer.effect.index) == list(range(1, 12))
    assert "1 of 12 seeds lack a value" in fewer.note
    # No ratio of what is not above zero.
    runs["weight_norm"] = 1.0
    runs.loc[first, "weight_norm"] = 0.0
    assert len(effect_of(runs, metric="weight_norm", scale="ratio").effect) == 11
    with pytest.raises(KeyError):
        effect_of(runs[runs["dropout"] != 0.5])


def test_a_combination_that_one_level_lacks_is_no_cell():
    runs = runs_of(configured())
    runs = runs[(runs["dropout"] != 0.5) | (runs["batch_size"] == 64)]
    assert effect_of(runs).effect.tolist() == pytest.approx([2] * 12)


def verdicts(folder, claims, config=None) -> list[dict]:
    config = config or configured(claims=claims)
    runs = runs_of(config)
    runs.to_csv(folder / "runs.csv", index=False)
    keys = ["dataset", "norm", "dropout", "batch_size", "seed"]
    series = [
        runs[keys].assign(epoch=1, step=step, split="train", metric="size:1", value=value)
        for step, value in ((10, runs["dropout"] * 4 + 1), (0, 7.0))
    ]
    pd.concat(series).to_csv(folder / "metrics.csv", index=False)
    judge.judge_all(listed.LIST, config, folder, folder)
    with open(folder / "claims.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_verdict_on_dropout(tmp_path):
    against = {"id": "D2", "direction": "lower"}
    observed = {"id": "D3", "metric": "train/size:1", "smallest_effect": 0.5}
    first, second, third = verdicts(tmp_path, [D1, D1 | against, D1 | observed])
    assert (first["id"], first["verdict"], first["unit"]) == (*("D1", "supported", "percentage points"),)
    assert float(first["effect"]) == pytest.approx(1.5)
    assert float(first["p_holm"]) == pytest.approx(3 * 2 / 2**12)
    assert (second["verdict"], third["verdict"]) == ("refuted", "supported")
    assert float(third["effect"]) == pytest.approx(2)  # at the last step
    effects = pd.read_csv(tmp_path / "claim_effects.csv")
    assert set(effects["cell"]) == {"all", "batch size 32", "batch size 64"}


def test_what_the_tables_lack_is_not_judged(tmp_path):
    (row,) = verdicts(tmp_path, [D1 | {"metric": "weight_norm"}])
    assert (row["verdict"], row["reason"]) == ("not run", "what it compares was not run")
