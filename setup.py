"""Builds the log's decoder in C with the package, where there is a compiler: pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))

from lvmm.errors import EnvironmentProblem
from lvmm.logs import native


class BuildPackage(build_py):
    """The Python files, and the library beside them."""

    def run(self) -> None:
        super().run()
        try:
            native.build(Path(self.build_lib) / "lvmm" / "logs" / native.LIBRARY)
        except EnvironmentProblem as error:
            self.warn(f"without the decoder in C, which makes statistics fast: {error}")


class BinaryDistribution(Distribution):
    """What is built is for this kind of machine only."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildPackage}, distclass=BinaryDistribution)
