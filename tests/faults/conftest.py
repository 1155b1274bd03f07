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
off counts as wrong. After the last test the counts are printed as a table. Faults that other tests try
(`@pytest.mark.fault(name)`) stand in it as well.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import pytest
from aftermath import CONFIG, Aftermath, Fault

from checkouts import Checkout, copy_checkout

LEDGER = pytest.StashKey[dict[str, list[Fault]]]()
OF_THIS_TEST = pytest.StashKey[list[Fault]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = {}


@pytest.hookimpl(tryfirst=True)  # before those without the mark are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if mark := item.get_closest_marker("fault"):
            item.user_properties.append(("fault", mark.args[0]))
        elif item.path.parent == Path(__file__).parent:
            item.add_marker("fault")


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where several processes share the tests, give the counts to the one that prints them."""
    if hasattr(session.config, "workeroutput"):
        ledger = session.config.stash[LEDGER]
        counts = {name: [astuple(one) for one in them] for name, them in ledger.items()}
        session.config.workeroutput["faults"] = counts


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    ledger = node.config.stash[LEDGER]
    for name, them in getattr(node, "workeroutput", {}).get("faults", {}).items():
        ledger.setdefault(name, []).extend(Fault(*one) for one in them)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ledger = terminalreporter.config.stash[LEDGER]
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            for name in (v for key, v in getattr(report, "user_properties", ()) if key == "fault"):
                ledger.setdefault(name, []).append(Fault(name, 1, 0, int(outcome != "passed")))
    if not ledger:
        return
    rows = [
        (name, *(sum(getattr(one, f"n_{kind}") for one in them) for kind in ("tried", "lost", "wrong")))
        for name, them in ledger.items()
    ]
    width = max(len(row[0]) for row in rows)
    terminalreporter.section("faults")
    for name, *counts in (("fault", "tried", "lost", "wrong"), *rows):
        terminalreporter.write_line(f"{name:<{width}}" + "".join(f"{n:>8}" for n in counts))


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
def aftermath(undisturbed: Checkout) -> Aftermath:
    """Looks at what a fault left behind, then lets a plain `snakemake` continue."""
    return Aftermath(undisturbed)
