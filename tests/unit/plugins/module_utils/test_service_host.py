# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _service_host, _service_model
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd

UNIT = "inference-chat.service"
GGUF = b"GGUF" + bytes([3, 0, 0, 0]) + bytes(16)
ME = pwd.getpwuid(os.geteuid()).pw_name
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")


@pytest.fixture(autouse=True)
def _nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service_host, "_HIDDEN", ())  # the tests' own files are below /tmp


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "chat.gguf"
    path.write_bytes(GGUF)
    return path


def service(model: Path, port: int = 8080, host: str = "127.0.0.1", mmproj: Path | None = None) -> Service:
    projector = None if mmproj is None else str(mmproj)
    parsed, _ = parse({"name": "chat", "model": {"file": str(model), "mmproj": projector}, "host": host, "port": port})
    assert parsed is not None
    return parsed


def codes(problems: Iterator[Any]) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity.value) for problem in problems]


# -- the binary --------------------------------------------------------------------------------------------------------


def test_a_binary_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "llama-server"
    assert codes(_service_host.binary_problems(str(binary))) == [("binary_missing", "error")]
    assert codes(_service_host.binary_problems(str(tmp_path))) == [("binary_unusable", "error")]
    binary.touch(0o644)
    assert codes(_service_host.binary_problems(str(binary))) == [("binary_unusable", "error")]
    binary.chmod(0o755)
    assert codes(_service_host.binary_problems(str(binary))) == []
    monkeypatch.setattr(_service_host, "_HIDDEN", ("/tmp", str(tmp_path)))
    assert codes(_service_host.binary_problems(str(binary))) == [("binary_hidden", "error")]


# -- the model ---------------------------------------------------------------------------------------------------------


def test_a_model_is_looked_at(tmp_path: Path, model: Path) -> None:
    assert codes(_service_host.model_problems(service(model), ME)) == []
    assert codes(_service_host.model_problems(service(tmp_path), ME)) == [("model_is_directory", "error")]
    assert codes(_service_host.model_problems(service(tmp_path / "none"), ME)) == [("model_missing", "error")]
    assert codes(_service_host.model_problems(service(tmp_path / "none"), ME, Severity.WARNING)) == [("model_missing", "warning")]
    model.write_bytes(b"version https://git-lfs")
    assert codes(_service_host.model_problems(service(model), ME)) == [("model_not_gguf", "error")]


def test_so_is_its_projector(model: Path, tmp_path: Path) -> None:
    problems = list(_service_host.model_problems(service(model, mmproj=tmp_path / "none"), ME))
    assert [problem.code for problem in problems] == ["model_missing"]
    assert problems[0].message.startswith("model.mmproj: ")


def test_a_model_of_the_hub_is_found_in_its_cache(tmp_path: Path) -> None:
    commit = "0123456789" * 4
    root = tmp_path / "models--acme--tiny"

    def found(**model: str) -> dict[str, str]:
        parsed, problems = parse({"name": "chat", "model": {"repo_id": "acme/tiny", "file": "deep/m.gguf", **model}, "port": 8080})
        assert parsed is not None and problems == []
        return _service_model.located(parsed, str(tmp_path)).model.files

    assert found(revision=commit) == {"model.file": f"{root}/snapshots/{commit}/deep/m.gguf"}
    assert found(revision="v1")["model.file"] == f"{root}/snapshots/v1/deep/m.gguf"  # which is not there, and the run says so
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    assert found(mmproj="p.gguf") == {
        name: f"{root}/snapshots/{commit}/{path}" for name, path in (("model.file", "deep/m.gguf"), ("model.mmproj", "p.gguf"))
    }
    plain = service(tmp_path / "chat.gguf")
    assert _service_model.located(plain, str(tmp_path)) is plain


def test_a_model_of_the_hub_that_was_not_fetched(tmp_path: Path) -> None:
    parsed, _problems = parse({"name": "chat", "model": {"repo_id": "acme/tiny", "file": "m.gguf"}, "port": 8080})
    assert parsed is not None
    (problem,) = _service_host.model_problems(_service_model.located(parsed, str(tmp_path)), ME)
    assert problem.code == "model_missing" and "baremetal.llm.hf_model" in problem.remedy


