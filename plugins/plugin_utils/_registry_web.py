# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries as they are reached from the controller: through the proxy of its environment, with the logins of its user."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._registry import Reply

_MAX_BODY = 4 << 20  # bytes; what registries take for a manifest at most


class RegistryWeb:
    def __init__(self, timeout: float = 30) -> None:
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_Redirections())

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        host = urlsplit(url).netloc
        try:
            request = urllib.request.Request(url, method=method, headers={"User-Agent": "baremetal.llm"})
            for name, value in headers.items():
                # Not among the headers that a redirection takes along.
                (request.add_unredirected_header if name == "Authorization" else request.add_header)(name, value)
            with self._opener.open(request, timeout=self._timeout) as response:
                return _reply(response)
        except urllib.error.HTTPError as refused:
            with refused:
                return _reply(refused)
        except http.client.HTTPException as error:
            raise UserError(f"image: the answer of {host} is not HTTP ({type(error).__name__}); correct the registry's name") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise UnavailableError(f"image: {host} did not answer within {self._timeout:g} s; try again") from None
            raise UnavailableError(
                f"image: {host} can't be reached from this machine: {reason}; check the network, the proxy (HTTPS_PROXY) and the registry, "
                "and name one without TLS in inference_insecure_registries"
            ) from None


def docker_config(environment: Mapping[str, str]) -> object:
    """The user's config.json of Docker, or None."""
    directory = environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME") or "/root", ".docker")
    with contextlib.suppress(OSError, ValueError):
        return json.loads(Path(directory, "config.json").read_text(encoding="utf-8"))
    return None


def _reply(response: Any) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, headers, response.read(_MAX_BODY))


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Nothing that was encrypted goes on in the clear."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise UserError(f"image: {req.host} redirects to {newurl.partition('?')[0]}, which is not secure; it is not followed")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request:
            request.method = req.get_method()  # a HEAD stays one
        return request
