# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""llama_build as a real process on a tree that compiles in seconds; needs compilers, cmake, ninja and git, but no range host."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from .miniature import OBJECTS, Host, git, make_archive, make_repository, make_source_distribution, make_tree


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("archive")
    return make_archive(make_tree(directory / "tree"), directory / "miniature.tar.gz")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, archive: dict[str, str]) -> Host:
    """A prefix with one release, to be copied by tests that start from there."""
    host = Host(tmp_path_factory.mktemp("built"))
    assert not host.run(source=archive).failed
    return host


@pytest.fixture
def converged(host: Host, built: Host) -> Host:
    shutil.copytree(built.prefix, host.prefix, symlinks=True)
    return host


def wait_until(condition: t.Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


# --- the life of a release ----------------------------------------------------------------------------------------------


def test_check_build_check_again(host: Host, archive: dict[str, str]) -> None:
    predicted = host.run(check=True, source=archive)
    assert predicted["changed"] and predicted["rebuilt"] and predicted["reasons"] == ["no release is installed"]
    assert not host.prefix.exists()

    done = host.run(source=archive)
    assert done["changed"] and done["rebuilt"]
    assert done["build_key"] == predicted["build_key"] == host.current()
    assert done["manifest"]["inputs"] == predicted["manifest"]["inputs"]
    assert done["diff"]["before"]["current"] is None and done["diff"]["after"]["current"] == done["build_key"]
    assert Path(done["log"]).stat().st_size > 0
    assert sorted(os.listdir(host.prefix)) == ["ccache", "current", "history.json", "lock", "log", "releases", "sources"]

    version = subprocess.run([f"{done['current']}/bin/llama-server", "--version"], capture_output=True, text=True, check=True).stderr
    assert f"commit {archive['sha256'][:12]}" in version
    assert "/usr/src/llama.cpp/source/mini.c" in version
    assert os.readlink(Path(done["bin_dir"], "libmini.so.1")) == "libmini.so.1.2.3"

    for check in (True, False):
        again = host.run(check=check, source=archive)
        assert not again["changed"] and not again["rebuilt"] and again["reasons"] == []
        assert again["diff"]["before"] == again["diff"]["after"]


def test_same_inputs_give_the_same_bytes_under_another_prefix(converged: Host, tmp_path: Path, archive: dict[str, str]) -> None:
    other = Host(tmp_path / "other")
    here, there = converged.run(source=archive), other.run(source=archive)
    assert there["rebuilt"]
    assert here["manifest"] == there["manifest"]


def test_option_rebuilds_and_says_why(converged: Host, archive: dict[str, str]) -> None:
    before = converged.current()
    done = converged.run(source=archive, cmake_options={"GGML_AVX512": False, "CMAKE_BUILD_TYPE": "MinSizeRel"})
    assert done["reasons"] == ["cmake_options.CMAKE_BUILD_TYPE: Release -> MinSizeRel", "cmake_options.GGML_AVX512: unset -> OFF"]
    assert converged.releases() == sorted([before, done["build_key"]])

    back = converged.run(source=archive)
    assert back["changed"] and not back["rebuilt"]
    assert converged.current() == before


def test_evicted_release_is_rebuilt_from_the_compiler_cache(converged: Host, archive: dict[str, str]) -> None:
    if not shutil.which("ccache"):
        pytest.skip("ccache is not installed")
    key = converged.current()
    files = json.loads((converged.prefix / "releases" / key / "manifest.json").read_text())["files"]
    shutil.rmtree(converged.prefix / "releases" / key)
    # The cache knows the paths of the prefix it was filled under.
    first = converged.run(source=archive)
    assert first["reasons"] == [f"release {key} is missing from {converged.prefix}/releases"]
    shutil.rmtree(converged.prefix / "releases" / key)
    subprocess.run(["ccache", "--zero-stats"], env={**os.environ, "CCACHE_DIR": str(converged.prefix / "ccache")}, check=True, stdout=-3)
    again = converged.run(source=archive)
    assert again["manifest"]["files"] == files
    statistics = subprocess.run(
        ["ccache", "--print-stats"],
        env={**os.environ, "CCACHE_DIR": str(converged.prefix / "ccache")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    counted = dict(line.split("\t") for line in statistics.splitlines())
    assert int(counted["cache_miss"]) == 0 and int(counted["direct_cache_hit"]) == OBJECTS


def test_without_ccache(host: Host, archive: dict[str, str]) -> None:
    assert host.run(source=archive, ccache=False)["rebuilt"]
    assert not (host.prefix / "ccache").exists()


def test_roll_back_and_forward(converged: Host, archive: dict[str, str]) -> None:
    old = converged.current()
    wanted = {"source": archive, "cmake_options": {"A": 1}}
    new = converged.run(**wanted)["build_key"]

    predicted = converged.run(check=True, state="rolled_back", **wanted)
    assert predicted["changed"] and predicted["build_key"] == old and converged.current() == new
    back = converged.run(state="rolled_back", **wanted)
    assert back["changed"] and back["build_key"] == old == converged.current()
    assert not converged.run(state="rolled_back", **wanted)["changed"]

    forward = converged.run(**wanted)
    assert forward["changed"] and not forward["rebuilt"]
    assert converged.current() == new

    assert converged.run(state="rolled_back")["build_key"] == old
    nowhere = converged.run(state="rolled_back")
    assert nowhere.failed and old in nowhere["msg"] and new in nowhere["msg"]
    assert converged.current() == old


def test_only_the_latest_releases_are_kept(converged: Host, archive: dict[str, str]) -> None:
    first = converged.current()
    server = subprocess.Popen([converged.prefix / "releases" / first / "bin" / "llama-server"], stderr=subprocess.DEVNULL)
    try:
        keys = [converged.run(source=archive, cmake_options={"N": n}, keep_releases=2)["build_key"] for n in range(3)]
        assert converged.releases() == sorted([first, *keys[1:]])  # what runs is kept, though it is the oldest
        refused = converged.run(state="absent")
        assert refused.failed and f"process {server.pid} (llama-server" in refused["msg"]
    finally:
        server.kill()
        server.wait()
    last = converged.run(source=archive, cmake_options={"N": 3}, keep_releases=1)["build_key"]
    assert converged.releases() == sorted([keys[-1], last])  # the one to go back to is kept as well


def test_absent_leaves_nothing(converged: Host) -> None:
    predicted = converged.run(check=True, state="absent")
    assert predicted["changed"] and predicted["diff"]["before"]["releases"] == converged.releases()
    assert converged.run(state="absent")["changed"]
    assert not converged.prefix.exists()
    assert not converged.run(state="absent")["changed"]


# --- sources ------------------------------------------------------------------------------------------------------------


def test_git_branch_tag_and_commit(host: Host, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    source = make_repository(tree, tmp_path / "bare.git")
    commit = git("rev-parse", "HEAD", cwd=tree)
    by_tag = host.run(source=source)
    assert by_tag["rebuilt"] and by_tag["manifest"]["inputs"]["source"]["digest"] == commit
    for version in ("main", commit, "HEAD"):
        assert not host.run(source={**source, "version": version})["changed"]

    (tree / "mini.c").write_text((tree / "mini.c").read_text() + "/* two */\n")
    git("commit", "--quiet", "--all", "--message=two", cwd=tree)
    git("push", "--quiet", source["repo"], "main", cwd=tree)
    assert not host.run(source=source)["changed"]
    moved = host.run(check=True, source={**source, "version": "main"})
    second = git("rev-parse", "HEAD", cwd=tree)
    assert moved["reasons"] == [f"source: {source['repo']} v1 ({commit[:12]}) -> {source['repo']} main ({second[:12]})"]

    shutil.rmtree(source["repo"])
    assert not host.run(source={**source, "version": commit})["changed"]  # a commit needs no repository


def test_archive_by_url(host: Host, archive: dict[str, str], tmp_path: Path) -> None:
    source = {"kind": "archive", "url": Path(archive["path"]).as_uri(), "sha256": archive["sha256"]}
    assert host.run(source=source)["rebuilt"]
    shutil.rmtree(host.prefix / "releases")
    assert host.run(source={**source, "url": "http://127.0.0.1:9/gone.tar.gz"})["rebuilt"]  # its archive was kept


def test_subdirectory(host: Host, tmp_path: Path) -> None:
    make_tree(tmp_path / "package" / "vendor" / "llama.cpp")
    source = make_archive(tmp_path / "package", tmp_path / "package.tar.gz")
    assert "has no CMakeLists.txt" in host.run(source=source)["msg"]
    assert host.run(source={**source, "subdirectory": "vendor/llama.cpp"})["rebuilt"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes pip find two versions of a package, and nothing else."""
    directory = tmp_path_factory.mktemp("index")
    tree = make_tree(directory / "tree")
    for version in ("1.0", "1.1"):
        make_source_distribution(tree, directory / "simple", version)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(directory / "simple"), "PIP_CONFIG_FILE": os.devnull}


def test_package_as_pip_finds_it(host: Host, index: dict[str, str]) -> None:
    source = {"kind": "pypi", "name": "miniature-llama", "version": "1.0"}
    predicted = host.run(check=True, env=index, source=source)
    assert predicted["changed"] and predicted["build_key"] is None
    done = host.run(env=index, source=source)
    assert done["rebuilt"] and done["manifest"]["origin"] == "miniature-llama 1.0"

    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    assert not host.run(env=offline, source=source)["changed"]  # it is known what 1.0 is
    digest = done["manifest"]["inputs"]["source"]["digest"]
    assert not host.run(env=offline, source={**source, "sha256": digest})["changed"]

    wrong = host.run(env=index, source={**source, "version": "1.1", "sha256": "0" * 64})
    assert wrong.failed and "source.sha256: miniature-llama 1.1 is" in wrong["msg"]
    unknown = host.run(env=index, source={**source, "version": "1.2"})
    assert unknown.failed and "no source distribution of miniature-llama 1.2; the newest are 1.0, 1.1" in unknown["msg"]
    assert host.releases() == [done["build_key"]]


def test_unreachable_package_index(host: Host) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    result = host.run(env=nowhere, source={"kind": "pypi", "version": "1.0"})
    assert result.failed and "the package index that pip on this host is configured for can't be reached" in result["msg"]
    assert host.releases() == []


# --- bad input: one clear error, nothing changed ------------------------------------------------------------------------


BAD = {
    "wrong checksum": (
        {"sha256": "0" * 64},
        {},
        "source.sha256: {path} is {sha256}, not 0000",
    ),
    "missing file": ({"path": "/nonexistent.tar"}, {}, "source.path: there is no file /nonexistent.tar"),
    "unreachable url": (
        {"path": None, "url": "http://127.0.0.1:9/llama.tar.gz"},
        {},
        "source.url: http://127.0.0.1:9/llama.tar.gz can't be reached from this host",
    ),
    "unreachable repository": (
        {"kind": "git", "repo": "/nonexistent.git", "version": "v1", "path": None, "sha256": None},
        {},
        "source.repo: /nonexistent.git can't be read from this host",
    ),
    "unknown target": ({}, {"targets": ["llama-nothing"]}, "unknown target 'llama-nothing'"),
    "unknown compiler": ({}, {"cmake_options": {"CMAKE_C_COMPILER": "nocc"}}, "CMAKE_C_COMPILER is 'nocc', which is not on this host"),
    "server that does not start": ({}, {"cmake_options": {"EXIT_STATUS": 3}}, "the new llama-server does not start: version: 0"),
    "prefix of the system": ({}, {"prefix": "/usr"}, "prefix: /usr is refused"),
    "prefix with foreign files": ({}, {"prefix": "/usr/lib"}, "which llama_build did not put there"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(converged: Host, archive: dict[str, str], case: str) -> None:
    source, arguments, message = BAD[case]
    # Another key than the current release's, so that there is something to build.
    arguments = {"cmake_options": {"CASE": 1}, **arguments}
    before = sorted(path.name for path in converged.prefix.iterdir()), converged.releases(), converged.current()
    if "sha256" not in source:
        (converged.prefix / "sources" / f"{archive['sha256']}.tar").unlink()
    result = converged.run(source={**archive, **source}, **arguments)
    assert result.failed
    assert message.format(**archive) in result["msg"]
    assert (sorted(path.name for path in converged.prefix.iterdir()), converged.releases(), converged.current()) == before


def test_unknown_revisions(host: Host, tmp_path: Path) -> None:
    source = make_repository(make_tree(tmp_path / "tree"), tmp_path / "bare.git")
    unknown = host.run(source={**source, "version": "v2"})
    assert unknown.failed and "source.version: 'v2' is neither a branch nor a tag" in unknown["msg"]
    assert not host.prefix.exists()
    gone = host.run(source={**source, "version": "0" * 40})
    assert gone.failed and f"source.version: '{'0' * 40}' is no commit of" in gone["msg"]


def test_failed_compile_names_the_error_and_the_log(host: Host, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / "more.cpp").write_text("#include <cstdio>\nint more() { return undeclared_thing; }\n")
    result = host.run(source=make_archive(tree, tmp_path / "broken.tar.gz"))
    assert result.failed
    assert "more.cpp:2:" in result["msg"] and "error:" in result["msg"] and "undeclared_thing" in result["msg"]
    assert "more.cpp.o" in result["target"]
    assert "-c" in result["cmd"] and "more.cpp" in result["cmd"]
    assert len(result["stdout"].splitlines()) <= 20
    assert "undeclared_thing" in Path(result["log"]).read_text()
    assert host.releases() == [] and not (host.prefix / "work").exists()


def test_no_compiler(host: Host, archive: dict[str, str], tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    predicted = host.run(check=True, env={"PATH": str(bare)}, source=archive)
    assert predicted["changed"] and predicted["build_key"] is None
    assert "cmake" in str(predicted["warnings"])
    result = host.run(env={"PATH": str(bare)}, source=archive)
    assert result.failed
    assert "apt-get install gcc g++ cmake ninja-build" in result["msg"]


def test_make_where_there_is_no_ninja(host: Host, archive: dict[str, str], tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("cc", "c++", "cmake", "make", "ar", "ranlib", "ld", "as", "uname", "setpriv", "sleep"):
        if path := shutil.which(name):
            (bare / name).symlink_to(path)
    assert host.run(env={"PATH": str(bare)}, source=archive)["rebuilt"]


# --- faults -------------------------------------------------------------------------------------------------------------


def progress_of(host: Host) -> dict[str, t.Any]:
    try:
        return dict(json.loads((host.prefix / "progress.json").read_text()))
    except FileNotFoundError:
        return {}


def step_of(host: Host) -> str:
    return str(progress_of(host).get("step", ""))


def is_locked(host: Host) -> bool:
    with open(host.prefix / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(
    ("step", "slowed_by"),
    [("configure llama.cpp", "CONFIGURE_SECONDS"), ("build llama.cpp", "BUILD_SECONDS"), ("prove the new release", "START_SECONDS")],
)
def test_killed_build_leaves_nothing_and_the_next_run_completes(
    converged: Host, archive: dict[str, str], step: str, slowed_by: str
) -> None:
    before = converged.current()
    wanted = {"source": archive, "cmake_options": {slowed_by: 2}}
    process = converged.start(**wanted)
    wait_until(lambda: step_of(converged) == step)
    time.sleep(0.2)
    assert is_locked(converged)
    process.kill()
    process.communicate()
    assert converged.releases() == [before] and converged.current() == before
    wait_until(lambda: not is_locked(converged), 10)
    assert converged.processes() == []

    done = converged.run(**wanted)
    assert done["rebuilt"] and converged.current() == done["build_key"]
    assert converged.releases() == sorted([before, done["build_key"]])
    assert not (converged.prefix / "work").exists() and not (converged.prefix / "progress.json").exists()


def test_two_runs_build_once(host: Host, archive: dict[str, str]) -> None:
    wanted = {"source": archive, "cmake_options": {"BUILD_SECONDS": 2}}
    first = host.start(**wanted)
    wait_until(lambda: step_of(host) == "build llama.cpp")
    second = host.start(**wanted)
    results = [json.loads(process.communicate(timeout=120)[0]) for process in (first, second)]
    assert [result["rebuilt"] for result in results] == [True, False]
    assert not results[1]["changed"]
    assert len(list((host.prefix / "log").iterdir())) == 1


def test_progress_is_told_while_it_builds(host: Host, archive: dict[str, str]) -> None:
    process = host.start(source=archive, cmake_options={"CONFIGURE_SECONDS": 2.5, "BUILD_SECONDS": 1})
    beats: dict[str, set[int]] = {}
    while process.poll() is None:
        if progress := progress_of(host):
            beats.setdefault(progress["step"], set()).add(progress["heartbeat"])
        time.sleep(0.02)
    process.communicate()
    assert {"configure llama.cpp", "build llama.cpp"} <= beats.keys()
    assert len(beats["configure llama.cpp"]) > 2  # it beats, though cmake is silent


def test_terminated_build_stops_its_compilers(host: Host, archive: dict[str, str]) -> None:
    process = host.start(source=archive, cmake_options={"CONFIGURE_SECONDS": 5})
    wait_until(lambda: any("sleep" in line or "cmake" in line for line in host.processes()))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    wait_until(lambda: not is_locked(host), 10)
    assert host.processes() == []
