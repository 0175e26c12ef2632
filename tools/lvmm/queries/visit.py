"""A search in a thread of its own, at a machine that one of our runs has started."""

from __future__ import annotations

import threading
from pathlib import Path

from lvmm.errors import LvmmError
from lvmm.link import LinkClient
from lvmm.logs.source import Source
from lvmm.queries.search import Search


class SearchVisit:
    """Implements lvmm.machine_run.Visitor. `memory` is the file that the machine's memory is in."""

    def __init__(self, search: Search, memory: Path) -> None:
        self.failure: LvmmError | None = None
        self._search = search
        self._memory = memory
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    @property
    def done(self) -> bool:
        """See Visitor."""
        return self._over.is_set()

    def start(self, link: LinkClient) -> None:
        """See Visitor."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(link,), name="lvmm-search", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """See Visitor."""
        self._search.stop()

    def close(self) -> None:
        """Waits until the search is over, which it is when the link is closed."""
        self._search.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self, link: LinkClient) -> None:
        try:
            memory = Source(str(self._memory))
            try:
                self._search.run(link, memory)
            finally:
                memory.close()
        except LvmmError as error:
            self.failure = error
        finally:
            self._over.set()
