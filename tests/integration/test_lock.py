"""playbooks/lock.yml against a hub and a registry of this machine; a host then gets what the lock says, whatever these have meanwhile."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub
from ansible_collections.baremetal.llm.tests.registry import Registry

from .deployment import ROOT, Deployment, Run

LOCK = "playbooks/lock.yml"
Q4, Q5, CONFIG, SPLIT = "tiny-q4_k_m.gguf", "tiny-q5_k_m.gguf", "config.json", "large-0000{}-of-00003.gguf"
FIRST = {Q4: b"four", Q5: b"five", CONFIG: b"{}", **{SPLIT.format(number): b"large" for number in (1, 2, 3)}}
SECOND = {**FIRST, Q4: b"another four"}
UPDATE = {"inference_lock_update": "true"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def service(file: str | None, *, name: str = "chat", repo_id: str = "acme/tiny", **model: t.Any) -> dict[str, t.Any]:
    # The key is one that nobody has: a lock needs no vault.
    model = {"repo_id": repo_id, **({"file": file} if file else {}), **model}
    return {"name": name, "model": model, "port": 8080, "api_key": "{{ vault_that_is_not_there }}"}


@pytest.fixture
def hub() -> t.Iterator[Hub]:
    repositories = [Repository("acme/tiny"), Repository("acme/gated", gated=True)]
    with Hub(repositories, tokens={"hf_reader": {"acme/gated"}, "hf_other": set()}) as hub:
        for repository in repositories:
            repository.commit(FIRST)
        yield hub


class Inventory(Deployment):
    """Hosts that nobody can reach, and the lock beside them."""

    @property
    def file(self) -> Path:
        return self.directory / "deploy.lock.yml"

    def describe(self, **hosts: list[dict[str, t.Any]]) -> None:
        described = {name: {"inference_services": services} for name, services in hosts.items()}
        nowhere = {"ansible_host": "127.0.0.1", "ansible_port": 1}
        (self.directory / "range.yml").write_text(yaml.safe_dump({"all": {"hosts": described, "vars": nowhere}}), encoding="utf-8")

    def lock(self, *flags: str, **extra: t.Any) -> Run:
        """A run that has to succeed."""
        run = self.play(LOCK, extra, *flags)
        assert run.rc == 0, run.output
        return run

    def content(self) -> dict[str, t.Any]:
        content = yaml.safe_load(self.file.read_text("utf-8"))
        assert isinstance(content, dict)
        return content

    def changes(self, **extra: t.Any) -> tuple[bool, list[str]]:
        """Whether a run changed the lock, which is as well what check mode foretold, and what it says has moved."""
        before = self.file.read_bytes() if self.file.exists() else None
        foretold = self.lock("--check", "--diff", **extra)
        assert (self.file.read_bytes() if self.file.exists() else None) == before
        done = self.lock("--diff", **extra)
        results = [run.task("Settle it").result for run in (foretold, done)]
        assert results[0] == results[1] and bool(done.changed) == (before != self.file.read_bytes())
        return bool(done.changed), results[1]["moved"]


@pytest.fixture
def inventory(tmp_path: Path, hub: Hub) -> Inventory:
    inventory = Inventory("controller", "", tmp_path, ())
    inventory.describe(gpu1=[service(Q4)], gpu2=[service("large-00001*", name="large"), service(None, name="all", revision="v1")])
    hub.by_name["acme/tiny"].commit({Q4: b"four", CONFIG: b"{}"}, "v1")
    extra = {"models_hub_endpoint": hub.endpoint}
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump(extra), encoding="utf-8")
    return inventory


def test_the_first_lock_and_the_same_again(inventory: Inventory, hub: Hub) -> None:
    changed, moved = inventory.changes()
    repository = hub.by_name["acme/tiny"]
    main, v1 = repository.refs["main"], repository.refs["v1"]
    assert changed and f"acme/tiny@main: {main[:12]}, 4 files for chat, large" in moved
    large = [{"path": SPLIT.format(number), "size": 5, "sha256": sha256(b"large")} for number in (1, 2, 3)]
    four = {"path": Q4, "size": 4, "sha256": sha256(b"four")}
    content = inventory.content()
    assert content["models"] == {
        "acme/tiny@main": {"commit": main, "files": [*large, four], "services": ["chat", "large"]},
        "acme/tiny@v1": {"commit": v1, "files": [{"path": CONFIG, "size": 2, "sha256": sha256(b"{}")}, four], "services": ["all"]},
    }
    assert [source["kind"] for source in content["llama_cpp"]] == ["pypi"]
    assert inventory.file.stat().st_mode & 0o777 == 0o644
    # No weights were downloaded, and of the small file nothing the second time.
    assert hub.asked(origin="downloads") == [] and len(hub.asked(contains=CONFIG)) == 2

    before, asked = inventory.file.stat(), len(hub.requests)
    assert inventory.changes() == (False, [])
    after = inventory.file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert all(contains in request.path for request, contains in zip(hub.requests[asked:], (main, v1) * 2, strict=True))


def test_a_branch_that_moves_is_followed_on_request(inventory: Inventory, hub: Hub) -> None:
    inventory.lock()
    repository = hub.by_name["acme/tiny"]
    first, second = repository.refs["main"], repository.commit(SECOND)
    assert inventory.changes() == (False, [])
    shown = inventory.lock("--check", "--diff", **UPDATE).output
    assert f"-    commit: {first}" in shown and f"+    commit: {second}" in shown
    told = "{}, 4 files for chat, large"
    assert inventory.changes(**UPDATE) == (True, [f"acme/tiny@main: {told.format(first[:12])} → {told.format(second[:12])}"])
    assert sha256(SECOND[Q4]) in inventory.file.read_text("utf-8")


def test_models_come_and_go_with_the_services(inventory: Inventory, hub: Hub) -> None:
    inventory.lock()
    first = hub.by_name["acme/tiny"].refs["main"]
    hub.by_name["acme/tiny"].commit(SECOND)
    inventory.describe(gpu1=[service(Q5)], gpu2=[service(None, name="all", revision="v1")])
    inventory.lock("--limit", "gpu1")
    entry = inventory.content()["models"]["acme/tiny@main"]
    assert entry["commit"] == first and [file["path"] for file in entry["files"]] == [
        *(SPLIT.format(number) for number in (1, 2, 3)),
        Q4,
        Q5,
    ]
    inventory.lock()
    assert [file["path"] for file in inventory.content()["models"]["acme/tiny@main"]["files"]] == [Q5]


def test_a_branch_of_git_becomes_its_commit(inventory: Inventory, tmp_path: Path) -> None:
    repository = tmp_path / "llama.cpp"
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@t"]

    def commit() -> str:
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=more"], check=True)
        return subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()

    subprocess.run(["git", "init", "--quiet", "--initial-branch=master", str(repository)], check=True)
    source = {"llama_cpp_source": {"kind": "git", "repo": str(repository), "version": "master"}}
    first = commit()
    inventory.lock(**source)
    assert inventory.content()["llama_cpp"] == [{"kind": "git", "repo": str(repository), "version": "master", "commit": first}]
    second = commit()
    assert inventory.changes(**source) == (False, [])
    assert inventory.changes(**source, **UPDATE) == (True, [f"git {repository} master: {first[:12]} → {second[:12]}"])


def test_the_token_is_used_and_never_told(inventory: Inventory, hub: Hub) -> None:
    inventory.describe(gpu1=[service(CONFIG, repo_id="acme/gated")])
    run = inventory.lock("-vvv", "--diff", models_hub_token="hf_reader")
    assert {request.authorization for request in hub.requests} == {"Bearer hf_reader"}
    told = run.output + json.dumps([task.result for task in run.tasks]) + inventory.file.read_text("utf-8")
    assert "hf_reader" not in told and inventory.content()["models"]["acme/gated@main"]["files"][0]["sha256"] == sha256(b"{}")


WHOLE = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"[]"}
SETTLED = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.import_role": {"name": f"baremetal.llm.{role}", "tasks_from": "variables"}}
            for role in ("inference", "models")
        ]
        + [{"name": "Tell", "ansible.builtin.debug": {"msg": "{{ __inference_locked }}"}}],
    }
]
"""What the roles make of the lock."""


def served(image: str, *, name: str = "mistral", **changes: t.Any) -> dict[str, t.Any]:
    """A service of vLLM that takes a whole repository."""
    return {**service(None, name=name), "engine": "vllm", "manager": "compose", "image": image, **changes}


@pytest.fixture
def registry() -> t.Iterator[Registry]:
    with Registry() as registry:
        yield registry


def settled(inventory: Inventory, host: str = "gpu1", **extra: t.Any) -> dict[str, t.Any]:
    playbook = inventory.directory / "settled.yml"
    playbook.write_text(json.dumps(SETTLED), encoding="utf-8")
    run = inventory.play(str(playbook), extra, "--limit", host)
    assert run.rc == 0, run.output
    told = run.task("Tell").result["msg"]
    assert isinstance(told, dict)
    return told


def test_images_and_what_vllm_reads(inventory: Inventory, hub: Hub, registry: Registry) -> None:
    digest = registry.push("vllm/vllm-openai", "v0.33.0", "amd64", "arm64")
    registry.push("library/debian", "trixie-slim", "amd64")
    commit = hub.by_name["acme/tiny"].commit({**WHOLE, Q4: b"four", "pytorch_model.bin": b"pickle", "README.md": b"#"})
    image, base_image = f"{registry.name}/vllm/vllm-openai:v0.33.0", f"{registry.name}/library/debian:trixie-slim"
    in_compose = {**service(Q4), "manager": "compose"}
    inventory.describe(gpu1=[served(image)], gpu2=[served(image), {**in_compose, "name": "chat"}])
    base = {"inference_base_image": base_image}
    changed, moved = inventory.changes(**base)
    assert changed and f"image {image}: {digest.removeprefix('sha256:')[:12]}" in moved
    content = inventory.content()
    assert set(content["images"]) == {image, base_image} and content["images"][image] == digest
    entry = content["models"]["acme/tiny@main"]
    assert [file["path"] for file in entry["files"]] == ["config.json", "model.safetensors", Q4, "tokenizer.json"]
    assert entry["services"] == ["chat", "mistral"]
    asked = [(request.method, request.path) for request in registry.asked if request.path.startswith("/v2/vllm")]
    assert asked == [("HEAD", "/v2/vllm/vllm-openai/manifests/v0.33.0")] * 4, "a challenge each, in check mode and for real"

    # The tag moves, and nothing follows it but a run that is told to.
    other = registry.push("vllm/vllm-openai", "v0.33.0", "amd64", "arm64", "riscv64")
    before = len(registry.asked)
    assert inventory.changes(**base) == (False, []) and len(registry.asked) == before
    told = settled(inventory, "gpu2", **base, inference_require_lock=True)
    assert told["services"]["mistral"] == {"model": {"revision": commit}, "image": f"{image}@{digest}"}
    assert told["services"]["chat"] == {"model": {"revision": commit}}
    assert told["base_image"] == f"{base_image}@{content['images'][base_image]}" and told["problems"] == []
    assert told["models"]["mistral"]["files"] == ["@vllm"] and told["models"]["mistral"]["expected"]["commit"] == commit
    inventory.lock("--limit", "gpu1", **base, **UPDATE)
    assert inventory.content()["images"] == {**content["images"], image: other}

    # What the lock does not settle.
    newer = served(image.replace("v0.33.0", "v0.34.0"))
    inventory.describe(gpu1=[newer])
    (problem,) = settled(inventory, **base, inference_require_lock=True)["problems"]
    assert (problem["code"], problem["severity"]) == ("image_not_locked", "error") and "v0.34.0 is not in " in problem["message"]
    assert settled(inventory, **base)["problems"][0]["severity"] == "warning"
    inventory.describe(gpu1=[served(f"{image}@{digest}")])
    assert settled(inventory, **base, inference_require_lock=True)["problems"] == []
    registry.push("vllm/vllm-openai", "v0.34.0", "amd64")
    inventory.lock(**base)
    assert "images" not in inventory.content(), "what has a digest needs none"


def test_a_login_of_docker_is_used_and_never_told(
    inventory: Inventory, hub: Hub, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.by_name["acme/tiny"].commit(WHOLE)
    registry.users = {"operator": "hunter2hunter2"}
    digest = registry.push("team/vllm", "v1", "amd64")
    inventory.describe(gpu1=[served(f"{registry.name}/team/vllm:v1")])
    run = inventory.play(LOCK)
    assert run.rc != 0 and f"{registry.name}/team/vllm:v1 (mistral on gpu1): image: {registry.name} refuses team/vllm (401)" in run.failure
    assert f"`docker login {registry.name}` on this machine" in run.failure and not inventory.file.exists()
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(b"operator:hunter2hunter2").decode()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}), encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    run = inventory.lock("-vvv", "--diff")
    assert inventory.content()["images"] == {f"{registry.name}/team/vllm:v1": digest}
    told = run.output + json.dumps([task.result for task in run.tasks]) + inventory.file.read_text("utf-8")
    assert "hunter2" not in told and auth not in told


CASES: dict[str, tuple[list[dict[str, t.Any]], dict[str, t.Any], list[str]]] = {
    "unknown repository": ([service(Q4, repo_id="acme/none")], {}, ["acme/none@main (chat on gpu1): repo_id: there is no acme/none on"]),
    "no name of a repository": ([service(Q4, repo_id="tiny")], {}, ["gpu1: the model of chat: repo_id: 'tiny' is not the name of"]),
    "unknown revision": ([service(Q4, revision="v9")], {}, ["acme/tiny@v9 (chat on gpu1): revision: acme/tiny has no revision v9"]),
    "a glob that matches nothing": (
        [service("tiny-Q5*")],
        {},
        ["'tiny-Q5*' matches nothing in acme/tiny", "Did you mean tiny-q5_k_m.gguf?"],
    ),
    "a file that is not there": ([service("tiny-q6_k.gguf")], {}, ["'tiny-q6_k.gguf' is not in acme/tiny", "Did you mean tiny-q"]),
    "no first shard": ([service("broken-*")], {}, ["is one of 2 shards", "lacks broken-00001-of-00002.gguf"]),
    "gated, without a token": ([service(Q4, repo_id="acme/gated")], {}, ["acme/gated is gated; accept its conditions on"]),
    "a token without access": ([service(Q4, repo_id="acme/gated")], {"models_hub_token": "hf_other"}, ["acme/gated is gated"]),
    "a token that is none": ([service(Q4)], {"models_hub_token": "hf_none"}, ["token: 127.0.0.1", "does not accept it"]),
    "no network": (
        [service(Q4)],
        {"models_hub_endpoint": "http://127.0.0.1:9"},
        ["127.0.0.1:9 can't be reached", "check the network, the proxy"],
    ),
    "unknown branch of git": (
        [],
        {"llama_cpp_source": {"kind": "git", "repo": str(ROOT), "version": "no-such-branch"}},
        ["llama_cpp_source: source.version: 'no-such-branch' is neither a branch nor a tag"],
    ),
    "unknown kind of source": ([], {"llama_cpp_source": {"kind": "gti"}}, ["gpu1: llama_cpp_source: source.kind: 'gti' is none of git,"]),
    "no registry": (
        [served("127.0.0.1:9/vllm:v1", model={"file": "/srv/mistral"})],
        {},
        ["127.0.0.1:9/vllm:v1 (mistral on gpu1): image: 127.0.0.1:9 can't be reached"],
    ),
    "no name of an image": ([served("vLLM")], {}, ["gpu1: the image of mistral: 'vLLM' cannot name an image; write it as NAME:TAG"]),
    "no safetensors": (
        [served(f"debian@sha256:{'0' * 64}")],
        {},
        ["acme/tiny@main (mistral on gpu1): files: acme/tiny at ", "has no weights as safetensors, only .gguf; take a model that has them"],
    ),
    "no directory": ([], {"inference_lock_file": "/nowhere/deploy.lock.yml"}, ["/nowhere is not a directory; correct inference_lock_file"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_and_the_lock_stays(inventory: Inventory, hub: Hub, case: str) -> None:
    services, extra, words = CASES[case]
    hub.by_name["acme/tiny"].commit({**FIRST, "broken-00002-of-00002.gguf": b"2"})
    inventory.file.write_text("lock: 1\n", encoding="utf-8")
    inventory.describe(gpu1=services)
    run = inventory.play(LOCK, extra)
    assert run.rc != 0, run.output
    for word in words:
        assert word in run.failure, run.failure
    assert len([task for task in run.tasks if task.status == "failed"]) == 1 and "Traceback" not in run.output
    assert inventory.file.read_text("utf-8") == "lock: 1\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (sha256(b"four"), "e" * 64, [f"the lock says sha256 {'e' * 64} for {Q4}, the hub says {sha256(b'four')}", "find out which"]),
        ("COMMIT", "main", ["deploy.lock.yml: models.acme/tiny@main.commit: 'main' is not a commit but the name of a branch"]),
        ("COMMIT", "f" * 40, [f"acme/tiny has no revision {'f' * 40}; it is the commit that the lock has", "inference_lock_update=true"]),
        ("models:", "<<<<<<< HEAD\nmodels:", ["is not YAML", "after a merge that left its marks; restore the file"]),
    ],
)
def test_a_lock_that_is_wrong(inventory: Inventory, hub: Hub, old: str, new: str, words: list[str]) -> None:
    inventory.describe(gpu1=[service(Q4)])
    inventory.lock()
    wrong = inventory.file.read_text("utf-8").replace(old.replace("COMMIT", hub.by_name["acme/tiny"].refs["main"]), new)
    inventory.file.write_text(wrong, encoding="utf-8")
    run = inventory.play(LOCK)
    assert run.rc != 0
    for word in words:
        assert word in run.failure, run.failure
    assert inventory.file.read_text("utf-8") == wrong


# --- a host -------------------------------------------------------------------------------------------------------------


def test_a_host_gets_what_is_locked_whatever_the_branch_is_now(deployment: Deployment, tmp_path: Path) -> None:
    gateway = deployment.run("sh", "-c", "'ip -json route show default'")
    repository = Repository("acme/tiny")
    with Hub([repository], address=json.loads(gateway)[0]["gateway"]) as hub:
        locked = repository.commit({"tiny.gguf": ROOT / ".cache" / "quickstart" / "quickstart-tiny.gguf"})
        tiny = {"name": "tiny", "model": {"repo_id": "acme/tiny", "file": "tiny.gguf"}, "port": 8080, "options": {"ctx_size": 2048}}
        file = tmp_path / "deploy.lock.yml"
        extra = {
            "inference_services": [tiny],
            "inference_require_lock": True,
            "inference_lock_file": str(file),
            "models_hub_endpoint": hub.endpoint,
        }
        before = deployment.state()
        refused = deployment.play("site.yml", extra)
        assert refused.rc != 0 and "tiny: acme/tiny@main is not locked, for there is no" in refused.failure
        assert "Run playbooks/lock.yml and commit what it writes" in refused.failure and deployment.state() == before

        assert deployment.play(LOCK, extra).rc == 0
        asked = len(hub.requests)
        moved = repository.commit({"tiny.gguf": b"no model at all"})
        served = deployment.play("site.yml", extra)
        assert served.rc == 0, served.output
        assert f"/snapshots/{locked}/tiny.gguf" in deployment.run("systemctl", "cat", "inference-tiny")
        assert not any(moved in request.path or "/main" in request.path for request in hub.requests[asked:])

        asked = len(hub.requests)
        again = deployment.play("site.yml", extra)
        assert (again.rc, again.changed) == (0, []) and len(hub.requests) == asked, "the lock answers for the hub"


def test_a_host_builds_the_commit_that_is_locked(deployment: Deployment, tmp_path: Path) -> None:
    source = {"kind": "git", "repo": "/nowhere.git", "version": "master"}
    file = tmp_path / "deploy.lock.yml"
    file.write_text(json.dumps({"lock": 1, "llama_cpp": [{**source, "commit": "c" * 40}]}), encoding="utf-8")
    playbook = tmp_path / "plan.yml"
    role = {"name": "baremetal.llm.llama_cpp", "tasks_from": "plan"}
    playbook.write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": role}]}]), encoding="utf-8"
    )
    run = deployment.play(str(playbook), {"llama_cpp_source": source, "inference_lock_file": str(file)})
    planned = run.task("See what there is to build").result
    assert planned["rebuilt"] and planned["manifest"]["inputs"]["source"]["digest"] == "c" * 40, planned


def test_a_broken_lock_stops_before_any_change(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "deploy.lock.yml"
    file.write_text("lock: 1\nmodels: {acme/tiny@main: {commit: main}}\n", encoding="utf-8")
    before = deployment.state()
    run = deployment.play("site.yml", {"inference_lock_file": str(file)})
    assert run.rc != 0 and deployment.state() == before
    assert f"{file}: models.acme/tiny@main.commit: 'main' is not a commit but the name of a branch or tag" in run.failure
    assert len([task for task in run.tasks if task.status == "failed"]) == 1
