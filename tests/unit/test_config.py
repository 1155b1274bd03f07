"""The check of the configuration: what it refuses, what it says, what it lets through."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bnstudy.config import (
    SCHEMAS,
    check_config,
    config_text,
    default_studies,
    enabled_studies,
    grid_cells,
    has_nvidia_gpu,
    uses_cuda,
)
from bnstudy.data.datasets import DATASETS
from bnstudy.errors import UserError
from bnstudy.studies import STUDIES

ROOT = Path(__file__).parents[2]
GRID = yaml.safe_load((ROOT / "config/config.yaml").read_text())
DEFAULT = GRID | yaml.safe_load((ROOT / "config/studies.yaml").read_text())


def changed(text: str) -> dict:
    """The default configuration with a piece of YAML laid over it, as Snakemake would do."""
    return laid_over(DEFAULT, yaml.safe_load(text))


def laid_over(below: object, above: object) -> object:
    """Sections are merged key by key at every depth, anything else is replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return copy.deepcopy(above)
    merged = {key: laid_over(below[key], above[key]) for key in below.keys() & above.keys()}
    return copy.deepcopy(below) | copy.deepcopy(above) | merged


BAD = {
    # misspelt, missing and emptied keys
    "grids: {seed: [0]}": ("grids", "grid"),
    "grid: {batchsize: [32]}": ("grid.batchsize", "batch_size"),
    "training: {learning-rate: 0.1}": ("training.learning-rate", "learning_rate"),
    "model: {1: 2}": ("model.1", "no such key"),
    "model:": ("model", "section"),
    "report: text": ("report", "section"),
    # words
    "grid: {norm: [none, bach]}": ("grid.norm[1]", "batch"),
    "grid: {dataset: [minst]}": ("grid.dataset[0]", "mnist"),
    "grid: {dataset: mnist}": ("grid.dataset", "[mnist]"),
    "training: {optimizer: adamw}": ("training.optimizer", "adam"),
    "training: {device: gpu}": ("training.device", "cuda"),
    "model: {activation: gelu}": ("model.activation", "relu"),
    "data: {scaling: standardise}": ("data.scaling", "standardize"),
    # what YAML makes of words and numbers
    "grid: {norm: [no, batch]}": ("grid.norm[0]", "yes, no, on and off"),
    "grid: {norm: [~, batch]}": ("grid.norm[0]", "null"),
    "training: {optimizer: on}": ("training.optimizer", "yes, no, on and off"),
    "grid: {batch_size: [32, 128.0]}": ("grid.batch_size[1]", "write 128."),
    "grid: {batch_size: [true]}": ("grid.batch_size[0]", "whole number"),
    'grid: {seed: ["0"]}': ("grid.seed[0]", "write 0 without quotes"),
    "training: {learning_rate: 1e-3}": ("training.learning_rate", "write 0.001 (YAML"),
    "training: {learning_rate: .nan}": ("training.learning_rate", "a number"),
    "training: {learning_rate: .inf}": ("training.learning_rate", "a number"),
    "training: {epochs: 2.5}": ("training.epochs", "whole number"),
    "report: {title: 2026}": ("report.title", "quotes, '2026'"),
    "data: {source: no}": ("data.source", "yes, no, on and off"),
    # lists
    "grid: {seed: 3}": ("grid.seed", "[3]"),
    "grid: {seed: []}": ("grid.seed", "empty"),
    "grid: {seed: [0, 1, 0]}": ("grid.seed", "0 is listed twice"),
    "model: {hidden: []}": ("model.hidden", "empty"),
    # out of range
    "grid: {seed: [-1]}": ("grid.seed[0]", "least allowed is 0"),
    "grid: {batch_size: [0]}": ("grid.batch_size[0]", "least allowed is 1"),
    "model: {dropout: 1.0}": ("model.dropout", "less than 1"),
    "data: {validation_fraction: 0}": ("data.validation_fraction", "greater than 0"),
    "training: {learning_rate: 0}": ("training.learning_rate", "greater than 0"),
    "training: {probe_every: 0}": ("training.probe_every", "least allowed is 1"),
    'data: {source: ""}': ("data.source", "null"),
    "report: {name: ../elsewhere}": ("report.name", "no folders"),
    "report: {name: .hidden}": ("report.name", "letter or digit"),
    'report: {title: ""}': ("report.title", "empty"),
    # fine alone, not together: 60,000 images leave 48,000 for training, 1,437 leave 1,150
    "grid: {batch_size: [1]}": ("grid.batch_size[0]", "nearest valid choice is 2"),
    "grid: {batch_size: [47999]}": ("grid.batch_size[0]", "nearest valid choice is 47998"),
    "grid: {batch_size: [48001]}": ("grid.batch_size[0]", "nearest valid choice is 48000"),
    "grid: {dataset: [mnist, digits], batch_size: [2000]}": ("grid.batch_size[0]", "digits"),
    "data: {validation_fraction: 0.000001}": ("data.validation_fraction", "0 for validation"),
}


