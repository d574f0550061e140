# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the API of a service is reached, whichever engine it has; told from what the inventory says."""

from __future__ import annotations

from ansible_collections.baremetal.llm.plugins.module_utils import _llama_server_options
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def base_url(service: Service, host: str | None = None) -> str:
    """On the host itself, or for others who reach the host by that name or address.

    A service that listens on one address only is there for others, too; on the loopback it is for nobody else.
    """
    address = service.addresses[0]
    if host is None:
        address = _LOCAL.get(address, address)
    elif address in _LOCAL:
        address = host
    return f"{_scheme(service)}://{endpoint(address, service.port)}{_prefix(service)}"


def _scheme(service: Service) -> str:
    if service.engine == "vllm":
        return "https" if service.options.get("ssl_certfile") else "http"
    return "https" if _llama_server_options.Settings(service.options).get("ssl_cert_file") else "http"


def _prefix(service: Service) -> str:
    # vLLM's root_path is for a proxy in front of it; the server itself answers without.
    if service.engine == "vllm":
        return ""
    return str(_llama_server_options.Settings(service.options).get("api_prefix") or "").rstrip("/")
