# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, as rows for people: from the results that the roles of this collection register on each host."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._image import DEFAULT_TAG, parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._table import render
from ansible_collections.baremetal.llm.plugins.plugin_utils._registered import registered, results

_RELEASE_DIGITS = 12  # of the build key: enough to tell releases apart by eye


class Row(TypedDict):
    host: str
    service: str
    url: str
    model: str
    release: str
    tokens_per_second: float | None
    changed: list[str]


def rows_of(variables: Mapping[str, Any]) -> list[Row]:
    """One row for each service of the host with these variables, which are templated only when they are looked at."""
    plan = registered(variables, "__llama_cpp_plan")
    # What an earlier play built stays registered when this one has nothing to build.
    build = registered(variables, "__llama_cpp_build") if plan.get("due", True) else {}
    release = build.get("build_key") or plan.get("build_key") or ""
    units = registered(variables, "__inference_started")
    proofs = {_name(proof["item"]): proof for proof in results(variables, "__inference_probed", "timings")}
    rows = []
    for written in results(variables, "__inference_written", "base_url"):
        proof = proofs.get(_name(written), {})
        expected = written.get("expect") or {}
        # What an earlier play started stays registered when this one has nothing to start.
        due = written.get("restart_required") or written.get("daemon_reload_required") or not written.get("enabled")
        rows.append(
            Row(
                host=variables["inventory_hostname"],
                service=written["item"],
                url=_url(written["base_url"], expected.get("listen") or (), variables),
                model=proof.get("server", {}).get("alias") or expected.get("alias") or "",
                release=_release(written, release),
                tokens_per_second=proof.get("timings", {}).get("tokens_per_second"),
                changed=[
                    *(["release"] if build.get("changed") and not _image(written) else []),
                    *(["configuration"] if written.get("changed") else []),
                    *(["container"] if "project" in written and written.get("restart_required") else []),
                    *(verb for verb in ("enabled", "started", "restarted") if due and written.get("unit") in units.get(verb, ())),
                ],
            )
        )
    return rows


def _name(written: Mapping[str, Any]) -> str:
    """What its manager calls a service."""
    return str(written.get("unit") or written.get("project"))


def _image(written: Mapping[str, Any]) -> str:
    """The image that brings the engine; a release that was built on the host is a directory."""
    release = str(written.get("release") or "/")
    return "" if release.startswith("/") else release


def _release(written: Mapping[str, Any], built: str) -> str:
    """Enough to tell by eye what runs: of an image its tag, or else the beginning of its digest."""
    image = parse_image(_image(written))
    if image is None:
        return built[:_RELEASE_DIGITS]
    return image.tag or (image.digest or DEFAULT_TAG).removeprefix("sha256:")[:_RELEASE_DIGITS]


def _url(base_url: str, listen: Sequence[str], variables: Mapping[str, Any]) -> str:
    """Where others reach the service. The probe asks on the host itself; an address that stands for all of the host's is its name here."""
    url = urlsplit(base_url)
    address, port = (listen[0] if listen else url.netloc).rsplit(":", 1)
    address = address.removeprefix("[").removesuffix("]")
    try:
        anywhere = ipaddress.ip_address(address).is_unspecified
    except ValueError:
        anywhere = False
    if anywhere:
        address = str(variables.get("ansible_host", variables["inventory_hostname"]))
    return url._replace(netloc=endpoint(address, int(port))).geturl()


def table(rows: Sequence[Mapping[str, Any]], *, check_mode: bool) -> list[str]:
    """The rows as an aligned table."""
    speed = "TOKENS/S"
    headings = ("HOST", "SERVICE", "URL", "MODEL", "RELEASE", speed, "WOULD CHANGE" if check_mode else "CHANGED")
    cells = [
        (
            row["host"],
            row["service"],
            row["url"],
            row["model"] or "-",
            row["release"] or "-",
            "-" if row["tokens_per_second"] is None else f"{row['tokens_per_second']:.1f}",
            ", ".join(row["changed"]) or "nothing",
        )
        for row in rows
    ]
    return render(headings, cells, numeric={speed})
