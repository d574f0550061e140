# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a file on a Hugging Face hub, without the rest of it: HTTP range requests to `/{repo}/resolve/{revision}/{file}`.

The hub answers for a large file with a redirection to another server. That server gets the signed address, but never the token.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from http import HTTPStatus
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import MissingFileError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import DEFAULT_ENDPOINT, is_commit

_REPO_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CHUNK = 1 << 20  # bytes
_LONGEST_TIMEOUT = 1e6  # seconds; sockets take no more than some billions
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "baremetal.llm"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

T = TypeVar("T")


class MissingRevisionError(UserError):
    """The repository is there, but not the commit, branch or tag."""


class SlowHubError(UnavailableError):
    """Nothing has come in time, and something may still be read."""


class HubRepo:
    """One repository at one revision."""

    def __init__(
        self, repo_id: str, revision: str, *, endpoint: str = DEFAULT_ENDPOINT, token: str | None = None, timeout: float = 60
    ) -> None:
        if _origin(endpoint) is None:
            raise UserError(f"endpoint is {endpoint!r}: write it as https://NAME, or http://ADDRESS:PORT for a hub of your own.")
        if not _REPO_ID.fullmatch(repo_id):
            raise UserError(f"repo_id is {repo_id!r}: write it as OWNER/NAME.")
        if not revision.strip():
            raise UserError("revision is empty: give a commit, a tag or a branch.")
        # http.client names the header's value in its own error, so a token that it would refuse has to be refused before.
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise UserError("token holds a space, a line break or a character outside ASCII: copy it again.")
        if not 0 < timeout < _LONGEST_TIMEOUT:
            raise UserError(f"timeout is {timeout:g}: give seconds, more than 0.")
        self.repo_id = repo_id
        self.revision = revision
        self.endpoint = endpoint.rstrip("/")
        self.commit: str | None = None
        self.timeout = timeout
        self._token = token
        self._opener = urllib.request.build_opener(_Redirections(self._note_commit))

    def label(self, name: str) -> str:
        return f"file: {name} of {self.repo_id}, revision {self.revision},"

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[HubFile]:
        # The second file of a model has to be of the same commit as the first, even if the branch has moved on meanwhile.
        revision = quote(self.commit or self.revision, safe="")
        file = HubFile(self, name, f"{self.endpoint}/{self.repo_id}/resolve/{revision}/{quote(name)}")
        try:
            yield file
        finally:
            file.close()

    def asking(self, name: str, url: str, work: Callable[[], T]) -> T:
        """What ``work``, which asks for ``name`` at this address, comes to within the time; or an error that says what to do."""
        host = urlsplit(url).netloc
        try:
            return _within(self.timeout, work)
        except urllib.error.HTTPError as error:
            with error:
                raise self.refusal(name, error) from None
        except (http.client.IncompleteRead, ConnectionError):
            raise UnavailableError(f"endpoint: {host} closed the connection in the middle of {name}; try again.") from None
        except http.client.HTTPException as error:
            raise UserError(f"endpoint: the answer of {host} is not HTTP ({type(error).__name__}).") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise SlowHubError(f"endpoint: {host} did not answer within {self.timeout:g} s; try again, or raise timeout.") from None
            raise UnavailableError(
                f"endpoint: {host} can't be reached from this host: {reason}; check the network, the proxy (HTTPS_PROXY) and the address."
            ) from None

    def ask(self, url: str, byte_range: str | None = None) -> http.client.HTTPResponse:
        ranged = {"Range": f"bytes={byte_range}"} if byte_range else {}
        request = urllib.request.Request(url, headers={**_HEADERS, **ranged})
        if self._token and _origin(url) == _origin(self.endpoint):
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        response: http.client.HTTPResponse = self._opener.open(request, timeout=self.timeout)
        self._note_commit(response.headers)
        return response

    def refusal(self, name: str, error: urllib.error.HTTPError) -> UserError:
        """What an answer that is none says, with what to do about it."""
        host = urlsplit(error.url or "").netloc or urlsplit(self.endpoint).netloc
        code = error.headers.get("X-Error-Code", "")
        where = f"{self.repo_id} on {host}"
        if error.code < HTTPStatus.BAD_REQUEST:
            return UserError(f"endpoint: {host} redirects without end, or to what is no address of the web.")
        if code == "GatedRepo":
            return UserError(
                f"token: {self.repo_id} is gated; accept its conditions on {self.endpoint}/{self.repo_id} and give a token of that account."
            )
        if code == "RevisionNotFound":
            return MissingRevisionError(
                f"revision: {self.repo_id} has no revision {self.revision}; give a commit, a tag or a branch that it has."
            )
        if code == "EntryNotFound":
            return MissingFileError(f"file: {self.repo_id} has no file {name} at revision {self.revision}; its name has to be exact.")
        if code == "RepoNotFound" or (error.code == HTTPStatus.UNAUTHORIZED and not self._token):
            remedy = "the token may have no access to it" if self._token else "if it is private, give a token"
            return UserError(f"repo_id: there is no {where} that can be read; correct it, or {remedy}.")
        if error.code == HTTPStatus.UNAUTHORIZED:
            return UserError(f"token: {host} does not accept it; give one that is valid.")
        if error.code == HTTPStatus.FORBIDDEN:
            remedy = "give a token that has access" if self._token is None else "the token has no access"
            return UserError(f"token: {host} refuses {name} of {self.repo_id} (403); {remedy}.")
        if error.code == HTTPStatus.NOT_FOUND:
            return MissingFileError(f"file: {host} has no {name} of {self.repo_id} at revision {self.revision}; correct one of them.")
        if error.code == HTTPStatus.TOO_MANY_REQUESTS:
            wait = error.headers.get("Retry-After", "")  # a date, sometimes
            return UnavailableError(
                f"endpoint: {host} gets too many requests (429); try again {f'after {wait} s' if wait.isdecimal() else 'later'}."
            )
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return UnavailableError(f"endpoint: {host} fails with {error.code} {error.reason}; try again later.")
        return UserError(f"endpoint: {host} answers {error.code} {error.reason} when asked for {name} of {self.repo_id}.")

    def _note_commit(self, headers: Message) -> None:
        commit = headers.get("X-Repo-Commit", "")
        if self.commit is None and is_commit(commit):
            self.commit = commit


