"""What differs between two studies: `bnstudy compare A B` pairs their runs and compares B with A.

Runs are paired by their settings, seed included. A setting that has one value in A and another one in B is
what the two studies differ in, and pairs none. A pair of runs comes out as in `bnstudy verify`, with B's run
held against A's; the differences over the seeds are those of comparison.csv, A being the baseline.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from bnstudy.cli import parser_of
from bnstudy.errors import UserError
from bnstudy.files import write_table
from bnstudy.grid import axes, table_value
from bnstudy.provenance import file_sha256
from bnstudy.scoring import METRICS
from bnstudy.settings import SETTINGS, show
from bnstudy.tables import comparison, verification
from bnstudy.tables.aggregate import damaged, read_object
from bnstudy.tables.published import COLUMNS

SIDES = ("B", "A")


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table as text; one that is not there is refused."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read ({error}); name the folder results/ of a study whose tables "
            "are made (`snakemake tables`)."
        ) from error


def read_study(results: Path) -> list[dict]:
    """The runs of a study's runs.csv, each with its settings."""
    rows = []
    for name in (row["run"] for row in read_table(results / "tables/runs.csv")):
        folder = results / "runs" / name
        path = folder / "run.json"
        try:
            run = read_object(path) | {"metrics_sha256": file_sha256(folder / "metrics.csv")}
            run["device_name"] = read_object(folder / "timing.json").get("device_name")
            known = {key: table_value(v) for key, v in run["settings"].items()}
            rows.append({key: run[key] for key in (*COLUMNS, "n_classes", "n_steps")} | known | run)
        except (OSError, KeyError) as error:
            raise damaged(path, f"or a file beside it lacks {error}") from error
    return rows


def differing(a: Sequence[dict], b: Sequence[dict]) -> dict[str, tuple]:
    """The settings that have one value in A and another one in B; None where a study has none."""
    found = {}
    for name in SETTINGS:
        values = [{run.get(name) for run in runs} for runs in (a, b)]
        if values[0] != values[1] and all(len(one) == 1 for one in values):
            found[name] = tuple(one.pop() for one in values)
    return found


def compare(a: Sequence[dict], b: Sequence[dict]) -> tuple[list[dict], list[dict], dict]:
    """Compare the runs of study B with those of study A; at least one of each must be a pair.

    Returns a row per pair of runs, as in verification.csv; the rows of comparison.csv, over the seeds that
    both have; and the names of the axes, as a configuration has them.
    """
    paired_by = [name for name in SETTINGS if name not in differing(a, b)]

    def place(run: dict, names: Sequence[str] = paired_by) -> tuple:
        return tuple(run.get(name) for name in names)

    studies = [(name, {place(run): run for run in runs}) for name, runs in (("A", a), ("B", b))]
    (_, in_a), (_, in_b) = studies
    both = [key for key in in_a if key in in_b]
    if not both:
        raise UserError("no run of one study has the settings and the seed of a run of the other.")
    peers = defaultdict(list)
    cell = [name for name in paired_by if name != "seed"]
    for run in a:
        peers[place(run, cell)].append(run)
    held = ((in_b[key], in_a[key], peers[place(in_a[key], cell)]) for key in both)
    pairs = [verification.compare(*one, SIDES) for one in held]
    swept = [n for n in paired_by if len({in_a[key].get(n) for key in both}) > 1]
    design = {"grid": dict.fromkeys(swept), "compare": {"axis": "study", "baseline": "A"}}
    # A setting that differs is the same place of the grid.
    place_of_all = {n: in_a[both[0]][n] for n in axes(design) if n not in paired_by}
    runs = [study[key] | {"study": name} | place_of_all for name, study in studies for key in both]
    return pairs, comparison.compare(runs, design), design


def changed_verdicts(a: Path, b: Path) -> list[str]:
    """A line for each claim of both studies that has another verdict in B, with the intervals."""
    tables = [folder / "tables/claims.csv" for folder in (a, b)]
    if not all(path.exists() for path in tables):
        return []
    in_a, in_b = ({row["id"]: row for row in read_table(path)} for path in tables)

    def said(row: dict) -> str:
        numbers = [row[key] for key in ("effect", "ci_low", "ci_high")]
        shown = "{:.3g} ({:.3g} to {:.3g})".format(*map(float, numbers)) if all(numbers) else ""
        return f"{row['verdict']} {shown}".strip()

    return [
        f"{name}: {said(row)} in A, {said(in_b[name])} in B"
        for name, row in in_a.items()
        if name in in_b and row["verdict"] != in_b[name]["verdict"]
    ]


def as_text(pairs: Sequence[dict], rows: Sequence[dict], settings: Mapping[str, tuple]) -> str:
    """What both studies were made on, what they differ in, and B minus A in the mean over the grid."""
    text = verification.machines(pairs, ("A", "B"))
    text += [f"{name}: {show(one)} in A, {show(two)} in B" for name, (one, two) in settings.items()]
    notes = dict.fromkeys(pair["note"] for pair in pairs if pair["note"])
    text.append(f"Paired by settings and seed, {verification.counted(pairs)}.")
    text += [f"Of some runs: {note}." for note in notes]
    lines = [("dataset", "metric", "A", "B", "B - A", "95 % interval", "Holm p", "seeds")]
    for row in rows:
        if row["scope"] == comparison.ALL and row["metric"] in METRICS and row["difference"]:
            numbers = [f"{row[key]:.5g}" for key in ("mean_baseline", "mean_level", "difference")]
            ends = row["ci_low"], row["ci_high"]
            interval = "too few seeds" if math.isnan(ends[0]) else "{:.3g} to {:.3g}".format(*ends)
            p, seeds = f"{row['p_holm']:.3g}", str(row["n"])
            lines.append((row["dataset"], row["metric"], *numbers, interval, p, seeds))
    if len(lines) == 1:
        return "\n".join([*text, "In the mean over the grid nothing differs."])
    return "\n".join([*text, *verification.aligned(lines)])


def main(argv: list[str]) -> None:
    parser = parser_of("compare")
    parser.add_argument("a", type=Path, metavar="A", help="folder results/ of a study")
    parser.add_argument("b", type=Path, metavar="B", help="that of the other one")
    out = "folder for runs.csv and comparison.csv"
    parser.add_argument("--out", type=Path, required=True, help=out)
    arguments = parser.parse_args(argv)
    a, b = read_study(arguments.a), read_study(arguments.b)
    pairs, rows, design = compare(a, b)
    write_table(arguments.out / "runs.csv", verification.columns(SIDES), pairs)
    write_table(arguments.out / "comparison.csv", comparison.columns(design), rows)
    print(as_text(pairs, rows, differing(a, b)))
    if alone := len(a) + len(b) - 2 * len(pairs):
        print(f"{alone} runs are in one of the studies only.")
    print("\n".join(changed_verdicts(arguments.a, arguments.b)), flush=True)
