# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import itertools
import random
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.baremetal.llm.plugins.module_utils._progress import Progress, Watch, dump
from ansible_collections.baremetal.llm.plugins.plugin_utils import _live_progress
from ansible_collections.baremetal.llm.plugins.plugin_utils._live_progress import LiveProgressAction

WORK_AHEAD = {"changed": True, "progress_file": "/p/progress.json"}
STARTED = {"ansible_job_id": "j1.2", "started": True, "finished": False, "changed": True, "results_file": "/r"}
STILL_RUNNING = {"ansible_job_id": "j1.2", "started": True, "finished": False}
DONE = {"changed": True, "diff": {"before": 1, "after": 2}, "warnings": ["w"], "invocation": {"module_args": {}}}


class FakeTarget(LiveProgressAction):
    """The action with the target replaced: what the module, its progress file and the background job answer, in order."""

    def __init__(self, *, module: list[dict[str, Any]], files: list[Any] = (), statuses: list[Any] = (), check_mode: bool = False) -> None:
        self._task = SimpleNamespace(check_mode=check_mode, async_val=0, delegate_to=None, args={}, action="x")
        shell = SimpleNamespace(tmpdir=None, quote=lambda text: f"'{text}'")
        self._connection = SimpleNamespace(_shell=shell, reset=lambda: self.calls.append("reset"))
        self._module, self._files, self._statuses = iter(module), itertools.chain(files, itertools.repeat(None)), iter(statuses)
        self.calls: list[str] = []

    def _early_needs_tmp_path(self) -> bool:
        return False

    def _execute_module(
        self, module_name: str | None = None, module_args: Any = None, task_vars: Any = None, wrap_async: bool = False
    ) -> Any:
        if module_name is not None:
            self.calls.append(module_args["mode"])
            return {} if module_args["mode"] == "cleanup" else next(self._statuses)
        self.calls.append("background" if wrap_async else "check" if self._task.check_mode else "run")
        assert bool(self._task.async_val) == wrap_async
        return next(self._module)

    def _low_level_execute_command(self, cmd: str, **_ignored: Any) -> dict[str, Any]:
        assert cmd == "cat '/p/progress.json'"
        content = next(self._files)
        if isinstance(content, Exception):
            raise content
        return {"rc": 1, "stdout": ""} if content is None else {"rc": 0, "stdout": dump(content).decode()}

    def _remove_tmp_path(self, tmp_path: Any, force: bool = False) -> None:
        pass

    def _remote_expand_user(self, path: str, **_ignored: Any) -> str:
        return path

    def get_shell_option(self, option: str, default: Any = None) -> Any:
        return default


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the operator sees; the clock moves only by sleeping."""
    lines: list[str] = []
    clock = SimpleNamespace(now=0.0)
    display = SimpleNamespace(columns=100, display=lambda line, stderr: lines.append(line) if stderr else pytest.fail("not on stderr"))
    monkeypatch.setattr(_live_progress, "display", display)
    sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)  # noqa: E731
    monkeypatch.setattr(_live_progress, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: clock.now))
    return lines


def progress(done: int, beat: int) -> Progress:
    return Progress("build llama.cpp", done, 200, "", "a.o", None, beat)


VARIABLES = {"inventory_hostname": "alpha"}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("preview", [{"changed": False, "x": 1}, {"failed": True, "msg": "no"}])
def test_nothing_to_do_costs_one_execution(shown: list[str], preview: dict[str, Any], check_mode: bool) -> None:
    action = FakeTarget(module=[preview], check_mode=check_mode)
    assert action.run(task_vars=VARIABLES) == preview
    assert action.calls == ["check"] and action._task.check_mode is check_mode and shown == []


def test_check_mode_returns_the_prediction(shown: list[str]) -> None:
    action = FakeTarget(module=[WORK_AHEAD], check_mode=True)
    assert action.run(task_vars=VARIABLES) == WORK_AHEAD
    assert action.calls == ["check"]


def test_short_work_runs_as_any_module(shown: list[str]) -> None:
    action = FakeTarget(module=[{"changed": True}, DONE])
    assert action.run(task_vars=VARIABLES) == DONE
    assert action.calls == ["check", "run"] and shown == []


def test_long_work_is_shown_and_its_result_is_the_modules_own(shown: list[str]) -> None:
    action = FakeTarget(
        module=[WORK_AHEAD, STARTED],
        files=[None, progress(1, 1), progress(2, 2), progress(100, 3), progress(199, 4)],
        statuses=[STILL_RUNNING, {**DONE, "finished": True, "ansible_job_id": "j1.2"}],
    )
    assert action.run(task_vars=VARIABLES) == DONE
    assert action.calls == ["check", "background", "status", "status", "cleanup"]
    assert action._task.async_val == 0
    assert shown[0].startswith("  alpha · goes on without this terminal")
    assert shown[1:] == [f"  alpha · build llama.cpp · [{done}/200] a.o" for done in (1, 100, 199)]


def test_long_work_that_changes_nothing_is_shown_too(shown: list[str]) -> None:
    done = {"changed": False, "x": 1}
    action = FakeTarget(
        module=[{**WORK_AHEAD, "changed": False}, STARTED],
        files=[None, progress(1, 1)],
        statuses=[{**done, "finished": True, "ansible_job_id": "j1.2"}],
    )
    assert action.run(task_vars=VARIABLES) == done and len(shown) == 2


def test_failure_of_the_module_comes_back_whole(shown: list[str]) -> None:
    failure = {"failed": True, "msg": "no", "cmd": ["cc"], "log": "/l", "stdout": "x"}
    action = FakeTarget(module=[WORK_AHEAD, STARTED], statuses=[{**failure, "finished": True}])
    assert action.run(task_vars=VARIABLES) == failure
    assert action.calls[-1] == "cleanup"


@pytest.mark.parametrize("value", [False, "false", "no"])
def test_quiet_when_not_wanted(shown: list[str], value: object) -> None:
    action = FakeTarget(module=[WORK_AHEAD, STARTED], files=[None, progress(1, 1)], statuses=[{**DONE, "finished": True}])
    assert action.run(task_vars={**VARIABLES, "inference_progress": value}) == DONE
    assert shown == []


def test_quiet_for_programs(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "ansible.posix.json")
    action = FakeTarget(module=[WORK_AHEAD, STARTED], files=[None, progress(1, 1)], statuses=[{**DONE, "finished": True}])
    action.run(task_vars=VARIABLES)
    assert shown == []


def test_job_that_does_not_start(shown: list[str]) -> None:
    action = FakeTarget(module=[WORK_AHEAD, {"failed": True, "msg": "could not create directory"}])
    assert action.run(task_vars=VARIABLES)["msg"] == "could not create directory"


def test_dead_job_is_noticed(shown: list[str]) -> None:
    files = [None, *itertools.repeat(progress(1, 1), 1000)]
    action = FakeTarget(module=[WORK_AHEAD, STARTED], files=files, statuses=[STILL_RUNNING] * 100)
    result = action.run(task_vars=VARIABLES)
    assert result["failed"] and f"no sign of life of the background job j1.2 for {Watch.SILENCE_SECONDS:.0f} s" in result["msg"]


def test_job_file_that_has_gone(shown: list[str]) -> None:
    action = FakeTarget(module=[WORK_AHEAD, STARTED], statuses=[{"failed": True, "msg": "could not find job", "finished": True}])
    assert "no sign of life" in action.run(task_vars=VARIABLES)["msg"]


def test_lost_connection_is_taken_up_again(shown: list[str]) -> None:
    lost = AnsibleConnectionFailure("gone")
    action = FakeTarget(module=[WORK_AHEAD, STARTED], files=[None, progress(1, 1), lost, lost], statuses=[{**DONE, "finished": True}])
    assert action.run(task_vars=VARIABLES) == DONE
    assert action.calls.count("reset") == 2


def test_connection_that_stays_away(shown: list[str]) -> None:
    lost = AnsibleConnectionFailure("gone")
    action = FakeTarget(module=[WORK_AHEAD, STARTED], files=[None, *[lost] * 1000], statuses=[])
    with pytest.raises(AnsibleConnectionFailure):
        action.run(task_vars=VARIABLES)


# --- what comes from a bundle -------------------------------------------------------------------------------------------


class FakeHost(FakeTarget):
    """Commands run for real, on files below a directory of this machine."""

    def __init__(self, bundle: Path, **answers: Any) -> None:
        super().__init__(**answers)
        self._task.args = {"bundle": str(bundle)}
        self._connection.has_pipelining = True
        self._connection._shell.quote = shlex.quote
        self.delivered: list[list[str]] = []

    def _execute_module(self, *arguments: Any, **settings: Any) -> Any:
        self.delivered.append(self._task.args.get("delivered", []))
        return super()._execute_module(*arguments, **settings)

    def _low_level_execute_command(self, cmd: str, in_data: bytes | None = None, **_ignored: Any) -> dict[str, Any]:
        done = subprocess.run(["sh", "-c", cmd], input=in_data or b"", capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


CONTENT = random.Random(5).randbytes(20 << 20)  # more than is sent at once
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle" / "sources").mkdir(parents=True)
    (tmp_path / "bundle" / "sources" / f"{'c' * 40}.tar").write_bytes(CONTENT)
    (tmp_path / "bundle" / "SHA256SUMS").write_text(f"{SHA256}  sources/{'c' * 40}.tar\n")
    (tmp_path / "host").mkdir()
    return tmp_path / "bundle"


def asking(bundle: Path, digest: str = "c" * 40) -> dict[str, Any]:
    files = [{"digest": digest, "name": "llama.cpp b1"}]
    return {"changed": True, "asks_for": {"directory": str(bundle.parent / "host"), "files": files}}


@pytest.mark.parametrize("there", [b"", CONTENT[:5], CONTENT[: 18 << 20], CONTENT, bytes(21 << 20)])
@pytest.mark.parametrize("digest", ["c" * 40, SHA256])
def test_what_is_asked_for_is_sent(shown: list[str], bundle: Path, there: bytes, digest: str) -> None:
    partial = bundle.parent / "host" / f"{SHA256}.partial"
    partial.write_bytes(there)
    action = FakeHost(bundle, module=[asking(bundle, digest), {**asking(bundle, digest), "changed": False}, DONE])
    assert action.run(task_vars=VARIABLES) == DONE
    assert action.calls == ["check", "run", "run"] and action.delivered == [[], [], [SHA256]]
    assert partial.read_bytes() == CONTENT and "delivered" not in action._task.args


def test_what_turns_out_to_be_missing_later_is_sent_too(shown: list[str], bundle: Path) -> None:
    action = FakeHost(bundle, module=[{"changed": True}, asking(bundle), DONE])
    assert action.run(task_vars=VARIABLES) == DONE and action.delivered == [[], [], [SHA256]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda bundle: (bundle / "SHA256SUMS").unlink(), "No such file or directory; make one with playbooks/bundle.yml"),
        (lambda bundle: (bundle / "SHA256SUMS").write_text("?"), "line 1 of its SHA256SUMS"),
        (lambda bundle: (bundle / "SHA256SUMS").write_text(""), "does not hold llama.cpp b1, which this host lacks"),
        (lambda bundle: (bundle / "sources" / f"{'c' * 40}.tar").unlink(), "does not hold llama.cpp b1, which this host lacks"),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_the_bundle_lacks_is_told_before_anything_is_done(
    shown: list[str], bundle: Path, spoil: Any, message: str, check_mode: bool
) -> None:
    spoil(bundle)
    action = FakeHost(bundle, module=[asking(bundle)], check_mode=check_mode)
    with pytest.raises(AnsibleActionFail, match=message):
        action.run(task_vars=VARIABLES)
    assert action.calls == ["check"]


def test_in_the_background_nobody_sends_anything(shown: list[str], bundle: Path) -> None:
    action = FakeHost(bundle, module=[])
    action._task.async_val = 60
    with pytest.raises(AnsibleActionFail, match="leave async out, or bundle"):
        action.run(task_vars=VARIABLES)


def test_check_mode_sends_nothing(shown: list[str], bundle: Path) -> None:
    action = FakeHost(bundle, module=[asking(bundle)], check_mode=True)
    assert action.run(task_vars=VARIABLES) == {"changed": True}
    planned = FakeHost(bundle, module=[{**asking(bundle), "changed": False, "due": True}])
    assert planned.run(task_vars=VARIABLES) == {"changed": False, "due": True}
    assert list((bundle.parent / "host").iterdir()) == []


def test_a_damaged_file_is_not_left_on_the_host(shown: list[str], bundle: Path) -> None:
    (bundle / "sources" / f"{'c' * 40}.tar").write_bytes(CONTENT[:-1] + b"?")
    action = FakeHost(bundle, module=[asking(bundle), asking(bundle)])
    with pytest.raises(AnsibleActionFail, match="is damaged"):
        action.run(task_vars=VARIABLES)
    assert list((bundle.parent / "host").iterdir()) == []


def test_a_host_that_takes_nothing(shown: list[str], bundle: Path) -> None:
    (bundle.parent / "host").rmdir()
    with pytest.raises(AnsibleActionFail, match="does not take what is sent to it: dd: failed to open"):
        FakeHost(bundle, module=[asking(bundle), asking(bundle)]).run(task_vars=VARIABLES)
