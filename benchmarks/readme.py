"""The tables of README.md's section on speed, from the tables of the benchmarks.

`python benchmarks/readme.py` prints them; a test holds README.md to them.
"""

from collections import defaultdict

import yaml
from processes import BASELINE, RESULTS, ROOT, key, read_table

CELLS = [("none", "32"), ("batch", "32"), ("none", "256"), ("batch", "256")]
# Quantities of a cell, as they are called in speed.csv and in the README.
OF_A_CELL = {
    "step / (products + update)": "a training step over its matrix products and update alone",
    "run / (products + updates)": "a whole run over its products and updates",
    "start - bare import": "start of a run less a bare `import torch`",
    "run: data": "opening the data",
    "run: peak memory": "peak memory of a run",
}
# Quantities of a network, by its kind and arm; those of a perceptron's steps stand above.
NETWORKS = [(kind, norm) for kind in ("mlp", "cnn", "resnet") for norm in ("none", "batch")]
OF_A_NETWORK = {
    "step / (convolutions + update)": "a step of 128 images over its convolutions and update",
    "evaluation / (its convolutions)": "an evaluation over its products or convolutions",
}
# Minutes that a study may take.
STUDIES = {"default": 7, "full": 25}
# Quantities of the workflow.
OF_THE_WORKFLOW = {
    "grid / (its runs / cores)": "the default grid over its runs divided by the cores",
    "aggregation of 50,000 runs: wall": "aggregation of 50,000 runs",
    "aggregation of 50,000 runs: peak memory": "the same, peak memory",
    "report of 102 claims: wall": "the report of the full study",
    "snakemake -n: wall": "`snakemake -n` of the default study",
}


def number(text: str, unit: str) -> str:
    value = float(text)
    return f"{value:.0f}" if unit == "MB" or value >= 10 else f"{value:.2f}"


def middle(row: dict[str, str]) -> str:
    """The median with its unit."""
    unit = "x" if row["unit"] == "x" else f" {row['unit']}"
    return f"{number(row['median'], row['unit'])}{unit}"


def goals(rows: list[dict[str, str]]) -> str:
    return ", ".join(dict.fromkeys(row["target"].replace("<=", "≤") for row in rows if row["target"]))


def key_of(quantity: str, kind: str, norm: str) -> tuple[str, str, str]:
    """The row of a network's quantity in speed.csv, which has none of a perceptron's step at 128."""
    if quantity.startswith("step"):
        return f"{kind}: {quantity}", norm, "128"
    return "probe / (its products)" if kind == "mlp" else f"{kind}: {quantity}", norm, ""


def of_the_studies() -> list[str]:
    """The time of all jobs of whole studies over the cores: less time is not possible with those jobs."""
    declared = yaml.safe_load((ROOT / "config/studies.yaml").read_text())["studies"]
    parts = read_table(RESULTS / "studies.csv")
    found = []
    for name, goal in STUDIES.items():
        others = {key for key, study in declared.items() if study["enabled"] is False}
        counted = [row for row in parts if name == "full" or row["part"] not in others]
        cores = int(parts[0]["cores"])
        minutes = sum(float(row["seconds"]) for row in counted) / cores / 60
        star = " *" if minutes > goal else ""
        words = f"all jobs of the {name} study over {cores} cores"
        found.append(f"| {words} | {minutes:.0f} min{star} | ≤ {goal} |")
    return found


def lines() -> list[str]:
    """The lines of the four tables."""
    found = [
        "| eight networks of {epochs} epochs, from start to table | time over ours |".format(
            **read_table(RESULTS / "peers.csv")[0]
        ),
        "| --- | --- |",
    ]
    sessions = defaultdict(list)
    for row in read_table(RESULTS / "peers_summary.csv"):
        if row["quantity"].endswith("wall"):
            sessions[row["quantity"]].append(row)
    for quantity, rows in sessions.items():
        least = min((row["least"] for row in rows), key=float)
        most = max((row["most"] for row in rows), key=float)
        spread = f"{number(least, 'x')} to {number(most, 'x')} in {len(rows)} sessions"
        found.append(f"| {quantity.partition(' / ')[0]} | {middle(rows[-1])} ({spread}) |")
    speed, baseline = read_table(RESULTS / "speed.csv"), read_table(BASELINE)
    rows = {key(row): row for row in speed}
    # A goal that only one of the two sessions reached is not reached.
    missed = {key(row) for row in (*speed, *baseline) if row["reached"] == "no"}

    def starred(row: dict[str, str]) -> str:
        return f"{middle(row)} *" if key(row) in missed else middle(row)

    found += ["", f"| | {' | '.join(', '.join(cell) for cell in CELLS)} | goal |"]
    found.append(f"|{' --- |' * (len(CELLS) + 2)}")
    for quantity, words in OF_A_CELL.items():
        cells = [rows[quantity, *cell] for cell in CELLS]
        found.append(f"| {words} | {' | '.join(map(starred, cells))} | {goals(cells)} |")
    heads = [f"{kind}, {norm}" for kind, norm in NETWORKS]
    found += ["", f"| | {' | '.join(heads)} | goal |", f"|{' --- |' * (len(heads) + 2)}"]
    for quantity, words in OF_A_NETWORK.items():
        cells = [rows.get(key_of(quantity, *network)) for network in NETWORKS]
        shown = " | ".join(starred(row) if row else "" for row in cells)
        found.append(f"| {words} | {shown} | {goals([row for row in cells if row])} |")
    found += ["", "| | measured | goal |", "| --- | --- | --- |"]
    for quantity, words in OF_THE_WORKFLOW.items():
        row = rows[quantity, "", ""]
        found.append(f"| {words} | {starred(row)} | {goals([row])} |")
    return found + of_the_studies()


if __name__ == "__main__":
    print("\n".join(lines()))
