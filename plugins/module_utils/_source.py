# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the sources of llama.cpp come from. Every kind ends as one verified tar archive, which is then unpacked."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _sdist_backend
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, run, without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import arrival, prove
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, sha256_of, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._pip import index_unreachable
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import GIT, PIP, Tool

DEFAULT_PACKAGE = "llama-cpp-python"
DEFAULT_PACKAGE_SUBDIRECTORY = "vendor/llama.cpp"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_PACKAGE_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_REVISION = re.compile(r"(?!-)[^\s~^:?*\[\\\x00-\x1f]+")
_CHUNK = 1 << 20
_NETWORK_TIMEOUT_SECONDS = 60

# What each kind needs, and what it takes besides.
_NEEDS = {"git": ("repo", "version"), "archive": ("sha256",), "pypi": ("version",), "prebuilt": ("sha256",)}
_TAKES = {
    "git": ("subdirectory",),
    "archive": ("url", "path", "version", "subdirectory"),
    "pypi": ("name", "sha256", "subdirectory"),
    "prebuilt": ("url", "path", "version"),
}


@dataclass(frozen=True)
class Source:
    kind: str
    version: str = ""
    repo: str = ""
    url: str = ""
    path: str = ""
    sha256: str = ""
    name: str = DEFAULT_PACKAGE
    subdirectory: str = ""

    @property
    def label(self) -> str:
        """For people: what is built."""
        if self.kind == "pypi":
            return f"{self.name} {self.version}"
        if self.kind == "git":
            return f"{without_credentials(self.repo)} {self.version}"
        return without_credentials(self.url) or self.path

    @property
    def own_digest(self) -> str:
        """What settles it without a lock: a commit, or the archive's sha256. A version of a package on an index alone proves nothing."""
        if self.kind == "git":
            return self.version if _COMMIT.fullmatch(self.version) else ""
        return self.sha256

    @property
    def prebuilt(self) -> bool:
        """Whether it is programs instead of sources."""
        return self.kind == "prebuilt"

    @property
    def remote(self) -> bool:
        """Whether it takes a network."""
        place = self.repo if self.kind == "git" else self.url
        return self.kind == "pypi" or not (self.path or place.startswith(("/", "file://")))

    @property
    def tools(self) -> list[Tool]:
        """What fetching it takes."""
        tools: dict[str, list[Tool]] = {"git": [GIT], "pypi": [PIP]}
        return tools.get(self.kind, [])


@dataclass(frozen=True)
class Identity:
    """The exact sources: ``digest`` is a git commit or an archive's sha256."""

    digest: str
    subdirectory: str

    def inputs(self) -> dict[str, str]:
        return {"digest": self.digest, "subdirectory": self.subdirectory}


def parse_source(params: Mapping[str, str | None]) -> Source:
    """The source that the parameters describe, or an error that says which of them is wrong."""
    given = {name: value for name, value in params.items() if value}
    kind = given["kind"]
    absent = [name for name in _NEEDS[kind] if name not in given]
    if kind in ("archive", "prebuilt") and "url" not in given and "path" not in given:
        absent.append("url or path")
    if absent:
        raise UserError(f"source.kind: {kind} also needs source.{', source.'.join(absent)}")
    unused = given.keys() - {"kind", *_NEEDS[kind], *_TAKES[kind]}
    if unused:
        raise UserError(f"source.kind: {kind} has no use for source.{', source.'.join(sorted(unused))}; leave it out")
    if "url" in given and "path" in given:
        raise UserError("source.url and source.path exclude each other; give one of them")
    if kind == "pypi":
        given.setdefault("subdirectory", DEFAULT_PACKAGE_SUBDIRECTORY)
        _require(_PACKAGE, "name", given.get("name", DEFAULT_PACKAGE), "the name of a Python package")
        _require(_PACKAGE_VERSION, "version", given["version"], "one exact version, such as 0.3.36")
    if kind == "git":
        _require(_REVISION, "version", given["version"], "a branch, a tag or a commit of 40 digits")
    if "sha256" in given:
        given["sha256"] = given["sha256"].lower().removeprefix("sha256:")
        _require(_SHA256, "sha256", given["sha256"], "64 hexadecimal digits")
    if "url" in given:
        _require(re.compile(r"(?:https?|file)://\S+"), "url", given["url"], "an http, https or file URL")
    subdirectory = given.get("subdirectory", "").strip("/")
    if ".." in subdirectory.split("/"):
        raise UserError(f"source.subdirectory: {subdirectory!r} leaves the source tree; give a path inside of it")
    return Source(**{**given, "subdirectory": subdirectory})


