# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer of HTTP/1.1 while it arrives: bytes in, bytes of its body out; nothing is waited for here."""

from __future__ import annotations

_MAX_HEAD = 64 * 1024  # bytes of status line and headers
_MAX_LINE = 1024  # bytes of the line before a chunk
_END = b"\r\n\r\n"
_NO_BODY = frozenset({204, 304})


class NotHttpError(ValueError):
    """Whatever answers there does not speak HTTP."""


class IncomingResponse:
    """Fed with what comes from the connection until it is `complete`."""

    def __init__(self) -> None:
        self.status = 0
        """0 until the headers are there."""
        self.complete = False
        self.reusable = False
        """Whether the connection can carry another request after this answer."""
        self._buffer = bytearray()
        self._chunked = False
        self._left: int | None = 0  # bytes of the body, or of the chunk; None until the connection ends
        self._after_chunk = 0  # bytes of the line break that follows a chunk
        self._trailer = False

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in this piece of the answer."""
        if self.complete:
            return b""
        if self.status and not self._chunked and not self._buffer:  # the usual case, without a copy
            return self._plain(data)
        self._buffer += data
        while not self.status:
            if not self._read_head():
                return b""
        if self._chunked:
            return self._read_chunks()
        body = bytes(self._buffer)
        self._buffer.clear()
        return self._plain(body)

    def ended(self) -> bool:
        """The connection has ended: whether the answer is whole."""
        if self.status and not self._chunked and self._left is None:
            self.complete = True
        return self.complete

    def _plain(self, data: bytes) -> bytes:
        if self._left is None:
            return data
        body = data[: self._left]
        self._left -= len(body)
        self.complete = not self._left
        return body

    def _read_head(self) -> bool:
        end = self._buffer.find(_END)
        if end < 0:
            if not b"HTTP/".startswith(bytes(self._buffer[:5])) or len(self._buffer) > _MAX_HEAD:
                raise NotHttpError(f"it begins with {bytes(self._buffer[:20])!r}")
            return False
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + len(_END)]
        words = first.split(" ", 2)
        if not first.startswith("HTTP/1.") or len(words) < 2 or not (words[1].isdecimal() and len(words[1]) == 3):
            raise NotHttpError(f"it begins with {first[:20]!r}")
        if words[1].startswith("1"):  # "100 Continue": the answer itself is still to come
            return True
        self.status = int(words[1])
        headers = {name.strip().lower(): value.strip().lower() for name, _colon, value in (line.partition(":") for line in lines)}
        keeps = headers.get("connection", "")
        self.reusable = "keep-alive" in keeps if words[0] == "HTTP/1.0" else "close" not in keeps
        self._measure(headers)
        return True

    def _measure(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length")
        if self.status in _NO_BODY:
            self.complete = True
        elif "chunked" in headers.get("transfer-encoding", ""):
            self._chunked = True
        elif length is None:
            self._left, self.reusable = None, False
        elif length.isdecimal():
            self._left = int(length)
            self.complete = not self._left
        else:
            raise NotHttpError(f"its Content-Length is {length[:20]!r}")

    def _read_chunks(self) -> bytes:
        body = bytearray()
        buffer, at = self._buffer, 0
        while not self.complete:
            if self._left:
                piece = buffer[at : at + self._left]
                if not piece:
                    break
                body += piece
                at += len(piece)
                self._left -= len(piece)
                self._after_chunk = 0 if self._left else 2
                continue
            end = buffer.find(b"\r\n", at)
            if end < 0:
                if len(buffer) - at > _MAX_LINE:
                    raise NotHttpError("a chunk has no length")
                break
            line = bytes(buffer[at:end])
            at = end + 2
            if self._after_chunk:
                if line:
                    raise NotHttpError("a chunk is longer than it says")
                self._after_chunk = 0
            elif self._trailer:
                self.complete = not line
            else:
                self._left = _chunk_length(line)
                self._trailer = not self._left
        del buffer[:at]
        return bytes(body)


def _chunk_length(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise NotHttpError(f"the length of a chunk is {line[:20]!r}") from None
