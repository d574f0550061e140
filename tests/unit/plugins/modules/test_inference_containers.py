# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.modules import inference_containers
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_docker import FakeDocker


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    """One that has the containers of three services, in as many states."""
    fake = FakeDocker(tmp_path / "docker")
    fake.image("debian:trixie-slim")
    file = tmp_path / "compose.yaml"
    file.write_text('    image: "debian:trixie-slim"\n', "utf-8")
    for name, status in (("chat", "running"), ("embed", "running"), ("vision", "created")):
        fake.make(f"inference-{name}", file, tmp_path / "no-key", status=status)
    return fake


@pytest.fixture
def run(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def runner(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(inference_containers, "Docker", docker.docker)
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            inference_containers.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return runner


EVERYTHING = ["chat", "embed", "vision", "none"]


def test_those_that_run_are_stopped_in_the_reverse_of_their_order(docker: FakeDocker, run: Any) -> None:
    predicted = run(services=EVERYTHING, state="stopped", check=True)
    assert "stop" not in " ".join(docker.asked())
    done = run(services=EVERYTHING, state="stopped")
    assert predicted["containers"] == done["containers"] == ["inference-embed", "inference-chat"]
    assert [line for line in docker.asked() if line.startswith("stop")] == ["stop inference-embed", "stop inference-chat"]
    assert not run(services=EVERYTHING, state="stopped")["changed"]


def test_those_on_trial_are_not_started_again(docker: FakeDocker, run: Any) -> None:
    assert run(services=["vision", "none"], state="on_trial")["containers"] == ["inference-vision"]
    assert (docker.policy("inference-vision"), docker.policy("inference-chat")) == ("no", "unless-stopped")
    assert not run(services=["vision"], state="on_trial")["changed"]


def test_without_docker_there_is_nothing_to_stop(docker: FakeDocker, run: Any) -> None:
    docker.program.unlink()
    assert run(services=EVERYTHING, state="stopped")["containers"] == []


def test_a_daemon_that_does_not_answer_is_an_error(docker: FakeDocker, run: Any) -> None:
    docker.unreachable()
    result = run(services=EVERYTHING, state="stopped")
    assert result["failed"] and "does not answer: Cannot connect to the Docker daemon" in result["msg"]
