"""Reads of buffers that a device owns, found in the appliance that has the bug. One without is in
test_appliance.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    TINY_MEMORY_MIB,
    assert_identical,
    replay,
)
from tests.host.extract_tool import load_tool

from lvmm import guest_build, netpeer, session
from lvmm.early_reads import describe_early_reads
from lvmm.echo_peer import EchoPeer
from lvmm.guest import Guest
from lvmm.recording_dir import Manifest, read_manifest
from lvmm.session import RunSettings

REQUESTS = 12


def record(directory: Path) -> Manifest:
    """Records the appliance while the host pings it."""
    guest = Guest("multiboot", guest_build.appliance(), "impatient", TINY_MEMORY_MIB)
    port = netpeer.free_port()
    settings = RunSettings(seed=5, timeout_s=RECORD_TIMEOUT_S, net_port=port, early_reads=True)
    peer = EchoPeer(port, REQUESTS, 5)
    peer.start()
    try:
        manifest = session.record(BOARD, guest, settings, directory)
    finally:
        result = peer.stop()
    assert result.complete, result
    return manifest


def test_found_where_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "recording"
    manifest = record(directory)
    assert manifest.early_reads is not None
    places = {place["symbol"].partition("+")[0] for place in manifest.early_reads}
    assert places == {"look_ahead"}
    times = sum(place["times"] for place in manifest.early_reads)
    assert times == manifest.events["EARLY_READ"] >= REQUESTS
    assert read_manifest(directory) == manifest
    said = describe_early_reads(manifest.early_reads)
    assert f"{times} of buffers that a device owned, at look_ahead+" in said
    assert "e1000 rx" in said

    assert load_tool().main(["dump", str(directory), "--type", "EARLY_READ", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(events) == times
    assert {event["rip"] for event in events} == {place["rip"] for place in manifest.early_reads}
    assert_identical(replay(directory, 6, tmp_path / "replay"))
