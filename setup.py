"""A wheel holds the checkout as it is, and a .pth file by which its package is found: one layout for both."""

import tomllib
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

CHECKOUT = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["bnstudy"]["checkout"]
MADE = ignore_patterns("__pycache__", "*.egg-info", "*.html", "*.ipynb")


class Checkout(build_py):
    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        inside = Path(self.build_lib, "bnstudy_checkout")
        inside.mkdir(parents=True, exist_ok=True)
        for path in map(Path, CHECKOUT):
            if path.is_dir():
                copytree(path, inside / path, ignore=MADE, dirs_exist_ok=True)
            else:
                copy2(path, inside)
        Path(self.build_lib, "bnstudy_checkout.pth").write_text("bnstudy_checkout/workflow\n")


setup(cmdclass={"build_py": Checkout})
