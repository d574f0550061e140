"""Runs this collection's playbooks against a range host and reads what each task did."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
RANGE = str(ROOT / "tests" / "range" / "range")
PLAYBOOK_SECONDS = 900


def kill_family(pid: int) -> None:
    """SIGKILL a process and all that descend from it: Ansible's workers have sessions of their own, so no process group holds them."""
    parents: dict[int, int] = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    for member in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class Task:
    name: str
    status: str
    changed: bool
    result: dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Run:
    rc: int
    output: str
    tasks: list[Task]

    def task(self, name: str) -> Task:
        """The last result of the task whose name ends with `name` (roles prefix theirs)."""
        return [task for task in self.tasks if task.name.endswith(name)][-1]

    @property
    def changed(self) -> list[str]:
        return [task.name for task in self.tasks if task.changed]

    @property
    def failure(self) -> str:
        """What the failed tasks said: the message of the task and those of its loop items."""
        failed = [task for task in self.tasks if task.status == "failed"]
        return "\n".join(str(result.get("msg", "")) for task in failed for result in (task.result, *task.result.get("results", [])))


@dataclasses.dataclass(frozen=True)
class Deployment:
    """One range host, deployed to by the quickstart inventory or by another."""

    name: str
    address: str
    directory: pathlib.Path
    inventories: tuple[str, ...] = ("inventories/quickstart",)
    patience: int = PLAYBOOK_SECONDS

    @property
    def _log(self) -> pathlib.Path:
        return self.directory / "tasks.jsonl"

    def _arguments(self, playbook: str, extra: t.Mapping[str, t.Any], flags: t.Sequence[str]) -> list[str]:
        return [
            str(ROOT / ".venv" / "bin" / "ansible-playbook"),
            playbook,
            *(word for source in (*self.inventories, str(self.directory / "range.yml")) for word in ("-i", source)),
            *("-e", json.dumps(extra)),
            *flags,
        ]

    def _environment(self) -> dict[str, str]:
        self._log.unlink(missing_ok=True)
        return {
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "ansible" / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_log",
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_NOCOLOR": "1",
            "TASK_LOG": str(self._log),
        }

    def tasks(self) -> list[Task]:
        if not self._log.exists():
            return []
        entries = [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]
        return [Task(entry["task"], entry["status"], entry["changed"], entry["result"]) for entry in entries]

    def play(self, playbook: str = "site.yml", extra: t.Mapping[str, t.Any] | None = None, *flags: str) -> Run:
        process = subprocess.run(
            self._arguments(playbook, extra or {}, flags),
            cwd=ROOT,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.patience,
            check=False,
        )
        return Run(process.returncode, process.stdout, self.tasks())

    def play_and_kill(
        self, when: t.Callable[[], bool], extra: t.Mapping[str, t.Any], seconds: float = 0.0, playbook: str = "site.yml"
    ) -> None:
        """SIGKILL Ansible, workers included, that many seconds after `when` says so for the first time."""
        process = subprocess.Popen(
            self._arguments(playbook, extra, ()),
            cwd=ROOT,
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + self.patience
            while not when():
                assert process.poll() is None, "the run ended before the moment to kill it came"
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(seconds)
        finally:
            kill_family(process.pid)
            process.wait()

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a command on the host and return what it prints."""
        process = subprocess.run(
            [RANGE, "ssh", self.name, "--", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
        )
        assert process.returncode == 0 or not check, process.stdout
        return process.stdout

    def put(self, path: str, content: bytes) -> None:
        """Write a file on the host."""
        subprocess.run([RANGE, "ssh", self.name, "--", "tee", path], input=content, stdout=subprocess.DEVNULL, check=True, timeout=60)

    def state(self) -> str:
        """What must stay as it is when a run is refused: files, the active release and the running process."""
        return self.run(
            "sh",
            "-c",
            "'find /etc/systemd/system /etc/inference /var/lib/inference/models /opt/llama.cpp/releases /opt/llama.cpp/current"
            ' -printf "%p %l %T@ %s\\n" | sort; systemctl show -p MainPID,NRestarts inference-tiny\'',
        )