def described_source(raw: object) -> Source:
    """The same for a description that no module has looked at yet, such as a variable of a role."""
    if not isinstance(raw, Mapping) or raw.get("kind") not in _NEEDS:
        kind = raw.get("kind") if isinstance(raw, Mapping) else raw
        raise UserError(f"source.kind: {kind!r} is none of {', '.join(_NEEDS)}")
    return parse_source({{"file": "path"}.get(key, str(key)): None if value is None else str(value) for key, value in raw.items()})


def _require(pattern: re.Pattern[str], name: str, value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise UserError(f"source.{name}: {without_credentials(value)!r} is not {what}")


class SourceCache:
    """``<prefix>/sources``: the archives of the releases that are there, and what is known without asking the network."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._memory = directory / "pypi.json"

    def archive(self, digest: str) -> Path:
        return self._directory / f"{digest}.tar"

    def take(self, source: Source, identity: Identity, sha256: str) -> None:
        """Keep what the controller has sent as the archive of ``source``, if it is what was sent."""
        arrived = arrival(self._directory, sha256)
        # The archive of a commit is known by the commit; what its checksum was, only the sender can tell.
        prove(arrived, sha256 if source.kind == "git" else identity.digest, source.label, lambda _count: None)
        os.rename(arrived, self.archive(identity.digest))
        if source.kind == "pypi":
            self.remember(source, identity.digest)

    def has(self, source: Source, identity: Identity) -> bool:
        """Whether the archive is there and sound: a power loss may have cut it short."""
        archive = self.archive(identity.digest)
        if source.kind == "git":
            return archive.is_file() and tarfile.is_tarfile(archive)
        return archive.is_file() and sha256_of(archive) == identity.digest

    def known_identity(self, source: Source) -> Identity | None:
        """The source's identity as far as the parameters and earlier runs tell."""
        digest = source.own_digest
        if not digest and source.kind == "pypi":
            digest = self._remembered().get(f"{source.name}=={source.version}", "")
        return Identity(digest, source.subdirectory) if digest else None

    def remember(self, source: Source, digest: str) -> None:
        """A version of a package on an index never changes, so its sha256 need not be asked for twice."""
        known = {**self._remembered(), f"{source.name}=={source.version}": digest}
        self._directory.mkdir(exist_ok=True)
        write_atomic(self._memory, (json.dumps(known, indent=2, sort_keys=True) + "\n").encode(), 0o644)

    def prune(self, wanted: set[str]) -> None:
        if self._directory.is_dir():
            for archive in (*self._directory.glob("*.tar"), *self._directory.glob("*.partial")):
                if archive.suffix == ".partial" or archive.stem not in wanted:
                    archive.unlink()

    def _remembered(self) -> dict[str, str]:
        try:
            known = json.loads(read_text_or_none(self._memory) or "{}")
        except ValueError:
            return {}
        return known if isinstance(known, dict) else {}


# --- asking and fetching ------------------------------------------------------------------------------------------------


def resolve_revision(source: Source) -> Identity:
    """The commit that a branch or tag of the repository is at now."""
    refs = [f"refs/tags/{source.version}^{{}}", f"refs/tags/{source.version}", f"refs/heads/{source.version}"]
    if source.version == "HEAD":
        refs = ["HEAD"]
    argv = [*_GIT, "ls-remote", *_upload_pack(source), "--", source.repo, *refs]
    asked = run(argv, env=_GIT_ENVIRONMENT, timeout=_NETWORK_TIMEOUT_SECONDS)
    if asked.rc != 0:
        raise _git_error(source, asked)
    at = {name: commit for commit, _tab, name in (line.partition("\t") for line in asked.stdout.splitlines())}
    commit = next((at[ref] for ref in refs if ref in at), None)
    if commit is None:
        raise UserError(
            f"source.version: {source.version!r} is neither a branch nor a tag of {without_credentials(source.repo)}; "
            "give one that exists there, or a commit with all of its 40 digits"
        )
    return Identity(commit, source.subdirectory)


def fetch(source: Source, identity: Identity | None, cache: SourceCache, work: Path, job: Job) -> Identity:
    """Bring the source's archive into the cache, verified, unless it is there; returns what it turned out to be."""
    if identity and cache.has(source, identity):
        return identity
    job.progress.step(f"fetch {source.label}")
    incoming = work / "incoming"
    incoming.mkdir()
    if source.kind == "git":
        identity = identity or resolve_revision(source)
        archive = _fetch_commit(source, identity.digest, incoming, job)
    else:
        archive = _pip_download(source, incoming, job) if source.kind == "pypi" else _fetch_archive(source, incoming, job)
        identity = Identity(_verified_sha256(source, archive), source.subdirectory)
    cached = cache.archive(identity.digest)
    cached.parent.mkdir(exist_ok=True)
    os.rename(archive, cached)
    if source.kind == "pypi":
        cache.remember(source, identity.digest)
    return identity


def _verified_sha256(source: Source, archive: Path) -> str:
    digest = sha256_of(archive)
    if source.sha256 and digest != source.sha256:
        raise UserError(
            f"source.sha256: {source.label} is {digest}, not {source.sha256} as you gave; "
            "it is not what you meant to build, or the checksum is another file's"
        )
    return digest


# Nobody is there to answer a question.
_GIT_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")}
_GIT = ["git", "-c", "safe.directory=*", "-c", "gc.auto=0"]


def _upload_pack(source: Source) -> list[str]:
    # A repository on this host may belong to somebody else; git's own refusal would not reach through `-c`.
    return [] if source.remote else ["--upload-pack=git -c 'safe.directory=*' upload-pack"]


def _fetch_commit(source: Source, commit: str, into: Path, job: Job) -> Path:
    repository, archive = into / "repository.git", into / "source.tar"
    git = [*_GIT, f"--git-dir={repository}"]
    for argv in (
        [*_GIT, "init", "--quiet", "--bare", str(repository)],
        [*git, "fetch", "--quiet", "--depth=1", "--no-tags", *_upload_pack(source), "--", source.repo, commit],
        [*git, "archive", "--format=tar", f"--output={archive}", commit],
    ):
        done = job.run(argv, env=_GIT_ENVIRONMENT)
        if done.rc != 0:
            raise _git_error(source, done)
    return archive


def _git_error(source: Source, failed: Completed) -> UserError:
    said = (failed.stderr + failed.stdout).strip()
    repo = without_credentials(source.repo)
    if re.search(r"not our ref|couldn't find remote ref|not a valid object name|unadvertised object|not a tree object", said):
        msg = f"source.version: {source.version!r} is no commit of {repo}; give a branch, a tag or a commit that is there"
        return UserError(msg, **failed.details())
    last = next((line for line in reversed(said.splitlines()) if "fatal:" in line or "error:" in line), said.rpartition("\n")[2])
    return UserError(f"source.repo: {repo} can't be read from this host: {without_credentials(last)}", **failed.details())


def _pip_download(source: Source, into: Path, job: Job) -> Path:
    """The source distribution, found as this host's pip is configured to find packages, without building anything."""
    (into / "backend").mkdir()
    (into / "backend" / "sitecustomize.py").write_text(inspect.getsource(_sdist_backend), encoding="utf-8")
    (into / "download").mkdir()
    argv = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--retries=2"]
    argv += ["--no-deps", "--no-binary=:all:", "--no-build-isolation", "--use-pep517", f"--dest={into / 'download'}"]
    done = job.run([*argv, f"{source.name}=={source.version}"], env={"PYTHONPATH": str(into / "backend")})
    if done.rc != 0:
        raise _pip_error(source, done)
    return next((into / "download").iterdir())


def _pip_error(source: Source, failed: Completed) -> UserError:
    details = {**failed.details(), "stdout": "\n".join(failed.stdout.splitlines()[-10:])}
    offered = re.search(r"\(from versions: ([^)]*)\)", failed.stdout)
    if offered and offered[1] != "none":
        newest = ", ".join(offered[1].split(", ")[-5:])
        details["stdout"] = ""
        msg = f"source.version: there is no source distribution of {source.name} {source.version}; the newest are {newest}"
        return UserError(msg, **details)
    if index_unreachable(failed.stdout):
        return UserError(
            f"source: the package index that pip on this host is configured for can't be reached, so {source.label} can't be fetched; "
            "check the network and `pip config list` there",
            **details,
        )
    if offered:
        msg = f"source.name: the package index that pip on this host is configured for has no package {source.name}"
        return UserError(msg, **details)
    last = next((line for line in reversed(failed.stdout.splitlines()) if line.strip()), "it said nothing")
    return UserError(f"source: pip can't fetch {source.label}: {without_credentials(last)}", **details)


def _fetch_archive(source: Source, into: Path, job: Job) -> Path:
    archive = into / "source.tar"
    if source.path and not Path(source.path).is_file():
        raise UserError(f"source.path: there is no file {source.path} on this host")
    url = source.url or Path(source.path).absolute().as_uri()
    try:
        with urllib.request.build_opener().open(url, timeout=_NETWORK_TIMEOUT_SECONDS) as response, archive.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                job.progress.advance(done, total=total, unit="bytes")
    except urllib.error.HTTPError as error:
        raise UserError(f"source.url: {source.label} answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"source.url: {source.label} can't be reached from this host: {reason}") from error
    return archive


# --- unpacking ----------------------------------------------------------------------------------------------------------


def unpack_tree(archive: Path, source: Source, into: Path, beat: Callable[[], None]) -> Path:
    """Unpack the archive into the new directory ``into`` and return the tree with llama.cpp's CMakeLists.txt."""
    unpack(archive, source, into, beat)
    top = list(into.iterdir())
    # A release archive has one directory at its top; what git packs has none.
    root = top[0] if source.kind != "git" and len(top) == 1 and top[0].is_dir() else into
    tree = root / source.subdirectory
    if not (tree / "CMakeLists.txt").is_file():
        where = f"in its directory {source.subdirectory}" if source.subdirectory else "at its top"
        raise UserError(f"source.subdirectory: {source.label} has no CMakeLists.txt {where}; give the directory that holds llama.cpp")
    return tree


def unpack_programs(archive: Path, source: Source, into: Path, program: str, beat: Callable[[], None]) -> Path:
    """Unpack the archive into the new directory ``into`` and return the directory with the program."""
    unpack(archive, source, into, beat)
    found = [path for path in into.rglob(program) if path.is_file()]
    if not found:
        raise UserError(f"source: {source.label} holds no program {program}; give an archive of programs for Linux, or build from source")
    return min(found, key=lambda path: (len(path.parts), path)).parent


def unpack(archive: Path, source: Source, into: Path, beat: Callable[[], None]) -> None:
    try:
        with tarfile.open(archive) as tar:
            # Backported to security releases of Python 3.10 and 3.11, so it may be there or not.
            if hasattr(tarfile, "data_filter"):
                tar.extraction_filter = tarfile.data_filter
            tar.extractall(into, members=_watched(tar, beat))
    except (tarfile.ReadError, EOFError, zlib.error) as error:
        raise UserError(f"source: {source.label} is not a tar archive, or is damaged: {error}") from error
    except (tarfile.TarError, ValueError) as error:
        raise UserError(
            f"source: {source.label} is refused, one of its entries leads out of the directory it is unpacked to: {error}"
        ) from error


def _watched(tar: tarfile.TarFile, beat: Callable[[], None]) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        beat()
        if not hasattr(tarfile, "data_filter"):
            refuse_unsafe(member)
        yield member


def refuse_unsafe(member: tarfile.TarInfo) -> None:
    """What tarfile's data filter would refuse, for Pythons that have none."""
    targets = [member.name]
    if member.islnk():
        targets.append(member.linkname)
    if member.issym():
        targets.append(os.path.join(os.path.dirname(member.name), member.linkname))
    for target in targets:
        if os.path.isabs(target) or os.path.normpath(target).split(os.sep)[0] == os.pardir:
            raise ValueError(f"{member.name!r} leads to {target!r}")
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise ValueError(f"{member.name!r} is a device or a pipe")
