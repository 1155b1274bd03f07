"""The study on a real Grid Engine, by the commands that profiles/generic has for it."""

import shutil
from collections.abc import Iterator

import pytest
import yaml
from throwaway_gridengine import PACKAGES, ThrowawayGridEngine, installed

from conftest import ROOT, RUNS, Study, targets

PROFILE = ROOT / "profiles/generic/config.yaml"


def commands(system: str) -> dict[str, str]:
    """The commands that stand below the name of a batch system, uncommented."""
    block = PROFILE.read_text().partition(f"# {system}\n")[2].partition("\n\n")[0]
    return yaml.safe_load("\n".join(line.removeprefix("# ") for line in block.splitlines()))


@pytest.fixture(scope="session")
def cell() -> Iterator[ThrowawayGridEngine]:
    if not installed():
        pytest.fail(
            f"needs root and a real Grid Engine: apt-get install {' '.join(PACKAGES)}",
            pytrace=False,
        )
    cell = ThrowawayGridEngine()
    yield cell
    cell.stop()


def test_a_job_that_is_deleted_is_submitted_again_and_goes_on(cell, undisturbed, tmp_path):
    data = "results/data/digits/prepared.safetensors"
    (tmp_path / data).parent.mkdir(parents=True)
    shutil.copy2(undisturbed.folder / data, tmp_path / data)
    study = Study(tmp_path, undisturbed.configfile, cell.environment)
    options = [f"--{name}={command}" for name, command in commands("Grid Engine").items()]
    try:
        process = study.start(
            *("--profile", str(PROFILE.parent), *options, "--latency-wait", "20", *targets(RUNS))
        )
        study.wait_until(lambda: any("epoch 10/" in study.log(run) for run in RUNS), process)
        for job in cell.jobs():
            assert "deletion" in cell.call("qdel", job)
        assert process.wait(600) == 0, study.output()
    finally:
        study.kill()
    assert any("resumed after step" in study.log(run) for run in RUNS)
    assert [study.result(run) for run in RUNS] == [undisturbed.result(run) for run in RUNS]
