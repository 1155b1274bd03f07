"""`bnstudy study`: one cell of a study, from where an earlier attempt left off if there was one."""

import importlib
import json
from functools import partial
from pathlib import Path

from bnstudy import plugins
from bnstudy.cli import parser_of
from bnstudy.data.prepared import open_prepared
from bnstudy.data.registry import add_prepared
from bnstudy.errors import UserError
from bnstudy.logs import say
from bnstudy.settings import Execution, add_options
from bnstudy.studies import declaration
from bnstudy.studies.runner import Kept, run_grid
from bnstudy.studies.table import write_study
from bnstudy.training.checkpoints import only_writer
from bnstudy.training.devices import select_device
from bnstudy.training.loop import make_deterministic
from bnstudy.training.record import find_origin, identity


def main(argv: list[str]) -> None:
    """Run `bnstudy study`. Exits with `checkpoints.AGAIN` when SIGTERM asked it to stop."""
    parser = parser_of("study")
    parser.add_argument("study", help="a name of config/studies.yaml")
    parser.add_argument("data", type=Path, help="prepared dataset")
    parser.add_argument("--cell", type=json.loads, default={}, help="the cell's axes, as JSON")
    told = "the cell's part of the study, as JSON; default: what config/studies.yaml says"
    parser.add_argument("--declaration", type=json.loads, help=told)
    parser.add_argument("--seeds", type=int, required=True, help="number of seeds")
    files = {"type": Path, "nargs": "*", "default": []}
    parser.add_argument("--reuse", **files, help="folders of runs not to train again")
    parser.add_argument("--plugins", **files, help="files to import first")
    add_options(parser, Execution)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args(argv)
    plugins.load(arguments.plugins)
    name, cell = arguments.study, arguments.cell
    study = arguments.declaration or declared(name, cell)
    device = select_device(arguments.device, arguments.jobs_per_gpu)
    make_deterministic(device)
    data = open_prepared(arguments.data)
    add_prepared(data)
    asked = declaration.asked_of_cell(name, study, cell, data.name, arguments.seeds)
    # Before anything runs: an edit made meanwhile is not what ran.
    origin = find_origin(declaration.study_code(name, study), asked, data, device)
    with only_writer(arguments.out.parent):
        kept = Kept(arguments.out.parent, identity(origin), arguments.checkpoint_every)
        with kept.checkpoint.saved_on_sigterm():
            if code := declaration.CODE_STUDIES.get(name):
                run = importlib.import_module(f"bnstudy.studies.{code}").run
                rows = []
                for seed in declaration.seeds_of(study, arguments.seeds):
                    asked = {"cell": cell, "study": study, "seeds": [seed]}
                    make = partial(run, data, cell, study["options"], seed, device)
                    rows += [cell | {"seed": seed} | row for row in kept.rows(asked, make)]
            else:
                rows = run_grid(study, data, arguments.seeds, device, kept, arguments.reuse)
            known = {"n_classes": len(data.classes)}
            write_study(arguments.out, [known | row | origin for row in rows], seal=True)
        kept.remove()
    say(f"{name}, {declaration.cell_name(cell)}: {len(rows)} rows")


def declared(name: str, cell: dict) -> dict:
    """A cell's part of a study that ships, for who runs it by hand."""
    from bnstudy.config import default_studies

    studies = default_studies()
    if name not in studies:
        raise UserError(f"there is no study {name}; there are {', '.join(studies)}.")
    cells = declaration.cells(studies[name])
    if cell not in cells.values():
        raise UserError(f"--cell {json.dumps(cell)}: {name} has the cells {', '.join(cells)}.")
    return declaration.job(name, studies[name], cell)
