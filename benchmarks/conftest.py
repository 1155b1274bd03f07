"""The benchmark suite: what is measured becomes rows of a table, compared with the baseline's."""

from pathlib import Path

import pytest
from figure import draw
from processes import BASELINE, RESULTS, ROOT, ensure_mnist, key, machine, read_table, summary_row, verdict, write_table

TABLE = RESULTS / "speed.csv"
# What was measured, each with the baseline's row of the same quantity or None.
ROWS: list[tuple[dict, dict | None]] = []


def pytest_addoption(parser):
    group = parser.getgroup("speed")
    group.addoption("--accept", action="store_true", help="make what is measured the new baseline")
    group.addoption("--study", type=Path, default=ROOT, help="folder of a finished study: its runs and its report")


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def mnist():
    """The folder that has MNIST raw and prepared."""
    return ensure_mnist()


@pytest.fixture(scope="session")
def baseline():
    return {key(row): row for row in read_table(BASELINE)}


@pytest.fixture
def record(baseline):
    """Keeps a quantity for the table: record(quantity, values, unit, ...), see `summary_row`."""

    def keep(*args, **options):
        row = summary_row(*args, **options) | machine()
        ROWS.append((row, baseline.get(key(row))))

    return keep


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    head = ("quantity", "norm", "batch size", "median", "range", "target", "baseline", "")
    lines = [head]
    for row, before in ROWS:
        unit = row["unit"]
        lines.append(
            (
                *key(row),
                f"{row['median']:.3g} {unit}",
                f"{row['least']:.3g} to {row['most']:.3g}",
                f"{row['target']} {'' if row['reached'] != 'no' else 'missed'}".strip(),
                f"{float(before['median']):.3g} {unit}" if before and unit == "x" else "",
                verdict(row, before),
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    terminalreporter.section("speed")
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(padded).rstrip())


def pytest_sessionfinish(session):
    """Write the table; a ratio that got slower is a failure."""
    if not ROWS:
        return
    measured = {key(row): row for row, _ in ROWS}
    # What was not measured this time stays as it was: a part of the suite can be run alone.
    kept = [row for row in read_table(TABLE) if key(row) not in measured]
    write_table(TABLE, sorted([*measured.values(), *kept], key=key))
    (RESULTS / "speed.svg").write_text(draw(read_table(TABLE)))
    if session.config.getoption("accept"):
        BASELINE.write_bytes(TABLE.read_bytes())
    elif any(verdict(row, before) == "SLOWER" for row, before in ROWS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
