# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a host: up, down, cut, list, save. Record first, create second; remove in the opposite order."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import base, cgroup, doctor, network, outer
from .errors import RangeError
from .layout import Layout, checked_name
from .lock import locked, locked_if_free
from .process import run
from .record import FILE, Host

BOOT_TIMEOUT_SECONDS = 90.0
SHUTDOWN_TIMEOUT_SECONDS = 90.0
_PACKAGE_PARENT = Path(__file__).resolve().parent.parent


# --- looking


def load(layout: Layout, name: str) -> Host | None:
    try:
        return Host.load(layout.host_state(name))
    except FileNotFoundError:
        return None


def get(layout: Layout, name: str) -> Host:
    host = load(layout, name)
    if host is None:
        raise RangeError(f"There is no host `{name}`; `range list` shows those there are, `range up {name}` makes it.")
    return host


def all_hosts(layout: Layout) -> list[Host]:
    found = (load(layout, path.parent.name) for path in sorted(layout.hosts.glob(f"*/{FILE}")))
    return [host for host in found if host is not None]


def state(host: Host) -> str:
    """running · off (it powered itself off or was cut off, its disk is kept) · stale (its supervisor was killed, or `up` was)."""
    if cgroup.populated(Path(host.cgroup)):
        return "running"
    return "off" if host.exit_file.exists() else "stale"


def ssh_options(host: Host) -> list[str]:
    return ["-o", f"UserKnownHostsFile={host.known_hosts}", "-o", "StrictHostKeyChecking=yes"]


def ssh_argv(layout: Layout, host: Host, *extra: str) -> list[str]:
    return ["ssh", "-i", str(layout.key), "-o", "IdentitiesOnly=yes", *ssh_options(host), *extra, f"root@{host.address}"]


def describe(layout: Layout, host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "address": host.address,
        "port": 22,
        "user": "root",
        "key": str(layout.key),
        "ssh_args": " ".join(ssh_options(host)),
        "distribution": host.distribution,
        "snapshot": host.snapshot,
        "state": state(host),
        "console": str(host.console),
    }


def inventory(layout: Layout, hosts: Mapping[str, Host]) -> str:
    lines = ["---", "all:", "  hosts:"]
    for alias, host in hosts.items():
        facts = describe(layout, host)
        variables = {
            "ansible_host": facts["address"],
            "ansible_port": facts["port"],
            "ansible_user": facts["user"],
            "ansible_ssh_private_key_file": facts["key"],
            "ansible_ssh_common_args": facts["ssh_args"],
        }
        lines += [f"    {alias}:", *(f"      {name}: {value}" for name, value in variables.items())]
    return "\n".join(lines) + "\n"


# --- up


def up(layout: Layout, name: str, distribution: str | None, snapshot: str | None, binds: Sequence[str], *, docker: bool = False) -> Host:
    checked_name(name)
    doctor.check(layout)
    with locked(layout.host_lock(name)):
        host = load(layout, name)
        if host is not None and state(host) != "stale":
            _must_match(host, distribution, snapshot, binds, docker)
            if state(host) == "off":
                _start(layout, host)
            else:
                _await_ssh(layout, host, None)
            return host
        chosen, layers, data = _origin(layout, distribution, snapshot)
        try:
            docker = docker or data is not None
            host = _record(layout, name, chosen, snapshot, layers, _absolute_binds(binds), docker=docker)
            _write_identity(layout, host)
            if docker:
                _lay_docker_data(host, data)
            _start(layout, host)
        except BaseException:
            _remove(layout, name)
            raise
        return host


def _must_match(host: Host, distribution: str | None, snapshot: str | None, binds: Sequence[str], docker: bool) -> None:
    asked = {"distribution": distribution, "snapshot": snapshot, "binds": _absolute_binds(binds), "docker": docker}
    for what, value in asked.items():
        there = getattr(host, what)
        if value and value != there:
            raise RangeError(f"`{host.name}` is there already with {what} {there}, not {value}; `range down {host.name}` first.")


