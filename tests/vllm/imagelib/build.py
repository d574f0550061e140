# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from a host with Docker to one that has the image."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RANGE = str(ROOT / "tests" / "range" / "range")
RELEASE = ROOT / ".cache" / "vllm-image" / "release.tar"
VERSION, BASE_IMAGE, LLAMA_IMAGE = "0.33.0", "debian-base:13", "ggml-org/llama.cpp:server"
SHIM_HOME, _LLAMA_HOME = "/opt/vllm-shim", "/app"
_BASE_PACKAGES = ("dash", "coreutils", "base-files", "libstdc++6")
_PACKAGES = (*_BASE_PACKAGES, "python3", "libpython3-stdlib")
_SECONDS = 300
# Of the C library, an image has its own.
_COLLECT = r"""
cd /opt/llama.cpp/current && mkdir -p /tmp/vllm-image/lib
for library in $(ldd bin/llama-server | awk '$2 == "=>" { print $3 }'); do
  case $library in
    */libc.so*|*/libm.so*|*/libdl.so*|*/librt.so*|*/libpthread.so*) ;;
    *) cp -L "$library" /tmp/vllm-image/lib/ ;;
  esac
done
tar -C /tmp/vllm-image -cf - lib -C /opt/llama.cpp/current --dereference bin/llama-server
"""
# What the collection itself knows of vLLM's options: the stand-in refuses the others.
_COLLECTION, _MODULES = "ansible_collections/baremetal/llm", "plugins/module_utils"
_PARSER = HERE.parent / "shim" / "vllm_shim" / "parser.py"


def collect_release(host: str) -> Path:
    """llama-server, with the libraries that it needs, from a host of the range where it was built; kept for later images."""
    packed = _ssh(host, "sh", "-euc", _quoted(_COLLECT))
    RELEASE.parent.mkdir(parents=True, exist_ok=True)
    partial = RELEASE.with_suffix(".partial")
    partial.write_bytes(packed)
    partial.replace(RELEASE)
    return RELEASE


def collect_release_of(snapshot: str, name: str = "vllm-image-release") -> Path:
    """The same from a snapshot of the range."""
    try:
        subprocess.run([RANGE, "up", name, "--from", snapshot], check=True, stdout=subprocess.DEVNULL, timeout=_SECONDS)
        return collect_release(name)
    finally:
        subprocess.run([RANGE, "down", name], check=True, timeout=_SECONDS)


def build_image(
    host: str, *, version: str = VERSION, tag: str = "", label: str = "", release: Path | None = None, registry: str = ""
) -> str:
    """The image of the stand-in for that version of vLLM, on that host of the range; its id.

    With ``registry``, HOST:PORT, it is put in there and nowhere else, and what is returned is its digest.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = _unpacked(release, Path(name))
        (directory / "VLLM::EngineCore").symlink_to("bin/llama-server")
        shutil.copytree(HERE.parent / "shim", directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        modules = directory / _COLLECTION / _MODULES
        modules.mkdir(parents=True)
        for module in _imported_by(_PARSER):
            shutil.copy(ROOT / _MODULES / f"{module}.py", modules)
        subprocess.run([sys.executable, ROOT / "tools" / "tiny_gguf.py", directory / "tiny.gguf"], check=True, stdout=subprocess.DEVNULL)
        changes = ['ENTRYPOINT ["vllm","serve"]', "EXPOSE 8000", "WORKDIR /vllm-workspace"]
        changes += [f"ENV PATH={SHIM_HOME}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += [f"ENV SHIM_VLLM_VERSION={version}"]
        changes += [f"LABEL of-the-tests={label}"] if label else []
        return _import(host, tag or image_name(version), _PACKAGES, changes, directory, SHIM_HOME, registry=registry)


def build_llama_image(host: str, *, tag: str = LLAMA_IMAGE, release: Path | None = None, registry: str = "") -> str:
    """As the images of the llama.cpp project: its llama-server in /app; the rest as for :func:`build_image`."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as place:
        unpacked, app = _unpacked(release, Path(name)), Path(place)
        app.chmod(0o755)  # for whoever the container runs as
        for path in (unpacked / "bin" / "llama-server", *(unpacked / "lib").iterdir()):
            shutil.copy2(path, app)
        changes = [f'ENTRYPOINT ["{_LLAMA_HOME}/llama-server"]', f"ENV LD_LIBRARY_PATH={_LLAMA_HOME}", f"WORKDIR {_LLAMA_HOME}"]
        changes += ["ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return _import(host, tag, (*_BASE_PACKAGES, "bash"), changes, app, _LLAMA_HOME, registry=registry)


def _unpacked(release: Path | None, directory: Path) -> Path:
    release = release or RELEASE
    if not release.exists():
        raise SystemExit(f"{release} is not there: name a host where llama.cpp was built, with --release-from.")
    with tarfile.open(release) as tar:
        tar.extractall(directory, filter="data")
    return directory


def image_name(version: str = VERSION) -> str:
    return f"vllm/vllm-openai:v{version}"


def build_base_image(host: str, *, tag: str = BASE_IMAGE) -> str:
    """A small image with a C library and a shell, for programs of the host; its id."""
    return _import(host, tag, _BASE_PACKAGES, ["ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"], None)


def _import(
    host: str, tag: str, packages: Sequence[str], changes: Sequence[str], contents: Path | None, home: str = "", *, registry: str = ""
) -> str:
    """``contents`` come to ``home``."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for script in ("on_docker_host.py", "push.py"):
            tar.add(HERE / script, script)
        if contents:
            tar.add(contents, "contents")
    _ssh(host, "rm -rf /tmp/image && mkdir /tmp/image && tar -C /tmp/image -xf -", stdin=packed.getvalue())
    directories = [f"/tmp/image/contents:{home}"] if contents else []
    make = f"python3 /tmp/image/on_docker_host.py {','.join(packages)} {' '.join(directories)}"
    if registry:
        take = " ".join(["python3 /tmp/image/push.py", _quoted(f"{registry}/{tag}"), *map(_quoted, changes)])
    else:
        take = " ".join(["docker import", *(_quoted(f"--change={change}") for change in changes), "-", _quoted(tag)])
    made = _ssh(host, f"set -e; {make} | {take}; rm -rf /tmp/image")
    return made.decode().strip()


def _imported_by(program: Path) -> set[str]:
    """The modules of the collection that a program needs, and those that they need."""
    found: set[str] = set()
    rest = [program]
    while rest:
        names = re.findall(r"plugins\.module_utils\.(_\w+) import", rest.pop().read_text(encoding="utf-8"))
        rest += (ROOT / _MODULES / f"{name}.py" for name in set(names) - found)
        found.update(names)
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _ssh(host: str, *command: str, stdin: bytes | None = None) -> bytes:
    asked = [RANGE, "ssh", host, "--", *command]
    done = subprocess.run(asked, input=stdin or b"", capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(asked[:4])} failed (rc {done.returncode}): {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
