# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that shows how far its module is, and whose module outlives the controller.

The module takes part by returning ``progress_file`` when check mode finds that a long piece of work is ahead, whether that changes
anything or not, and by writing that file while it works, see ``module_utils/_progress.py``. The action then runs it as one of Ansible's
own background jobs and reads the file from time to time. Everything else about the module, its result included, is as if it had been
run directly.

A module that lacks files and is told of a bundle on the controller says so as ``asks_for``, see ``module_utils/_delivery.py``: then the
action sends them and runs it again.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import SUMS, find, parse_sums
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import arrival
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._progress import Watch, load, render
from ansible_collections.baremetal.llm.plugins.plugin_utils._callbacks import audience
from ansible_collections.baremetal.llm.plugins.plugin_utils._sending import Sender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.baremetal.llm.plugins.module_utils._progress import Progress

display = Display()

# A background job needs a limit; this one is only there to end what nobody will ever ask for.
JOB_SECONDS = 24 * 3600
POLL_SECONDS = 2.0
FIRST_POLL_SECONDS = 0.5

_JOB_KEYS = ("started", "finished", "ansible_job_id", "results_file")


class LiveProgressAction(ActionBase):
    """The base of every action whose module works long; a subclass has nothing to add."""

    _supports_check_mode = True
    _supports_diff = True
    _supports_async = True

    goes_on = "goes on without this terminal; run the same command again to come back to it"
    """What the operator is told about the work once it has begun."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if self._task.async_val:
            # The operator has put it into the background; then nobody looks, and nobody sends anything.
            if self._task.args.get("bundle"):
                raise AnsibleActionFail("bundle: it is sent from by a task in the foreground; leave async out, or bundle")
            return self._execute_module(task_vars=task_vars, wrap_async=True)
        try:
            preview = self._preview(task_vars)
            if preview.get("failed"):
                return preview
            asks_for = preview.pop("asks_for", None)
            if asks_for:
                # What the bundle lacks is known before anything is changed.
                self._bundled(asks_for)
            if self._task.check_mode or not (preview.get("changed") or preview.get("progress_file")):
                return preview
            result = self._execute_module(task_vars=task_vars) if asks_for else self._perform(preview, task_vars)
            while asks_for := result.pop("asks_for", None):
                sent = [*self._task.args.get("delivered", []), *self._deliver(asks_for, task_vars)]
                with self._task_with(args={**self._task.args, "delivered": sent}):
                    result = self._perform(preview, task_vars)
            return result
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _perform(self, preview: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        progress_file = preview.get("progress_file")
        return self._run_watched(progress_file, task_vars) if progress_file else self._execute_module(task_vars=task_vars)

    def _bundled(self, asks_for: dict[str, Any]) -> dict[str, tuple[Path, str]]:
        """Where each file that is asked for lies in the bundle, by its sha256, with what it is called."""
        bundle = Path(str(self._task.args["bundle"])).expanduser()
        try:
            sums = parse_sums((bundle / SUMS).read_text(encoding="utf-8"))
        except OSError as error:
            raise AnsibleActionFail(f"inference_bundle: {error.filename}: {error.strerror}; make one with playbooks/bundle.yml") from error
        except UserError as error:
            raise AnsibleActionFail(error.msg) from error
        found = {file["name"]: find(sums, file["digest"]) for file in asks_for["files"]}
        files = {sums[place]: (bundle / place, name) for name, place in found.items() if place and (bundle / place).is_file()}
        if lost := found.keys() - {name for _path, name in files.values()}:
            raise AnsibleActionFail(
                f"inference_bundle: {bundle} does not hold {', '.join(sorted(lost))}, which this host lacks; "
                "make it anew from the present lock with playbooks/bundle.yml, and bring it here again"
            )
        return files

    def _deliver(self, asks_for: dict[str, Any], task_vars: dict[str, Any]) -> list[str]:
        """Send what is asked for; returns the sha256 of each file."""
        sender, files = Sender(self, audience(self._task, task_vars)), self._bundled(asks_for)
        for sha256, (path, name) in files.items():
            dest = str(arrival(Path(asks_for["directory"]), sha256))
            read = sender.send(path, dest, name)
            if read != sha256:
                sender.remove(dest)
                raise AnsibleActionFail(
                    f"inference_bundle: {path} is damaged (sha256 {read}, not {sha256}), and nothing of it was used; "
                    f"sha256sum --check --strict {SUMS} in the bundle tells of all its files. Bring it again"
                )
        return list(files)

    def _preview(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module would do; where that is nothing, this is all that is ever executed."""
        with self._task_with(check_mode=True):
            return self._execute_module(task_vars=task_vars)

    def _run_watched(self, progress_file: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        before = self._read(progress_file)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        # The background job removes its own directory.
        self._connection._shell.tmpdir = None
        with self._task_with(async_val=JOB_SECONDS):
            job = self._execute_module(task_vars=task_vars, wrap_async=True)
        if job.get("failed") or "ansible_job_id" not in job:
            return job
        job_id = job["ansible_job_id"]
        host = audience(self._task, task_vars)
        if host:
            display.display(f"  {host} · {self.goes_on}", stderr=True)
        result = self._watch(job_id, progress_file, Watch(before, time.monotonic()), host, task_vars)
        if result is None:
            return {
                "failed": True,
                "msg": f"there was no sign of life of the background job {job_id} for {Watch.SILENCE_SECONDS:.0f} s; "
                "it was killed, or the host was restarted. Run this again: what it left behind is cleaned up then",
            }
        self._ask(job_id, "cleanup", task_vars)
        return {key: value for key, value in result.items() if key not in _JOB_KEYS}

    def _watch(self, job_id: str, progress_file: str, watch: Watch, host: str, task_vars: dict[str, Any]) -> dict[str, Any] | None:
        """The module's result, or None when there will never be one."""
        pause = FIRST_POLL_SECONDS
        while True:
            time.sleep(pause)
            pause = min(pause * 1.5, POLL_SECONDS)
            try:
                shown = watch.see(self._read(progress_file), time.monotonic())
                if shown and host:
                    display.display(render(shown, host, display.columns or 80), stderr=True)
                if watch.should_ask(time.monotonic()):
                    status = self._ask(job_id, "status", task_vars)
                    if status.get("msg") == "could not find job":
                        return None
                    if status.get("finished"):
                        return status
            except AnsibleConnectionFailure:
                # The job does not need the connection; only when it stays away for long the task has failed.
                if watch.is_dead(time.monotonic()):
                    raise
                self._reset_connection()
            if watch.is_dead(time.monotonic()):
                return None

    def _read(self, progress_file: str) -> Progress | None:
        answer = self._low_level_execute_command(f"cat {self._connection._shell.quote(progress_file)}")
        return load(answer["stdout"]) if answer["rc"] == 0 else None

    def _ask(self, job_id: str, mode: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        directory = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        arguments = {"jid": job_id, "mode": mode, "_async_dir": directory}
        return self._execute_module("ansible.legacy.async_status", module_args=arguments, task_vars=task_vars)

    def _reset_connection(self) -> None:
        reset = getattr(self._connection, "reset", None)
        if reset is not None:
            reset()

    @contextmanager
    def _task_with(self, **attributes: Any) -> Iterator[None]:
        """The task with other attributes for a moment: the executor looks at them afterwards."""
        original = {name: getattr(self._task, name) for name in attributes}
        try:
            for name, value in attributes.items():
                setattr(self._task, name, value)
            yield
        finally:
            for name, value in original.items():
                setattr(self._task, name, value)