@pytest.mark.parametrize("text", BAD)
def test_each_mistake_is_one_sentence_that_names_the_key(text: str):
    key, hint = BAD[text]
    with pytest.raises(UserError) as caught:
        check_config(changed(text))
    (sentence,) = str(caught.value).splitlines()
    assert sentence.startswith(f"{key}: ")
    assert sentence.endswith(".")
    assert hint in sentence


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError) as caught:
        check_config(changed("grid: {seed: [], norm: [bach]}\ntraining: {epoch: 3}"))
    keys = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["grid.norm[0]", "grid.seed", "training.epoch"]


@pytest.mark.parametrize("section", GRID)
def test_a_missing_key_is_named(section: str):
    for key in GRID[section]:
        config = copy.deepcopy(DEFAULT)
        del config[section][key]
        with pytest.raises(UserError, match=rf"^{section}\.{key}: this key is missing"):
            check_config(config)


@pytest.mark.parametrize("over", [[], ["config/quick.yaml"], ["config/full.yaml"]])
def test_the_configurations_that_are_shipped_are_valid(over: list[str]):
    config = DEFAULT
    for file in over:
        config = changed((ROOT / file).read_text())
    check_config(config)


def test_a_batch_of_one_is_fine_without_batch_normalization():
    check_config(changed("grid: {norm: [none, layer], batch_size: [1, 47999]}"))


@settings(deadline=None)
@given(
    size=st.integers(1, 1500),
    fraction=st.floats(0.01, 0.99),
    norm=st.lists(st.sampled_from(["none", "batch", "layer"]), min_size=1, unique=True),
)
def test_a_batch_size_is_refused_exactly_when_it_cannot_train(size, fraction, norm):
    """Counts the samples of every batch of an epoch instead of dividing."""

    def trains(size: int) -> bool:
        n = 1437 - round(fraction * 1437)
        if not 1 <= size <= n:
            return False
        batches = [len(range(n)[i : i + size]) for i in range(0, n, size)]
        return not ("batch" in norm and 1 in batches)

    def config(size: int) -> dict:
        config = changed("grid: {dataset: [digits]}")
        config["grid"] |= {"batch_size": [size], "norm": norm}
        config["data"]["validation_fraction"] = fraction
        return config

    if trains(size):
        check_config(config(size))
        return
    with pytest.raises(UserError) as caught:
        check_config(config(size))
    nearest = int(re.search(r"nearest valid choice is (\d+)", str(caught.value))[1])
    assert trains(nearest)
    assert not any(
        trains(size + step) for step in range(1 - abs(nearest - size), abs(nearest - size))
    )


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("studies: {dept: {enabled: true}}", "studies.dept", "missing"),
        ("studies: {depth: {enabled: on please}}", "studies.depth.enabled", "true or false"),
        ("studies: {depth: {seeds: 0}}", "studies.depth.seeds", "too small"),
        ("studies: {depth: {seeds: 10.0}}", "studies.depth.seeds", "write 10"),
        ("studies: {depth: {options: {wide: 64}}}", "studies.depth.options.wide", "width"),
        ("studies: {depth: {options: {width: [64]}}}", "studies.depth.options.width", "kind"),
        ("studies: {depth: {grid: {norms: [none]}}}", "studies.depth.grid.norms", "norm"),
        ("studies: {depth: {grid: {norm: []}}}", "studies.depth.grid.norm", "empty"),
        ("studies: {depth: {grid: {norm: none}}}", "studies.depth.grid.norm", "list"),
        (
            "studies: {depth: {grid: {norm: [bacth]}}}",
            "studies.depth.grid.norm[0]",
            "closest is batch",
        ),
        ("studies: {depth: {options: {width: -1}}}", "studies.depth.options.width", "kind"),
        (
            "studies: {depth: {options: {depths: {relu: [2.5]}}}}",
            "studies.depth.options.depths.relu[0]",
            "kind",
        ),
        (
            "studies: {learning_rates: {options: {sgd: [0.1, x]}}}",
            "studies.learning_rates.options.sgd[1]",
            "kind",
        ),
        (
            "studies: {learning_rates: {options: {images: {few: 3}}}}",
            "studies.learning_rates.options.images.few",
            "key",
        ),
    ],
)
def test_settings_of_studies_are_checked(text: str, key: str, says: str):
    with pytest.raises(UserError) as caught:
        check_config(changed(text))
    assert str(caught.value).startswith(f"{key}")
    assert says in str(caught.value)


