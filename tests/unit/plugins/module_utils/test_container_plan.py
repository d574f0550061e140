# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to a host's container runtime, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _container_host_files as files
from ansible_collections.baremetal.llm.plugins.module_utils import _docker_daemon as daemon
from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import SPEC, parse_spec
from ansible_collections.baremetal.llm.plugins.module_utils._container_plan import (
    TOOLKIT,
    Distribution,
    Plan,
    Seen,
    Service,
    Wish,
    is_of,
    lacking,
    plan,
    upstream,
)
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import Docker, Gpus, Runtime
from ansible_collections.baremetal.llm.plugins.module_utils._container_system import parse_properties, parse_timestamp

FOUND = parse_spec(SPEC, (Path(__file__).parents[1] / "fixtures/docker/nvidia_cdi.txt").read_text("utf-8"))
UUIDS = ("GPU-b4109f2f-acfc-5ddb-a583-803ae341142b", "GPU-be30a874-0a4f-5592-b6f0-6cfeb29372f5")
GPUS = Gpus(UUIDS, "580.126.09")
DEBIAN = Distribution("debian", "13", "Debian GNU/Linux 13 (trixie)")
BARE = Seen(DEBIAN)
PACKAGES = {"docker.io": "26.1.5+dfsg1-9+b9", "docker-cli": "26.1.5+dfsg1-9+b9", "docker-compose": "2.26.1-4", "apparmor": "4.1.0-1"}
ENGINE = Docker(
    "26.1.5+dfsg1", "2.26.1-4", "26.1.5+dfsg1", cgroup_driver="systemd", live_restore=True, cdi_directories=("/etc/cdi", "/var/run/cdi")
)
WISH = Wish(gpus=True)
PINS = {"1.20.1*": TOOLKIT}
DONE = Seen(
    DEBIAN,
    Runtime(docker=ENGINE, daemon_running=True, toolkit_version="1.20.1", specs=(FOUND,)),
    GPUS,
    {**PACKAGES, **dict.fromkeys(TOOLKIT, "1.20.1-1")},
    {
        **files.texts(PINS, gpus=True),
        daemon.PATH: daemon.rendered(daemon.wanted_config({}, live_restore=True, cdi=True, engine_version="26.1.5", extra={})),
    },
    linked=True,
    service=Service(active=True, enabled=True),
)


def reasons(wish: Wish, seen: Seen, **changes: t.Any) -> list[str]:
    return plan(wish, dataclasses.replace(seen, **changes)).reasons


def codes(found: Plan) -> list[str]:
    return [problem.code for problem in found.problems]


def test_nothing_is_to_be_done_where_all_is_done() -> None:
    found = plan(WISH, DONE)
    assert (found.reasons, found.problems) == ([], ())


def test_everything_is_to_be_done_on_a_bare_host() -> None:
    found = plan(WISH, BARE)
    assert found.installs == ("docker.io", "docker-cli", "apparmor", "docker-compose", *TOOLKIT)
    assert [change.path for change in found.files] == [files.DROP_IN, files.UNIT, files.SCRIPT]
    assert (found.link, found.enable, found.start, found.restart, found.specs, found.problems) == (True, True, True, (), (), ())
    assert found.daemon is not None and '"cdi": true' in found.daemon.after


def test_what_is_no_longer_wanted_goes() -> None:
    found = plan(Wish(), dataclasses.replace(DONE, files={**DONE.files, files.PIN: files.pin_text(PINS)}))
    assert found.reasons == [*(f"remove {path}" for path in files.FILES), f"disable {files.UNIT_NAME}"]
    assert plan(Wish(source="existing"), DONE).reasons == []


def test_without_gpus_nothing_of_nvidia_is_wanted() -> None:
    found = plan(Wish(), BARE)
    assert found.installs == ("docker.io", "docker-cli", "apparmor", "docker-compose")
    assert (found.files, found.link) == ((), False)
    assert found.daemon is not None and "cdi" not in found.daemon.after


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"packages": {k: v for k, v in DONE.packages.items() if k != "libnvidia-container1"}}, [f"install {name}=1.20.1*" for name in TOOLKIT]),
        ({"packages": {**DONE.packages, "libnvidia-container1": "1.20.2-1"}}, [f"install {name}=1.20.1*" for name in TOOLKIT]),
        ({"linked": False}, [f"enable {files.UNIT_NAME}"]),
        ({"service": Service(active=True)}, ["enable docker"]),
        ({"service": Service(True, True, unread=True)}, ["have systemd read docker.service"]),
        ({"service": Service(enabled=True, outdated=(daemon.PATH,))}, ["start docker"]),
        ({"service": Service(True, True, ("/etc/default/docker",))}, ["restart docker, which was started before /etc/default/docker changed"]),
        ({"files": {**DONE.files, files.UNIT: "old"}}, [f"write {files.UNIT}"]),
        ({"files": {**DONE.files, daemon.PATH: '{"live-restore": true, "log-driver": "local"}'}}, [
            f"write {daemon.PATH}",
            f"restart docker, which was started before {daemon.PATH} changed",
        ]),
        ({"runtime": dataclasses.replace(DONE.runtime, specs=())}, [f"write {SPEC}"]),
        ({"gpus": Gpus(UUIDS, "590.48.01")}, [f"write {SPEC}"]),
        ({"gpus": Gpus()}, []),
        (
            {"runtime": dataclasses.replace(DONE.runtime, specs=(dataclasses.replace(FOUND, path="/etc/cdi/nvidia.yaml", driver_version="1.2"), FOUND))},
            ["write /etc/cdi/nvidia.yaml"],
        ),
    ],
)  # fmt: skip
def test_one_thing_is_to_be_done(changes: dict[str, t.Any], expected: list[str]) -> None:
    assert reasons(WISH, DONE, **changes) == expected


