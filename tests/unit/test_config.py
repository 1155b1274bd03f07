"""The check of the configuration: what it refuses, what it says, what it lets through."""

import argparse
import copy
import math
import pickle
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bnstudy import statistics
from bnstudy.config import (
    check_config,
    config_text,
    default_studies,
    enabled_studies,
    has_nvidia_gpu,
    strict,
    uses_cuda,
)
from bnstudy.data.registry import DATASETS
from bnstudy.documents import surprises
from bnstudy.errors import UserError
from bnstudy.grid import runs
from bnstudy.schema import config_schema, documents
from bnstudy.settings import EXECUTION, KNOWN, SETTINGS, Execution, add_options, plain

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
    "training: {learning_rate: .nan}": ("training.learning_rate", "not a finite number"),
    "training: {learning_rate: .inf}": ("training.learning_rate", "not a finite number"),
    "training: {epochs: 2.5}": ("training.epochs", "whole number"),
    "report: {title: 2026}": ("report.title", "quotes, '2026'"),
    "data: {source: no}": ("data.source", "yes, no, on and off"),
    # lists
    "grid: {seed: 3}": ("grid.seed", "[3]"),
    "grid: {seed: []}": ("grid.seed", "empty"),
    "grid: {seed: [0, 1, 0]}": ("grid.seed", "0 is listed twice"),
    "model: {hidden: []}": ("model.hidden", "empty"),
    # out of range
    "grid: {seed: [-1]}": ("grid.seed[0]", "must be >= 0"),
    "grid: {batch_size: [0]}": ("grid.batch_size[0]", "must be >= 1"),
    "model: {dropout: 1.0}": ("model.dropout", "must be < 1"),
    "data: {validation_fraction: 0}": ("data.validation_fraction", "must be > 0"),
    "training: {learning_rate: 0}": ("training.learning_rate", "must be > 0"),
    "grid: {norm: [none, weight]}\nobservers: [landscape]": ("grid.norm[1]", "cannot be observed by landscape"),
    "training: {probe_every: 0}": ("training.probe_every", "must be >= 1"),
    'data: {source: ""}': ("data.source", "null"),
    "report: {name: ../elsewhere}": ("report.name", "no folders"),
    "report: {name: .hidden}": ("report.name", "letter or digit"),
    'report: {title: ""}': ("report.title", "empty"),
    r'grid: {norm: ["a\u2028b"]}': ("grid.norm[0]", r'"a\u2028b" is not one of'),
    r'grid: {seed: ["\x85"]}': ("grid.seed[0]", r'"\u0085" is not a whole number'),
    r'grid: {norm: "a\u2028b"}': ("grid.norm", r'write ["a\u2028b"]'),
    r'studies: {depth: {observers: ["a\u2028b"]}}': ("studies.depth.observers", r"no observer a\u2028b"),
    r'studies: {depth: {settings: {"a\x85": 1}}}': (r"studies.depth.settings.a\x85", "there is no setting"),
    'grid: {norm: ["Größe"]}': ("grid.norm[0]", '"Größe" is not one of'),
    # fine alone, not together: 60,000 images leave 48,000 for training, 1,437 leave 1,150
    "grid: {batch_size: [1]}": ("grid.batch_size[0]", "nearest valid choice is 2"),
    "grid: {batch_size: [47999]}": ("grid.batch_size[0]", "nearest valid choice is 47998"),
    "grid: {batch_size: [48001]}": ("grid.batch_size[0]", "nearest valid choice is 48000"),
    "grid: {dataset: [mnist, digits], batch_size: [2000]}": ("grid.batch_size[0]", "digits"),
    "grid: {norm: [none, instance]}": ("grid.norm[1]", "one value an image"),
    "grid: {norm: [none, 'group:5']}": ("grid.norm[1]", "not a multiple of 5 groups"),
    "grid: {norm: [none, 'ghost:1']}": ("grid.norm[1]", "two images"),
    "{grid: {kind: [mlp, cnn]}, model: {channels: [4, 4, 4, 4, 4]}}": ("model.channels", "4 widths"),
    "{model: {kind: resnet, depth: 21}}": ("model.depth", "nearest is 20"),
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


@pytest.mark.parametrize("key", ["grid.seed", "report.name", "report.title", "verify.cells"])
def test_a_missing_key_is_named(key: str):
    config = copy.deepcopy(DEFAULT)
    section, name = key.split(".")
    del config[section][name]
    with pytest.raises(UserError, match=rf"^{section}\.{name}: this key is missing"):
        check_config(config)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in DEFAULT["grid"]])
def test_what_is_not_said_has_the_default_of_the_code(name: str):
    config = copy.deepcopy(DEFAULT)
    config[SETTINGS[name].section].pop(name, None)
    check_config(config)
    assert {getattr(one, name) for one in runs(config).values()} == {SETTINGS[name].default}


