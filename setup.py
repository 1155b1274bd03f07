"""A wheel holds the checkout as it is, and a .pth file by which its package is found: one layout for both."""

from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("config", "profiles", "published", "report", "workflow")
FILES = (
    *("Snakefile", "README.md", "LICENSE", "CITATION.cff", "Containerfile"),
    *("environment.yml", "pyproject.toml", "requirements.txt"),
)
MADE = ignore_patterns("__pycache__", "*.egg-info", "*.html", "*.ipynb")


class Checkout(build_py):
    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        inside = Path(self.build_lib, "bnstudy_checkout")
        for name in FOLDERS:
            copytree(name, inside / name, ignore=MADE, dirs_exist_ok=True)
        for name in FILES:
            copy2(name, inside)
        Path(self.build_lib, "bnstudy_checkout.pth").write_text("bnstudy_checkout/workflow\n")


setup(cmdclass={"build_py": Checkout})
