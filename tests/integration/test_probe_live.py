# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe against a real llama-server with a generated model, on this machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.modules import inference_probe
from ansible_collections.baremetal.llm.tools import tiny_gguf

KEY = "sk-of-the-live-test"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tiny_gguf.main([str(path)])
    return path


def free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Started(t.NamedTuple):
    url: str
    port: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def serving(binary: str, model: Path, *options: str, host: str = "127.0.0.1", port: int = 0, key: str | None = KEY) -> t.Iterator[Started]:
    port = port or free_port(host)
    key_file = model.with_name("api-key")
    key_file.write_text(KEY, encoding="utf-8")
    argv = [binary, "--offline", "--model", str(model), "--host", host, "--port", str(port), *options]
    argv += ["--api-key-file", str(key_file)] if key else []
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = {"0.0.0.0": "127.0.0.1", "::1": "[::1]"}.get(host, host)
    try:
        yield Started(f"http://{address}:{port}", port, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def probe(**args: t.Any) -> dict[str, t.Any]:
    """The module as Ansible runs it: a process of its own, its arguments on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", inference_probe.__name__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"timeout": 60, **args}}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr
    result: dict[str, t.Any] = json.loads(done.stdout)
    return result


def failures(result: dict[str, t.Any]) -> list[str]:
    return [check["name"] for check in result["checks"] if not check["ok"]]


def test_a_server_is_proven_as_soon_as_it_has_loaded(llama_server: str, model: Path) -> None:
    with serving(llama_server, model, "--ctx-size", "2048", "--parallel", "2", "--alias", "tiny") as server:
        expect = {"alias": "tiny", "n_ctx": 1024, "slots": 2, "listen": [f"127.0.0.1:{server.port}"]}
        first = probe(base_url=server.url, api_key=KEY, expect=expect)
        assert first["healthy"], first
        assert [check["name"] for check in first["checks"]] == [
            "health", "listeners", "auth", "model", "context", "slots", "completion", "streaming",
        ]  # fmt: skip
        again = probe(base_url=server.url + "/v1", api_key=KEY, expect=expect)
        assert again["timings"]["load_seconds"] is None
        assert again["timings"]["completion_tokens"] == 8
        assert all(again["timings"][name] > 0 for name in ("time_to_first_token_ms", "tokens_per_second", "prompt_tokens_per_second"))


def test_a_server_that_comes_up_late_is_waited_for(llama_server: str, model: Path) -> None:
    port = free_port("127.0.0.1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pending = pool.submit(probe, base_url=f"http://127.0.0.1:{port}", api_key=KEY)
        time.sleep(1)  # long enough for the probe to start and be refused
        with serving(llama_server, model, port=port):
            result = pending.result(60)
    assert result["healthy"], result
    assert 0 < result["timings"]["load_seconds"] < 10


def test_every_mismatch_is_named(llama_server: str, model: Path) -> None:
    with serving(llama_server, model, "--ctx-size", "2048", "--parallel", "2", host="0.0.0.0") as server:
        expect = {"alias": "chat", "n_ctx": 2048, "slots": 4, "listen": [f"127.0.0.1:{server.port}"]}
        result = probe(base_url=server.url, api_key=KEY, expect=expect)
    assert failures(result) == ["listeners", "model", "context", "slots"]
    assert result["msg"].startswith(f"{server.url} fails the check 'listeners': listens on 0.0.0.0:{server.port}, you asked for 127.0.0.1:")


def test_a_context_beyond_what_the_model_was_trained_for(llama_server: str, model: Path) -> None:
    with serving(llama_server, model, "--ctx-size", "8192", "--parallel", "1") as server:
        result = probe(base_url=server.url, api_key=KEY, expect={"n_ctx": 8192})
    assert "a slot has 4096 tokens of context, you asked for 8192; the model was trained for 4096" in result["msg"]


@pytest.mark.parametrize(
    ("given", "known", "reason"),
    [("another", KEY, "it refuses the API key that you gave"), (None, KEY, "you gave none"), (KEY, None, "answered 400 instead of 401")],
)
def test_a_key_that_does_not_fit(llama_server: str, model: Path, given: str | None, known: str | None, reason: str) -> None:
    with serving(llama_server, model, key=known) as server:
        result = probe(base_url=server.url, api_key=given)
    assert failures(result) == ["auth"]
    assert reason in result["msg"]


def test_no_key_on_either_side(llama_server: str, model: Path) -> None:
    with serving(llama_server, model, key=None) as server:
        result = probe(base_url=server.url)
    assert [check["name"] for check in result["checks"]] == ["health", "completion", "streaming"]
    assert result["healthy"], result


def test_an_ipv6_address(llama_server: str, model: Path) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("IPv6 is switched off")
    with serving(llama_server, model, host="::1") as server:
        result = probe(base_url=server.url, api_key=KEY, expect={"listen": [f"[::1]:{server.port}"]})
    assert result["healthy"], result


def test_a_server_that_dies_while_it_is_waited_for(llama_server: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing more")
    with serving(llama_server, broken) as server:
        result = probe(base_url=server.url, timeout=1)
        assert server.process.poll() not in (None, 0)
    assert failures(result) == ["health"]
    assert "nothing listens there" in result["msg"]
