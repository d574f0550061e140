# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: a real llama-server on a private port, under the name that vLLM's own engine has among processes."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from pathlib import Path

from .log import ENGINE_CORE, info
from .model import StartError

_SECONDS_TO_LOAD = 60.0
_SLOTS = 4
_TRAINED = 4096  # tokens, of the tiny model


class Engine:
    def __init__(self, directory: Path, length: int, sequences: int) -> None:
        """``directory``: where llama-server is, as VLLM::EngineCore, and the model that it serves."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        slots = min(sequences, _SLOTS)
        command = [str(directory / "VLLM::EngineCore"), "--offline", "--model", str(directory / "tiny.gguf")]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--parallel",
            str(slots),
            "--ctx-size",
            str(min(length, _TRAINED) * slots),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LLAMA_", "VLLM_API_KEY"))}
        environment["LD_LIBRARY_PATH"] = str(directory / "lib")
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait_until_loaded(self) -> None:
        end = time.monotonic() + _SECONDS_TO_LOAD + float(os.environ.get("SHIM_LOAD_SECONDS", "0"))
        time.sleep(float(os.environ.get("SHIM_LOAD_SECONDS", "0")))
        while not self._answers():
            if not self.lives or time.monotonic() > end:
                raise StartError("RuntimeError", "Engine core initialization failed. (…) Failed core proc(s): {}")
            time.sleep(0.02)
        info("core.py:281", "init engine (…) took 0.1 seconds", ENGINE_CORE)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
