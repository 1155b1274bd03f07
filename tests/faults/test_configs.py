"""Configurations that are wrong in hundreds of ways: a sentence for each, and no job."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from aftermath import CONFIG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnstudy.config import check_config, config_text
from bnstudy.errors import UserError
from checkouts import copy_checkout

ROOT = Path(__file__).parents[2]
GRID = yaml.safe_load((ROOT / "config/config.yaml").read_text())
DEFAULT = GRID | yaml.safe_load((ROOT / "config/studies.yaml").read_text())

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["mnist", "batch", "none", "../x", "1e-3", "$(id)", "{x}", "Größe", -1, 0, 128.0]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.one_of(st.text(max_size=8), st.integers(), st.none()), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The path of every key and list item of a configuration."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    below = [(*path, key) for key, _ in items]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        if isinstance(child, dict | list):
            below += places(child, (*path, key))
    return below


PLACES = places(DEFAULT)


def changed(path: tuple, change: str, value: object) -> dict:
    """The default configuration with one place removed, renamed or replaced."""
    config = copy.deepcopy(DEFAULT)
    parent = config
    for key in path[:-1]:
        parent = parent[key]
    if change == "replace":
        parent[path[-1]] = value
    else:
        old = parent[path[-1]]
        del parent[path[-1]]
        if change == "rename" and isinstance(parent, dict):
            parent[f"{path[-1]}s"] = old
    return config


def test_check_of_the_configuration(fault):
    """An error is a UserError, a sentence a line that names its key; else it is a configuration."""
    malformed = fault("a malformed configuration (checked)")
    refused = 0

    @settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        path=st.sampled_from(PLACES),
        change=st.sampled_from(["replace", "replace", "replace", "remove", "rename"]),
        value=VALUES,
    )
    def check(path, change, value):
        nonlocal refused
        config = changed(path, change, value)
        malformed.tried()
        try:
            check_config(config)
        except UserError as error:
            refused += 1
            top = str(path[0])
            for line in str(error).splitlines():
                sentence = line.endswith(".") and ": " in line
                malformed.wrong(not sentence, f"not a sentence: {line}")
            malformed.wrong(top not in str(error), f"{top} is not named in: {error}")
        else:  # it is none the worse: it can be written down and read back
            malformed.wrong(yaml.safe_load(config_text(config)) != config, "it does not read back")

    check()
    malformed.wrong(refused < 200, f"only {refused} of them were wrong")


BAD = [
    # not a configuration at all
    "",
    "[]",
    "3",
    "a: [",
    "\t x: 1",
    "grid",
    "!!python/object/apply:os.system [id]",
    "? {a: 1}\n: 2",
    "grid: &a [*a]",
    "\x00",
    "---\na: 1\n---\nb: 2",
    # configurations with something wrong
    "grid:",
    "grid: {norm: [no, batch]}",
    "grid: {seed: [1, 1]}",
    "grid: {batch_size: [128.0]}",
    "grid: {dataset: [../../etc]}",
    "model: {hidden: []}",
    "training: {learning_rate: 1e-3}",
    "training: {learning_rate: .nan}",
    "training: {epochs: 99999999999999999999999.5}",
    "data: {source: 3}",
    "data: {validation_fraction: 2}",
    "report: {name: 'a/b'}",
    "report: {name: '$(id)'}",
    "studies: {depth: 3}",
    "studies: {depth: {grid: {norm: {a: 1}}}}",
    "studies: {nothing: {enabled: true}}",
    "1: 2",
    "null: 3",
    "{[1, 2]: 3}",
]


def test_snakemake_with_a_malformed_file(fault, tmp_path):
    """The real command line: no traceback, no job, a short answer."""
    malformed = fault("a malformed configuration (snakemake)")
    study = copy_checkout(tmp_path)
    file = study.root / "bad.yaml"
    for text in BAD:
        file.write_text(text)
        malformed.tried()
        done = study.snakemake("--cores", "1", "--quiet", "--configfile", str(file), "-n")
        said = done.stdout + done.stderr
        if text:  # an empty file lays nothing over and is none the worse
            malformed.wrong(done.returncode == 0, f"{text!r} was accepted")
        malformed.wrong("Traceback" in said, f"{text!r} gives a traceback: {said}")
        malformed.wrong((study.root / "results").exists(), f"{text!r} started a job")


EDGES = {
    "three levels of two seeds, all diverged": (
        "grid: {norm: [none, batch, layer]}\ntraining: {optimizer: sgd, learning_rate: 1.0e+30}"
    ),
    "ties, and probes rarer than steps": (
        "compare: {axis: target, baseline: 0.5}\ngrid: {norm: [none], target: [0.5, 0.6]}\n"
        "training: {probe_every: 100000}"
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_numeric_edges_through_the_report(edge, fault, tmp_path):
    numbers = fault("numeric edges through the report")
    study = copy_checkout(tmp_path)
    study.configure(CONFIG)
    study.configure("studies: {init_gradients: {enabled: false}}\ntraining: {epochs: 1}")
    study.configure(EDGES[edge])
    numbers.tried()
    done = study.snakemake()
    said = done.stdout + done.stderr
    numbers.wrong(done.returncode != 0, f"it failed: {said}")
    page = (study.root / "report/report.html").read_text()
    text = page.partition("<body")[2].partition("<footer>")[0]
    odd = re.findall(r".{40}(?:[> ](?:nan|inf|NaN)[< .,]|-inf).{40}", text)
    numbers.wrong(len(odd), f"in the report stands {odd}")
    planned = study.plan().counts
    numbers.lost(planned != {}, f"it would run again {dict(planned)}")