def _absolute_binds(binds: Sequence[str]) -> tuple[str, ...]:
    found = []
    for bind in binds:
        source, colon, target = bind.partition(":")
        if not colon or not target.startswith("/") or not Path(source).exists():
            raise RangeError(f"--bind {bind}: give SOURCE:TARGET, an existing path of this machine and an absolute path in the host.")
        found.append(f"{Path(source).resolve()}:{target}")
    return tuple(found)


def _origin(layout: Layout, distribution: str | None, snapshot: str | None) -> tuple[str, tuple[str, ...], Path | None]:
    """The distribution, the layers to stand on, and what Docker had in a snapshot."""
    if snapshot is None:
        distribution = distribution or "debian12"
        return distribution, (str(base.ensure(layout, distribution)),), None
    saved = _load_snapshot(layout, snapshot)
    if distribution not in (None, saved["distribution"]):
        raise RangeError(f"Snapshot `{snapshot}` is {saved['distribution']}, not {distribution}; leave --distribution out.")
    return saved["distribution"], tuple(saved["lower"]), layout.snapshots / snapshot / "docker" if saved.get("docker") else None


def _record(
    layout: Layout, name: str, distribution: str, snapshot: str | None, layers: tuple[str, ...], binds: tuple[str, ...], *, docker: bool
) -> Host:
    with locked(layout.lock):
        _sweep(layout, keep=name)
        _erase(layout, name)  # what a killed run left of this very host
        layout.state.mkdir(parents=True, exist_ok=True)
        subnet = network.ensure(layout)
        if not layout.key.with_suffix(".pub").exists():
            layout.key.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", layout.tag, "-f", str(layout.key)])
        host = Host(
            name=name,
            distribution=distribution,
            snapshot=snapshot,
            lower=layers,
            binds=binds,
            address=network.choose_address(subnet, {other.address for other in all_hosts(layout)}),
            gateway=network.gateway(subnet),
            bridge=layout.bridge,
            machine=layout.machine(name),
            cgroup=str(cgroup.host_path(layout, name)),
            storage=str(layout.host_storage(name)),
            state=str(layout.host_state(name)),
            docker=docker,
        )
        host.save()
        return host


def _write_identity(layout: Layout, host: Host) -> None:
    """What makes the host itself and not another: laid into its upper layer before the first boot."""
    key = Path(host.state) / "ssh_host_ed25519_key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(key)])
    public = key.with_suffix(".pub").read_text()
    host.known_hosts.write_text(f"{host.address} {public}")
    link = f"[Match]\nName=host0\n\n[Network]\nAddress={host.address}/{network.PREFIX}\nGateway={host.gateway}\nLinkLocalAddressing=no\n"
    files = {
        "etc/hostname": (f"{host.name}\n", 0o644),
        "etc/hosts": (outer.hosts_file(Path("/etc/hosts").read_text(), host.name, host.address), 0o644),
        "etc/resolv.conf": (outer.read_resolv_conf(), 0o644),
        "etc/machine-id": (f"{uuid.uuid4().hex}\n", 0o444),
        "etc/environment": (outer.proxy_environment(), 0o644),
        "etc/pip.conf": (outer.read_pip_conf(), 0o644),
        "etc/systemd/network/10-host0.network": (link, 0o644),
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (public, 0o644),
        "root/.ssh/authorized_keys": (layout.key.with_suffix(".pub").read_text(), 0o600),
    }
    key.unlink()
    upper = Path(host.storage) / "upper"
    upper.mkdir(parents=True)
    upper.chmod(0o755)
    for name, (text, mode) in files.items():
        target = upper / name
        _like_below(target.parent, upper, host.lower)
        target.write_text(text)
        target.chmod(mode)


def _lay_docker_data(host: Host, saved: Path | None) -> None:
    """A copy for each host: Docker writes into all of it."""
    if saved is None:
        host.docker_data.mkdir(mode=0o710)
    else:
        run(["cp", "--archive", "--reflink=auto", str(saved), str(host.docker_data)])