def test_a_model_that_the_service_cannot_see_is_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path.parent / "link.gguf"
    outside.symlink_to(model)
    monkeypatch.setattr(_service_host, "_HIDDEN", (str(tmp_path),))
    for path in (model, outside):  # a link does not help
        assert codes(_service_host.model_problems(service(path), ME)) == [("model_hidden", "error")]
    outside.unlink()
    beside = tmp_path.with_name(f"{tmp_path.name}-not")  # only a whole name is a directory's
    assert codes(_service_host.model_problems(service(beside), ME)) == [("model_missing", "error")]


@needs_root
def test_a_model_has_to_be_readable_for_the_service(tmp_path: Path) -> None:
    directory = tmp_path
    for parent in (directory, *directory.parents[:-2]):
        parent.chmod(0o755)
    model = directory / "chat.gguf"
    model.write_bytes(GGUF)
    assert codes(_service_host.model_problems(service(model), "nobody")) == []
    model.chmod(0o600)
    assert codes(_service_host.model_problems(service(model), "nobody")) == [("model_unreadable", "error")]
    model.chmod(0o644)
    directory.chmod(0o700)
    assert codes(_service_host.model_problems(service(model), "nobody")) == [("model_unreadable", "error")]
    # An account that is still to be created will have the rights of everybody.
    assert codes(_service_host.model_problems(service(model), "no-such-user")) == [("model_unreadable", "error")]
    directory.chmod(0o755)
    assert codes(_service_host.model_problems(service(model), "no-such-user")) == []


def test_the_context_of_a_model_that_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert _service_host.model_context(service(tmp_path / "none")) is None


# -- the port ----------------------------------------------------------------------------------------------------------


class Units(Systemd):
    """A host on which every process belongs to one unit."""

    def __init__(self, unit: str | None) -> None:
        super().__init__()
        self.unit = unit

    def unit_of(self, pid: int) -> str | None:
        return self.unit


@pytest.fixture
def held_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "owner", "told"),
    [
        ("127.0.0.1", "nginx.service", "of nginx.service"),
        ("0.0.0.0", "inference-embed.service", "of inference-embed.service"),
        ("127.0.0.1", None, "(pid {pid})"),
        ("127.0.0.1", UNIT, None),
        ("127.0.0.2", "nginx.service", None),
    ],
)
def test_a_port_that_something_else_holds(model: Path, held_port: int, host: str, owner: str | None, told: str | None) -> None:
    problems = list(_service_host.port_problems(service(model, held_port, host=host), UNIT, [], Units(owner)))
    assert [problem.code for problem in problems] == ([] if told is None else ["port_in_use"])
    for problem in problems:
        assert told is not None and told.format(pid=os.getpid()) in problem.message and f"127.0.0.1:{held_port}" in problem.message


@pytest.mark.parametrize(
    ("command", "clashes"),
    [
        ("--host 127.0.0.1 \\\n    --port {port}", True),
        ("--host 0.0.0.0 --port {port}", True),
        ("--port {port}", True),
        ("--host 127.0.0.2 --port {port}", False),
        ("--host 127.0.0.1 --port 1", False),
        ("--host 127.0.0.1 --port", False),
        ("--port http", False),
    ],
)
def test_a_port_of_another_service_running_or_not(model: Path, tmp_path: Path, command: str, clashes: bool) -> None:
    other = tmp_path / "inference-embed.service"
    port = 39999
    other.write_text(f"[Service]\nExecStart=/bin/llama-server {command.format(port=port)}\n")
    problems = list(_service_host.port_problems(service(model, port), UNIT, [other], Units(None)))
    assert [problem.code for problem in problems] == (["port_of_other_service"] if clashes else [])


def test_a_service_that_also_listens_is_told_once(model: Path, tmp_path: Path, held_port: int) -> None:
    other = tmp_path / "inference-embed.service"
    other.write_text(f"[Service]\nExecStart=/bin/llama-server --port {held_port}\n")
    problems = _service_host.port_problems(service(model, held_port), UNIT, [other], Units(other.name))
    assert [problem.code for problem in problems] == ["port_of_other_service"]
