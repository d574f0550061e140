# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.modules import gguf_info
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_file_server import COMMIT, FileServer
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_models import MODELS, write


def run(capsys: pytest.CaptureFixture[str], **arguments: object) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        gguf_info.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


RETURNED = {
    "files", "size", "split", "kind", "architecture", "file_type", "parameters", "tensor_bytes", "tensor_types", "tensors",
    "metadata", "version", "byte_order",
}  # fmt: skip


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_model_on_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    (path,) = write(tmp_path / "m.gguf", MODELS["openelm"])
    result = run(capsys, path=str(path), _ansible_check_mode=check_mode)
    assert result.keys() - {"invocation"} == RETURNED | {"changed"}
    assert (result["changed"], result["architecture"]) == (False, "openelm")
    assert result["files"] == [{"path": str(path), "size": path.stat().st_size}]
    assert result["metadata"]["openelm.attention.head_count_kv"] == [3, 3, 4, 5]


def test_a_split_model_on_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write(tmp_path / "m.gguf", MODELS["llama"], tensors_per_file=8)
    result = run(capsys, path=str(paths[0]))
    assert result["split"] == {"count": 2, "no": 0, "files": [str(path) for path in paths]}
    assert result["size"] == sum(path.stat().st_size for path in paths)


def test_a_model_on_the_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    (path,) = write(tmp_path / "m.gguf", MODELS["mmproj"])
    files = {f"/ours/tiny/resolve/{revision}/m.gguf": path.read_bytes() for revision in ("main", "v1")}
    with FileServer(files, headers={"X-Repo-Commit": COMMIT}) as hub:
        source = {"repo_id": "ours/tiny", "file": "m.gguf", "endpoint": hub.url, "token": "hf_secret"}
        result = run(capsys, **source)
        tagged = run(capsys, **source, revision="v1")
        missing = run(capsys, **source, revision="v2")
    assert result.keys() - {"invocation"} == RETURNED | {"changed", "commit"}
    assert (result["kind"], result["commit"], result["files"][0]["path"]) == ("mmproj", COMMIT, "m.gguf")
    assert tagged["size"] == result["size"] == path.stat().st_size
    assert missing["failed"] and missing["msg"].startswith("file: ours/tiny has no file m.gguf at revision v2")
    assert "hf_secret" not in json.dumps([result, tagged, missing])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "one of the following is required: path, repo_id"),
        ({"path": "/m.gguf", "repo_id": "ours/tiny", "file": "m.gguf"}, "mutually exclusive: path|repo_id"),
        ({"repo_id": "ours/tiny"}, "required together: repo_id, file"),
        ({"path": "/nowhere/m.gguf"}, "path: /nowhere/m.gguf is not there"),
        ({"repo_id": "tiny?", "file": "m.gguf"}, "repo_id is 'tiny?'"),
        ({"repo_id": "ours/tiny", "file": "m.gguf", "endpoint": "nowhere"}, "endpoint is 'nowhere'"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: dict[str, str], expected: str) -> None:
    result = run(capsys, **arguments)
    assert result["failed"] and expected in result["msg"]
