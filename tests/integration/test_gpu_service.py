# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service on GPUs, on a host with simulated ones: which it gets, how it waits for them, and the proof that it uses them."""

from __future__ import annotations

import json
import time
import typing as t

import pytest

from .conftest import SNAPSHOT
from .gpu_hosts import Card, GpuHost, gpu_host
from .test_faults import TINY, key, main_pid, slots

DRIVER = "580.126.09"
UNIT = "inference-tiny"
NOT_THERE = "GPU-00000000-0000-0000-0000-000000000000"
SECOND = {**TINY, "name": "second", "port": 8081, "api_key": "sk-of-the-second"}
# What a process of the simulation holds on each GPU that it sees.
HOLDS_MIB = 812


class Scene(t.NamedTuple):
    host: GpuHost
    a10: Card
    rtx5090: Card


@pytest.fixture(scope="module")
def scene() -> t.Iterator[Scene]:
    with gpu_host("gpu-service", "a10", "rtx5090", driver=DRIVER, snapshot=SNAPSHOT) as host:
        # The snapshot may be that of another clone, with another API key.
        converged = host.play()
        assert converged.rc == 0, converged.output
        yield Scene(host, *host.plug("a10", "rtx5090"))


def tiny(gpus: list[int | str], **options: t.Any) -> dict[str, t.Any]:
    service = {**TINY, "api_key": key(), "gpus": gpus, "options": {"ctx_size": 2048, "parallel": 2, **options}}
    # The host's own repository of driver packages: site.yml pins the driver, and brings the kernel's headers.
    return {"inference_services": [service], "nvidia_repository_manage": False}


def uses_gpus(scene: Scene, uses: bool) -> None:
    """Whether llama-server is taken for one that computes on the GPUs which its environment names."""
    scene.host.plug("a10", "rtx5090", programs={"llama-server": HOLDS_MIB} if uses else {})


def show(scene: Scene, name: str) -> str:
    return scene.host.run("systemctl", "show", "--value", "-p", name, UNIT).strip()


def environment(scene: Scene) -> dict[str, str]:
    read = scene.host.run("cat", f"/proc/{main_pid(scene.host)}/environ")
    return dict(entry.split("=", 1) for entry in read.split("\0") if "=" in entry)


# -- what stops a run before its first change ------------------------------------------------------------------------------


def test_what_is_wrong_with_the_gpus_stops_it_before_any_change(scene: Scene) -> None:
    """GPUs that are not there, and options that contradict those that are."""
    before = scene.host.state()
    wanted = tiny([2, NOT_THERE])
    wanted["inference_services"].append({**SECOND, "gpus": [0], "options": {"n_gpu_layers": 0}})

    run = scene.host.play("site.yml", wanted)

    assert run.rc != 0
    there = ("NVIDIA A10", scene.a10.uuid, "NVIDIA GeForce RTX 5090", scene.rtx5090.uuid)
    for word in (f"gpus: 2, {NOT_THERE} are not there", *there, "n_gpu_layers: 0 keeps the model on the CPU"):
        assert word in run.failure, run.failure
    assert "Traceback" not in run.output
    assert scene.host.state() == before


def test_offline_no_driver_is_fetched(scene: Scene) -> None:
    """The driver that is there lacks its pin and the kernel's headers."""
    before = scene.host.state()
    run = scene.host.play("site.yml", {**tiny([0]), "inference_offline": True})
    assert run.rc != 0
    assert f"the packages of NVIDIA's driver {DRIVER}" in run.failure and "can't be fetched" in run.failure
    assert scene.host.state() == before


# -- the gate --------------------------------------------------------------------------------------------------------------


def test_a_service_that_computes_on_the_cpu_fails_and_the_old_one_goes_on(scene: Scene) -> None:
    """The release is for the CPU: llama-server starts, is healthy, and leaves the GPU alone."""
    uses_gpus(scene, False)
    unit = scene.host.run("cat", f"/etc/systemd/system/{UNIT}.service")

    run = scene.host.play("site.yml", tiny([0], n_gpu_layers=99, parallel=3))

    assert run.rc != 0
    assert f"the process holds no memory on {scene.a10.uuid} (NVIDIA A10): it computes on the CPU" in run.failure
    assert "Build llama.cpp with backend: cuda" in run.failure
    assert "no usable GPU found, --gpu-layers option will be ignored" in run.failure
    assert "was built for the CPU and knows no GPU" in run.output
    assert scene.host.run("cat", f"/etc/systemd/system/{UNIT}.service") == unit
    assert slots(scene.host) == 2
    assert scene.host.play().changed == []


@pytest.fixture(scope="module")
def on_gpu(scene: Scene) -> Scene:
    """The service on the second GPU, by its index, and proven there."""
    uses_gpus(scene, True)
    run = scene.host.play("site.yml", tiny([1]))
    assert run.rc == 0, run.output
    assert "nvidia-modprobe is not there" not in run.output
    checks = run.task("Prove that each service serves").result["results"][0]["checks"]
    assert [check["detail"] for check in checks if check["name"] == "gpu"] == [f"{HOLDS_MIB} MiB on {scene.rtx5090.uuid}"]
    return scene


