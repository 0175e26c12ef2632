"""`./lvmm doctor --board`: the monitor looks around on the machine."""

import json

import pytest

from lvmm import cli
from lvmm.board import load_board

BOARD = load_board("bochs-vtx")


def test_the_reference_board_can_record(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor", "--board", BOARD.name, "--json"])
    facts = json.loads(capsys.readouterr().out)["board"]
    found = {finding["subject"]: finding for finding in facts["findings"]}
    assert not [finding for finding in found.values() if finding["state"] == "missing"]
    assert found["VT-x"]["state"] == "ok"
    assert "exact, also in" in found["counter"]["text"]
    assert "by ports only" in found["PCI access"]["text"], "an i440FX has no other way"
    assert found["ACPI"]["state"] == "ok", "its tables can be read, and are whole"
    assert "DMA profile e1000, with 6." in found["PCI 00:03.0"]["text"]
    assert "DMA profile piix_ide" in found["PCI 00:01.1"]["text"]
    assert "may be bus master" in found["PCI 00:00.0"]["text"]
