"""Where commands write: what cannot be there is refused at once, and what is there stays."""

from pathlib import Path

import pytest
from tests.host import extract_tool
from tests.host.extract_tool import USAGE, Tool, one_line, region_of, write
from tests.host.test_cli_errors import fails

from lvmm import guest_build

pytestmark = pytest.mark.host

Capture = pytest.CaptureFixture[str]


tool = extract_tool.tool


@pytest.fixture
def hello() -> Path:
    return guest_build.tiny_guest("hello")


def refused(capsys: Capture, arguments: list[object], *words: str) -> None:
    """Of arguments that argparse does not take: one line, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        fails(capsys, arguments, 2)
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert all(word in error for word in words), error


def test_empty_names(capsys: Capture, hello: Path) -> None:
    for words in (["rescue"], ["demo"], ["record", "--multiboot", hello]):
        refused(capsys, [*words, "-o", ""], "the name is empty")
    refused(capsys, ["build", "--multiboot", hello, "-o", ""], "the name is empty")


def test_a_command_line_of_two_lines(capsys: Capture, tmp_path: Path) -> None:
    refused(capsys, ["rescue", "-o", tmp_path / "x", "--append", "a\nb"], "one line is needed")


def test_an_image_replaces_nothing_but_an_image(
    capsys: Capture, tmp_path: Path, hello: Path
) -> None:
    guest = tmp_path / "guest.elf"
    guest.write_bytes(hello.read_bytes())
    for words in (["build", "--multiboot", guest], ["rescue"]):
        fails(capsys, [*words, "-o", guest], 2, "is no boot image")
        fails(capsys, [*words, "-o", tmp_path], 2, "is a directory")
    assert guest.read_bytes() == hello.read_bytes()


def test_an_image_below_a_file(capsys: Capture, tmp_path: Path, hello: Path) -> None:
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "image.iso"
    fails(capsys, ["build", "--multiboot", hello, "-o", output], 1, "cannot write", str(output))


def test_a_dangling_link_is_there(capsys: Capture, tmp_path: Path, hello: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    fails(capsys, ["record", "--multiboot", hello, "-o", link], 2, "exists already")
    fails(capsys, ["demo", "-o", link], 2, "exists already")


def test_a_log_larger_than_the_region(capsys: Capture, hello: Path) -> None:
    words = ["record", "--multiboot", hello, "--log-size", "999999999"]
    fails(capsys, words, 2, "log region of 288 MiB", "at most 294912")


def test_wrong_words_for_extract_log(tool: Tool, tmp_path: Path) -> None:
    source = write(tmp_path / "region", region_of())
    for words in (
        ("extract", source, "-o", ""),
        ("dump", source, "--device", "port:5-3"),
        ("dump", source, "--device", "port:-5-3"),
        ("info", source, "--recording", "-1"),
        ("timeline", source, "-o", tmp_path / "x", "--png", tmp_path / "x"),
    ):
        assert one_line(tool(*words)) == USAGE, words
    assert [path.name for path in tmp_path.iterdir()] == ["region"]
