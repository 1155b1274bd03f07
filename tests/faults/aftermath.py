"""What a fault did to a study: how often it was tried, what was lost, what came out wrong."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from pathlib import Path

from background import content

from checkouts import Checkout

CONFIG = """
exploratory: true
grid: {dataset: [digits], norm: [none, batch], batch_size: [32], seed: [0, 1]}
training: {epochs: 20, probe_every: 5}
report: {name: a_report, title: "What happens when things go wrong"}
studies:
  identities: {enabled: false}
  input_scaling: {enabled: false}
  long_training: {enabled: false}
  init_gradients:
    enabled: true
    seeds: 2
    options:
      {batch_sizes: [32], width: 64, theory_depth: 12, middle: [4, 8], claim_depth: 12, claim_batch_size: 64}
"""


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

    def __call__(self, study: Checkout, fault: Fault, said: str, told: str | None, target: str = "tables") -> str:
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
    """When the finished runs, rows of studies and datasets were made, by name.

    Finished is what Snakemake knows to be: a job that is interrupted between its last file and the
    moment Snakemake takes note of it is done again.
    """
    folder = study.study / "results"
    kinds = ("runs/**/run.json", "studies/**/rows.csv", "data/*/prepared.safetensors")
    found = [path for kind in kinds for path in folder.glob(kind)]
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in found
        if str(path.relative_to(study.study)) not in incomplete(study)
    }


def incomplete(study: Checkout) -> set[str]:
    """The outputs of jobs that Snakemake has begun and not seen end, from its own records."""
    return set(records(study, "incomplete"))


def records(study: Checkout, kind: str) -> dict[str, Path]:
    """The files with Snakemake's own records of one kind, by the output that each is about."""
    folder = study.study / ".snakemake" / kind
    found = {}
    for path in folder.rglob("*"):
        coded = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
        if path.is_file() and coded != "migration_underway":
            found[urlsafe_b64decode(coded).decode()] = path
    return found
