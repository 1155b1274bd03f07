"""Do runs come out alike? `bnstudy verify` compares runs trained anew with the published ones.

Each with the one of its own seed; config/README.md has the outcomes. `bnstudy compare A B` does the same with the runs
of two studies, B's held against A's, paired by their settings: one that has one value in A and another in B is what the
studies differ in, and pairs none. A run is `within interval` if each of its six final metrics lies in that of its
published value x,

    x +- t(1 - 0.05 / (2 m), n - 1) * s * sqrt(2),   m = 6 metrics,

where s is the standard deviation over the n published seeds that differ in nothing else. Other hardware rounds sums
differently, and training amplifies that; at worst nothing of the seed survives and the two runs are as different as two
seeds, whose difference has the standard deviation s * sqrt(2). Whatever rounding does short of that, a faithful run
falls outside in at most about 5 % of cases (Bonferroni over the metrics). The interval is centred at the run's own
published value and not at the mean of the seeds, since an unusual seed is unusual everywhere. A run that diverged there
has to diverge here; on data that are not the published ones it is different.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bnstudy import grid, statistics
from bnstudy.cli import parser_of
from bnstudy.errors import UserError
from bnstudy.files import write_table
from bnstudy.provenance import file_sha256
from bnstudy.scoring import METRICS, RESULTS
from bnstudy.settings import ALWAYS_NAMED, SETTINGS, show
from bnstudy.tables import aggregate as tables
from bnstudy.tables import published

BITWISE, WITHIN, DIFFERENT = OUTCOMES = ("bitwise", "within interval", "different")
ALPHA = 0.05
COMPARED = ("status", *RESULTS, "steps_to_target", "metrics_sha256")
MACHINE = ("device", "device_name", "python", "torch", "code_sha256")
TOLD = ("status", "test_accuracy", *MACHINE)  # of both sides
SIDES, STUDIES = ("here", "published"), ("B", "A")  # that are compared


def columns(sides: tuple[str, str] = SIDES) -> tuple[str, ...]:
    """The columns of the rows that `compare` gives."""
    first = ("run", *ALWAYS_NAMED, "outcome", "note", "farthest_metric", "farthest_share")
    return (*first, *(f"{key}_{side}" for key in TOLD for side in sides))


def half_width(values: Sequence[float]) -> float:
    """How far a metric may be from its published value, given those of all seeds; NaN for one."""
    from scipy.stats import t

    if len(values) < 2:
        return math.nan
    quantile = t.ppf(1 - ALPHA / (2 * len(RESULTS)), len(values) - 1)
    return float(quantile * statistics.standard_deviation(values) * math.sqrt(2))


def compare(here: dict, there: dict, peers: Iterable[dict], sides: tuple[str, str] = SIDES) -> dict:
    """The row of one run in verification.csv, with its outcome.

    `here` and `there` are rows of a summary, of the run trained here and of the published one; `peers` are all
    published runs that differ from that at most in the seed. `farthest_metric` is the one that comes nearest to the end
    of its interval or passes it, and `farthest_share` the share of the half width it has gone, above 1 outside.
    """
    row = {key: there[key] for key in ("run", *ALWAYS_NAMED)}
    for side, run in zip(sides, (here, there), strict=True):
        row |= {f"{key}_{side}": run[key] for key in TOLD}
    row |= {"farthest_metric": None, "farthest_share": None}
    notes = ["other training code"] if here["code_sha256"] != there["code_sha256"] else []
    if here["data_sha256"] != there["data_sha256"]:
        outcome = DIFFERENT
        notes.append("other data")
    elif all(here[key] == there[key] for key in COMPARED):
        outcome = BITWISE
    elif here["status"] != there["status"]:
        outcome = DIFFERENT
        notes.append(f"{here['status']} here, {there['status']} there")
    elif here["status"] == "diverged":
        outcome = WITHIN
    else:
        finished = [peer for peer in peers if peer["status"] == "ok"]
        shares = {}
        for metric in RESULTS:
            allowed = half_width([peer[metric] for peer in finished])
            distance = abs(here[metric] - there[metric])
            shares[metric] = 0.0 if distance == 0 else distance / allowed if allowed else math.inf
        if len(finished) < 2:
            notes.append(f"too few {sides[1]} seeds for an interval")
        farthest = max(shares, key=shares.get)
        row |= {"farthest_metric": farthest, "farthest_share": shares[farthest]}
        # A NaN, from too few seeds, is within nothing.
        outcome = WITHIN if all(share <= 1 for share in shares.values()) else DIFFERENT
    return row | {"outcome": outcome, "note": "; ".join(notes)}


def verify(cells: Sequence[str], runs: Path, folder: Path) -> list[dict]:
    """Compare runs that were trained anew with the published ones, in the order given.

    `cells` are names of published runs, which are their folders below `runs`; `folder` is published/. One that is
    missing, malformed, was trained with other settings or never published is refused.
    """
    summary = {row["run"]: row for row in published.read_summary(folder)}
    runs_there = published.published_runs(folder)
    rows = []
    if not cells:
        raise UserError(f"name runs of {folder / 'summary.csv'} to compare with.")
    for name in cells:
        if name not in summary:
            raise UserError(f"{name} is not in {folder / 'summary.csv'}; name a published run.")
        settings = runs_there[name]
        tables.check_complete(runs, {name: settings})
        here = summary[name] | tables.read_run(runs / name, name, settings)
        alike = (n for n, s in runs_there.items() if replace(s, seed=settings.seed) == settings)
        rows.append(compare(here, summary[name], [summary[n] for n in alike]))
    return rows


def counted(rows: Sequence[dict]) -> str:
    """How many runs came out how, in words."""
    outcomes = [row["outcome"] for row in rows]
    counts = [f"{outcomes.count(o)} {o}" for o in OUTCOMES if o in outcomes]
    return f"of {'1 run' if len(rows) == 1 else f'{len(rows)} runs'} {', '.join(counts)}"


def conclusion(rows: Sequence[dict]) -> str:
    """One sentence that says how many runs came out how."""
    different = any(row["outcome"] == DIFFERENT for row in rows)
    verdict = "does not reproduce" if different else "reproduces"
    return f"The published study {verdict} here: {counted(rows)}."


def as_text(rows: Sequence[dict]) -> str:
    """The comparison as a table for a terminal, what it was made on, and its conclusion."""
    lines = [("dataset", "norm", "batch size", "seed", "test accuracy", "published", "outcome")]
    for row in rows:
        accuracies = (row[f"test_accuracy_{side}"] for side in SIDES)
        shown = ("diverged" if value is None else f"{value:.2%}" for value in accuracies)
        outcome = row["outcome"] + (f" ({row['note']})" if row["note"] else "")
        lines.append((*(str(row[key]) for key in ALWAYS_NAMED), *shown, outcome))
    return "\n".join([*aligned(lines), *machines(rows), conclusion(rows)])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def machines(rows: Sequence[dict], sides: tuple[str, str] = SIDES) -> list[str]:
    """A line for each side: device and versions that its runs were trained with."""
    lines = []
    for side in sides:
        found = dict.fromkeys(tuple(row[f"{key}_{side}"] for key in MACHINE[:4]) for row in rows)
        said = [f"{device} ({name}), Python {p}, PyTorch {t}" for device, name, p, t in found]
        lines.append(f"{side}: {'; '.join(said)}")
    return lines


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
            run = tables.read_object(path) | {"metrics_sha256": file_sha256(folder / "metrics.csv")}
            run["device_name"] = tables.read_object(folder / "timing.json").get("device_name")
            known = {key: grid.table_value(v) for key, v in run["settings"].items()}
            rows.append({key: run[key] for key in (*published.COLUMNS, "n_classes", "n_steps")} | known | run)
        except (OSError, KeyError) as error:
            raise tables.damaged(path, f"or a file beside it lacks {error}") from error
    return rows


def differing(a: Sequence[dict], b: Sequence[dict]) -> dict[str, tuple]:
    """The settings that have one value in A and another one in B; None where a study has none."""
    found = {}
    for name in SETTINGS:
        values = [{run.get(name) for run in runs} for runs in (a, b)]
        if values[0] != values[1] and all(len(one) == 1 for one in values):
            found[name] = tuple(one.pop() for one in values)
    return found


def compare_studies(a: Sequence[dict], b: Sequence[dict]) -> tuple[list[dict], list[dict], dict]:
    """Compare the runs of study B with those of study A; at least one of each must be a pair.

    Returns a row per pair of runs, as in verification.csv; the rows of comparison.csv, over the seeds that both have;
    and the names of the axes, as a configuration has them.
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
    pairs = [compare(*one, STUDIES) for one in held]
    swept = [n for n in paired_by if len({in_a[key].get(n) for key in both}) > 1]
    design = {"grid": dict.fromkeys(swept), "compare": {"axis": "study", "baseline": "A"}}
    # A setting that differs is the same place of the grid.
    place_of_all = {n: in_a[both[0]][n] for n in grid.axes(design) if n not in paired_by}
    runs = [study[key] | {"study": name} | place_of_all for name, study in studies for key in both]
    return pairs, tables.compare(runs, design), design


