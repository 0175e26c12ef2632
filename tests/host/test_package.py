"""`pip install .`: what is installed reads logs without the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import pytest
from tests.host import cbuild
from tests.host.extract_tool import EVENTS, log_of, write

pytestmark = pytest.mark.host

# What building needs. It is done in a copy: it leaves files behind.
TREE = ("pyproject.toml", "setup.py", "tools", "hypervisor", "logs_format")


def run(*words: object, folder: Path, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the package, built without network."""
    folder = tmp_path_factory.mktemp("package")
    tree = folder / "tree"
    tree.mkdir()
    for name in TREE:
        source = cbuild.ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "-q")
    run(*pip, "wheel", *options, "-w", folder, tree, folder=folder)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(tree)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, folder=folder)
    # The packages that it needs: this environment's, where lvmm itself is not installed.
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])", folder=folder)
    path = sysconfig.get_path("purelib")
    (Path(site.strip()) / "needed.pth").write_text(path + "\n")
    return folder / "env" / "bin"


def test_five_lines_of_the_documentation(installed: Path, tmp_path: Path) -> None:
    write_recording(tmp_path / "recording")
    text = (cbuild.ROOT / "docs" / "log-format.md").read_text()
    match = re.search(r"^In Python[^:]*:\n\n((?:    .*\n|\n)+)", text, re.M)
    assert match
    program = textwrap.dedent(match[1]).strip()
    assert len([line for line in program.splitlines() if line]) == 5
    output = run(installed / "python", "-c", program, folder=tmp_path).splitlines()
    assert len(output) == 1 + len(EVENTS)
    assert output[0] == "bochs-vtx []"
    assert "RDTSC Rdtsc(tsc=0)" in output[1]


def test_the_command_and_its_decoder_in_c(installed: Path, tmp_path: Path) -> None:
    write_recording(tmp_path / "recording")
    command = installed / "extract_log"
    # Without a compiler: the decoder was built with the package.
    done = run(command, "verify", "recording", "--json", folder=tmp_path, PATH=str(tmp_path))
    assert '"decoded": true' in done and '"complete": true' in done
    where = run(installed / "python", "-c", "import lvmm; print(lvmm.__file__)", folder=tmp_path)
    assert str(installed.parent) in where


def write_recording(folder: Path) -> None:
    folder.mkdir()
    write(folder / "log.lvmm", bytes(log_of().data))
