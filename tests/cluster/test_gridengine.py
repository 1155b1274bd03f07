"""The study on a real Grid Engine, by the commands that profiles/generic has for it."""

import shutil
from collections.abc import Iterator

import pytest
import yaml
from throwaway_gridengine import PACKAGES, ThrowawayGridEngine, installed

from conftest import QUICK, ROOT, RUNS, Study, check_same_tables, targets

PROFILE = ROOT / "profiles/generic/config.yaml"


def commands(system: str) -> dict[str, str]:
    """The commands that stand below the name of a batch system, uncommented."""
    block = PROFILE.read_text().partition(f"# {system}\n")[2].partition("\n\n")[0]
    return yaml.safe_load("\n".join(line.removeprefix("# ") for line in block.splitlines()))


@pytest.fixture(scope="session")
def cell() -> Iterator[ThrowawayGridEngine]:
    if not installed():
        pytest.fail(f"needs root and a real Grid Engine: apt-get install {' '.join(PACKAGES)}", pytrace=False)
    cell = ThrowawayGridEngine()
    yield cell
    cell.stop()


def on_grid_engine() -> list[str]:
    options = [f"--{name}={command}" for name, command in commands("Grid Engine").items()]
    return ["--profile", str(PROFILE.parent), *options, "--latency-wait", "20"]


@pytest.mark.timeout(2000)
def test_quick_study_gives_the_same_tables(cell, quick_study, tmp_path):
    status, output = Study(tmp_path, QUICK, cell.environment).run(*on_grid_engine())
    assert status == 0, output
    check_same_tables(quick_study, tmp_path)


def test_a_job_that_is_deleted_is_submitted_again_and_goes_on(cell, undisturbed, tmp_path):
    data = "results/data/digits/prepared.safetensors"
    (tmp_path / data).parent.mkdir(parents=True)
    shutil.copy2(undisturbed.folder / data, tmp_path / data)
    study = Study(tmp_path, undisturbed.configfile, cell.environment)
    try:
        process = study.start(*on_grid_engine(), *targets(RUNS))
        study.wait_until(lambda: any("epoch 10/" in study.log(run) for run in RUNS), process)
        for job in cell.jobs():
            assert "deletion" in cell.call("qdel", job)
        assert process.wait(600) == 0, study.output()
    finally:
        study.kill()
    assert any("resumed after step" in study.log(run) for run in RUNS)
    assert [study.result(run) for run in RUNS] == [undisturbed.result(run) for run in RUNS]
