"""Each mistake gives one clear error that names it and its remedy, and leaves the host as it was."""

from __future__ import annotations

import typing as t

import pytest

from .deployment import Deployment

MODEL = "/var/lib/inference/models/quickstart-tiny.gguf"


def service(name: str = "tiny", **changes: t.Any) -> dict[str, t.Any]:
    tiny = {"model": {"file": MODEL}, "host": "0.0.0.0", "port": 8080, "options": {"ctx_size": 2048, "parallel": 2}}
    return {"name": name, **tiny, **changes}


def source(**values: t.Any) -> dict[str, t.Any]:
    return {"llama_cpp_source": values}


# Found in the description, and in a look at the host: one run tells of all of them, in a line for each.
SERVICES: list[tuple[dict[str, t.Any], list[str]]] = [
    (service(), []),
    (service(port=8081), ["tiny", "name", "two services"]),
    (service("second"), ["second", "8080", "tiny"]),
    (service("removed", port=8082, options={"mlock": True}), ["removed", "mlock", "load_mode"]),
    (service("newline", port=8083, options={"alias": "a\nExecStartPre=/bin/false"}), ["newline", "alias"]),
    (service("percent", port=8084, options={"alias": "100%n"}), ["percent", "alias", "%"]),
    (service("missing", port=8085, model={"file": "/nowhere.gguf"}), ["missing", "/nowhere.gguf"]),
]

CASES: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "unknown option": ({"inference_services": [service(options={"ctx_sise": 2048})]}, ["ctx_sise", "ctx_size"]),
    "model is a directory": ({"inference_services": [service(model={"file": "/usr/share"})]}, ["/usr/share", "directory"]),
    "model is not a GGUF": ({"inference_services": [service(model={"file": "/etc/hostname"})]}, ["/etc/hostname", "GGUF"]),
    "port held by something else": ({"inference_services": [service(port=22)]}, ["22", "sshd"]),
    "a number of seconds that is none": ({"inference_probe_timeout": "soon"}, ["inference_probe_timeout", "soon"]),
    "unknown PyPI version": (source(kind="pypi", version="0.0.999"), ["0.0.999"]),
    "unknown git revision": (source(kind="git", repo="/opt/source.git", version="no-such-revision"), ["no-such-revision"]),
    "wrong checksum": (source(kind="archive", path="/opt/source.tar.gz", sha256="0" * 64), ["sha256", "/opt/source.tar.gz"]),
    "unreachable source": (source(kind="archive", url="http://127.0.0.1:9/source.tar.gz", sha256="0" * 64), ["127.0.0.1:9"]),
}


@pytest.fixture(scope="module", autouse=True)
def sources(deployment: Deployment) -> None:
    """An archive and a bare repository on the host, for the sources that name them."""
    deployment.run(
        "sh",
        "-c",
        "'cd /opt && mkdir -p source && echo text > source/file && tar czf source.tar.gz source && git init -q --bare source.git"
        " && cd source && git init -q -b main && git add file && git -c user.name=t -c user.email=t@t commit -q -m first"
        " && git push -q /opt/source.git main'",
    )


def test_each_service_has_its_one_clear_error_and_nothing_changed(deployment: Deployment) -> None:
    before = deployment.state()

    run = deployment.play("site.yml", {"inference_services": [described for described, _words in SERVICES]})

    assert run.rc != 0 and run.changed == [], run.output
    lines = run.failure.splitlines()
    for _described, words in SERVICES[1:]:
        assert len([line for line in lines if all(word in line for word in words)]) == 1, (words, lines)
    assert len(lines) == len(SERVICES) - 1, lines
    assert "Traceback" not in run.output
    assert deployment.state() == before


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_and_nothing_changed(deployment: Deployment, case: str) -> None:
    extra, words = CASES[case]
    before = deployment.state()

    run = deployment.play("site.yml", extra)

    assert run.rc != 0, run.output
    for word in words:
        assert word in run.failure, run.failure
    assert "is undefined" not in run.failure
    assert "Traceback" not in run.output
    assert deployment.state() == before


def test_a_missing_compiler_is_named(deployment: Deployment) -> None:
    deployment.run("mv", "/usr/bin/cmake", "/usr/bin/cmake.away")
    try:
        before = deployment.state()
        run = deployment.play("site.yml", {"llama_cpp_build_packages": [], "llama_cpp_cmake_options": {"GGML_OPENMP": False}})
        assert run.rc != 0
        assert "cmake" in run.failure
        assert deployment.state() == before
    finally:
        deployment.run("mv", "/usr/bin/cmake.away", "/usr/bin/cmake")


def test_a_full_disk_is_named_before_anything_is_fetched(deployment: Deployment) -> None:
    deployment.run("mkdir", "-p", "/opt/small")
    deployment.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", "/opt/small")
    try:
        before = deployment.state()
        run = deployment.play("site.yml", {"llama_cpp_prefix": "/opt/small/llama.cpp"})
        assert run.rc != 0
        assert "MiB" in run.failure and "/opt/small" in run.failure
        assert deployment.state() == before
    finally:
        deployment.run("umount", "/opt/small")


def test_the_host_still_serves(deployment: Deployment) -> None:
    run = deployment.play()
    assert run.rc == 0, run.output
    assert run.changed == []