SHIPPED = [*sorted(ROOT.glob("config/examples/*.yaml")), ROOT / "config/quick.yaml"]


@pytest.mark.parametrize("file", [None, ROOT / "config/full.yaml", *SHIPPED], ids=str)
def test_the_configurations_that_are_shipped_are_valid(file: Path | None):
    check_config(changed(file.read_text()) if file else copy.deepcopy(DEFAULT))


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
    assert not any(trains(size + step) for step in range(1 - abs(nearest - size), abs(nearest - size)))


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("studies: {dept: {enabled: true}}", "studies.dept", "missing"),
        ("studies: {depth: {enabled: on please}}", "studies.depth.enabled", "true or false"),
        ("studies: {depth: {seeds: 0}}", "studies.depth.seeds", "too small"),
        ("studies: {depth: {seeds: 10.0}}", "studies.depth.seeds", "write 10"),
        ("studies: {init_gradients: {seeds: 1}}", "studies.init_gradients.seeds", "2 or more"),
        ("studies: {timing: {options: {step: 64}}}", "studies.timing.options.step", "steps"),
        ("studies: {timing: {options: {steps: [64]}}}", "studies.timing.options.steps", "whole number"),
        ("studies: {timing: {options: {steps: -1}}}", "studies.timing.options.steps", "too small"),
        (
            "studies: {small_batches: {options: {reference_group_size: x}}}",
            "studies.small_batches.options.reference_group_size",
            "whole number",
        ),
        (
            "studies: {init_gradients: {options: {batch_sizes: [2.5]}}}",
            "studies.init_gradients.options.batch_sizes[0]",
            "whole number",
        ),
        ("studies: {fashion: {grid: {norms: [none]}}}", "studies.fashion.grid.norms", "norm"),
        ("studies: {fashion: {grid: {norm: []}}}", "studies.fashion.grid.norm", "empty"),
        ("studies: {fashion: {grid: {norm: none}}}", "studies.fashion.grid.norm", "list"),
        ("studies: {fashion: {grid: {norm: [bacth]}}}", "studies.fashion.grid.norm", "closest is batch"),
        ("studies: {fashion: {settings: {epoch: 2}}}", "studies.fashion.settings.epoch", "closest is epochs"),
        (
            'studies: {init_gains: {variants: {optimizer: {sgd: {gain: "1"}}}}}',
            "studies.init_gains.variants.optimizer.sgd",
            "without quotes",
        ),
        ("studies: {depth: {rows: runs}}", "studies.depth.rows", "one of run, epoch"),
        (
            "studies: {input_scaling: {settings: {batch_sizes: 64}}}",
            "studies.input_scaling.settings.batch_sizes",
            "closest is batch_size",
        ),
        ("studies: {depth: {observers: [rank]}}", "studies.depth.observers", "soft_rank"),
        ("studies: {depth: {loop: [width]}}", "studies.depth.loop", "depth"),
    ],
)
def test_settings_of_studies_are_checked(text: str, key: str, says: str):
    with pytest.raises(UserError) as caught:
        check_config(changed(text))
    assert str(caught.value).startswith(f"{key}")
    assert says in str(caught.value)


def test_a_study_of_one_s_own_may_be_like_another_but_none_may_be_missing():
    config = copy.deepcopy(DEFAULT)
    config["studies"]["dept"] = config["studies"]["depth"]
    check_config(config)
    del config["studies"]["dept"], config["studies"]["depth"]
    with pytest.raises(UserError, match=r"^studies\.depth: this key is missing; config/studies"):
        check_config(config)


OF_THE_DEFAULT = ["identities", "input_scaling", "long_training", "init_gradients"]


@pytest.mark.parametrize(
    ("text", "studies"),
    [
        ("{}", OF_THE_DEFAULT),
        ("grid: {batch_size: [64], dataset: [digits]}", OF_THE_DEFAULT),
        ("grid: {norm: [batch]}", []),
        ("{compare: {axis: dropout, baseline: 0.0}, grid: {norm: [batch], dropout: [0.0, 0.2]}}", []),
        ("model: {kind: cnn}", []),
        ("{model: {kind: cnn}, studies: {identities: {enabled: true}}}", ["identities"]),
        (  # More than the images there are.
            "studies: {long_training: {settings: {batch_size: 60000}}}",
            [one for one in OF_THE_DEFAULT if one != "long_training"],
        ),
    ],
)
def test_studies_of_the_default_question_run_where_it_is_asked(text: str, studies: list[str]):
    config = changed(text)
    check_config(config)
    assert list(enabled_studies(config)) == studies


def test_studies_that_are_switched_on():
    full = changed((ROOT / "config/full.yaml").read_text())
    check_config(full)
    assert list(enabled_studies(full)) == list(default_studies()) == list(full["studies"])


