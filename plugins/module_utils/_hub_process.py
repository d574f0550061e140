# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's client as a process of its own: the interpreter that has it is not the one that runs the modules.

What it does there is ``_hub_client.py``.
"""

from __future__ import annotations

import inspect
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils import _hub_client
from ansible_collections.baremetal.llm.plugins.module_utils._command import follow, without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing, parse_listing

# Seconds to wait before each further try. A question is soon put again; a download has cost something already.
_LOOK_PAUSES = (1.0, 2.0)
_FETCH_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
_KEPT_LINES = 40
# What the hub gives over plain HTTP. Larger files come only through its own protocol, which can't be resumed or watched.
_LARGEST = 50 * 10**9


@dataclass(eq=False)
class HubFailure(Exception):
    """What the client could not do, with the usual details of a command.

    The kinds are those of ``_hub_client.py``, and ``answer`` for one that says too little, ``killed`` for a client that was.
    """

    kind: str
    detail: str
    status: int | None
    retry_after: int | None
    transient: bool
    path: str | None
    details: dict[str, object]


def check_size(path: str, size: int) -> None:
    if size > _LARGEST:
        raise UserError(
            f"files: {path} is larger than 50 GB, which the hub does not give over plain HTTP; "
            "take the same model in shards, or another quantisation"
        )


@dataclass(frozen=True)
class Download:
    file: HubFile
    partial: Path


@dataclass(frozen=True)
class Watcher:
    """What is called while files come: with how many bytes have, when one is complete or was damaged, and while nothing comes."""

    progress: Callable[[int, str], None]
    complete: Callable[[Download, str, int], None]
    damaged: Callable[[str], None]
    waiting: Callable[[str], None]
    idle: Callable[[], None]


@dataclass(frozen=True)
class HubClient:
    """``python`` is an interpreter with ``huggingface_hub``, our own or the host's; ``scratch`` is a directory of this run alone."""

    python: str
    endpoint: str
    token: str | None
    timeout: int
    scratch: Path
    own: bool = False

    def look(self, repo_id: str, revision: str) -> Listing:
        """What the revision is, and what is in it."""
        answers: list[dict[str, Any]] = []
        request = {"do": "look", "repo_id": repo_id, "revision": revision, "pauses": _LOOK_PAUSES}
        details = self._run(request, {"listing": answers.append}, lambda: None)
        try:
            return parse_listing(answers[0]["commit"], answers[0]["files"])
        except (ValueError, UserError) as error:
            raise HubFailure("answer", str(error), None, None, False, None, details) from error

    def fetch(self, repo_id: str, commit: str, downloads: Sequence[Download], watcher: Watcher, keep_open: Sequence[int] = ()) -> None:
        """Bring these files. Each is handed over when it is complete and proven, whatever becomes of the others."""
        by_path = {download.file.path: download for download in downloads}
        files = [
            {"path": file.path, "size": file.size, "blob": file.blob, "lfs": file.lfs, "partial": str(download.partial)}
            for download in downloads
            if (file := download.file)
        ]
        request = {"do": "fetch", "repo_id": repo_id, "commit": commit, "files": files, "pauses": _FETCH_PAUSES}
        events: dict[str, Callable[[dict[str, Any]], None]] = {
            "progress": lambda event: watcher.progress(event["done"], event["path"]),
            "file": lambda event: watcher.complete(by_path[event["path"]], event["sha256"], event["received"]),
            "corrupt": lambda event: watcher.damaged(f"{event['path']} arrived damaged (sha256 {event['sha256']})"),
            "waiting": lambda event: watcher.waiting(f"trying again in {event['seconds']:.0f} s: {event['detail']}"),
        }
        self._run(request, events, watcher.idle, keep_open)

    def _run(
        self,
        request: dict[str, Any],
        on_event: dict[str, Callable[[dict[str, Any]], None]],
        on_idle: Callable[[], None],
        keep_open: Sequence[int] = (),
    ) -> dict[str, object]:
        program, arguments = self.scratch / "hub_client.py", self.scratch / "request.json"
        program.write_text(inspect.getsource(_hub_client), encoding="utf-8")
        arguments.write_text(json.dumps({**request, "endpoint": self.endpoint, "timeout": self.timeout}), encoding="utf-8")
        said: deque[str] = deque(maxlen=_KEPT_LINES)
        failures: list[dict[str, Any]] = []

        def take(line: str) -> None:
            event = _event(line)
            if event is None:
                said.append(self._without_secrets(line))
            elif event["event"] == "failed":
                failures.append(event)
            elif event["event"] in on_event:
                on_event[event["event"]](event)

        # -I keeps what the environment says about Python's modules out.
        argv = [self.python, "-I", str(program), str(arguments)]
        rc = follow(argv, on_line=take, on_idle=on_idle, env=self._environment(), keep_open=keep_open)
        details: dict[str, object] = {"cmd": argv, "rc": rc, "stdout": "\n".join(said), "stderr": ""}
        if failures:
            told = failures[0]
            detail = self._without_secrets(str(told["detail"]))
            raise HubFailure(told["kind"], detail, told["status"], told["retry_after"], told["transient"], told["path"], details)
        if rc < 0:
            raise HubFailure("killed", f"signal {-rc}", None, None, False, None, details)
        if rc != 0:
            raise HubFailure("client", said[-1] if said else f"exit status {rc}", None, None, False, None, details)
        return details

    def _environment(self) -> dict[str, str]:
        """Settings of the host for other uses of the client do not change what is done here."""
        seconds = str(self.timeout)
        return {
            "HF_TOKEN": self.token or "",
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.scratch),
            "HF_DEBUG": "0",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": seconds,
            "HF_HUB_ENABLE_HF_TRANSFER": "0",
            "HF_HUB_ETAG_TIMEOUT": seconds,
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
        }

    def _without_secrets(self, line: str) -> str:
        line = without_credentials(line)
        return line.replace(self.token, "***") if self.token else line


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
