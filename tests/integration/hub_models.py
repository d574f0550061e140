# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's clients in several versions, and the module hf_model run with each of them as a real process."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_requirements import VERSION

ROOT = Path(__file__).resolve().parents[2]
MODULE = "ansible_collections.baremetal.llm.plugins.modules.hf_model"
LOCKS = ROOT / "tests" / "hub" / "clients"
# The one that the module installs, and others that a host may bring.
VERSIONS = (VERSION, "1.33.0", "0.36.2")
# Kept from one run to the next.
CLIENTS = ROOT / ".cache" / "hub-clients"


def client(version: str) -> str:
    """An interpreter with this version of the client; the locked wheels are installed where they are not there."""
    lock = (LOCKS / f"{version}.txt").read_bytes()
    place = CLIENTS / f"{version}-{hashlib.sha256(lock).hexdigest()[:8]}"
    CLIENTS.mkdir(parents=True, exist_ok=True)
    with open(CLIENTS / ".tests.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not place.is_dir():
            staged = place.with_suffix(".new")
            shutil.rmtree(staged, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", staged], check=True)
            install = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
            packages = next(staged.glob("lib/python*/site-packages"))
            subprocess.run([*install, "--only-binary=:all:", f"--target={packages}", "-r", LOCKS / f"{version}.txt"], check=True)
            staged.rename(place)
    return str(place / "bin" / "python")


class Model:
    """A repository of a hub in a cache of its own."""

    def __init__(self, cache_dir: Path, endpoint: str, repo_id: str, **arguments: t.Any) -> None:
        self.cache = RepoCache(cache_dir, repo_id)
        self.arguments = {"repo_id": repo_id, "cache_dir": str(cache_dir), "endpoint": endpoint, **arguments}

    def other(self, repo_id: str) -> Model:
        """Another repository of the same hub in the same cache."""
        arguments = {key: value for key, value in self.arguments.items() if key not in ("cache_dir", "endpoint", "repo_id")}
        return Model(self.cache.cache_dir, self.arguments["endpoint"], repo_id, **arguments)

    def start(self, *, check_mode: bool = False, **arguments: t.Any) -> subprocess.Popen[str]:
        arguments = {**self.arguments, **arguments, "_ansible_diff": True, "_ansible_check_mode": check_mode}
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_of_the_hosts_user"},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {key: value for key, value in arguments.items() if value is not None}}))
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *, check_mode: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        return finished(self.start(check_mode=check_mode, **arguments))

    def done(self, **arguments: t.Any) -> dict[str, t.Any]:
        """The result of a run that has to succeed."""
        result = self.run(**arguments)
        assert not result.get("failed"), result
        return result

    def refused(self, **arguments: t.Any) -> str:
        """What a run says that has to fail."""
        result = self.run(**arguments)
        assert result.get("failed"), result
        return str(result["msg"])

    def content(self, path: str, revision: str = "main") -> bytes:
        commit = self.cache.commit_of(revision)
        assert commit
        return self.cache.pointer(commit, path).read_bytes()

    def blob(self, path: str, revision: str = "main") -> Path:
        commit = self.cache.commit_of(revision)
        assert commit
        return self.cache.pointer(commit, path).resolve()

    def everything(self) -> dict[str, tuple[int, int, int]]:
        """All that is there, with what would change if it were touched."""
        found = {}
        for directory, subdirectories, names in os.walk(self.cache.cache_dir):
            for name in (*subdirectories, *names):
                status = os.lstat(os.path.join(directory, name))
                found[os.path.join(directory, name)] = (status.st_mode, status.st_size, status.st_mtime_ns)
        return found


def processes_of(model: Model) -> list[str]:
    """The clients that are at work for it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "hub_client.py" in command and model.arguments["python"] in command:
            found.append(command)
    return found


def finished(process: subprocess.Popen[str]) -> dict[str, t.Any]:
    stdout, stderr = process.communicate(timeout=120)
    assert stdout, stderr
    result = json.loads(stdout)
    assert isinstance(result, dict)
    return result


def with_client(python: str, program: str, *arguments: str, **environment: str) -> str:
    """Run a program with the hub's own client, as a person would."""
    done = subprocess.run(
        [python, "-c", program, *arguments],
        env={**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
