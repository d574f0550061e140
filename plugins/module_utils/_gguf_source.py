# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the bytes of a GGUF header come from, and a cursor that moves through them one window at a time.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Any, Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

# The longest headers there are, with vocabularies of 260,000 tokens and their merges, take 16 MB. It bounds the time as well: all of it
# as texts of no length is walked through within two seconds.
LONGEST_HEADER = 128 << 20  # bytes

_NO_MORE = "ends within its header"


class NotGgufError(ValueError):
    """What the file is instead of a GGUF file, or what is wrong with it: the rest of a sentence that begins with "it"."""


class MissingFileError(UserError):
    """There is no such file; another one may be."""


class Source(Protocol):
    @property
    def windows(self) -> tuple[int, int]:
        """How many bytes are best read at first, and at most."""

    @property
    def file_size(self) -> int:
        """In bytes; known once something was read."""

    def read(self, offset: int, size: int) -> bytes:
        """What was asked for; less only where the file ends."""


class LocalFile:
    """A file on this host; who uses it as a context closes it."""

    windows = (16 << 10, 256 << 10)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Without O_NONBLOCK, a pipe would be waited for until somebody writes into it.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise NotGgufError("is not a regular file")

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)

    @property
    def file_size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)


class Cursor:
    """A place in a file that only moves forward, with no more than a window of the file in memory.

    The windows grow, so that few bytes are read for a short header and few requests are made for a long one.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._window, self._widest = source.windows
        self._buffer = source.read(0, self._window)
        self.file_size = source.file_size
        self._begin = 0  # of the buffer, in the file
        self._at = 0  # in the buffer; beyond its end after a skip

    @property
    def position(self) -> int:
        return self._begin + self._at

    @property
    def remaining(self) -> int:
        """How many bytes of a header can follow."""
        return min(self.file_size, LONGEST_HEADER) - self.position

    def peek(self, size: int) -> bytes:
        """The next bytes, or those that the window holds of them."""
        return self._buffer[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        self._need(size)
        data = self._buffer[self._at : self._at + size]
        self._at += size
        return data

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        self._need(layout.size)
        values = layout.unpack_from(self._buffer, self._at)
        self._at += layout.size
        return values

    def skip(self, size: int) -> None:
        """Go on without reading what lies between."""
        self.check(size)
        self._at += size

    def check(self, size: int) -> None:
        """Refuse what would go beyond the end of the file, or of any header."""
        if size > self.remaining:
            if self.position + size <= self.file_size:
                raise NotGgufError(f"has a header of more than {LONGEST_HEADER >> 20} MiB, so it is damaged")
            raise NotGgufError(_NO_MORE)

    def skip_texts(self, count: int, length: struct.Struct) -> None:
        """Go past texts that have their length in front. A vocabulary has 150,000, so this loop is as tight as it can be."""
        unpack_length, head = length.unpack_from, length.size
        while count:
            self._need(head)
            buffer, at, done = self._buffer, self._at, 0
            try:
                for done in range(count):  # noqa: B007 - how many are done when the window ends is used below
                    (size,) = unpack_length(buffer, at)
                    at += head + size
                done = count
            except (struct.error, OverflowError):  # the next length is not in this window, or in no file at all
                pass
            self.skip(at - self._at)
            count -= done

    def _need(self, size: int) -> None:
        """Have this many bytes in the window."""
        if self._at + size <= len(self._buffer):
            return
        self.check(size)
        self._window = min(2 * self._window, self._widest)
        kept = self._buffer[self._at :]
        self._begin, self._at = self.position, 0
        self._buffer = kept + self._source.read(self._begin + len(kept), max(self._window, size - len(kept)))
        if self._source.file_size != self.file_size:
            raise NotGgufError("changes while it is read")
        if len(self._buffer) < size:
            raise NotGgufError(_NO_MORE)