def test_the_order_of_keys_neither_renames_cells_nor_changes_the_recorded_text():
    def reversed_keys(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: reversed_keys(value[key]) for key in reversed(value)}

    full = changed((ROOT / "config/full.yaml").read_text())
    backwards = reversed_keys(full)
    name = "init_gains"
    assert list(backwards["studies"][name]["grid"]) != list(full["studies"][name]["grid"])
    axes = [list(enabled_studies(config)[name]["grid"]) for config in (full, backwards)]
    assert axes[0] == axes[1] == ["norm", "optimizer", "gain"]
    assert config_text(full) == config_text(backwards)


def test_runs_are_every_combination_once():
    found = list(runs(copy.deepcopy(DEFAULT)).values())
    assert len(found) == len(set(found)) == 2 * 4 * 12
    ends = [(one.dataset, one.norm, one.batch_size, one.seed) for one in (found[0], found[-1])]
    assert ends == [("mnist", "none", 32, 1000), ("mnist", "batch", 256, 1011)]


TREATMENTS = {
    "compare: {axis: dropout, baseline: 0.0}": ("compare.baseline", "add it there"),
    "compare: {axis: norm, baseline: layer}": ("compare.baseline", "grid.norm"),
    "compare: {axis: norm, baseline: bacth}": ("compare.baseline", "closest is batch"),
    "compare: {axis: dropuot, baseline: 0.0}": ("compare.axis", "closest is dropout"),
    "compare: {axis: seed, baseline: 0}": ("compare.axis", "paired by the seed"),
    "compare: {axis: norm}": ("compare.baseline", "missing"),
    "compare: dropout": ("compare", "section"),
    "grid: {seed: [0, 1, 2, 3, 4, 5]}": ("grid.seed", "take 9"),
    "grid: {dropout: [0.0, 1.0]}": ("grid.dropout[1]", "must be < 1"),
    "grid: {epochs: [5, 5]}": ("grid.epochs", "5 is listed twice"),
    "data: {train_images: 48001}": ("data.train_images", "48000 or less"),
    "grid: {train_images: [1000, 50000]}": ("grid.train_images[1]", "48000 or less"),
    "plugins: [nowhere.py]": ("plugins", "there is no file"),
    "question: 7": ("question", "quotes"),
}


@pytest.mark.parametrize("text", TREATMENTS)
def test_a_treatment_that_cannot_be_compared_is_refused(text: str):
    key, hint = TREATMENTS[text]
    with pytest.raises(UserError) as caught:
        check_config(changed(text))
    (sentence,) = str(caught.value).splitlines()
    assert sentence.startswith(f"{key}: ")
    assert hint in sentence


@pytest.mark.parametrize("seeds", range(2, 12))
def test_seeds_are_too_few_exactly_when_eight_tests_cannot_reach_significance(seeds: int):
    """By the test itself: all differences of one sign, eight of them adjusted together."""
    best = statistics.holm([statistics.sign_flip([1.0] * seeds).p()] * 8)[0]
    config = changed(f"grid: {{seed: {list(range(seeds))}}}")
    if best < 0.05:
        check_config(config)
    else:
        with pytest.raises(UserError, match="no difference can ever be shown"):
            check_config(config)
        check_config(config | {"exploratory": True})


def test_zero_is_a_value_like_any_other():
    check_config(changed("grid: {dropout: [0.0, 0.5], weight_decay: [0.0], momentum: [0.0, 0.9]}"))


def test_recorded_text_reads_back_and_does_not_depend_on_the_order_of_keys():
    config = changed("report: {title: \"{x} 'y' $HOME %s\\n<b>ü\"}")
    shuffled = {key: dict(reversed(config[key].items())) for key in reversed(config)}
    assert yaml.safe_load(config_text(config)) == config
    assert config_text(shuffled) == config_text(config)


def objects(schema: dict, path: str = "") -> dict[str, dict]:
    """Everything below a schema that has keys of its own, by its path."""
    found = {}
    for name, child in schema.get("properties", {}).items():
        found |= {f"{path}{name}": child} | objects(child, f"{path}{name}.")
    return found


@pytest.mark.parametrize("key", objects(config_schema()))
def test_schema_is_strict_and_says_what_every_key_is(key: str):
    schema = objects(config_schema())[key]
    assert schema["description"].endswith(".")
    assert "properties" not in schema or schema["additionalProperties"] is False


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_files_written_from_the_definitions_are_up_to_date(path: Path):
    assert path.read_text(encoding="utf-8") == documents()[path], "run `bnstudy document`"


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_a_value_of_each_setting_that_is_listed(kind: type):
    """Each default is allowed and of its own type; what holds them can be pickled, copied and compared."""
    made = kind()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert list(vars(made)) == list(KNOWN[kind])
    for name, one in KNOWN[kind].items():
        value = getattr(made, name)
        assert one.problem(value) is None
        assert type(value) is one.type or (one.optional and value is None)
        assert kind.__annotations__[name] in (one.type, one.type | None, tuple[int, ...])