@pytest.mark.parametrize(
    ("wish", "packages", "expected"),
    [
        (Wish(engine_version="26.1"), PACKAGES, []),
        (Wish(engine_version="27"), PACKAGES, ["docker.io=27*", "docker-cli=27*"]),
        (Wish(source="docker"), {}, ["docker-ce", "docker-ce-cli", "apparmor", "containerd.io"]),
        (Wish(source="docker", engine_version="28.5.1"), {}, ["docker-ce=5:28.5.1*", "docker-ce-cli=5:28.5.1*", "apparmor", "containerd.io"]),
        (Wish(source="docker", engine_version="28.5"), {"docker-ce": "5:28.5.1-1~debian.13~trixie", "docker-ce-cli": "5:28.5.1-1", "apparmor": "4", "containerd.io": "1"}, []),
    ],
)  # fmt: skip
def test_versions_of_the_engine(wish: Wish, packages: dict[str, str], expected: list[str]) -> None:
    """Compose is there already, by whatever way."""
    found = plan(wish, dataclasses.replace(DONE, packages=packages))
    assert list(found.installs) == expected
    pins = [change.after for change in found.files if change.path == files.PIN and change.after]
    assert bool(pins) == bool(wish.engine_version)
    if wish.engine_version:
        assert f"Pin: version {'5:' if wish.source == 'docker' else ''}{wish.engine_version}*\n" in pins[0]


@pytest.mark.parametrize(
    ("distribution", "installs"),
    [
        (("ubuntu", "24.04"), ("docker.io", "apparmor", "docker-compose-v2")),
        (("ubuntu", "22.04"), ("docker.io", "apparmor", "docker-compose-v2")),
    ],
)
def test_of_ubuntu(distribution: tuple[str, str], installs: tuple[str, ...]) -> None:
    found = plan(Wish(), Seen(Distribution(*distribution)))
    assert (found.installs, codes(found)) == (installs, [])


SWARM = dataclasses.replace(ENGINE, swarm=True)
NO_LIVE_RESTORE = dataclasses.replace(ENGINE, live_restore=False)
OUTDATED = Service(True, True, (daemon.PATH,))


def with_docker(docker: Docker, **changes: t.Any) -> Seen:
    return dataclasses.replace(DONE, runtime=dataclasses.replace(DONE.runtime, docker=docker), **changes)