def changed_verdicts(a: Path, b: Path) -> list[str]:
    """A line for each claim of both studies that has another verdict in B, with the intervals."""
    paths = [folder / "tables/claims.csv" for folder in (a, b)]
    if not all(path.exists() for path in paths):
        return []
    in_a, in_b = ({row["id"]: row for row in read_table(path)} for path in paths)

    def said(row: dict) -> str:
        numbers = [row[key] for key in ("effect", "ci_low", "ci_high")]
        shown = "{:.3g} ({:.3g} to {:.3g})".format(*map(float, numbers)) if all(numbers) else ""
        return f"{row['verdict']} {shown}".strip()

    return [
        f"{name}: {said(row)} in A, {said(in_b[name])} in B"
        for name, row in in_a.items()
        if name in in_b and row["verdict"] != in_b[name]["verdict"]
    ]


def text_of_studies(pairs: Sequence[dict], rows: Sequence[dict], settings: Mapping[str, tuple]) -> str:
    """What both studies were made on, what they differ in, and B minus A in the mean over the grid."""
    text = machines(pairs, ("A", "B"))
    text += [f"{name}: {show(one)} in A, {show(two)} in B" for name, (one, two) in settings.items()]
    notes = dict.fromkeys(pair["note"] for pair in pairs if pair["note"])
    text.append(f"Paired by settings and seed, {counted(pairs)}.")
    text += [f"Of some runs: {note}." for note in notes]
    lines = [("dataset", "metric", "A", "B", "B - A", "95 % interval", "Holm p", "seeds")]
    for row in rows:
        if row["scope"] == tables.ALL and row["metric"] in METRICS and row["difference"]:
            numbers = [f"{row[key]:.5g}" for key in ("mean_baseline", "mean_level", "difference")]
            ends = row["ci_low"], row["ci_high"]
            interval = "too few seeds" if math.isnan(ends[0]) else "{:.3g} to {:.3g}".format(*ends)
            p, seeds = f"{row['p_holm']:.3g}", str(row["n"])
            lines.append((row["dataset"], row["metric"], *numbers, interval, p, seeds))
    if len(lines) == 1:
        return "\n".join([*text, "In the mean over the grid nothing differs."])
    return "\n".join([*text, *aligned(lines)])


