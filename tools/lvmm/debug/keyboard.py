"""What the user types, on its way to the guest's serial port."""

from __future__ import annotations

from collections.abc import Callable

from lvmm.link import LinkClient, RequestRefused, SessionLost, Unsupported

_MOST = 1 << 16  # bytes that may wait for the guest


class Keyboard:
    """Types over the link, as fast as the guest's port takes it."""

    def __init__(self, link: LinkClient, say: Callable[[str], None]) -> None:
        self._link = link
        self._say = say
        self._waiting = b""
        self._told = False

    def type(self, data: bytes) -> bool:
        """Sends this and what has waited; whether anything was sent. Raises LinkError.

        What cannot be typed is dropped; the user is told the first time.
        """
        self._waiting += data
        if not self._waiting:
            return False
        if len(self._waiting) > _MOST:
            self._tell(f"the guest reads nothing: {len(self._waiting) - _MOST} keys are dropped")
            self._waiting = self._waiting[:_MOST]
        try:
            done = self._link.write_console(self._waiting)
        except Unsupported:
            self._refuse("the guest's serial port is another line than the monitor's: type there")
        except RequestRefused as error:
            self._refuse(error.why)
        except SessionLost:
            return False  # the console's view tells that
        else:
            self._waiting = self._waiting[done:]
            return done > 0
        return False

    def _refuse(self, why: str) -> None:
        self._waiting = b""
        self._tell(why)

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._say(f"lvmm: {why}")
