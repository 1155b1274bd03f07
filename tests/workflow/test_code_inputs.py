"""The modules that a rule lists as inputs, against those its command really imports."""

import json
import re
import subprocess
import sys

import pytest

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


def imported(study, command: list[str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *command],
        cwd=study.study,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def listed(study, rule: str) -> set[str]:
    """Modules among the inputs that Snakemake shows for a rule."""
    quick = str(study.root / "config/quick.yaml")
    text = study.plan("--forceall", "--configfile", quick).text
    inputs = re.search(rf"^rule {rule}:\n    input: (.+)$", text, re.MULTILINE)[1]
    return set(re.findall(r"workflow/bnstudy/([\w/]+\.py)", inputs))


@pytest.mark.parametrize(
    ("rule", "command"),
    [
        ("prepare", "prepare digits --out {out}/digits.safetensors"),
        (
            "train",
            (
                "train results/data/digits/prepared.safetensors --norm batch --batch-size 64"
                " --seed 0 --epochs 1 --device cpu --out {out}"
            ),
        ),
        ("aggregate", "aggregate results/run_config.yaml --results results --out {out}"),
    ],
)
def test_a_rule_lists_what_its_command_imports(quick_study, tmp_path, rule, command):
    command = [word.format(out=tmp_path) for word in command.split()]
    needed, given = imported(quick_study, command), listed(quick_study, rule)
    assert needed <= given
    # Too many would train every run again for an edit that does not touch it.
    assert rule != "train" or needed == given
