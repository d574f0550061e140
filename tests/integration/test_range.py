# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The range itself: its hosts are real servers, and it leaves the outer machine as it found it, SIGKILL included.

Needs root. The hosts live in a scope of their own, so a demo's or a scenario's are not touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RANGE = [sys.executable, str(ROOT / "tests" / "range" / "range")]
SCOPE = "selftest"
ENVIRONMENT = {**os.environ, "RANGE_SCOPE": SCOPE}
STATE = Path("/run/baremetal-llm-range/scopes") / SCOPE
STORAGE = Path("/var/tmp/baremetal-llm-range") / SCOPE

pytestmark = [pytest.mark.range, pytest.mark.skipif(os.geteuid() != 0, reason="the range needs root")]


def range_(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*RANGE, *arguments], env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def on(name: str, script: str, *, check: bool = True) -> str:
    done = range_("ssh", name, "--", script, check=check)
    return (done.stdout + done.stderr).strip()


def facts(name: str) -> dict[str, t.Any]:
    return next(host for host in json.loads(range_("list", "--json").stdout) if host["name"] == name)


def until(condition: t.Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


# --- the outer machine before and after


def processes() -> dict[int, str]:
    """Processes that are in a cgroup of this scope or name it: pid → command line."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            group = (directory / "cgroup").read_text()
            ended = (directory / "stat").read_text().rpartition(")")[2].split()[0] == "Z"  # and its parent has yet to notice
            if not ended and (f"baremetal-llm-range/{SCOPE}" in group or f"{SCOPE}/hosts" in command):
                found[int(directory.name)] = command
    return found


def outer_machine() -> dict[str, object]:
    saved = subprocess.check_output(["iptables-save"], text=True)
    links = json.loads(subprocess.check_output(["ip", "-j", "link"]))
    return {
        "links": [link["ifname"] for link in links],
        "routes": subprocess.check_output(["ip", "-4", "route"], text=True),
        "firewall": [re.sub(r"\[\d+:\d+\]", "", line) for line in saved.splitlines() if not line.startswith("#")],
        "ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if "range" in line],
        "processes": processes(),
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/baremetal-llm-range/{SCOPE}")],
        "state": STATE.exists(),
        "disks": sorted((STORAGE / "hosts").glob("*")) if STORAGE.exists() else [],
        "nspawn": sorted(Path("/run/systemd").glob("nspawn/**/*")),
    }


@pytest.fixture
def untouched() -> t.Iterator[None]:
    range_("down", "--all")
    before = outer_machine()
    try:
        yield
    finally:
        range_("down", "--all")
    assert outer_machine() == before


@pytest.fixture(scope="module", params=["debian12", "debian13"])
def server(request: pytest.FixtureRequest) -> t.Iterator[str]:
    name = f"server-{request.param}"
    range_("up", name, "--distribution", request.param)
    yield name
    range_("down", name)


# --- a host is a server


class TestServer:
    def test_boots_completely(self, server: str) -> None:
        assert on(server, "systemctl is-system-running --wait", check=False) == "running"
        assert on(server, ". /etc/os-release; echo $ID$VERSION_ID") == facts(server)["distribution"]
        assert on(server, "hostname") == server

    def test_up_again_changes_nothing_and_is_quick(self, server: str) -> None:
        boot = on(server, "cat /proc/sys/kernel/random/boot_id")
        started = time.monotonic()
        line = range_("up", server).stdout
        assert time.monotonic() - started < 5
        assert line.count("\n") == 1 and line.startswith(f"{server}  {facts(server)['address']}  ")
        assert on(server, "cat /proc/sys/kernel/random/boot_id") == boot

    def test_up_with_another_distribution_is_refused(self, server: str) -> None:
        other = {"debian12": "debian13", "debian13": "debian12"}[facts(server)["distribution"]]
        refused = range_("up", server, "--distribution", other, check=False)
        assert refused.returncode == 1
        assert f"range down {server}" in refused.stderr

    def test_apt_works_at_once(self, server: str) -> None:
        on(server, "apt-get update -q && apt-get install -yq hello")
        assert on(server, "hello") == "Hello, world!"
        assert "hello" in on(server, "python3 -c 'import apt; print(apt.Cache()[\"hello\"].installed)' && dpkg -s hello")

    def test_trusts_what_the_outer_machine_trusts(self, server: str) -> None:
        on(server, "python3 -c 'import apt' && test -s /etc/ssl/certs/ca-certificates.crt")
        outer = Path("/etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE")
        assert int(on(server, "grep -c BEGIN.CERTIFICATE /etc/ssl/certs/ca-certificates.crt")) >= outer

    def test_logs_stay_through_a_reboot_asked_for_by_ansible(self, server: str, tmp_path: Path) -> None:
        on(server, "echo before the reboot | systemd-cat -t marker")
        boot = on(server, "cat /proc/sys/kernel/random/boot_id")
        inventory = tmp_path / "range.yml"
        inventory.write_text(range_("inventory", f"alias={server}").stdout)
        ansible = [str(Path(sys.executable).parent / "ansible"), "-i", str(inventory), "alias"]
        subprocess.run([*ansible, "-m", "ansible.builtin.reboot", "-a", "reboot_timeout=60"], check=True, timeout=120)
        assert on(server, "cat /proc/sys/kernel/random/boot_id") != boot
        assert "before the reboot" in on(server, "journalctl -t marker -o cat")
        assert "Started" in on(server, "journalctl -b -u ssh -o cat")
        assert on(server, "systemctl is-system-running --wait", check=False) == "running"


HARDENING = (
    "LoadCredential=secret:/etc/secret",
    "CapabilityBoundingSet=",
    "DevicePolicy=closed",
    "LockPersonality=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "StateDirectory=probe",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0077",
    "User=nobody",
)


class TestHardening:
    """Each property is in effect, not merely accepted: the units of this collection are proven in these hosts."""

    @staticmethod
    def unit(server: str, script: str, *properties: str) -> str:
        options = " ".join(f"-p '{item}'" for item in properties)
        quoted = script.replace("'", "'\\''")
        return on(server, f"systemd-run --quiet --pipe --wait --collect {options} sh -c '{quoted}'", check=False)

    def test_all_at_once(self, server: str) -> None:
        on(server, "install -m 600 /dev/null /etc/secret && echo s3cret > /etc/secret")
        script = """
            cat $CREDENTIALS_DIRECTORY/secret
            cat /etc/secret || echo secret file closed
            test -e /dev/kmsg || echo no kmsg
            touch /usr/x || echo usr read-only
            touch $STATE_DIRECTORY/x && echo state writable
            unshare --user true || echo no namespaces
            awk '/^Seccomp:/ {print "seccomp", $2} /^CapBnd:/ {print "caps", $2} /^NoNewPrivs:/ {print "nnp", $2}' /proc/self/status
            grep -c . /proc/self/uid_map
            ls -d /proc/1 || echo others hidden
        """
        seen = self.unit(server, script, *HARDENING)
        for expected in (
            "s3cret",
            "secret file closed",
            "no kmsg",
            "usr read-only",
            "state writable",
            "no namespaces",
            "seccomp 2",
            "caps 0000000000000000",
            "nnp 1",
            "others hidden",
        ):
            assert expected in seen.splitlines(), seen

    def test_private_users_hides_other_users(self, server: str) -> None:
        assert self.unit(server, "cat /proc/self/uid_map | tr -s ' '", "PrivateUsers=yes", "User=nobody").split() == (
            ["0", "0", "1", "65534", "65534", "1"]
        )

    def test_device_policy_closes_devices_and_opens_the_allowed_one(self, server: str) -> None:
        read = "head -c1 /dev/full | wc -c"
        assert self.unit(server, read, "DevicePolicy=strict", "DeviceAllow=/dev/full r") == "1"
        assert "Operation not permitted" in self.unit(server, read, "DevicePolicy=strict")

    def test_address_filter(self, server: str) -> None:
        connect = 'import socket; socket.create_connection(("127.0.0.1", 22), 1); print("connected")'
        assert self.unit(server, f"python3 -c '{connect}'") == "connected"
        assert "timed out" in self.unit(server, f"python3 -c '{connect}'", "IPAddressDeny=any")

    def test_memory_limit(self, server: str) -> None:
        """In force where the outer machine's memory controller is on cgroup v2; accepted and without effect where it is on v1."""
        seen = self.unit(server, "python3 -c 'x = bytearray(200 << 20); print(len(x))'", "MemoryMax=32M", "MemorySwapMax=0")
        if "memory" in on(server, "cat /sys/fs/cgroup/cgroup.controllers").split():
            assert str(200 << 20) not in seen
        else:
            assert seen == str(200 << 20)

    def test_security_review(self, server: str) -> None:
        assert "exposure level" in on(server, "systemd-analyze security ssh.service")


# --- several hosts, power, snapshots


def test_hosts_reach_each_other_and_stay_apart(untouched: None) -> None:
    processes = [subprocess.Popen([*RANGE, "up", name], env=ENVIRONMENT, stdout=subprocess.DEVNULL) for name in ("left", "right")]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    left, right = facts("left"), facts("right")
    assert left["address"] != right["address"]
    assert "OpenSSH" in on("left", f"python3 -c 'import socket; print(socket.create_connection((\"{right['address']}\", 22), 5).recv(40))'")
    on("left", "touch /only-left")
    assert on("right", "ls /only-left 2>/dev/null || echo none") == "none"
    assert on("left", "cat /etc/machine-id") != on("right", "cat /etc/machine-id")
    range_("down", "left")
    assert on("right", "echo still here") == "still here"


def test_poweroff_ends_cleanly_and_up_boots_the_same_disk(untouched: None) -> None:
    range_("up", "power")
    on("power", "touch /kept; systemctl poweroff", check=False)
    until(lambda: facts("power")["state"] == "off")
    until(lambda: not processes())
    range_("up", "power")
    on("power", "test -e /kept")


def test_a_power_cut_ends_all_at_once_and_up_boots_the_same_disk(untouched: None) -> None:
    range_("up", "power")
    boot = on("power", "cat /proc/sys/kernel/random/boot_id")
    unit = "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=true\\nExecStop=touch /shut-down\\n'"
    on("power", f"{unit} > /etc/systemd/system/told.service; systemctl start told; touch /kept /run/lost")
    started = time.monotonic()
    range_("cut", "power")
    assert time.monotonic() - started < 5
    assert facts("power")["state"] == "off"
    assert not processes()
    range_("cut", "power")  # again: there is no power to cut
    range_("up", "other")  # sweeps what killed runs left, and this is not
    range_("up", "power")
    assert on("power", "test -e /kept; cat /proc/sys/kernel/random/boot_id") != boot
    assert "No such file" in on("power", "ls /shut-down", check=False), "the host was shut down, not cut off"
    assert "No such file" in on("power", "ls /run/lost", check=False)
    assert on("power", "systemctl is-system-running --wait", check=False) == "running"


def test_a_power_cut_of_no_host_is_refused(untouched: None) -> None:
    refused = range_("cut", "nobody", check=False)
    assert refused.returncode == 1 and "range up nobody" in refused.stderr


def test_snapshots_start_several_hosts(untouched: None) -> None:
    try:
        range_("up", "golden", "--distribution", "debian12")
        on("golden", "echo compiled once > /opt/release && rm /etc/debian_version")
        key = on("golden", "cat /etc/ssh/ssh_host_ed25519_key.pub")
        range_("save", "golden", "compiled")
        assert json.loads(range_("list", "--json").stdout) == []
        for name in ("one", "two"):
            range_("up", name, "--from", "compiled")
            assert on(name, "cat /opt/release; ls /etc/debian_version 2>/dev/null || true") == "compiled once"
            assert on(name, "hostname; cat /etc/ssh/ssh_host_ed25519_key.pub").splitlines()[0] == name
        assert key != on("one", "cat /etc/ssh/ssh_host_ed25519_key.pub") != on("two", "cat /etc/ssh/ssh_host_ed25519_key.pub")
        on("one", "echo changed > /opt/release")
        assert on("two", "cat /opt/release") == "compiled once"
        range_("down", "two")

        refused = range_("forget", "compiled", check=False)
        assert refused.returncode == 1 and "in use by one" in refused.stderr
        range_("save", "one", "changed")
        range_("up", "three", "--from", "changed")
        assert on("three", "cat /opt/release") == "changed"
        assert "in use by three, changed" in range_("forget", "compiled", check=False).stderr
    finally:
        range_("down", "--all")
        range_("forget", "changed", check=False)
        range_("forget", "compiled", check=False)
    assert not STORAGE.exists()


def test_bind_shows_a_directory_of_this_machine(untouched: None, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("from outside")
    range_("up", "bound", "--bind", f"{tmp_path}:/mnt/shared")
    assert on("bound", "cat /mnt/shared/hello; touch /mnt/shared/back") == "from outside"
    range_("down", "bound")
    assert (tmp_path / "back").exists(), "removing a host must not remove what was bound into it"


# --- leaving nothing


def test_down_leaves_nothing(untouched: None) -> None:
    range_("up", "clean")
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    range_("down", "clean")
    range_("down", "clean")  # again: nothing to do is no error
    assert not STATE.exists()


PARTS = {
    "namespaces": r"unshare ",
    "supervisor": r"\S+ -m rangelib.supervisor power ",
    "nspawn": r"systemd-nspawn ",
    "init": r"(/usr)?/(lib/systemd/systemd|sbin/init)( |$)",
}


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_takes_its_host_along(untouched: None, part: str) -> None:
    range_("up", "victim")
    victims = [pid for pid, command in processes().items() if re.match(PARTS[part], command)]
    assert victims, processes()
    os.kill(min(victims), signal.SIGKILL)
    until(lambda: not processes())
    assert facts("victim")["state"] != "running"


def test_the_next_up_sweeps_what_a_killed_supervisor_left(untouched: None) -> None:
    range_("up", "dead")
    os.kill(min(processes()), signal.SIGKILL)
    until(lambda: not processes())
    range_("up", "alive")
    assert [host["name"] for host in json.loads(range_("list", "--json").stdout)] == ["alive"]
    assert not (STORAGE / "hosts" / "dead").exists()


@pytest.mark.parametrize(
    "moment",
    [
        STATE / "network.json",
        STATE / "id_ed25519",
        STATE / "hosts" / "half" / "host.json",
        STORAGE / "hosts" / "half",
        STATE / "hosts" / "half" / "console.log",
        STORAGE / "hosts" / "half" / "root" / "etc",
    ],
    ids=lambda path: "-".join(path.parts[-2:]),
)
@pytest.mark.parametrize("remedy", ["down", "up"])
def test_up_killed_half_way_is_repaired(untouched: None, moment: Path, remedy: str) -> None:
    with subprocess.Popen([*RANGE, "up", "half"], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: moment.exists() or process.poll() is not None)
        process.kill()
    if remedy == "down":
        range_("down", "--all")
        assert not STATE.exists()
        assert not STORAGE.exists()
    else:
        range_("up", "half")
        assert on("half", "systemctl is-system-running --wait", check=False) == "running"
        assert len(json.loads(range_("list", "--json").stdout)) == 1


def test_a_killed_build_leaves_no_process_and_no_base(untouched: None, tmp_path: Path) -> None:
    """`up` is killed while debootstrap unpacks: what is cached is whole or not there."""

    def building() -> list[str]:
        commands = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
        return [command.decode(errors="replace") for command in commands if str(tmp_path).encode() in command]

    environment = ENVIRONMENT | {"RANGE_CACHE": str(tmp_path)}
    with subprocess.Popen([*RANGE, "up", "early"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: list(tmp_path.glob("debian12-*.partial/debootstrap")) or process.poll() is not None)
        assert building()
        process.kill()
    until(lambda: not building())
    assert not [path for path in tmp_path.glob("debian12-*") if path.is_dir() and path.suffix != ".partial"]


# --- where it cannot work


def test_missing_tools_are_named_in_one_line(tmp_path: Path) -> None:
    refused = range_("doctor", check=False, PATH=str(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "apt-get install" in refused.stderr and "systemd-container" in refused.stderr and "docs/your-own-machine.md" in refused.stderr


def test_doctor_is_content_here() -> None:
    assert range_("doctor").stdout == "The range can run here.\n"
