"""A search in a thread of its own, at a machine that one of our runs has started."""

from __future__ import annotations

from pathlib import Path

from lvmm.link import LinkClient
from lvmm.logs.source import Source
from lvmm.queries.search import Search
from lvmm.visitor_thread import VisitorThread


class SearchVisit(VisitorThread):
    """Implements lvmm.machine_run.Visitor. `memory` is the file that the machine's memory is in."""

    def __init__(self, search: Search, memory: Path) -> None:
        super().__init__("lvmm-search")
        self._search = search
        self._memory = memory

    def stop(self) -> None:
        """See Visitor."""
        self._search.stop()

    def close(self) -> None:
        """Waits until the search is over, which it is when the link is closed."""
        self._search.stop()
        self.join()

    def visit(self, link: LinkClient) -> None:
        """See VisitorThread."""
        memory = Source(str(self._memory))
        try:
            self._search.run(link, memory)
        finally:
            memory.close()