def test_a_misspelt_study_is_named():
    config = copy.deepcopy(DEFAULT)
    config["studies"]["dept"] = config["studies"]["depth"]
    with pytest.raises(UserError, match=r"^studies\.dept: there is no such study.*depth"):
        check_config(config)
    del config["studies"]["dept"], config["studies"]["depth"]
    with pytest.raises(UserError, match=r"^studies\.depth: this study is missing"):
        check_config(config)


def test_studies_that_are_switched_on():
    assert list(enabled_studies(DEFAULT)) == ["identities", "init_gradients"]
    full = changed((ROOT / "config/full.yaml").read_text())
    assert list(enabled_studies(full)) == list(default_studies()) == list(full["studies"])
    assert set(STUDIES) == set(full["studies"])  # every study that can be run is configured


def test_the_order_of_keys_neither_renames_cells_nor_changes_the_recorded_text():
    def reversed_keys(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: reversed_keys(value[key]) for key in reversed(value)}

    full = changed((ROOT / "config/full.yaml").read_text())
    backwards = reversed_keys(full)
    assert list(backwards["studies"]["depth"]["grid"]) != list(full["studies"]["depth"]["grid"])
    axes = [list(enabled_studies(config)["depth"]["grid"]) for config in (full, backwards)]
    assert axes[0] == axes[1] == ["norm", "activation", "initialization"]
    assert config_text(full) == config_text(backwards)


def test_grid_cells_are_every_combination_once():
    cells = grid_cells(DEFAULT)
    assert len(cells) == 2 * 4 * 10
    assert len({tuple(cell.values()) for cell in cells}) == 80
    assert cells[0] == {"dataset": "mnist", "norm": "none", "batch_size": 32, "seed": 0}
    assert cells[-1] == {"dataset": "mnist", "norm": "batch", "batch_size": 256, "seed": 9}


def test_recorded_text_reads_back_and_does_not_depend_on_the_order_of_keys():
    config = changed("report: {title: \"{x} 'y' $HOME %s\\n<b>ü\"}")
    shuffled = {key: dict(reversed(config[key].items())) for key in reversed(config)}
    assert yaml.safe_load(config_text(config)) == config
    assert config_text(shuffled) == config_text(config)


def schema_keys(schema: dict, path: str = "") -> dict[str, dict]:
    found = {}
    for name, child in schema.get("properties", {}).items():
        found |= {f"{path}{name}": child} | schema_keys(child, f"{path}{name}.")
    return found


SCHEMA_KEYS = schema_keys(yaml.safe_load((SCHEMAS / "config.schema.yaml").read_text()))


@pytest.mark.parametrize("key", SCHEMA_KEYS)
def test_schema_is_strict_and_says_what_every_key_is(key: str):
    schema = SCHEMA_KEYS[key]
    assert schema["description"].endswith(".")
    if "properties" in schema:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])


def test_readme_and_default_file_show_every_key():
    leaves = {key for key, schema in SCHEMA_KEYS.items() if "properties" not in schema}
    leaves.remove("studies")  # which has names of its own below it
    readme = (ROOT / "config/README.md").read_text()
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", readme, re.MULTILINE)) == leaves
    assert {f"{section}.{key}" for section in GRID for key in GRID[section]} == leaves
    assert all(f"`{name}`" in readme for name in DEFAULT["studies"])


def test_schema_allows_what_the_code_offers():
    from bnstudy.networks.mlp import ACTIVATIONS, NORMALIZATIONS
    from bnstudy.training.devices import DEVICES

    def allowed(key: str) -> list[str]:
        schema = SCHEMA_KEYS[key]
        return schema.get("items", schema)["enum"]

    assert allowed("grid.dataset") == list(DATASETS)
    assert allowed("grid.norm") == list(NORMALIZATIONS)
    assert allowed("model.activation") == list(ACTIVATIONS)
    assert allowed("training.device") == list(DEVICES)


def test_runs_ask_for_a_gpu_where_they_will_use_one(monkeypatch: pytest.MonkeyPatch):
    devices = {
        device: changed(f"training: {{device: {device}}}") for device in ("cpu", "cuda", "mps")
    }
    assert [uses_cuda(config) for config in devices.values()] == [False, True, False]
    assert uses_cuda(DEFAULT) is has_nvidia_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not uses_cuda(DEFAULT)


def test_job_that_slurm_gave_no_gpu_asks_for_none_on_a_node_with_gpus(monkeypatch):
    """It would ask for one within its allocation, and be refused."""
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([folder / "nvidia0"]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert uses_cuda(DEFAULT)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert not uses_cuda(DEFAULT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert uses_cuda(DEFAULT)