def main(argv: list[str]) -> None:
    """Run `bnstudy verify`; the exit status is that of an error if a run came out different."""
    parser = parser_of("verify")
    parser.add_argument("cells", nargs="*", help="names of published runs (dataset~.../seed~...)")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs trained here")
    parser.add_argument("--published", type=Path, required=True, help="folder of the summary")
    parser.add_argument("--out", type=Path, required=True, help="table to write (.csv)")
    arguments = parser.parse_args(argv)
    rows = verify(arguments.cells, arguments.runs, arguments.published)
    write_table(arguments.out, columns(), rows)
    print(as_text(rows), flush=True)
    if different := [row for row in rows if row["outcome"] == DIFFERENT]:
        raise UserError(
            f"{len(different)} of {len(rows)} runs differ from the published ones, the first is "
            f"{different[0]['run']}; {arguments.out} tells by how much, and with which versions."
        )


def main_of_studies(argv: list[str]) -> None:
    """Run `bnstudy compare`."""
    parser = parser_of("compare")
    parser.add_argument("a", type=Path, metavar="A", help="folder results/ of a study")
    parser.add_argument("b", type=Path, metavar="B", help="that of the other one")
    out = "folder for runs.csv and comparison.csv"
    parser.add_argument("--out", type=Path, required=True, help=out)
    arguments = parser.parse_args(argv)
    a, b = read_study(arguments.a), read_study(arguments.b)
    pairs, rows, design = compare_studies(a, b)
    write_table(arguments.out / "runs.csv", columns(STUDIES), pairs)
    write_table(arguments.out / "comparison.csv", tables.comparison_columns(design), rows)
    print(text_of_studies(pairs, rows, differing(a, b)))
    if alone := len(a) + len(b) - 2 * len(pairs):
        print(f"{alone} runs are in one of the studies only.")
    print("\n".join(changed_verdicts(arguments.a, arguments.b)), flush=True)
