"""One long JSON document, value by value, with only a window of it in memory."""

from __future__ import annotations

import codecs
import json
from typing import IO, Any

__all__ = ["READ_BYTES", "JsonStream"]

READ_BYTES = 1 << 20
_SPACE = " \t\r\n"


class JsonStream:
    """Reads values from a stream of bytes; bytes that are no UTF-8 become replacement characters.

    Args:
        stream: The bytes.
        max_chars: Longest value; a longer one counts as broken.

    Example:
        >>> import io
        >>> stream = JsonStream(io.BytesIO(b'[1, {"a": 2}]'), max_chars=100)
        >>> stream.next_char("["), stream.value(), stream.next_char(","), stream.value()
        ('1', 1, '{', {'a': 2})
    """

    def __init__(self, stream: IO[bytes], *, max_chars: int) -> None:
        self._stream = stream
        self._max_chars = max_chars
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._decoder = json.JSONDecoder()
        self._text, self._at = "", 0

    def next_char(self, skip: str = "") -> str:
        """The next character after white space and those of `skip`; "" at the end."""
        while True:
            while self._at < len(self._text):
                char = self._text[self._at]
                if char not in _SPACE and char not in skip and char != "\ufeff":
                    return char
                self._at += 1
            if not self._fill():
                return ""

    def value(self) -> Any:
        """The value that begins at the next character.

        Raises:
            ValueError: It is broken, cut off, or too long.
        """
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError("nested too deeply") from error
            except ValueError:
                if not self._fill():
                    raise
                continue
            # A number that touches the end of the window may go on.
            if end < len(self._text) or not self._fill():
                self._at = end
                return value

    def _fill(self) -> bool:
        left = len(self._text) - self._at
        if left > self._max_chars:
            return False
        try:
            data = self._stream.read(max(READ_BYTES, left))
        except (OSError, EOFError):  # a gzip stream that breaks off
            data = b""
        more = self._decode(data, final=not data)
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(data)
