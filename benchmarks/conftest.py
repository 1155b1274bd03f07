"""The benchmark suite: what is measured becomes rows of a table, compared with the baseline's."""

from pathlib import Path

import pytest
from figure import draw
from processes import (
    HERE,
    RESULTS,
    ROOT,
    ensure_mnist,
    machine,
    read_table,
    summary_row,
    verdict,
    write_table,
)

BASELINE = HERE / "baseline.csv"
TABLE = RESULTS / "speed.csv"
ROWS: list[dict] = []


def pytest_addoption(parser):
    group = parser.getgroup("speed")
    group.addoption("--accept", action="store_true", help="make what is measured the new baseline")
    group.addoption(
        "--study",
        type=Path,
        default=ROOT,
        help="folder of a finished study: its runs and its report",
    )


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def mnist():
    """The folder that has MNIST raw and prepared."""
    return ensure_mnist()


@pytest.fixture
def record():
    """Keeps a quantity for the table: record(quantity, values, unit, ...), see `summary_row`."""

    def keep(*args, **options):
        ROWS.append(summary_row(*args, **options) | machine())

    return keep


def key(row):
    return row["quantity"], row["norm"], row["batch_size"]


def pytest_terminal_summary(terminalreporter, config):
    if not ROWS:
        return
    baseline = {key(row): row for row in read_table(BASELINE)}
    head = ("quantity", "norm", "batch size", "median", "range", "target", "baseline", "")
    lines = [head]
    for row in ROWS:
        before = baseline.get(key(row))
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
    baseline = {key(row): row for row in read_table(BASELINE)}
    measured = {key(row) for row in ROWS}
    # What was not measured this time stays as it was: a part of the suite can be run alone.
    kept = [row for row in read_table(TABLE) if key(row) not in measured]
    write_table(TABLE, sorted(ROWS + kept, key=key))
    (RESULTS / "speed.svg").write_text(draw(read_table(TABLE)))
    if session.config.getoption("accept"):
        BASELINE.write_bytes(TABLE.read_bytes())
    elif any(verdict(row, baseline.get(key(row))) == "SLOWER" for row in ROWS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
