# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, render
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import MissingRevisionError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing
from ansible_collections.baremetal.llm.plugins.module_utils._lock_settle import Mode, moves, settled
from ansible_collections.baremetal.llm.plugins.module_utils._lock_wanted import Wanted, WantedImage, WantedModel, parse_wanted
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_hub import hub_file, sha256

KEY = "acme/tiny@main"
Q4, Q5, CONFIG = "tiny-q4_k_m.gguf", "tiny-q5_k_m.gguf", "config.json"
FIRST = {Q4: b"4", Q5: b"5", CONFIG: b"{}"}
SECOND = {Q4: b"four", Q5: b"five", CONFIG: b"{ }"}
GIT = {"kind": "git", "repo": "/srv/llama.cpp", "version": "master"}
PYPI = {"kind": "pypi", "version": "0.3.36"}


@dataclass
class World:
    """One repository with its commits, and everything that is asked of it."""

    commits: dict[str, Listing] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    master: str = "a" * 40
    images: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def commit(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        commit = hashlib.sha1(repr((sorted(files.items()), self.refs)).encode()).hexdigest()
        self.commits[commit] = Listing(commit, tuple(hub_file(path, files[path]) for path in sorted(files)))
        self.refs[ref] = commit
        self.files = files
        return commit

    def look(self, model: WantedModel, revision: str) -> Listing:
        self.asked.append(f"look {model.repo_id} {revision} {model.token}".strip())
        commit = self.refs.get(revision, revision)
        if commit not in self.commits:
            raise MissingRevisionError(f"revision: {model.repo_id} has no revision {revision}; give another.")
        return self.commits[commit]

    def sha256(self, model: WantedModel, commit: str, file: HubFile) -> str:
        self.asked.append(f"read {file.path}")
        return sha256(self.files[file.path])

    def image_digest(self, image: WantedImage) -> str:
        self.asked.append(f"image {image.key}")
        if image.key not in self.images:
            raise UserError("image: the registry has none; correct it")
        return self.images[image.key]

    def digest(self, source: Source) -> str:
        self.asked.append(f"source {source.version}")
        return self.master if source.kind == "git" else "f" * 64


def wanted(*files: str, host: str = "gpu1", service: str = "chat", token: str = "", revision: str = "main", **others: Any) -> Wanted:
    model = {"repo_id": "acme/tiny", "revision": revision, "file": next(iter(files), None), "mmproj": files[1] if len(files) > 1 else None}
    return parse_wanted({"host": host, "services": [{"name": service, "model": model}], **others}, token)


def paths(lock: DeployLock, key: str = KEY) -> list[str]:
    return [file.path for file in lock.models[key].model.files]


@pytest.fixture
def world() -> World:
    world = World()
    world.commit(FIRST)
    return world


def lock(world: World, *hosts: Wanted, before: DeployLock | None = None, update: bool = False, keep: bool = False) -> DeployLock:
    world.asked.clear()
    return settled(hosts, before or DeployLock(), world, Mode(update, keep))


def test_the_first_lock_has_what_all_hosts_want_of_a_model(world: World) -> None:
    made = lock(world, wanted(Q4), wanted("tiny-q5*", host="gpu2", service="vision"), wanted(Q4, host="gpu3"))
    entry = made.models[KEY]
    assert entry.model.commit == world.refs["main"] and entry.services == ("chat", "vision")
    assert [(file.path, file.size, file.sha256) for file in entry.model.files] == [(Q4, 1, sha256(b"4")), (Q5, 1, sha256(b"5"))]
    assert world.asked == ["look acme/tiny main"]
    assert lock(world, wanted()).models[KEY].model.files[0].sha256 == sha256(b"{}")
    assert world.asked == ["look acme/tiny main", f"read {CONFIG}"]


def test_what_is_locked_stays_and_is_compared_with_the_hub(world: World) -> None:
    before = lock(world, wanted())
    first = world.refs["main"]
    world.commit(SECOND)
    again = lock(world, wanted(), before=before)
    assert again == before and moves(before, again) == []
    assert world.asked == [f"look acme/tiny {first}"], "of the small file, the checksum is known"


def test_an_update_takes_what_the_branch_is_now(world: World) -> None:
    before = lock(world, wanted(Q4))
    first, second = world.refs["main"], world.commit(SECOND)
    after = lock(world, wanted(Q4), before=before, update=True)
    assert after.models[KEY].model.commit == second and after.models[KEY].model.files[0].sha256 == sha256(b"four")
    assert moves(before, after) == [f"{KEY}: {first[:12]}, 1 file for chat → {second[:12]}, 1 file for chat"]


def test_files_and_models_come_and_go_with_those_who_want_them(world: World) -> None:
    before = lock(world, wanted(Q4))
    more = lock(world, wanted(Q4), wanted(Q5, service="vision"), before=before)
    assert paths(more) == [Q4, Q5]
    fewer = lock(world, wanted(Q5, service="vision"), before=more)
    assert paths(fewer) == [Q5] and fewer.models[KEY].services == ("vision",)
    assert lock(world, wanted(Q5, revision=world.refs["main"]), before=more).models.keys() == {f"acme/tiny@{world.refs['main']}"}
    assert moves(more, lock(world, Wanted("gpu1"), before=more)) == [f"{KEY}: gone"]


def test_with_some_of_the_hosts_what_others_want_stays(world: World) -> None:
    before = lock(world, wanted(Q4, cuda_toolkit="13.0.3", llama_cpp_source=GIT), wanted(Q5, host="gpu2", service="vision"))
    assert lock(world, wanted(Q5, host="gpu2", service="vision"), before=before, keep=True) == before
    assert lock(world, Wanted("gpu3"), before=before, keep=True) == before
    world.commit(SECOND)
    moved = lock(world, wanted(Q5, host="gpu2", service="vision"), before=before, keep=True, update=True)
    assert paths(moved) == [Q4, Q5] and moved.models[KEY].model.commit == world.refs["main"]
    assert moved.models[KEY].services == ("chat", "vision") and moved.cuda_toolkits == ("13.0.3",)
    world.commit({Q5: b"only"})
    with pytest.raises(UserError, match=f"'{Q4}' is not in acme/tiny"):
        lock(world, wanted(Q5, host="gpu2", service="vision"), before=before, keep=True, update=True)


def test_a_host_with_a_token_asks_for_those_without(world: World) -> None:
    lock(world, wanted(Q4), wanted(Q4, host="gpu2", token="hf_reader"))
    assert world.asked == ["look acme/tiny main hf_reader"]
    assert "hf_reader" not in repr(wanted(Q4, token="hf_reader"))


def test_versions_are_noted_once(world: World) -> None:
    hosts = [wanted(Q4, host=host, cuda_toolkit=12.8, nvidia_driver=driver) for host, driver in (("a", "580.1"), ("b", "570.2"), ("c", ""))]
    made = lock(world, *hosts)
    assert (made.cuda_toolkits, made.nvidia_drivers) == (("12.8",), ("570.2", "580.1"))
    assert moves(made, lock(world, *hosts[1:])) == ["NVIDIA driver 580.1: gone"]


def source(raw: dict[str, str], host: str = "gpu1") -> Wanted:
    return parse_wanted({"host": host, "llama_cpp_source": raw})


@pytest.mark.parametrize(
    ("raw", "digest", "asked", "digest_of_update", "asked_for_update"),
    [
        (GIT, "a" * 40, ["source master"], "b" * 40, ["source master"]),
        ({**GIT, "version": "c" * 40}, "c" * 40, [], "c" * 40, []),
        (PYPI, "f" * 64, ["source 0.3.36"], "f" * 64, []),
        ({**PYPI, "sha256": "e" * 64}, "e" * 64, [], "e" * 64, []),
        ({"kind": "archive", "url": "https://x/y.tar", "sha256": "d" * 64}, "d" * 64, [], "d" * 64, []),
    ],
)
def test_a_source_is_asked_for_only_where_it_does_not_settle_itself(
    world: World, raw: dict[str, str], digest: str, asked: list[str], digest_of_update: str, asked_for_update: list[str]
) -> None:
    made = lock(world, source(raw), source(raw, "gpu2"))
    assert [locked.digest for locked in made.llama_cpp] == [digest] and world.asked == asked
    world.master = "b" * 40
    assert lock(world, source(raw), before=made) == made and world.asked == []
    updated = lock(world, source(raw), before=made, update=True)
    assert [locked.digest for locked in updated.llama_cpp] == [digest_of_update] and world.asked == asked_for_update


def test_sources_of_several_hosts(world: World) -> None:
    given = {**PYPI, "sha256": "e" * 64}
    assert len(lock(world, source(PYPI), source(given, "gpu2")).llama_cpp) == 1 and world.asked == []
    before = lock(world, source(GIT), source(given, "gpu2"))
    world.master = "b" * 40
    kept = lock(world, source(GIT), before=before, update=True, keep=True)
    assert [(locked.kind, locked.digest) for locked in kept.llama_cpp] == [("git", "b" * 40), ("pypi", "e" * 64)]
    assert [locked.kind for locked in lock(world, source(GIT), before=kept).llama_cpp] == ["git"]
    changed = lock(world, source({**PYPI, "sha256": "1" * 64}), before=before)
    assert moves(before, changed) == ["git /srv/llama.cpp master: gone", f"pypi llama-cpp-python 0.3.36: {'e' * 12} → {'1' * 12}"]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (wanted("tiny-q6*"), "acme/tiny@main (chat on gpu1): files: 'tiny-q6*' matches nothing in acme/tiny at"),
        (wanted("tiny-q4_k_s.gguf"), "Did you mean tiny-q4_k_m.gguf"),
        (wanted("split-00001-of-00003.gguf"), "'split-00001-of-00003.gguf' is not in acme/tiny at"),
        (wanted("split-00003-of-00003.gguf"), "is one of 3 shards, but acme/tiny at"),
        (wanted("split-*"), "lacks split-00001-of-00003.gguf, without which the model can't be loaded"),
        (wanted(Q4, revision="v2"), "acme/tiny@v2 (chat on gpu1): revision: acme/tiny has no revision v2; give another."),
    ],
)
def test_what_the_hub_does_not_have(world: World, host: Wanted, said: str) -> None:
    world.commit({**FIRST, "split-00002-of-00003.gguf": b"2", "split-00003-of-00003.gguf": b"3"})
    with pytest.raises(UserError) as refused:
        lock(world, host)
    assert said in refused.value.msg


