# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's own client at work: a program for the interpreter that has it, started by ``_hub_process.py``.

It is given a file with one request, and the token in ``HF_TOKEN``. It prints JSON, one event a line. Two requests are known: ``look``
tells what a revision is and what is in it, ``fetch`` brings files. What it brings goes to where a later process can go on from, and
through the checksums on the way, so that nothing has to be read a second time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")

SAY_SECONDS = 0.25
FLUSH_SECONDS = 1.0
WORKERS = 4
LONGEST_PAUSE = 60  # seconds; who is told to wait longer had better come back later
PIECE = 1 << 20  # what the client hands over at once: a kill or a reset costs no more than that
_READ = 8 << 20
# Where these packages raise, the network is at fault. Which of them the client is made of depends on its version.
_NETWORK = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "anyio", "h11", "http", "ssl", "socket")

_output = threading.Lock()


def say(event: str, **fields: Any) -> None:
    with _output:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


# --- what went wrong ----------------------------------------------------------------------------------------------------


class Corrupt(Exception):
    """What arrived is not what the hub says it has."""


class Stopped(Exception):
    """Another file has failed."""


class FileFailed(Exception):
    """Which file it was; why is its cause."""


def described(error: BaseException) -> dict[str, Any]:
    """The kind of failure, in words of this program, with what is known about it."""
    status, retry_after = _status(error)
    kind = _kind(error, status)
    transient = kind in ("network", "size") or status in (408, 429, 500, 502, 503, 504)
    return {"kind": kind, "status": status, "retry_after": retry_after, "transient": transient, "detail": _innermost(error)}


def _kind(error: BaseException, status: int | None) -> str:
    if isinstance(error, Corrupt):
        return "corrupt"
    names = {base.__name__ for base in type(error).__mro__}
    known = (
        ("GatedRepoError", "gated"),
        ("RevisionNotFoundError", "no_revision"),
        ("EntryNotFoundError", "no_file"),
        ("RepositoryNotFoundError", "no_repository"),
    )
    for name, kind in known:
        if name in names:
            return kind
    if status is not None:
        return "http"
    if any(type(cause).__module__.partition(".")[0] in _NETWORK for cause in _causes(error)):
        return "network"
    if isinstance(error, (ConnectionError, TimeoutError)):
        return "network"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "space"
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return "size"
    if isinstance(error, OSError) and error.errno:
        return "disk"
    return "client" if isinstance(error, (ImportError, TypeError)) else "other"


def _status(error: BaseException) -> tuple[int | None, int | None]:
    response = getattr(error, "response", None)
    if response is None:
        return None, None
    status, headers = response.status_code, response.headers
    seconds = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After") or "")
    if seconds is None and status == 429:
        seconds = re.search(r"\bt=(\d+)", headers.get("RateLimit") or "")
    return status, int(seconds[1]) if seconds else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _innermost(error: BaseException) -> str:
    """The reason that the system gives, without the wrapping of each layer."""
    last = error
    for last in _causes(error):  # noqa: B007 (the last one is wanted)
        pass
    text = last.strerror if isinstance(last, OSError) and last.strerror else str(last)
    return (text.strip().splitlines() or [type(last).__name__])[0]


def patiently(work: Callable[[], _T], pauses: list[float], advanced: Callable[[], bool] = lambda: False) -> _T:
    """Do ``work``, again after what may pass. Whatever got on in between is worth all the tries again."""
    left = list(pauses)
    while True:
        try:
            return work()
        except Exception as error:
            failure = described(error)
            if advanced():
                left = list(pauses)
            if not failure["transient"] or not left or (failure["retry_after"] or 0) > LONGEST_PAUSE:
                raise
            seconds = max(left.pop(0), failure["retry_after"] or 0)
            say("waiting", seconds=seconds, **failure)
            time.sleep(seconds)


# --- look ---------------------------------------------------------------------------------------------------------------


def look(request: Mapping[str, Any], token: str | bool) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=request["endpoint"], token=token)

    def ask() -> Any:
        return api.model_info(request["repo_id"], revision=request["revision"], files_metadata=True, timeout=request["timeout"])

    info = patiently(ask, request["pauses"])
    say("listing", commit=info.sha, files=[_file(sibling) for sibling in info.siblings or ()])


def _file(sibling: Any) -> dict[str, Any]:
    if sibling.lfs:
        return {"path": sibling.rfilename, "size": sibling.lfs.size, "blob": sibling.lfs.sha256, "lfs": True}
    return {"path": sibling.rfilename, "size": sibling.size, "blob": sibling.blob_id, "lfs": False}


# --- fetch --------------------------------------------------------------------------------------------------------------


