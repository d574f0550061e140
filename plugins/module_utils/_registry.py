# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry of container images has under a tag: the protocol of the OCI distribution specification, as far as one question goes.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._image import DEFAULT_REGISTRY, DEFAULT_TAG, Image, is_digest

# An index stands for all platforms, and each host takes its own from it; a manifest is what an image of one platform has.
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# Docker's own registry is called otherwise than its images, and in config.json again otherwise.
_DOCKER_HOST = "registry-1.docker.io"
_DOCKER_KEYS = ("https://index.docker.io/v1/", "index.docker.io", DEFAULT_REGISTRY)
_PARAMETER = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes = b""


class Web(Protocol):
    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        """The answer, whatever its status; an UnavailableError where there is none."""


@dataclass(frozen=True)
class Login:
    """A user of a registry, as ``docker login`` has noted it."""

    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def login_of(registry: str, config: object) -> Login | None:
    """From the user's config.json of Docker. What a credential helper keeps is not there."""
    auths = config.get("auths") if isinstance(config, Mapping) else None
    if not isinstance(auths, Mapping):
        return None
    names = _DOCKER_KEYS if registry == DEFAULT_REGISTRY else (registry, f"https://{registry}", f"https://{registry}/v1/")
    entry = next((auths[name] for name in names if isinstance(auths.get(name), Mapping)), None)
    if entry is None:
        return None
    try:
        user, _colon, password = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, password = str(entry.get("username") or user), str(entry.get("password") or password)
    return Login(user, password) if user else None


def digest_of(image: Image, web: Web, login: Login | None = None, *, plain: bool = False) -> str:
    """The digest that the image's tag has now."""
    return _Question(image, web, login, plain=plain or is_loopback(image.registry)).digest()


def is_loopback(registry: str) -> bool:
    """Those are spoken to without TLS, as Docker does."""
    host = urlsplit(f"//{registry}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Question:
    def __init__(self, image: Image, web: Web, login: Login | None, *, plain: bool) -> None:
        self._image, self._web, self._login = image, web, login
        self._scheme = "http" if plain else "https"
        host = _DOCKER_HOST if image.registry == DEFAULT_REGISTRY else image.registry
        self._url = f"{self._scheme}://{host}/v2/{quote(image.repository)}/manifests/{quote(image.tag or DEFAULT_TAG)}"
        self._headers = {"Accept": ", ".join(_MANIFESTS)}

    def digest(self) -> str:
        reply = self._ask("HEAD")
        told = reply.headers.get("docker-content-digest", "")
        if is_digest(told):
            return told
        reply = self._ask("GET")  # it is the checksum of what they send
        return f"sha256:{hashlib.sha256(reply.body).hexdigest()}"

    def _ask(self, method: str) -> Reply:
        reply = self._web.ask(method, self._url, self._headers)
        if reply.status == 401 and "Authorization" not in self._headers:
            authorization = self._authorization(reply.headers.get("www-authenticate", ""))
            if authorization:
                self._headers["Authorization"] = authorization
                reply = self._web.ask(method, self._url, self._headers)
        if reply.status != 200:
            raise self._refusal(reply, self._image.registry)
        kind = reply.headers.get("content-type", "").partition(";")[0].strip()
        if kind not in _MANIFESTS:
            raise UserError(
                f"image: {self._image.registry} answers with {kind or 'something without a type'}, which is no manifest of an image; "
                "correct the name of the registry, or give the image by its digest"
            )
        return reply

    def _authorization(self, challenge: str) -> str:
        """What to come again with, or nothing where there is nothing to come with."""
        scheme, _space, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return self._login.basic if self._login else ""
        if scheme.lower() != "bearer":
            return ""
        asked = {name: quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
        realm = asked.get("realm", "")
        # A password that would go over TLS to the registry must not go elsewhere in the clear.
        if urlsplit(realm).scheme not in {"https", self._scheme}:
            raise UserError(f"image: {self._image.registry} sends for a token to {realm!r}, which is not secure; it is not followed")
        query = {name: asked[name] for name in ("service", "scope") if asked.get(name)}
        query.setdefault("scope", f"repository:{self._image.repository}:pull")
        headers = {} if self._login is None else {"Authorization": self._login.basic}
        reply = self._web.ask("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", headers)
        if reply.status != 200:
            raise self._refusal(reply, urlsplit(realm).netloc)
        token = _token(reply)
        if token is None:
            raise UserError(f"image: {urlsplit(realm).netloc} answers without a token; give the image by its digest")
        return f"Bearer {token}"

    def _refusal(self, reply: Reply, host: str) -> UserError:
        image, code = self._image, reply.status
        if code == 404:
            return UserError(
                f"image: {image.registry} has no {image.repository}:{image.tag or DEFAULT_TAG}; correct the name or the tag of the image"
            )
        if code in (401, 403):
            why = f"the login of {self._login.user} has no access to it" if self._login else "it is private, or not there"
            return UserError(
                f"image: {host} refuses {image.repository} ({code}), so {why}; `docker login {image.registry}` on this machine"
            )
        if code == 429:
            return UnavailableError(f"image: {host} gets too many requests (429); try again later, or `docker login {image.registry}`")
        if code >= 500:
            return UnavailableError(f"image: {host} fails with {code}; try again later")
        return UserError(f"image: {host} answers {code} when asked for {image.repository}; correct the name of the image")


def _token(reply: Reply) -> str | None:
    try:
        told: Any = json.loads(reply.body)
        token = told.get("token") or told.get("access_token")
    except (ValueError, AttributeError):
        return None
    # It goes into a header, so it has to be one that a header can hold.
    return token if isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token else None