def test_a_lock_that_is_not_of_what_the_hub_has(world: World) -> None:
    before = lock(world, wanted(Q4))
    listing = world.commits[world.refs["main"]]
    world.commits[listing.commit] = replace(listing, files=(replace(listing.files[1], blob="0" * 64),))
    for update in (False, True):
        with pytest.raises(UserError, match=rf"the lock says sha256 {sha256(b'4')} for {Q4}, the hub says 0{{64}} for acme/tiny at"):
            lock(world, wanted(Q4), before=before, update=update)


def test_a_locked_commit_that_the_hub_has_no_more(world: World) -> None:
    before = lock(world, wanted(Q4))
    world.commits.clear()
    world.commit(SECOND)
    with pytest.raises(UserError, match=r"it is the commit that the lock has; take what main is now with -e inference_lock_update=true"):
        lock(world, wanted(Q4), before=before)
    assert lock(world, wanted(Q4), before=before, update=True).models[KEY].model.commit == world.refs["main"]


def test_nothing_wanted_is_an_empty_lock(world: World) -> None:
    assert lock(world) == DeployLock() and "models" not in render(lock(world))


# -- whole repositories, and images ------------------------------------------------------------------------------------


def served(name: str = "mistral", host: str = "vllm1", image: str = "vllm/vllm-openai:v0.33.0", **changes: Any) -> Wanted:
    """A service of vLLM."""
    model = {"repo_id": "acme/tiny"}
    service = {"name": name, "engine": "vllm", "manager": "compose", "image": image, "model": model, **changes}
    return parse_wanted({"host": host, "services": [service]})


