# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large files from the controller to the host, over Ansible's own connection.

Ansible's own way copies a file to a directory of the login user first, with no word to the operator until it is there. This writes it
where it is to stay, as the user that tasks run as; it shows how far it is, and goes on where an earlier run has ended.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.baremetal.llm.plugins.module_utils._progress import Progress, estimate_eta, render, size_text, worth_showing

if TYPE_CHECKING:
    from pathlib import Path

    from ansible.plugins.action import ActionBase

display = Display()

# A piece is held in memory for each host that is being sent to, and the operator hears of it when it has arrived. Each costs a call of
# the connection, so a quick one gets larger pieces.
_SMALLEST, _LARGEST = 4 << 20, 64 << 20
_SECONDS = 1.0


class Sender:
    """Sends files with the connection of ``action``; ``host`` is what the operator knows the target by, empty to stay quiet."""

    def __init__(self, action: ActionBase, host: str) -> None:
        if not action._connection.has_pipelining:
            raise AnsibleActionFail(f"the connection plugin {action._connection.transport} can't send a file in pieces; use ssh or local")
        self._action, self._host = action, host

    def send(self, source: Path, dest: str, name: str) -> str:
        """Bring ``source`` to ``dest``, whose directory is there; returns its sha256 as it was read."""
        digest, meter = hashlib.sha256(), _Meter(self._host, name, source.stat().st_size)
        there = self._size(dest)
        if there > source.stat().st_size:  # of another version
            self.remove(dest)
            there = 0
        with source.open("rb") as file:
            done, size = 0, _SMALLEST
            while piece := file.read(min(there - done, _LARGEST) if done < there else size):
                digest.update(piece)
                if done >= there:
                    began = time.monotonic()
                    self._write(dest, done, piece)
                    quick = time.monotonic() - began < _SECONDS
                    size = min(2 * size, _LARGEST) if quick else max(size // 2, _SMALLEST)
                done += len(piece)
                meter.show(done, skipped=min(there, done))
        return digest.hexdigest()

    def remove(self, path: str) -> None:
        self._run(f"rm -f {self._quote(path)}")

    def _size(self, path: str) -> int:
        asked = self._action._low_level_execute_command(f"stat -c %s {self._quote(path)}")
        return int(asked["stdout"].split()[-1]) if asked["rc"] == 0 else 0

    def _write(self, path: str, offset: int, piece: bytes) -> None:
        # At an offset and not behind what is there: two runs at once write the same to the same place.
        options = f"bs=1M iflag=fullblock oflag=seek_bytes seek={offset} conv=notrunc status=none"
        self._run(f"dd of={self._quote(path)} {options}", piece)

    def _run(self, command: str, data: bytes | None = None) -> None:
        done: dict[str, Any] = self._action._low_level_execute_command(command, in_data=data)
        if done["rc"] != 0:
            said = (done["stderr"] or done["stdout"]).strip()
            raise AnsibleActionFail(f"the host does not take what is sent to it: {said}", result={"cmd": command, **done})

    def _quote(self, path: str) -> str:
        return str(self._action._connection._shell.quote(path))


class _Meter:
    """A line for the operator every now and then."""

    def __init__(self, host: str, name: str, total: int) -> None:
        self._host, self._name, self._total = host, name, total
        self._began = self._shown_at = time.monotonic()
        self._shown: Progress | None = None

    def show(self, done: int, skipped: int) -> None:
        now = time.monotonic()
        elapsed = now - self._began
        rate = f"{size_text(round((done - skipped) / elapsed))}/s" if elapsed >= 1.0 else ""
        eta = estimate_eta(done - skipped, self._total - skipped, elapsed)
        progress = Progress(f"send {self._name}", done, self._total, "bytes", rate, eta, done)
        if self._host and worth_showing(self._shown, progress, now - self._shown_at):
            self._shown, self._shown_at = progress, now
            display.display(render(progress, self._host, display.columns or 80), stderr=True)