def test_the_list_of_settings_says_each_once_and_ends_as_the_names_of_runs_do():
    path = ROOT / "workflow/bnstudy/settings.yaml"
    assert not list(surprises(path))
    assert not SETTINGS.keys() & EXECUTION.keys()
    assert list(SETTINGS)[-2:] == ["batch_size", "seed"]


def test_every_setting_is_in_the_schema_the_manual_and_the_command_line():
    parser = argparse.ArgumentParser()
    add_options(parser)
    add_options(parser, Execution)
    manual = (ROOT / "config/README.md").read_text()
    axes = config_schema()["properties"]["grid"]["properties"]
    assert set(axes) == set(SETTINGS)
    for name, one in (SETTINGS | EXECUTION).items():
        assert f".{name}` |" in manual
        assert name == "dataset" or one.option in parser.format_help()


@pytest.mark.parametrize("name", SETTINGS | EXECUTION)
def test_the_schema_and_the_check_of_a_value_agree(name: str):
    """JSON Schema, as an editor applies it, is the second implementation."""
    one = (SETTINGS | EXECUTION)[name]
    tried = [one.default, *(one.names or {}), "word", "", 0, 1, 7, -1, 0.0, 0.5, 1.0, 1.5, -0.5]
    tried += [1e-9, True, False, None, [], [3], [3, 4], [0], [-1], ["x"], {}, math.nan, math.inf]
    tried += ["none:3", "bacth"]
    for value in tried:
        wrong = list(strict(one.schema()).iter_errors(plain(value)))
        assert bool(wrong) == bool(one.problem(value)), (value, wrong, one.problem(value))


def test_the_code_has_what_the_settings_name():
    from bnstudy.networks.optimizers import OPTIMIZERS
    from bnstudy.networks.weights import ACTIVATIONS

    assert set(SETTINGS["dataset"].names) == set(DATASETS)
    assert set(SETTINGS["activation"].names) == set(ACTIVATIONS)
    assert set(SETTINGS["optimizer"].names) == set(OPTIMIZERS)


def test_runs_ask_for_a_gpu_where_they_will_use_one(monkeypatch: pytest.MonkeyPatch):
    devices = {device: changed(f"training: {{device: {device}}}") for device in ("cpu", "cuda", "mps")}
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


@pytest.mark.fault("what YAML does behind one's back")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grid: {norm: [batch]}\ntraining: {}\ngrid: {seed: [1]}\n", "grid stands in line 1 and again in"),
        ("training:\n  epochs: 3\n  epochs: 5\n", "epochs stands in line 2 and again in line 3"),
        ('{"a": [{"b": 1, "b": 2}]}', "b stands in line 1"),
        ("grid: {batch_size: [010]}", "YAML reads 010 in line 1 as 8"),
        ("grid: {batch_size: [1_000]}", "YAML reads 1_000 in line 1 as 1000"),
        ("training: {epochs: 1:30}", "YAML reads 1:30 in line 1 as 90"),
        ("grid: {seed: [0x10]}", "YAML reads 0x10 in line 1 as 16"),
        ("grid: {seed: [0b11]}", "YAML reads 0b11 in line 1 as 3"),
    ],
)
def test_what_yaml_does_behind_ones_back_is_told(tmp_path, text, told):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    (said,) = surprises(path)
    assert told in said


@pytest.mark.parametrize(
    "text", ["", "a: [", "&a [*a]", "a: &b {c: 1}\nd: *b\n", "a: 1.0e-3\nb: -0\nc: 0.5\nd: '010'\ne: 2026x\n"]
)
def test_what_yaml_says_plainly_is_no_surprise(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert list(surprises(path)) == []
    for shipped in (ROOT / "config").rglob("*.yaml"):
        assert list(surprises(shipped)) == []


@pytest.mark.fault("a last batch of one in a study that is code")
def test_batches_of_a_study_that_is_code_are_checked():
    config = copy.deepcopy(DEFAULT)
    config["studies"]["identities"] |= {"enabled": True}
    config["studies"]["identities"]["options"] |= {"batch_size": 47_999}
    with pytest.raises(UserError, match=r"studies\.identities\.options\.batch_size: .*last batch"):
        check_config(config)
    config["studies"]["identities"]["enabled"] = None  # and left out where nobody asked for it
    check_config(config)
    assert not config["studies"]["identities"]["enabled"]
    config["studies"]["identities"]["options"]["batch_size"] = "many"
    with pytest.raises(UserError, match="batch_size"):
        check_config(config)
