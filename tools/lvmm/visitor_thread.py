"""The thread of a lvmm.machine_run.Visitor, who looks at a guest of one of our runs."""

from __future__ import annotations

import abc
import threading

from lvmm.errors import LvmmError
from lvmm.link import LinkClient


class VisitorThread(abc.ABC):
    """Implements Visitor but for stop(): runs visit() once, in a thread called `name`."""

    def __init__(self, name: str) -> None:
        self.failure: LvmmError | None = None
        self._name = name
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    @abc.abstractmethod
    def visit(self, link: LinkClient) -> None:
        """The visit; may raise LvmmError, which is then the visitor's failure."""

    @property
    def done(self) -> bool:
        """See Visitor."""
        return self._over.is_set()

    def start(self, link: LinkClient) -> None:
        """See Visitor."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(link,), name=self._name, daemon=True
            )
            self._thread.start()

    def join(self) -> None:
        """Waits until the visit is over; returns at once where there has been none."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, link: LinkClient) -> None:
        try:
            self.visit(link)
        except LvmmError as error:
            self.failure = error
        finally:
            self._over.set()
