"""Boards: loading, and every mistake told in one line."""

from pathlib import Path

import pytest

from lvmm.board import BOARDS_DIR, known_boards, load_board
from lvmm.errors import UsageError

pytestmark = pytest.mark.host

REFERENCE = (BOARDS_DIR / "bochs-vtx.toml").read_text()


def test_reference_board() -> None:
    board = load_board("bochs-vtx")
    assert board.kind == "bochs"
    assert board.memory.total_bytes == 1408 << 20
    assert board.memory.log_base == board.memory.monitor_base + (board.memory.monitor_mib << 20)
    assert board.device[0].pci_address == (0, 3, 0)
    assert "bochs-vtx" in known_boards()


def test_all_boards_load() -> None:
    for name in known_boards():
        assert load_board(name).name == name


def test_unknown_board_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"no board 'x' \(known boards: .*bochs-vtx") as caught:
        load_board("x")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "bochs"\n', "", "key 'kind' is missing"),
        ('kind = "bochs"', 'kind = "abacus"', "kind 'abacus' is not supported"),
        ("total_mib = 1408", 'total_mib = "1408"', "memory: total_mib: must be a number"),
        ("total_mib = 1408", "total_mib = true", "memory: total_mib: must be a number"),
        ("total_mib = 1408", "total_mib = 1343", "does not fit into total_mib"),
        ("total_mib = 1408", "total_mib = 1407", "leave 64 MiB above the log region"),
        ("guest_max_mib = 1024", "guest_max_mib = 1025", "guest memory overlaps the monitor"),
        ("guest_default_mib = 256", "guest_default_mib = 0", "guest_default_mib out of range"),
        ("monitor_mib = 32", "monitor_mib = 33", "the monitor overlaps the log region"),
        ("monitor_base = 0x40000000", "monitor_base = 0x40001000", "multiple of 2 MiB"),
        ("monitor_base = 0x40000000", "monitor_base = 0xfe200000", "end at or below 4 GiB"),
        ("monitor_base = 0x40000000", "monitor_base = 0x140000000", "end at or below 4 GiB"),
        ("log_base = 0x42000000", "log_base = 0x42001000", "multiple of 2 MiB"),
        ("[serial]", "[serial]\nparity = 1", "serial: unknown key 'parity'"),
        ("ips = 50_000_000", "ips = 0", "ips must be positive"),
        ("ips = 50_000_000", 'ips = 1\ncounter_fault = "x"', "counter_fault 'x' is not known"),
        ("monitor = 0x2f8", "monitor = 0x3f8", "both serial lines are the same"),
        ('pci = "00:03.0"', 'pci = "3"', "device nic0: pci is no bus:dev.fn"),
        ("[[device]]", "[device]", "device: must be an array of tables"),
        ("[power]", "[power", "Expected"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in REFERENCE
    (tmp_path / "bochs-vtx.toml").write_text(REFERENCE.replace(old, new))
    with pytest.raises(UsageError, match=message) as caught:
        load_board("bochs-vtx", tmp_path)
    assert "\n" not in str(caught.value)


def test_name_must_be_the_file_name(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(REFERENCE)
    with pytest.raises(UsageError, match="name differs"):
        load_board("other", tmp_path)