def test_it_is_bound_to_the_uuid_and_a_second_run_changes_nothing(on_gpu: Scene) -> None:
    assert environment(on_gpu)["CUDA_VISIBLE_DEVICES"] == on_gpu.rtx5090.uuid
    assert slots(on_gpu.host) == 2
    pid = main_pid(on_gpu.host)
    for flags in (("--check",), ()):
        again = on_gpu.host.play("site.yml", tiny([1]), *flags)
        assert (again.rc, again.changed) == (0, []), again.output
    assert main_pid(on_gpu.host) == pid


def test_another_process_on_the_gpu_is_no_proof(on_gpu: Scene) -> None:
    uses_gpus(on_gpu, False)
    on_gpu.host.put("/run/range-gpus/compute-apps", f"{on_gpu.rtx5090.uuid}, 1, 512\n".encode())
    try:
        run = on_gpu.host.play("site.yml", tiny([1]))
        assert run.rc != 0
        assert f"holds no memory on {on_gpu.rtx5090.uuid}" in run.failure
    finally:
        on_gpu.host.run("rm", "/run/range-gpus/compute-apps")
        uses_gpus(on_gpu, True)


def test_a_gpu_that_somebody_else_has_filled_is_no_proof(on_gpu: Scene) -> None:
    """Without n_gpu_layers, llama-server then keeps the model on the CPU; CUDA's own share of the GPU is all that it holds."""
    on_gpu.host.plug("a10", "rtx5090", programs={"llama-server": 1})
    try:
        run = on_gpu.host.play("site.yml", tiny([1]))
        assert run.rc != 0
        assert f"the process holds 1 MiB on {on_gpu.rtx5090.uuid}, but the weights and the cache that were planned for there" in run.failure
    finally:
        uses_gpus(on_gpu, True)


# -- the sandbox -----------------------------------------------------------------------------------------------------------

OPEN = """
import errno, json, os
def tried(path):
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "opened"
print(json.dumps({path: tried(path) for path in %r}))
"""
LET_THROUGH = ("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm")
SETTINGS = (
    "User", "Group", "SupplementaryGroups", "DevicePolicy", "PrivateDevices", "NoNewPrivileges", "ProtectSystem", "ProtectHome",
    "PrivateTmp", "ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectKernelModules", "RestrictAddressFamilies",
)  # fmt: skip


def in_the_sandbox(scene: Scene, *argv: str) -> str:
    """Run a command as the unit runs its process: with every setting of its own that decides what it may open."""
    text = scene.host.run("cat", f"/etc/systemd/system/{UNIT}.service")
    lines = [line for line in text.splitlines() if line.partition("=")[0] in (*SETTINGS, "DeviceAllow")]
    assert "DevicePolicy=closed" in lines
    properties = [word for line in lines for word in ("-p", f"'{line}'")]
    return scene.host.run("systemd-run", "--quiet", "--pipe", "--wait", *properties, "--", *argv)


def test_the_device_nodes_are_let_through_and_no_others(on_gpu: Scene) -> None:
    """Nothing is behind the simulated nodes: an open that is let through gives ENXIO, one that the sandbox stops EPERM."""
    other = "/dev/loop-control"
    on_gpu.host.run("sh", "-c", f"'test -e {other} || mknod -m 666 {other} c 10 237'")
    script = OPEN % ([*LET_THROUGH, other, "/dev/null"],)
    on_gpu.host.put("/srv/open.py", script.encode())

    tried = json.loads(in_the_sandbox(on_gpu, "/usr/bin/python3", "/srv/open.py"))

    assert tried == {**dict.fromkeys(LET_THROUGH, "ENXIO"), other: "EPERM", "/dev/null": "opened"}


@pytest.mark.parametrize("node", ["/dev/nvidiactl", "/dev/nvidia-uvm"])
def test_the_unit_notices_a_node_that_its_sandbox_would_not_let_through(on_gpu: Scene, node: str) -> None:
    """As where the module was loaded after systemd had worked out which devices are allowed."""
    unit = on_gpu.host.run("cat", f"/etc/systemd/system/{UNIT}.service")
    assert f"ExecStartPre=/usr/bin/test -w {node}\n" in unit
    look = ("/usr/bin/test", "-w", node, "&&", "echo", "through")
    closed = ("systemd-run", "--quiet", "--pipe", "--wait", "-p", "User=inference", "-p", "DevicePolicy=closed", "--")
    assert "through" in in_the_sandbox(on_gpu, *look)
    assert "through" not in on_gpu.host.run(*closed, *look, check=False)


# -- a driver that is late, or lost ----------------------------------------------------------------------------------------

NO_DRIVER_AT_BOOT = "[Service]\nExecStart=\nExecStart=/usr/local/lib/range-gpus/range-gpus plug\n"


