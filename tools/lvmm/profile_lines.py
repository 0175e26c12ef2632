"""The lines of the keys of a TOML text, which tomllib does not tell."""

from __future__ import annotations

import re

_KEY = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""+|"(?:[^"\\\n]|\\.)*"''' r"""|'''.*?'''+|'[^'\n]*'""",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")


class _Scanner:
    """Walks over a text that tomllib accepts."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self._text = text
        self._at = 0
        self._lengths: dict[str, int] = {}  # of arrays of tables

    def document(self) -> None:
        prefix = ""
        self._skip_blank()
        while self._at < len(self._text):
            if self._take("[["):
                prefix = self._header("]]", is_array=True)
            elif self._take("["):
                prefix = self._header("]", is_array=False)
            else:
                self._pair(prefix)
            self._skip_blank()

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _keys(self) -> list[str]:
        keys = []
        while match := _KEY.match(self._text, self._at):
            keys.append(match[1].strip("\"'"))
            self._at = match.end()
            if not self._take("."):
                break
        return keys

    def _note(self, path: str) -> None:
        self.lines.setdefault(path, self._text.count("\n", 0, self._at) + 1)

    def _header(self, end: str, *, is_array: bool) -> str:
        path = ""
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path = f"{path}.{key}" if path else key
            if is_array and number == len(keys):
                self._lengths[path] = self._lengths.get(path, 0) + 1
            if path in self._lengths:
                self._note(path)
                path = f"{path}[{self._lengths[path] - 1}]"
        self._note(path)
        self._take(end)
        return path

    def _pair(self, prefix: str) -> None:
        path = prefix
        for key in self._keys():
            path = f"{path}.{key}" if path else key
            self._note(path)
        self._take("=")
        self._value(path)

    def _value(self, path: str) -> None:
        self._skip_blank()
        if self._take("{"):
            self._members(path)
        elif self._take("["):
            self._elements(path)
        else:
            match = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            assert match is not None
            self._at = match.end()

    def _members(self, path: str) -> None:
        self._skip_blank()
        while self._at < len(self._text) and not self._take("}"):
            self._pair(path)
            self._skip_blank()
            self._take(",")
            self._skip_blank()

    def _elements(self, path: str) -> None:
        number = 0
        self._skip_blank()
        while self._at < len(self._text) and not self._take("]"):
            self._note(f"{path}[{number}]")
            self._value(f"{path}[{number}]")
            self._skip_blank()
            self._take(",")
            self._skip_blank()
            number += 1


def key_lines(text: str) -> dict[str, int]:
    """Return the line, from 1, of each key, table and element of a TOML text that is correct.

    Paths are written as `ring[0].done.offset`; elements of arrays count from 0.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines
