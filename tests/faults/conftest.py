"""What happens when things go wrong: every fault is tried, and what it did is counted.

A test asks for the recorder of each fault it causes and counts what it sees::

    def test_a_kill(fault):
        kill = fault("SIGKILL during training")
        for moment in moments:
            kill.tried()
            ...
            kill.lost(len(finished_before - finished_after))  # finished work that is gone or redone
            kill.wrong(text_before != text_after, "another number in runs.csv")

`lost` counts finished work that was done again, or complete files that are gone. `wrong` counts
partial files taken for whole ones, wrong numbers, tracebacks, and silence where the user should
have been told. A test fails if it counted any of either, or if it tried nothing; one that breaks
off counts as wrong. After the last test the counts are printed as a table.
"""

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import content

from checkouts import Checkout, copy_checkout


@dataclass
class Fault:
    """How often a fault was tried, and what came of it."""

    name: str
    n_tried: int = 0
    n_lost: int = 0
    n_wrong: int = 0
    notes: list[str] = field(default_factory=list)

    def tried(self, n: int = 1) -> None:
        self.n_tried += n

    def lost(self, n: int = 1, what: str = "finished work was lost") -> None:
        """Count finished work that was lost; 0 and False are fine."""
        self.n_lost += int(n)
        if n:
            self.notes.append(f"{self.name}: {what} ({int(n)})")

    def wrong(self, n: int = 1, what: str = "something was wrong") -> None:
        """Count what came out wrong; 0 and False are fine."""
        self.n_wrong += int(n)
        if n:
            self.notes.append(f"{self.name}: {what} ({int(n)})")


LEDGER = pytest.StashKey[dict[str, list[Fault]]]()
OF_THIS_TEST = pytest.StashKey[list[Fault]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = {}
    # A shell that starts the tests in the background ignores SIGINT, and every child would inherit
    # that: no Ctrl-C would reach it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Fault]]:
    """Gives the recorder of a named fault; several tests may try the same one."""
    opened = request.node.stash[OF_THIS_TEST] = []

    def recorder(name: str) -> Fault:
        opened.append(Fault(name))
        request.config.stash[LEDGER].setdefault(name, []).append(opened[-1])
        return opened[-1]

    yield recorder
    if not getattr(request.node, "broke_off", False):
        untried = [f"{one.name}: was never tried" for one in opened if not one.n_tried]
        notes = [*(note for one in opened for note in one.notes), *untried]
        assert not notes, "\n".join(notes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> object:
    report = yield
    if call.when == "call" and report.failed:
        item.broke_off = True
        for one in item.stash.get(OF_THIS_TEST, []):
            one.wrong(1, "the test broke off")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ledger = terminalreporter.config.stash[LEDGER]
    if not ledger:
        return
    rows = [
        (
            name,
            *(
                sum(getattr(one, f"n_{kind}") for one in them)
                for kind in ("tried", "lost", "wrong")
            ),
        )
        for name, them in ledger.items()
    ]
    width = max(len(row[0]) for row in rows)
    terminalreporter.section("faults")
    for name, *counts in (("fault", "tried", "lost", "wrong"), *rows):
        terminalreporter.write_line(f"{name:<{width}}" + "".join(f"{n:>8}" for n in counts))


CONFIG = """
grid: {dataset: [digits], norm: [none, batch], batch_size: [32], seed: [0, 1]}
training: {epochs: 20, probe_every: 5}
report: {name: a_report, title: "What happens when things go wrong"}
studies:
  identities: {enabled: false}
  init_gradients:
    enabled: true
    seeds: 1
    options:
      batch_sizes: [32]
      depths: [12]
      width: 64
      theory_depth: 12
      middle: [4, 8]
      claim_depth: 12
"""


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A small study on digits, run to its end without any fault; not to be changed."""
    study = copy_checkout(tmp_path_factory.mktemp("undisturbed"))
    study.configure(CONFIG)
    study.study = study.root / "study"
    study.run()
    return study


@pytest.fixture
def finished(undisturbed: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished study that a test may harm."""
    root = tmp_path / "checkout"
    shutil.copytree(undisturbed.root, root, symlinks=True)
    return Checkout(root, root / "study")


@pytest.fixture
def aftermath(undisturbed: Checkout) -> Callable[..., str]:
    """Looks at what a fault left behind, then lets a plain `snakemake` continue."""
    return Aftermath(undisturbed)


@dataclass
class Aftermath:
    """What a fault must not have done to a study of which an undisturbed copy exists."""

    undisturbed: Checkout

    def look(self, study: Checkout, fault: Fault, said: str, told: str | None) -> None:
        """Nothing partial under a name that counts, no traceback, and `told` in what was said."""
        whole = results(self.undisturbed)
        for name, found in results(study).items():
            fault.wrong(found != whole.get(name), f"{name} is not whole")
        fault.wrong("Traceback" in said, f"a traceback was shown: {said}")
        if told is not None:
            fault.wrong(told not in said, f"'{told}' was not said: {said}")

    def __call__(
        self, study: Checkout, fault: Fault, said: str, told: str | None, target: str = "tables"
    ) -> str:
        """Look, continue, and compare with the undisturbed study; returns what was said then."""
        self.look(study, fault, said, told)
        before = dates(study)
        done = study.snakemake("--cores", "2", target)
        text = done.stdout + done.stderr
        fault.wrong(done.returncode != 0, f"the next snakemake did not continue: {text}")
        after = dates(study)
        redone = [name for name, date in before.items() if after.get(name) != date]
        fault.lost(len(redone), f"gone or done again: {', '.join(redone)}")
        fault.wrong(results(study) != results(self.undisturbed), "the results differ")
        return text


def results(study: Checkout) -> dict[str, bytes]:
    """Everything that repeats to the byte, by name: data, runs, rows, tables."""
    found = content(study.study / "results")
    kinds = ("run.json", "metrics.csv", "rows.csv", "comparison.csv", "runs.csv", "claims.csv")
    return {
        name: text
        for name, text in found.items()
        if name.endswith((*kinds, "prepared.safetensors")) or name == "run_config.yaml"
    }


def dates(study: Checkout) -> dict[str, int]:
    """When the finished runs, rows of studies and datasets were made, by name."""
    folder = study.study / "results"
    kinds = ("runs/**/run.json", "studies/**/rows.csv", "data/*/prepared.safetensors")
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for kind in kinds
        for path in folder.glob(kind)
    }
