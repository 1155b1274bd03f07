"""The `bnstudy` command: finds the module behind a subcommand and hands it the arguments.

Each module parses its own arguments, so that a job imports only what it uses and an edit of one command's options
touches only the jobs of that command.
"""

import argparse
import gc
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from bnstudy.errors import UserError, refusal

COMMANDS = {
    "download": ("bnstudy.data.download", "fetch and verify the raw files of a dataset"),
    "prepare": ("bnstudy.data.prepare", "turn images into the one file that runs open"),
    "train": ("bnstudy.training.command", "train one network and record its metrics"),
    "aggregate": ("bnstudy.tables.aggregate", "gather all runs of the grid into tables"),
    "study": ("bnstudy.studies.command", "run one cell of a study and write its rows"),
    "merge": ("bnstudy.studies.table", "join the cells of a study into one table, in order"),
    "claims": ("bnstudy.claims.judge", "give every claim its verdict"),
    "partial": ("bnstudy.tables.partial", "gather what there is of an unfinished study"),
    "report": ("bnstudy.report.command", "execute the notebook and render the HTML report"),
    "verify": ("bnstudy.tables.verification", "compare runs trained here with the published ones"),
    "compare": ("bnstudy.tables.verification:main_of_studies", "say what differs between two studies"),
    "tensorboard": ("bnstudy.tables.events", "write metrics as they come, for TensorBoard"),
    "publish": ("bnstudy.tables.published", "write the summary that verify compares with"),
    "note": ("bnstudy.made", "note what results were made from, and what they hold"),
    "document": ("bnstudy.schema", "write the settings into the schema, and the manual's tables"),
    "archive": ("bnstudy.tables.archive", "pack a finished study into one file"),
}


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, which says of it what the list of commands says."""
    summary = COMMANDS[command][1]
    return argparse.ArgumentParser(prog=f"bnstudy {command}", description=f"{summary[0].upper()}{summary[1:]}.")


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "usage: bnstudy COMMAND [OPTIONS]\n\ncommands:\n" + "\n".join(lines)


def load(command: str) -> Callable[[list[str]], None]:
    """The function behind a command, its module imported.

    Imports make about a million objects that stay until the end. Nothing is gained by searching them for garbage, at
    each of the collector's rounds and once more at exit: without that, a process that imports PyTorch takes a third
    less time from start to end.
    """
    gc.disable()
    module, _, function = COMMANDS[command][0].partition(":")
    found = getattr(importlib.import_module(module), function or "main")
    gc.freeze()
    gc.enable()
    return found


def main() -> None:
    """Run one subcommand; what the user can repair becomes one line on stderr and exit status 2."""
    arguments, root = sys.argv[1:], Path(__file__).parents[2]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage() + "\n\n`bnstudy COMMAND --help` lists a command's options.")
        return
    name, *rest = arguments
    if name == "--version":
        print("bnstudy", importlib.import_module("bnstudy.tables.archive").project_version(root))
        return
    if name not in COMMANDS:
        sys.exit(f"bnstudy: there is no command '{name}'.\n{usage()}")
    try:
        load(name)(rest)
    except (UserError, OSError) as error:
        sentence = error if isinstance(error, UserError) else refusal(error)
        if sentence is None:
            raise
        print(f"bnstudy: {sentence}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bnstudy: interrupted", file=sys.stderr)
        sys.exit(130)