def waiting(scene: Scene) -> bool:
    return show(scene, "ActiveState") == "activating" and int(show(scene, "NRestarts")) >= 1


def until(condition: t.Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_driver_that_is_late_only_delays_the_service(on_gpu: Scene) -> None:
    host = on_gpu.host
    host.run("mkdir", "-p", "/etc/systemd/system/range-gpus.service.d")
    host.put("/etc/systemd/system/range-gpus.service.d/late.conf", NO_DRIVER_AT_BOOT.encode())
    try:
        host.reboot()
        until(lambda: waiting(on_gpu))
        assert main_pid(host) == "0", "it must not start on the CPU"
        assert "couldn't communicate with the NVIDIA driver" in host.run("journalctl", "--boot", "--output=cat", "-u", UNIT)

        predicted = host.play("site.yml", tiny([1]), "--check")
        assert predicted.rc == 0, predicted.output
        assert "gpus: 1 cannot be used" in predicted.output
        told = host.play("site.yml", tiny([1]))
        assert told.rc != 0
        assert f"NVIDIA driver {DRIVER} is installed, but not loaded" in told.failure

        host.run("modprobe", "nvidia")
        until(lambda: show(on_gpu, "ActiveState") == "active")
        assert slots(host) == 2
        assert environment(on_gpu)["CUDA_VISIBLE_DEVICES"] == on_gpu.rtx5090.uuid
    finally:
        host.run("rm", "-r", "/etc/systemd/system/range-gpus.service.d")
        host.run("systemctl", "daemon-reload")


def test_a_gpu_that_is_lost_is_not_replaced_by_another(on_gpu: Scene) -> None:
    """The A10 is still there; the service on the RTX 5090 waits, and says for what."""
    host = on_gpu.host
    uuid = on_gpu.rtx5090.uuid
    host.lose(1)
    failed = host.run("systemctl", "restart", UNIT, check=False)
    assert "control process exited" in failed
    assert main_pid(host) == "0"
    run = host.play("site.yml", tiny([1]))
    assert run.rc != 0
    assert "NVIDIA GeForce RTX 5090 at 0000:31:00.0 is lost" in run.failure, run.failure
    # By hand, as one would at night: what the unit waits for.
    playbook = host.directory / "start.yml"
    playbook.write_text(
        "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n"
        "    - baremetal.llm.inference_units:\n        services: [tiny]\n        restart: [tiny]\n",
        encoding="utf-8",
    )
    started = host.play(str(playbook))
    assert f"nvidia-smi --id={uuid} --query-gpu=name,uuid --format=csv,noheader` exited with status 15" in started.failure, started.failure
    assert "saying: Unable to determine the device handle for GPU0000:31:00.0: Unknown Error" in started.failure
    host.reboot()
    until(lambda: show(on_gpu, "ActiveState") == "active")
    assert slots(host) == 2


# -- and back --------------------------------------------------------------------------------------------------------------


def entry_point(scene: Scene, name: str) -> str:
    """A playbook with this entry point of the role alone."""
    playbook = scene.host.directory / f"{name}.yml"
    playbook.write_text(
        "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n"
        f"    - ansible.builtin.import_role:\n        name: baremetal.llm.inference\n        tasks_from: {name}\n",
        encoding="utf-8",
    )
    return str(playbook)


def test_drained_services_are_down_until_they_are_started(on_gpu: Scene) -> None:
    host, drain, start = on_gpu.host, entry_point(on_gpu, "drain"), entry_point(on_gpu, "start")
    two = tiny([1])
    two["inference_services"].append(SECOND)
    assert host.play("site.yml", two).rc == 0

    predicted = host.play(drain, two, "--check")
    assert slots(host) == 2
    done = host.play(drain, two)
    for run in (predicted, done):
        assert run.rc == 0, run.output
        stopped = run.task("Stop the services in the reverse of their order").result["results"]
        assert [(one["item"], one["changed"]) for one in stopped] == [("second", True), ("tiny", True)]
    assert (main_pid(host), show(on_gpu, "UnitFileState")) == ("0", "enabled")
    assert host.play(drain, two).changed == []

    started = host.play(start, tiny([1]))
    assert started.rc == 0 and started.changed, started.output
    assert slots(host) == 2
    assert host.play(start, tiny([1])).changed == []


def test_the_same_service_on_the_cpu_with_nothing_else_changed(on_gpu: Scene) -> None:
    """As where a host class's list of GPUs alone is overridden. The other service was stopped, and starts as it was."""
    both = tiny([], n_gpu_layers=99)
    both["inference_services"].append(SECOND)
    run = on_gpu.host.play("site.yml", both)
    assert run.rc == 0, run.output
    done = run.task("Start what is new or changed").result
    assert (done["started"], done["restarted"]) == (["inference-second.service"], ["inference-tiny.service"])
    assert slots(on_gpu.host) == 2
    assert "CUDA_VISIBLE_DEVICES" not in environment(on_gpu)
    assert show(on_gpu, "PrivateDevices") == "yes"