class HubFile:
    """A file that is read from its beginning on, in ranges where the server has them and as one stream where it has not."""

    windows = (256 << 10, 4 << 20)

    def __init__(self, repo: HubRepo, name: str, url: str) -> None:
        self._repo, self._name, self._url = repo, name, url
        self.file_size = 0
        self._version: str | None = None
        self._stream: http.client.HTTPResponse | None = None
        self._streamed = 0

    def close(self) -> None:
        if self._stream:
            self._stream.close()

    def read(self, offset: int, size: int) -> bytes:
        try:
            return self._repo.asking(self._name, self._url, lambda: self._read(offset, size))
        except SlowHubError:
            self._stream = None  # the thread that still reads has a lock on it, so closing it would wait for that
            raise

    def _read(self, offset: int, size: int) -> bytes:
        if self._stream:
            return self._read_on(self._stream, offset, size)
        try:
            response = self._repo.ask(self._url, f"{offset}-{offset + size - 1}")
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset == 0:
                error.close()
                return b""  # the range of an empty file
            raise
        if response.status == HTTPStatus.OK:
            self._stream = response
            return self._read_on(response, offset, size)
        with response:
            self._url = response.url  # where the hub has sent us, so that it is not asked again
            host = urlsplit(self._url).netloc
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if response.status != HTTPStatus.PARTIAL_CONTENT or match is None:
                raise UserError(f"endpoint: {host} answers {response.status} without the range that it was asked for.")
            first, last, self.file_size = (int(number) for number in match.groups())
            if (first, last) != (offset, min(offset + size, self.file_size) - 1):
                raise UserError(f"endpoint: {host} answers with another range than it was asked for.")
            self._check_version(response.headers)
            return _exactly(response, last + 1 - first)

    def _read_on(self, response: http.client.HTTPResponse, offset: int, size: int) -> bytes:
        """The server has no ranges: it sends the whole file, and we read it as far as needed."""
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise UserError(f"endpoint: {urlsplit(response.url).netloc} has neither ranges nor the size of {self._name}.")
        self.file_size = int(length)
        while self._streamed < offset:
            self._streamed += len(_exactly(response, min(_CHUNK, offset - self._streamed)))
        data = _exactly(response, min(size, self.file_size - offset))
        self._streamed += len(data)
        return data

    def _check_version(self, headers: Message) -> None:
        version = headers.get("ETag")
        if self._version not in (None, version):
            raise UserError(f"{self._repo.label(self._name)} changes while it is read; try again.")
        self._version = version


class _Redirections(urllib.request.HTTPRedirectHandler):
    """To wherever the hub says, but the token stays with its origin, and nothing that was encrypted goes on in the clear."""

    def __init__(self, note: Callable[[Message], None]) -> None:
        self._note = note

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self._note(headers)
        origin, target = _origin(req.full_url), _origin(newurl)
        if target is None or (origin and origin[0] == "https" and target[0] != "https"):
            raise UserError(f"endpoint: {req.host} redirects to {newurl.partition('?')[0]}, which is not secure; it is not followed.")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        # Not among the headers that the base class copies.
        authorization = req.unredirected_hdrs.get("Authorization")
        if request and authorization and target == origin:
            request.add_unredirected_header("Authorization", authorization)
        return request


def _origin(url: str) -> tuple[str, str, int] | None:
    """What browsers call so; None for anything that is not HTTP."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            return None
        return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        return None


def _exactly(response: http.client.HTTPResponse, size: int) -> bytes:
    data = response.read(size)
    if len(data) != size:
        raise http.client.IncompleteRead(data, size - len(data))
    return data


def _within(seconds: float, work: Callable[[], T]) -> T:
    """All of it in this time. A socket's own timeout starts again with each byte, and the name's resolution has none."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again below
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except concurrent.futures.TimeoutError:  # a class of its own until Python 3.11
        raise TimeoutError from None
