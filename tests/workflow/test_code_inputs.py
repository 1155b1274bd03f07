"""The modules whose content decides what is made again, against those that a command really imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bnstudy.made import Keys
from bnstudy.provenance import TRAINING_CODE, imported_code

ROOT = Path(__file__).parents[2]
LISTING = """
import json, sys
from pathlib import Path
import bnstudy, bnstudy.cli
sys.argv = ["bnstudy", *sys.argv[1:]]
bnstudy.cli.main()
package = Path(bnstudy.__file__).parent
files = {Path(m.__file__) for m in sys.modules.values() if getattr(m, "__file__", None)}
print(json.dumps(sorted(str(f.relative_to(package)) for f in files if f.is_relative_to(package))))
"""
TRAIN = (
    "train results/data/digits/prepared.safetensors --norm batch --batch-size 64 --seed 0 --epochs 1"
    " --device cpu --out {out}"
)
# What a training job imports besides: it parses, prints, waits, checks or says where a run came from.
DECIDES_NOTHING = {
    *("checks.py", "cli.py", "documents.py", "errors.py", "files.py", "logs.py", "plugins.py", "provenance.py"),
    *("settings.py", "settings.yaml"),
    *("data/prepared.py", "data/registry.py", "training/checkpoints.py", "training/command.py"),
    *("training/devices.py", "training/leases.py", "training/progress.py"),
    "training/observers/__init__.py",  # the code of those that were asked for counts by itself
}


def imported(study, command: str, out: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *command.format(out=out).split()],
        cwd=study.study,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("prepare digits --out {out}/digits.safetensors", "data.prepare"),
        ("aggregate results/run_config.yaml --results results --out {out}", "tables.aggregate"),
        (
            ("claims ../config/claims.yaml --config results/run_config.yaml --tables results/tables --out {out}"),
            "claims.judge",
        ),
    ],
)
def test_what_a_command_imports_is_in_its_key(quick_study, tmp_path, command, module):
    needed = imported(quick_study, command, tmp_path)
    assert needed <= {"cli.py", *imported_code(module)}


def test_what_decides_a_run_is_told_from_what_does_not(quick_study, tmp_path):
    needed = imported(quick_study, TRAIN, tmp_path)
    assert needed - DECIDES_NOTHING <= set(TRAINING_CODE)
    assert not set(TRAINING_CODE) & DECIDES_NOTHING
    # Too many would train every run again for an edit that does not touch it.
    optional = {"networks/cnn.py", "networks/layers.py"}  # imported by the runs that use them
    assert set(TRAINING_CODE) - optional <= needed


def test_the_keys_of_an_edited_checkout_differ(quick_study):
    """Every key is a hash of something that is there, and none of them is another's."""
    import yaml

    from bnstudy.config import check_config

    config = yaml.safe_load((quick_study.study / "results/run_config.yaml").read_text())
    check_config(config)
    keys = Keys(config, ROOT)
    names = ["prepare/digits", "aggregate", "judge_claims", "render"]
    names += [f"merge_study/{name}" for name in keys.studies]
    found = [str(keys.note(name)) for name in names]
    assert len(set(found)) == len(found)