def test_of_a_whole_repository_what_vllm_reads(world: World) -> None:
    whole = {CONFIG: b"{}", "model.safetensors": b"w", "consolidated.safetensors": b"w", "tekken.json": b"{}", "params.json": b"{}"}
    world.commit({**whole, Q4: b"4", "pytorch_model.bin": b"pickle"})
    world.images["vllm/vllm-openai:v0.33.0"] = DIGEST
    assert paths(lock(world, served())) == [CONFIG, "model.safetensors", "tekken.json"]
    own = served(options={"config_format": "mistral"})
    assert paths(lock(world, own)) == [CONFIG, "consolidated.safetensors", "params.json", "tekken.json"]
    both = lock(world, served(), wanted(Q4))
    assert paths(both) == [CONFIG, "model.safetensors", "tekken.json", Q4] and both.models[KEY].services == ("chat", "mistral")
    world.commit(FIRST)
    with pytest.raises(UserError, match=r"acme/tiny@main \(mistral on vllm1\): files: .* has no weights as safetensors, only .gguf"):
        lock(world, served())


DIGEST, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
IMAGE = "vllm/vllm-openai:v0.33.0"


def images(world: World, *hosts: Wanted, **others: Any) -> dict[str, str]:
    return dict(lock(world, *(replace(host, models=()) for host in hosts), **others).images)


