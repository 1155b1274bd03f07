"""`bnstudy train`: one run of the grid, from where an earlier attempt left off if there was one."""

import argparse
import json
from pathlib import Path

from bnstudy import plugins
from bnstudy.checks import check_batches, run_problem
from bnstudy.cli import parser_of
from bnstudy.data.prepared import open_prepared
from bnstudy.data.registry import add_prepared
from bnstudy.errors import UserError
from bnstudy.files import SEALED, replacing
from bnstudy.logs import say
from bnstudy.provenance import file_sha256, git_commit
from bnstudy.settings import SETTINGS, Execution, Settings, add_options, as_dict, chosen, run_name
from bnstudy.training import record
from bnstudy.training.checkpoints import Checkpoint, only_writer
from bnstudy.training.clock import Clock, seconds_since_process_start
from bnstudy.training.devices import device_name, select_device
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_deterministic, make_model, train
from bnstudy.training.observers import asked_of_run, make_observers, observed_code
from bnstudy.training.progress import Progress


def main(argv: list[str]) -> None:
    """Run `bnstudy train`. Exits with `checkpoints.AGAIN` when SIGTERM asked it to stop."""
    clock = Clock({"start": seconds_since_process_start()})
    parser = parser_of("train")
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("data", type=Path, help="prepared dataset (from `bnstudy prepare`)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run's files")
    parser.add_argument("--plugins", type=Path, nargs="*", default=[], help="files of your own")
    said = "what to observe besides, a list as JSON"
    parser.add_argument("--observers", type=json.loads, default=[], help=said)
    add_options(parser, Settings)
    add_options(parser, Execution)
    arguments = parser.parse_args(argv)
    plugins.load(arguments.plugins)
    how = chosen(arguments, Execution)
    with clock.measure("data"):
        data = open_prepared(arguments.data)
    described = add_prepared(data)
    settings = chosen(arguments, Settings, dataset=data.name)
    observers = make_observers(arguments.observers)
    if found := run_problem(settings, described, arguments.observers):
        raise UserError(f"{SETTINGS[found[0]].option}: {found[1]}.")
    device = select_device(how.device, how.jobs_per_gpu)
    make_deterministic(device)
    with clock.measure("data"):
        splits = make_splits(data, settings, device)
    check_batches(len(splits["train"]), settings)
    asked = asked_of_run(as_dict(settings), arguments.observers)
    code = observed_code(arguments.observers)
    origin = {"git_commit": git_commit(), **record.find_origin(code, asked, data, device)}
    say(f"{run_name(settings)} on {device_name(device)}")
    model = make_model(splits["train"].pixels.shape[1:], len(data.classes), settings).to(device)
    with only_writer(arguments.out):
        checkpoint = Checkpoint(arguments.out, record.identity(origin), how.checkpoint_every)
        progress = Progress(f"{settings.norm}, seed {settings.seed}", settings.epochs)
        with checkpoint.saved_on_sigterm():
            run = train(model, splits, settings, clock, observers, checkpoint, progress)
            if run.status == "diverged":
                say(f"diverged: the loss was not finite by step {run.steps_done}")
            about = (splits, settings, origin, arguments.observers)
            summary = record.summarize(run, len(data.classes), *about)
            timing = record.summarize_timing(run, device)
            record.write_outputs(arguments.out, run, summary, timing, keep_model=how.keep_model)
            seal(arguments.out)
        checkpoint.remove()


def seal(out: Path) -> None:
    """Note what a run's files hold, so that an edit by hand is noticed."""
    timing = json.loads((out / "timing.json").read_text(encoding="utf-8"))
    timing["sha256"] = {name: file_sha256(out / name) for name in SEALED}
    with replacing(out / "timing.json") as file:
        file.write(json.dumps(timing, indent=2) + "\n")