class Meter:
    """How much has arrived, of all files together."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._done = 0
        self._said = 0.0

    def add(self, count: int, path: str) -> None:
        if self.stopped.is_set():
            raise Stopped
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._said < SAY_SECONDS:
                return
            self._said = now
        say("progress", done=max(self._done, 0), path=path)


class Partial:
    """A file on its way. The client writes into it as into any file, and may start over.

    The checksums are computed beside, by a thread of their own, and a second one sees to it that what has arrived gets to the disk
    meanwhile, so that neither is still to be waited for in the end.
    """

    def __init__(self, wanted: Mapping[str, Any], meter: Meter) -> None:
        self.path, self.size, self._lfs = wanted["path"], wanted["size"], wanted["lfs"]
        self._meter = meter
        self._file = open(os.open(wanted["partial"], os.O_RDWR | os.O_CREAT, 0o600), "r+b")  # noqa: SIM115 (closed by close)
        self.position = os.fstat(self._file.fileno()).st_size
        if self.position > self.size:
            self.position = 0
            self._file.truncate(0)
        self._file.seek(self.position)
        self.received = 0
        self._pieces: queue.Queue[bytes | None] = queue.Queue(maxsize=32)
        self._done = threading.Event()
        self._begin_digests()
        self._flusher = threading.Thread(target=self._flush, daemon=True)
        self._flusher.start()

    # What the client calls

    def write(self, data: bytes) -> int:
        self._meter.add(len(data), self.path)
        self._file.write(data)
        self._pieces.put(data)
        self.position += len(data)
        self.received += len(data)
        return len(data)

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        self._meter.add(self._file.tell() - self.position, self.path)
        self.position = self._file.tell()
        return self.position

    def truncate(self, size: int | None = None) -> int:
        self._file.truncate(self.position if size is None else size)
        self._end_digests()
        self._begin_digests()
        return self.position

    # What its owner calls

    def start_over(self) -> None:
        self.seek(0)
        self.truncate()

    def digests(self) -> tuple[str, str]:
        """sha256 and git's sha1 of all that is there."""
        self._file.flush()
        self._end_digests()
        return self._sha256.hexdigest(), self._git_sha1.hexdigest()

    def close(self) -> None:
        self._done.set()
        self._end_digests()
        self._flusher.join()
        with contextlib.suppress(OSError):  # an error that counts came before
            self._file.close()

    def _begin_digests(self) -> None:
        self._sha256 = hashlib.sha256()
        self._git_sha1 = hashlib.sha1(b"blob %d\0" % self.size)
        self._ended = False
        self._file.flush()
        self._digester = threading.Thread(target=self._digest, args=(self.position,), daemon=True)
        self._digester.start()

    def _end_digests(self) -> None:
        if not self._ended:
            self._ended = True
            self._pieces.put(None)
            self._digester.join()

    def _digest(self, there: int) -> None:
        position = 0
        while position < there:
            piece = os.pread(self._file.fileno(), min(_READ, there - position), position)
            if not piece:  # cut short by somebody else, which the checksum will tell
                break
            position += len(piece)
            self._take(piece)
        while (arrived := self._pieces.get()) is not None:
            self._take(arrived)

    def _take(self, piece: bytes) -> None:
        self._sha256.update(piece)
        if not self._lfs:  # the others are known by their sha256
            self._git_sha1.update(piece)

    def _flush(self) -> None:
        while not self._done.wait(FLUSH_SECONDS):
            with contextlib.suppress(OSError):  # whoever writes will learn of it
                os.fdatasync(self._file.fileno())


def fetch(request: Mapping[str, Any], token: str | bool) -> None:
    from huggingface_hub import constants

    constants.DOWNLOAD_CHUNK_SIZE = PIECE
    meter = Meter()
    with ThreadPoolExecutor(min(WORKERS, len(request["files"]))) as pool:
        files = {pool.submit(_fetch_file, request, wanted, token, meter): wanted["path"] for wanted in request["files"]}
        ended, _others = wait(files, return_when=FIRST_EXCEPTION)
        failed = [future for future in ended if future.exception()]
        if failed:
            meter.stopped.set()
            for future in files:
                future.cancel()
            error = failed[0].exception()
            raise FileFailed(files[failed[0]]) from error


def _fetch_file(request: Mapping[str, Any], wanted: Mapping[str, Any], token: str | bool, meter: Meter) -> None:
    if meter.stopped.is_set():
        raise Stopped
    partial = Partial(wanted, meter)
    try:
        sha256 = _proven(request, wanted, token, partial)
        say("file", path=wanted["path"], sha256=sha256, received=partial.received)
    finally:
        partial.close()


def _proven(request: Mapping[str, Any], wanted: Mapping[str, Any], token: str | bool, partial: Partial) -> str:
    """Bring the file, once more if it is not what it should be; its sha256."""
    for last in (False, True):
        _transfer(request, wanted, token, partial)
        sha256, git_sha1 = partial.digests()
        if wanted["blob"] in (sha256, git_sha1):
            return sha256
        say("corrupt", path=wanted["path"], sha256=sha256, last=last)
        partial.start_over()
    raise Corrupt(f"sha256 {sha256}")


def _transfer(request: Mapping[str, Any], wanted: Mapping[str, Any], token: str | bool, partial: Partial) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(request["repo_id"], wanted["path"], revision=request["commit"], endpoint=request["endpoint"])
    before = partial.position

    def get() -> None:
        # Compressed on the way, the rest of a file could not be asked for.
        headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
        http_get(
            url,
            partial,
            resume_size=partial.position,
            headers=headers,
            expected_size=wanted["size"],
            displayed_filename=wanted["path"],
        )

    def advanced() -> bool:
        nonlocal before
        moved, before = partial.position > before, partial.position
        return moved

    patiently(get, request["pauses"], advanced)


def main(path: str) -> int:
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    token = os.environ.get("HF_TOKEN") or False
    try:
        {"look": look, "fetch": fetch}[request["do"]](request, token)
    except FileFailed as failed:
        say("failed", path=str(failed), **described(failed.__cause__ or failed))
        return 1
    except Exception as error:
        say("failed", path=None, **described(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