def test_an_image_is_settled_once_and_stays_until_it_is_asked_for_anew(world: World) -> None:
    world.images |= {IMAGE: DIGEST, "debian:latest": OTHER}
    first = lock(world, *(replace(served(host=host), models=()) for host in ("a", "b")))
    assert first.images == {IMAGE: DIGEST} and world.asked == [f"image {IMAGE}"]
    assert moves(DeployLock(), first) == [f"image {IMAGE}: {'1' * 12}"]
    world.images[IMAGE] = OTHER
    assert images(world, served(), before=first) == {IMAGE: DIGEST} and world.asked == []
    assert images(world, served(), before=first, update=True) == {IMAGE: OTHER}
    assert images(world, served(image="debian"), before=first) == {"debian:latest": OTHER}
    assert images(world, served(image="debian"), before=first, keep=True) == {IMAGE: DIGEST, "debian:latest": OTHER}


@pytest.mark.parametrize("image", [f"{IMAGE}@{DIGEST}", f"vllm/vllm-openai@{DIGEST}"])
def test_an_image_with_a_digest_needs_no_lock(world: World, image: str) -> None:
    assert images(world, served(image=image)) == {} and world.asked == []


@pytest.mark.parametrize(
    ("service", "base_image", "expected"),
    [
        ({"engine": "llama_server"}, "debian:trixie-slim", ["debian:trixie-slim"]),
        ({"engine": "llama_server", "image": "ghcr.io/x/y:1"}, "debian:trixie-slim", ["ghcr.io/x/y:1"]),
        ({"engine": "llama_server"}, "", []),
        ({"engine": "vllm"}, "debian:trixie-slim", []),  # of which the problems of the services tell
        ({"manager": "systemd", "image": "ghcr.io/x/y:1"}, "debian:trixie-slim", []),
        ({"manager": None}, "debian:trixie-slim", []),
    ],
)
def test_which_images_a_host_wants(service: dict[str, Any], base_image: str, expected: list[str]) -> None:
    described = parse_wanted({"host": "h", "services": [{"name": "s", "manager": "compose", **service}], "base_image": base_image})
    assert [image.key for image in described.images] == expected


def test_a_registry_without_tls(world: World) -> None:
    raw = {"host": "h", "services": [{"name": "s", "manager": "compose", "image": "registry.lan:5000/x:1"}]}
    (image,) = parse_wanted({**raw, "insecure_registries": ["registry.lan:5000"]}).images
    assert image.plain and not parse_wanted(raw).images[0].plain


def test_what_is_wrong_with_an_image_names_who_wants_it(world: World) -> None:
    with pytest.raises(UserError, match=rf"{IMAGE} \(mistral on a, mistral on b\): image: the registry has none; correct it"):
        images(world, served(host="a"), served(host="b"))
    with pytest.raises(UserError, match="h: the image of s: 'A' cannot name an image"):
        parse_wanted({"host": "h", "services": [{"name": "s", "manager": "compose", "image": "A"}]})
    with pytest.raises(UserError, match="h: inference_base_image: 'A' cannot name an image"):
        parse_wanted({"host": "h", "services": [{"name": "s", "manager": "compose"}], "base_image": "A"})
