# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vllm serve …`: refuses what vLLM's parser refuses, looks at what vLLM looks at, and serves with llama-server."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from .engine import Engine
from .log import API_SERVER, ENGINE_CORE, info, traceback, uvicorn
from .metrics import Metrics
from .model import GIB, Gpu, Model, StartError, find
from .options import VERSION, Options
from .server import ApiServer

_WATCHDOG_SECONDS = 5.0
_USAGE_ERROR = 2


def main() -> int:
    words = sys.argv[1:]
    if words in (["--version"], ["-v"]):
        print(VERSION)
        return 0
    if not words or words[0] != "serve":
        print("usage: vllm [-h] [-v] {serve} ...", file=sys.stderr)
        return _USAGE_ERROR
    options, refusal = Options.read(words[1:])
    if refusal:
        print(f"usage: vllm serve [model_tag] [options]\nvllm serve: error: {refusal}", file=sys.stderr)
        return _USAGE_ERROR
    try:
        return serve(options)
    except StartError as error:
        traceback(ENGINE_CORE, error.kind, error.message)
        traceback(API_SERVER, "RuntimeError", "Engine core initialization failed. (…) Failed core proc(s): {}")
        return 1
    except OSError as error:
        traceback(API_SERVER, type(error).__name__, str(error))
        return 1


def serve(options: Options) -> int:
    info("startup.py:38", f"version {VERSION}, model {options.model} (a stand-in for the tests: tests/vllm)")
    info("startup.py:96", f"non-default args: {_without_keys(options.given)}")
    keys = options.api_keys or list(filter(None, [os.environ.get("VLLM_API_KEY")]))
    server = ApiServer(options, VERSION, keys)
    _see_gpu()
    _write_caches()
    directory = find(options.model, options.revision)
    model = Model.load(directory, options.tokenizer_mode)
    model.check_quantization(options.quantization)
    length = model.length(options.max_model_len)
    _share_memory(options.offload_gib)
    tokens = Gpu.seen().cache_tokens(model, length, options.utilisation, options.cache_dtype)
    engine = Engine(Path(os.environ.get("SHIM_HOME", "/opt/vllm-shim")), length, options.max_num_seqs)
    try:
        engine.wait_until_loaded()
        said = f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {length:,} tokens per request: {tokens / length:.2f}x"
        info("kv_cache_utils.py:1147", said, ENGINE_CORE)
        cache = {
            "block_size": 16,
            "num_gpu_blocks": tokens // 16,
            "kv_cache_size_tokens": tokens,
            "kv_cache_max_concurrency": tokens / length,
        }
        return _run(server, engine, Metrics(options.names[0], cache, options.log_stats), length, options)
    finally:
        engine.stop()


def _run(server: ApiServer, engine: Engine, metrics: Metrics, length: int, options: Options) -> int:
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        info("launcher.py:260", "[shutdown] API server: shutdown triggered")
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.open(engine, metrics, length)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    uvicorn(f"Started server process [{os.getpid()}]")
    uvicorn("Application startup complete.")
    while not stopping.wait(_WATCHDOG_SECONDS):
        if not engine.lives:  # vLLM's API server ends itself, too
            traceback(API_SERVER, "vllm.v1.engine.exceptions.EngineDeadError", "EngineCore encountered an issue.")
            return 1
    server.shutdown()
    server.server_close()
    mode = "drain" if options.shutdown_seconds else "abort"
    info("launcher.py:276", f"[shutdown] API server: stopping engine client mode={mode} timeout={options.shutdown_seconds}s")
    end = time.monotonic() + options.shutdown_seconds
    while metrics.running and time.monotonic() < end:
        time.sleep(0.05)
    return 0


def _without_keys(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "***" if name == "api_key" else value for name, value in given.items()}


def _see_gpu() -> None:
    if os.environ.get("SHIM_GPU") != "none" and not list(Path("/dev").glob("nvidia[0-9]*")):
        raise StartError("RuntimeError", "Failed to infer device type, please set the environment variable (…)")


def _write_caches() -> None:
    """Where vLLM, and what compiles for it, would write: a root that is read-only, or a user without a home, fails there."""
    root = Path(os.environ.get("VLLM_CACHE_ROOT") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vllm")
    (root / "torch_compile_cache").mkdir(parents=True, exist_ok=True)
    if not os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        getpass.getuser()


def _share_memory(gib: float) -> None:
    if gib and gib * GIB > shutil.disk_usage("/dev/shm").free:
        raise StartError("OSError", "[Errno 28] No space left on device")