def _like_below(directory: Path, upper: Path, lower: Sequence[str]) -> None:
    """Make a directory in the upper layer with the mode it has below: in an overlay the upper one's counts."""
    if directory == upper or directory.exists():
        return
    _like_below(directory.parent, upper, lower)
    directory.mkdir()
    below = (Path(layer) / directory.relative_to(upper) for layer in lower)
    directory.chmod(next((path.stat().st_mode & 0o7777 for path in below if path.is_dir()), 0o700 if directory.name == ".ssh" else 0o755))


def _start(layout: Layout, host: Host) -> None:
    host.exit_file.unlink(missing_ok=True)
    cgroup.create(Path(host.cgroup))
    with host.console.open("wb") as console:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "rangelib.supervisor", "enter", host.state],
            env={**os.environ, "PYTHONPATH": str(_PACKAGE_PARENT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
    _await_ssh(layout, host, supervisor)


def _await_ssh(layout: Layout, host: Host, supervisor: subprocess.Popen[bytes] | None) -> None:
    login = ssh_argv(layout, host, "-o", "ConnectTimeout=2", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR")
    probe = ["setpriv", "--pdeathsig", "KILL", *login, "true"]  # a killed `up` leaves not even this
    deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
    answer = "no answer"
    while time.monotonic() < deadline and (supervisor is None or supervisor.poll() is None):
        done = run(probe, check=False)
        if done.returncode == 0:
            return
        answer = done.stderr.strip()
        time.sleep(0.05)
    tail = "\n  ".join(host.console.read_text(errors="replace").splitlines()[-12:])
    raise RangeError(f"`{host.name}` does not answer on SSH ({answer}). The end of its console:\n  {tail}")


# --- cut


def cut(layout: Layout, name: str) -> None:
    """Cut the power: every process of the host ends at once. Its disk is kept, and `up` boots it again."""
    checked_name(name)
    with locked(layout.host_lock(name)):
        host = get(layout, name)
        if state(host) == "running":
            host.exit_file.write_text("cut")  # before the end, so that nobody takes the host for one that a killed run left
            cgroup.destroy(Path(host.cgroup))


# --- down


def down(layout: Layout, name: str) -> None:
    checked_name(name)
    with locked(layout.host_lock(name)):
        _remove(layout, name)


def down_all(layout: Layout) -> list[str]:
    names = sorted(_traces(layout))
    for name in names:
        down(layout, name)
    with locked(layout.lock):
        _close_if_last(layout)
    return names


def _remove(layout: Layout, name: str) -> None:
    """The caller holds the host's lock, and drops it next."""
    _erase(layout, name)
    layout.host_lock(name).unlink(missing_ok=True)
    with locked(layout.lock):
        _close_if_last(layout)


def _traces(layout: Layout) -> set[str]:
    """Every host of which anything is left: a record, a disk or processes."""
    places = (layout.hosts, layout.storage / "hosts", cgroup.scope_path(layout))
    return {path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_dir()}


def _sweep(layout: Layout, keep: str) -> None:
    """Remove what killed runs left. A host whose lock is taken is being worked on, not left."""
    for name in _traces(layout) - {keep}:
        with locked_if_free(layout.host_lock(name)) as free:
            if free:
                host = load(layout, name)
                if host is None or state(host) == "stale":
                    _erase(layout, name)


def _erase(layout: Layout, name: str) -> None:
    cgroup.destroy(cgroup.host_path(layout, name))
    network.unplug(layout.machine(name))
    _rmtree(layout.host_storage(name))
    _rmtree(layout.host_state(name))


def _rmtree(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _close_if_last(layout: Layout) -> None:
    """With the last host of the scope goes its network, with the last scope what the outer machine was set to."""
    if _traces(layout):
        return
    network.teardown(layout)
    _rmtree(layout.state)
    for directory in (layout.storage / "hosts", layout.snapshots, layout.storage, layout.storage_root):
        with contextlib.suppress(OSError):  # snapshots, or other scopes
            directory.rmdir()
    scopes = layout.state.parent
    if not scopes.is_dir() or not any(scopes.iterdir()):
        network.restore_before(layout)
        _remove_run_root(layout)


def _remove_run_root(layout: Layout) -> None:
    """Unless another process holds the lock of a host that it is about to make."""
    for path in layout.host_lock("any").parent.glob("*"):
        with locked_if_free(path) as free:
            if free:
                path.unlink()
    for directory in (layout.host_lock("any").parent, layout.state.parent):
        with contextlib.suppress(OSError):
            directory.rmdir()
    if {path.name for path in layout.run_root.iterdir()} == {layout.lock.name}:
        layout.lock.unlink()
        layout.run_root.rmdir()


# --- snapshots


def _load_snapshot(layout: Layout, snapshot: str) -> dict[str, Any]:
    checked_name(snapshot, "snapshot")
    path = layout.snapshots / snapshot / "snapshot.json"
    try:
        saved: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        there = ", ".join(sorted(p.name for p in layout.snapshots.glob("*"))) or "none"
        raise RangeError(f"There is no snapshot `{snapshot}` (there are: {there}); `range save HOST {snapshot}` makes it.") from None
    gone = [layer for layer in saved["lower"] if not Path(layer).is_dir()]
    if gone:
        raise RangeError(f"Snapshot `{snapshot}` stands on {gone[0]}, which is gone; `range forget {snapshot}` and make it anew.")
    return saved


def has_snapshot(layout: Layout, snapshot: str) -> bool:
    """Whether hosts can start from it: it is there, and so is all that it stands on."""
    try:
        _load_snapshot(layout, snapshot)
    except RangeError:
        return False
    return True


def save(layout: Layout, name: str, snapshot: str) -> None:
    """Shut the host down, keep its disk as a read-only layer, and let the host go."""
    checked_name(snapshot, "snapshot")
    with locked(layout.host_lock(name)):
        host = get(layout, name)
        kept = layout.snapshots / snapshot
        if kept.exists():
            raise RangeError(f"There is a snapshot `{snapshot}` already; `range forget {snapshot}` first, or take another name.")
        _shut_down(layout, host)
        partial = layout.snapshots / f"{snapshot}.partial"
        _rmtree(partial)
        partial.mkdir(parents=True)
        layers = [str(kept / "upper"), *host.lower]
        kind = {"distribution": host.distribution, "lower": layers, "docker": host.docker}
        (partial / "snapshot.json").write_text(json.dumps(kind, indent=2))
        (Path(host.storage) / "upper").rename(partial / "upper")
        if host.docker:
            host.docker_data.rename(partial / "docker")
        os.sync()
        partial.rename(kept)
        _remove(layout, name)


def _shut_down(layout: Layout, host: Host) -> None:
    if state(host) == "running":
        run([*ssh_argv(layout, host, "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"), "systemctl", "poweroff"], check=False)
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_SECONDS
        while state(host) == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
    if state(host) != "off":
        raise RangeError(f"`{host.name}` did not shut down cleanly, so it was not saved; see {host.console}.")


def forget(layout: Layout, snapshot: str) -> None:
    checked_name(snapshot, "snapshot")
    kept = layout.snapshots / snapshot
    layer = str(kept / "upper")
    with locked(layout.lock):
        users = [host.name for host in all_hosts(layout) if layer in host.lower]
        for other in layout.snapshots.glob("*/snapshot.json"):
            if other.parent != kept and layer in json.loads(other.read_text())["lower"]:
                users.append(other.parent.name)
        if users:
            raise RangeError(f"Snapshot `{snapshot}` is in use by {', '.join(users)}; let them go first.")
        _rmtree(kept)  # one that is not there is forgotten already
        _close_if_last(layout)
