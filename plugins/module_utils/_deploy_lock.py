# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a deployment: what every name in the inventory that could come to mean something else is settled to.

It stands beside the inventory, as ``deploy.lock.yml``, and is written by the module ``deploy_lock`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._command import without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import (
    DEFAULT_REVISION,
    LockedModel,
    is_commit,
    is_repo_id,
    is_revision,
    is_sha256,
    parse_lock,
)
from ansible_collections.baremetal.llm.plugins.module_utils._image import DEFAULT_TAG, Image, is_digest, parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source

FORMAT = 1
HEADER = """\
---
# What the names in this inventory stood for when playbooks/lock.yml last asked. Commit it together with the inventory; do not edit it.
"""

WRITE_ANEW = "restore the file from version control, or remove it and run playbooks/lock.yml"
_SECTIONS = ("lock", "cuda_toolkits", "images", "llama_cpp", "models", "nvidia_drivers")
# What each kind of source is found under, the first of these that is there, and what settles it.
_PLACES = {"git": ("repo",), "pypi": ("name",), "archive": ("url", "path"), "prebuilt": ("url", "path")}
_DIGESTS = {"git": "commit", "pypi": "sha256", "archive": "sha256", "prebuilt": "sha256"}


def model_key(repo_id: str, revision: str | None = None) -> str:
    """How the lock names a model: as the inventory asks for it."""
    return f"{repo_id}@{revision or DEFAULT_REVISION}"


def image_key(image: Image) -> str:
    """How the lock names an image: as the inventory does, with the tag that Docker takes where there is none."""
    return f"{image.name}:{image.tag or DEFAULT_TAG}"


@dataclass(frozen=True)
class LockEntry:
    """A model with the services that want it, on whatever host."""

    model: LockedModel
    services: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**self.model.as_dict(), "services": sorted(self.services)}


@dataclass(frozen=True, order=True)
class LockedSource:
    """Sources of llama.cpp that are settled: ``digest`` is a git commit or an archive's sha256."""

    kind: str
    place: str
    version: str
    digest: str

    @classmethod
    def of(cls, source: Source, digest: str) -> LockedSource:
        return cls(source.kind, _place(source), _version(source), digest)

    def is_of(self, source: Source) -> bool:
        """Whether the inventory means these sources. What it settles itself has to be the same."""
        return self.name == self.of(source, "").name and source.own_digest in ("", self.digest)

    @property
    def name(self) -> tuple[str, str, str]:
        """What the inventory calls it by."""
        return self.kind, self.place, self.version

    def as_dict(self) -> dict[str, str]:
        keys = _PLACES[self.kind]
        place = keys[0] if len(keys) == 1 or "://" in self.place else keys[1]
        version = {"version": self.version} if self.version else {}
        return {"kind": self.kind, place: self.place, **version, _DIGESTS[self.kind]: self.digest}


@dataclass(frozen=True)
class DeployLock:
    """All of a lock file; empty where there is none."""

    models: Mapping[str, LockEntry] = field(default_factory=dict)
    llama_cpp: tuple[LockedSource, ...] = ()
    cuda_toolkits: tuple[str, ...] = ()
    nvidia_drivers: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    """Digests by the names of images."""

    def lookup(self, repo_id: str, revision: str | None = None) -> LockedModel | None:
        entry = self.models.get(model_key(repo_id, revision))
        return entry.model if entry else None

    def lookup_source(self, source: Source) -> LockedSource | None:
        return next((locked for locked in self.llama_cpp if locked.is_of(source)), None)

    def settle_image(self, image: Image) -> Image:
        """With its digest, where it has none of its own and is locked. The tag stays, for people."""
        digest = self.images.get(image_key(image))
        return image if image.digest or digest is None else replace(image, tag=image.tag or DEFAULT_TAG, digest=digest)

    def as_dict(self) -> dict[str, Any]:
        """What the file says. Everything is sorted, and what there is none of is left out."""
        sections = {
            "cuda_toolkits": sorted(self.cuda_toolkits),
            "images": {key: self.images[key] for key in sorted(self.images)},
            "llama_cpp": [source.as_dict() for source in sorted(self.llama_cpp)],
            "models": {key: self.models[key].as_dict() for key in sorted(self.models)},
            "nvidia_drivers": sorted(self.nvidia_drivers),
        }
        return {"lock": FORMAT, **{name: section for name, section in sections.items() if section}}


def _version(source: Source) -> str:
    """Of an archive, it is of no consequence."""
    return source.version if source.kind in ("git", "pypi") else ""


def _place(source: Source) -> str:
    """Never with a password in it: the lock is for everybody to read."""
    place = {"git": source.repo, "pypi": source.name}.get(source.kind, source.url or source.path)
    return without_credentials(place)


# --- reading ------------------------------------------------------------------------------------------------------------


def parse(raw: object, name: str) -> DeployLock:
    """The lock in what was read from YAML or JSON, or an error that names the file (``name``), the key and the value."""
    top = _mapping(name, raw)
    if top.get("lock") != FORMAT:
        newer = isinstance(top.get("lock"), int) and top["lock"] > FORMAT
        remedy = "a newer version of this collection has written it; update the collection here" if newer else WRITE_ANEW
        raise UserError(f"{name}: lock: {top.get('lock')!r} is not the format {FORMAT} that is known here; {remedy}")
    _known_keys(name, top, _SECTIONS)
    models = _mapping(f"{name}: models", top.get("models") or {})
    images = _mapping(f"{name}: images", top.get("images") or {})
    return DeployLock(
        images={str(key): _image_digest(f"{name}: images.{key}", str(key), raw) for key, raw in images.items()},
        models={key: _entry(f"{name}: models.{key}", str(key), raw) for key, raw in models.items()},
        llama_cpp=tuple(
            _source(f"{name}: llama_cpp[{index}]", raw) for index, raw in enumerate(_list(f"{name}: llama_cpp", top.get("llama_cpp")))
        ),
        cuda_toolkits=_texts(f"{name}: cuda_toolkits", top.get("cuda_toolkits")),
        nvidia_drivers=_texts(f"{name}: nvidia_drivers", top.get("nvidia_drivers")),
    )


def _entry(where: str, key: str, raw: object) -> LockEntry:
    repo_id, at, revision = key.partition("@")
    if not at or not is_repo_id(repo_id) or not is_revision(revision):
        raise UserError(f"{where}: {key!r} names no model; write it as ORGANISATION/NAME@REVISION, or {WRITE_ANEW}")
    entry = _mapping(where, raw)
    _known_keys(where, entry, ("commit", "files", "services"))
    files = _list(f"{where}.files", entry.get("files"))
    for index, file in enumerate(files):
        _known_keys(f"{where}.files[{index}]", _mapping(f"{where}.files[{index}]", file), ("path", "size", "sha256"))
    model = parse_lock({"commit": entry.get("commit"), "files": files}, where)
    if is_commit(revision) and model.commit != revision:
        raise UserError(f"{where}.commit: {model.commit} is not the commit that the key names; {WRITE_ANEW}")
    paths = [file.path for file in model.files]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise UserError(f"{where}.files: {twice!r} is there twice; {WRITE_ANEW}")
    return LockEntry(model, _texts(f"{where}.services", entry.get("services")))


def _image_digest(where: str, key: str, raw: object) -> str:
    image = parse_image(key)
    if image is None or image.digest or image.tag is None:
        raise UserError(f"{where}: {key!r} names no image; write it as NAME:TAG, or {WRITE_ANEW}")
    if not isinstance(raw, str) or not is_digest(raw):
        raise UserError(f"{where}: {_shown(raw)} is not sha256: with 64 hexadecimal digits; {WRITE_ANEW}")
    return raw


def _source(where: str, raw: object) -> LockedSource:
    source = _mapping(where, raw)
    kind = source.get("kind")
    if kind not in _PLACES:
        raise UserError(f"{where}.kind: {kind!r} is none of {', '.join(sorted(_PLACES))}; {WRITE_ANEW}")
    keys, digest_key = _PLACES[kind], _DIGESTS[kind]
    _known_keys(where, source, ("kind", *keys, "version", digest_key))
    place_key = next((key for key in keys if key in source), keys[0])
    digest = _text(f"{where}.{digest_key}", source.get(digest_key))
    if not (is_commit if digest_key == "commit" else is_sha256)(digest):
        digits = 40 if digest_key == "commit" else 64
        raise UserError(f"{where}.{digest_key}: {digest!r} is not {digits} hexadecimal digits; {WRITE_ANEW}")
    version = _text(f"{where}.version", source["version"]) if "version" in source else ""
    return LockedSource(kind, _text(f"{where}.{place_key}", source.get(place_key)), version, digest)


def _mapping(where: str, raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise UserError(f"{where}: {_shown(raw)} is not a mapping of keys to values; {WRITE_ANEW}")
    return raw


def _known_keys(where: str, raw: Mapping[str, Any], known: Sequence[str]) -> None:
    strange = next((key for key in raw if key not in known), None)
    if strange is not None:
        raise UserError(f"{where}: {strange!r} is not a key that a lock has; it has {', '.join(known)}; {WRITE_ANEW}")


def _list(where: str, raw: object) -> Sequence[Any]:
    if raw is None:
        return ()
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise UserError(f"{where}: {_shown(raw)} is not a list; {WRITE_ANEW}")
    return raw


def _texts(where: str, raw: object) -> tuple[str, ...]:
    return tuple(_text(f"{where}[{index}]", text) for index, text in enumerate(_list(where, raw)))


def _text(where: str, raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise UserError(f"{where}: {_shown(raw)} is not text (a number takes quotes); {WRITE_ANEW}")
    return raw


def _shown(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:60]}…"


# --- writing ------------------------------------------------------------------------------------------------------------


def render(lock: DeployLock) -> str:
    """The file: YAML in which each model, file and source has lines of its own, so that a diff shows what moved."""
    told = lock.as_dict()
    lines = [f"lock: {told['lock']}"]
    if "cuda_toolkits" in told:
        lines.append(f"cuda_toolkits: {_inline(told['cuda_toolkits'])}")
    if "images" in told:
        lines += ["images:", *(f"  {_inline(key)}: {_inline(digest)}" for key, digest in told["images"].items())]
    if "llama_cpp" in told:
        lines += ["llama_cpp:", *(f"  - {_inline(source)}" for source in told["llama_cpp"])]
    if "models" in told:
        lines.append("models:")
    for key, model in told.get("models", {}).items():
        lines += [f"  {_inline(key)}:", f"    commit: {_inline(model['commit'])}", "    files:"]
        lines += [f"      - {_inline(file)}" for file in model["files"]]
        lines.append(f"    services: {_inline(model['services'])}")
    if "nvidia_drivers" in told:
        lines.append(f"nvidia_drivers: {_inline(told['nvidia_drivers'])}")
    return HEADER + "\n".join(lines) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _scalar(value) if isinstance(value, str) else str(value)


# Everything else is quoted: what YAML takes for a number, a date, true, false or nothing, and what has a meaning to it.
_PLAIN = re.compile(r"(?=.*[A-Za-z])(?![0-9_.eE+-]*$)(?!0[xob])[A-Za-z0-9_][A-Za-z0-9_./@+-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