@pytest.mark.parametrize(
    ("wish", "seen", "code", "says"),
    [
        (Wish(), Seen(Distribution("debian", "12", "Debian GNU/Linux 12 (bookworm)")), "distribution_without_runtime", "bookworm"),
        (Wish(), Seen(Distribution("fedora", "42")), "distribution_without_runtime", "fedora 42"),
        (Wish(source="docker"), DONE, "other_engine", "container_runtime_source: distribution to keep it"),
        (Wish(), dataclasses.replace(BARE, packages={"docker-ce": "5:28.5.1-1"}), "other_engine", "apt-get remove docker-ce"),
        (WISH, with_docker(SWARM), "swarm", "container_runtime_live_restore: false"),
        (Wish(engine_version="27"), with_docker(NO_LIVE_RESTORE, containers=("a", "b")), "restart_stops_services", "would stop: a, b"),
        (Wish(live_restore=False), dataclasses.replace(DONE, containers=("a",)), "restart_stops_services", "container_runtime_live_restore is off"),
        (
            Wish(gpus=True, live_restore=False),
            dataclasses.replace(DONE, service=OUTDATED, containers=("a",)),
            "restart_stops_services",
            "container_runtime_restart: true",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(wish: Wish, seen: Seen, code: str, says: str) -> None:
    found = plan(wish, seen)
    assert codes(found) == [code]
    assert says in str(found.problems[0])


@pytest.mark.parametrize(
    ("wish", "seen"),
    [
        (Wish(source="docker"), Seen(Distribution("debian", "12"))),
        (Wish(engine_version="27", restart=True), with_docker(NO_LIVE_RESTORE, containers=("a",))),
        (Wish(engine_version="27"), with_docker(NO_LIVE_RESTORE)),
        (Wish(engine_version="27"), with_docker(ENGINE, containers=("a",))),
        # Docker is told of live-restore before it is restarted.
        (WISH, with_docker(NO_LIVE_RESTORE, containers=("a",), service=OUTDATED)),
        (Wish(gpus=True, live_restore=False), with_docker(SWARM, files={**DONE.files, daemon.PATH: '{"log-driver": "local"}'})),
    ],
)
def test_what_is_not(wish: Wish, seen: Seen) -> None:
    assert codes(plan(wish, seen)) == []


EXISTING = Wish(source="existing", gpus=True)


@pytest.mark.parametrize(
    ("wish", "seen", "expected"),
    [
        (EXISTING, DONE, []),
        (EXISTING, BARE, ["no_container_runtime"]),
        (EXISTING, with_docker(Docker("26.1", "2.26", error="no")), ["container_runtime_unreachable"]),
        (EXISTING, with_docker(dataclasses.replace(ENGINE, compose_version=None)), ["compose_missing"]),
        (EXISTING, with_docker(dataclasses.replace(ENGINE, compose_version="2.17.3")), ["compose_too_old"]),
        (EXISTING, with_docker(dataclasses.replace(ENGINE, cdi_directories=())), ["cdi_disabled"]),
        (EXISTING, with_docker(dataclasses.replace(ENGINE, cdi_directories=None)), ["cdi_unsupported"]),
        (
            EXISTING,
            dataclasses.replace(DONE, runtime=Runtime(docker=dataclasses.replace(ENGINE, cdi_directories=()))),
            ["cdi_disabled", "cdi_spec_missing"],
        ),
        (EXISTING, dataclasses.replace(DONE, runtime=Runtime(docker=ENGINE)), ["cdi_spec_missing"]),
        # Where the driver is still to come, so is what is written of it.
        (EXISTING, dataclasses.replace(DONE, runtime=Runtime(docker=ENGINE), gpus=Gpus()), []),
        (EXISTING, dataclasses.replace(DONE, gpus=Gpus(UUIDS, "590.48.01")), ["cdi_spec_stale"]),
        (Wish(source="existing"), with_docker(dataclasses.replace(ENGINE, cdi_directories=())), []),
    ],
)
def test_of_an_existing_runtime_only_what_it_lacks_is_told(wish: Wish, seen: Seen, expected: list[str]) -> None:
    found = plan(wish, seen)
    assert (codes(found), found.reasons) == (expected, [])
    assert [problem.code for problem in lacking(wish, seen)] == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("5:28.5.1-1~debian.13~trixie", "28.5.1"), ("26.1.5+dfsg1-9+b9", "26.1.5"), ("1.20.1-1", "1.20.1"), ("27~rc1", "27")],
)
def test_upstream_versions(version: str, expected: str) -> None:
    assert upstream(version) == expected


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [("1.20.1-1", "1.20", True), ("1.2.1-1", "1.20", False), ("1.20.10-1", "1.20.1", False), ("1-1", "", True)],
)
def test_whether_a_version_is_the_wanted_one(version: str, wanted: str, expected: bool) -> None:
    assert is_of(version, wanted) is expected


# -- the files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "started"),
    [
        ('unless-stopped could not select device driver "cdi" with capabilities: [[gpu]]', True),
        ("always CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0", True),
        ("on-failure CDI device injection failed", True),
        ('no could not select device driver "cdi"', False),
        ("unless-stopped ", False),
        ("always driver failed programming external connectivity", False),
    ],
)
def test_only_containers_that_lack_their_devices_are_started_again(tmp_path: Path, found: str, started: bool) -> None:
    fake = tmp_path / "docker"
    fake.write_text(
        f"#!/bin/sh\ncase $1 in ps) echo c1 ;; inspect) echo '{found}' ;; start) echo \"$2\" >>{tmp_path}/started ;; esac\n", "utf-8"
    )
    fake.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(files.texts({}, gpus=True)[files.SCRIPT], "utf-8")
    subprocess.run(["/bin/sh", str(script)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=30)
    assert (tmp_path / "started").exists() == started


def test_docker_is_not_ordered_behind_nvidias_unit() -> None:
    """Some of its versions come after multi-user.target, which waits for Docker."""
    texts = files.texts(PINS, gpus=True)
    assert not any("nvidia-cdi-refresh" in text for text in texts.values())
    assert f"cdi generate --output={SPEC}" in texts[files.DROP_IN]
    assert texts[files.PIN].splitlines()[1:3] == [f"Package: {' '.join(TOOLKIT)}", "Pin: version 1.20.1*"]


# -- systemctl -------------------------------------------------------------------------------------------------------------


def test_what_systemctl_shows() -> None:
    shown = parse_properties(
        "ActiveState=active\nEnvironmentFiles=/a (ignore_errors=yes)\nEnvironmentFiles=/b (ignore_errors=no)\nDropInPaths=\n"
    )
    assert shown == {"ActiveState": "active", "EnvironmentFiles": "/a (ignore_errors=yes) /b (ignore_errors=no)", "DropInPaths": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri 2026-11-27 06:51:39.475916 UTC", 1795762299.475916),
        ("Fri 2026-11-27 06:51:39 UTC", 1795762299.0),
        ("", None),
        ("n/a", None),
    ],
)
def test_when_docker_was_started(text: str, expected: float | None) -> None:
    assert parse_timestamp(text) == expected
