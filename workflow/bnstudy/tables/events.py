"""The metrics of runs for TensorBoard, also of those that still train: `bnstudy tensorboard`.

A run that is done has its metrics.csv, one that trains its checkpoint, which holds all that was measured until then: it
is written at the end of every epoch and each `checkpoint_every` steps.
"""

import time
from contextlib import suppress
from pathlib import Path

from bnstudy.cli import parser_of
from bnstudy.errors import UserError
from bnstudy.studies import runner
from bnstudy.training.checkpoints import NAME, Checkpoint


def read_metrics(folder: Path) -> list[tuple]:
    """Rows (epoch, step, split, metric, value) of a run, as far as it has come."""
    with suppress(FileNotFoundError):
        return runner.read_metrics(folder / "metrics.csv")
    state = Checkpoint(folder, {}, every=1).load()
    return state["metrics"] if state else []


def export(runs: Path, out: Path, written: dict[Path, set[tuple]]) -> int:
    """Write what was measured and is not among what was `written`, as event files, and add it there.

    Every run has its folder in `out`; returns how many have metrics.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    found = {path.parent for name in ("metrics.csv", NAME) for path in runs.rglob(name)}
    for folder in sorted(found):
        known = written.setdefault(folder, set())
        rows = {row[1:4]: row[4] for row in read_metrics(folder) if row[1:4] not in known}
        if not rows:
            continue
        target = out / folder.relative_to(runs)
        if not known:
            for earlier in target.glob("events.out.tfevents.*"):
                earlier.unlink()
        writer = EventFileWriter(str(target))
        now = time.time()
        for (step, split, metric), value in sorted(rows.items()):
            if value is not None:
                said = Summary(value=[{"tag": f"{metric}/{split}", "simple_value": value}])
                writer.add_event(Event(wall_time=now, step=step, summary=said))
        writer.close()
        known.update(rows)
    return len(found)


def main(argv: list[str]) -> None:
    parser = parser_of("tensorboard")
    parser.add_argument("results", type=Path, help="folder results/ of a study")
    parser.add_argument("--out", type=Path, required=True, help="folder for `tensorboard --logdir`")
    parser.add_argument("--every", type=float, help="go on, every so many seconds, until Ctrl-C")
    arguments = parser.parse_args(argv)
    what = arguments.results / "runs", arguments.out, {}
    try:
        count = export(*what)
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: `pip install tensorboard` gets what is missing.") from None
    print(f"{count} runs; look at them with `tensorboard --logdir {arguments.out}`", flush=True)
    while arguments.every:
        time.sleep(arguments.every)
        export(*what)
