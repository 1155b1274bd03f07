"""Files of the user that add norms, models, datasets and observers to the registries."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from bnstudy.errors import UserError

LOADED: dict[str, Path] = {}  # by name of the module


def load(paths: Iterable[str | Path]) -> None:
    """Import each file once, so that what it registers is there; one that cannot be is refused by name."""
    for path in map(Path, paths):
        name = f"bnstudy_plugin_{path.stem}"
        if LOADED.get(name) == path.resolve():
            continue
        if name in LOADED:
            raise UserError(f"plugins: {path} and {LOADED[name]} have one name; rename one of them.")
        if not path.is_file():
            raise UserError(f"plugins: there is no file {path}; name it relative to the config file.")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"plugins: {path} cannot be imported ({reason}); mend it.") from error
        LOADED[name] = path.resolve()


def sha256s() -> list[str]:
    """The hashes of the loaded files, sorted: what they hold counts, not where they lie."""
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in LOADED.values())
