# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/plan.yml without a GPU, a driver or a host that answers; and what a plan keeps site.yml from doing on a real host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tests import model_blueprints as models
from ansible_collections.baremetal.llm.tests.example_hub import MISTRAL_AWQ, example_hub
from ansible_collections.baremetal.llm.tests.host_classes import A10, HOST_CLASSES, RTX5090
from ansible_collections.baremetal.llm.tests.hub.hublib.faults import Fault
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Content, Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

from .deployment import ROOT, Deployment, Run

TOKEN = "hf_of_the_tests_0123456789"
KEY = "a-key-of-the-tests-0123456789abcdef"
# What is said of each host of the example: no lock has settled yet what its branches are.
FROM_THE_INVENTORY = {"host_unreachable", "model_not_locked"}

# -- the example inventory, of which no host answers ---------------------------------------------------------------------


class Planned(t.NamedTuple):
    output: str
    data: dict[str, t.Any]
    page: str

    def host(self, name: str) -> dict[str, t.Any]:
        return next(host for host in self.data["hosts"] if host["host"] == name)

    def codes(self, name: str) -> set[str]:
        return {problem["code"] for problem in self.host(name)["problems"]}


class Example:
    """Plans inventories/example with a cache of headers of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, **extra: t.Any) -> subprocess.CompletedProcess[str]:
        places = {"plan_html": str(self.directory / "plan.html"), "plan_json": str(self.directory / "plan.json")}
        return subprocess.run(
            [ROOT / ".venv/bin/ansible-playbook", "playbooks/plan.yml", "-i", "inventories/example", "-e", json.dumps({**places, **extra})],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(self.directory / "cache"), "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def plan(self, **extra: t.Any) -> Planned:
        done = self.run(**extra)
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout
        data = json.loads((self.directory / "plan.json").read_text("utf-8"))
        return Planned(done.stdout, data, (self.directory / "plan.html").read_text("utf-8"))


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Hub]:
    with example_hub(tmp_path_factory.mktemp("models")) as hub:
        yield hub


def test_every_host_class_has_its_verdict(example: Example, hub: Hub) -> None:
    """The command of the guide: no key, no driver, no host."""
    plan = example.plan(models_hub_endpoint=hub.endpoint)
    for host_class in HOST_CLASSES:
        host = plan.host(host_class.host)
        assert host["fits"] is True
        assert plan.codes(host_class.host) == FROM_THE_INVENTORY
        assert [gpu["name"] for gpu in host["gpus"]] == [host_class.gpu]
        assert host["toolkit"]["architectures"] == [host_class.architecture]
        assert host["driver"]["wanted_version"] == "580.126.09"
        assert [file["path"] for file in host["models"][0]["files"]] == [host_class.model, host_class.projector]
        assert all(file["size"] > 10**9 for file in host["models"][0]["files"])
        assert f"\n{host_class.host} " in plan.output
        assert host_class.host in plan.page
    # 32768 tokens of 28 layers with 4 heads of 128 each, for keys and for values; 8192 of 48.
    assert plan.host(A10.host)["gpus"][0]["kv_cache_mib"] == 1792
    assert plan.host(RTX5090.host)["gpus"][0]["kv_cache_mib"] == 768
    assert KEY not in plan.output and "api_key" not in plan.output


def test_headers_of_a_commit_are_asked_for_once(example: Example, hub: Hub) -> None:
    pinned = {
        f"{host_class.host.partition('-')[0]}_model": {
            "repo_id": host_class.repository,
            "revision": hub.by_name[host_class.repository].refs["main"],
            "file": host_class.model,
            "mmproj": host_class.projector,
        }
        for host_class in HOST_CLASSES
    }
    pinned["vllm_model"] = {"repo_id": MISTRAL_AWQ, "revision": hub.by_name[MISTRAL_AWQ].refs["main"]}
    first = example.plan(models_hub_endpoint=hub.endpoint, **pinned)
    before = len(hub.requests)
    again = example.plan(models_hub_endpoint=hub.endpoint, **pinned)
    assert len(hub.requests) == before, "a commit never changes"
    assert again.data == first.data
    example.plan(models_hub_endpoint=hub.endpoint)
    assert all(request.body_bytes <= 1 for request in hub.requests[before:]), "of a branch, one byte tells the commit"
    # What is damaged is asked for again.
    for kept in (example.directory / "cache" / "baremetal.llm" / "headers").iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    assert example.plan(models_hub_endpoint=hub.endpoint, **pinned).data == first.data


def test_a_profile_that_cannot_hold_an_image_and_a_context_that_does_not_fit(example: Example, hub: Hub) -> None:
    large = {"ctx_size": 262144, "n_gpu_layers": "all", "image_max_tokens": 4096}
    extra = {"models_hub_endpoint": hub.endpoint, "a10_context": "minimal", "rtx5090_contexts": {"standard": large}}
    plan = example.plan(**extra)
    assert "slot_too_small_for_image" in plan.codes("a10-1")
    assert "gpu_memory" in plan.codes("rtx5090-1")
    assert plan.host("rtx5090-1")["fits"] is False
    assert "SUGGESTION" in plan.output
    failed = example.run(**extra, plan_fail_on_errors=True)
    assert failed.returncode != 0 and "slot" in failed.stdout


def test_a_whole_repository_for_vllm(example: Example, hub: Hub) -> None:
    served = {
        "name": "mistral",
        "engine": "vllm",
        "manager": "compose",
        "image": "vllm/vllm-openai:v0.33.0",
        "model": {"repo_id": MISTRAL_AWQ},
        "gpus": [0],
        "port": 8000,
        "options": {"max_model_len": 32768, "gpu_memory_utilization": 0.9, "max_num_seqs": 16},
        "api_key": KEY,
    }
    plan = example.plan(models_hub_endpoint=hub.endpoint, inference_services=[served])
    host = plan.host(A10.host)
    (model,) = host["models"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} < {file["path"] for file in model["files"]}
    assert "README.md" not in {file["path"] for file in model["files"]}
    capacity = host["services"][0]["plan"]["capacity"]
    assert 3.5 < capacity["sequences_of_full_length"] < 4 and host["fits"] is True
    assert plan.codes(A10.host) == {*FROM_THE_INVENTORY, "image_not_locked", "sequences_exceed_cache"}
    assert "\nCache of vLLM in tokens\n" in plan.output and f"{capacity['kv_cache_tokens']:,}" in plan.output
    assert KEY not in plan.output + plan.page
    refused = example.plan(models_hub_endpoint=hub.endpoint, inference_services=[served], inference_require_lock=True)
    assert "ERROR  " in refused.output and "the image vllm/vllm-openai:v0.33.0 is not locked" in " ".join(refused.output.split())


HUB_CASES = {
    "nobody answers": ({"models_hub_endpoint": "http://127.0.0.1:9"}, "model_unknown", None),
    "offline": ({"inference_offline": True}, "model_unknown", None),
    "no such file": ({"a10_quantisation": "Q6_K"}, "model_unavailable", None),
    "no such repository": ({"a10_repository": "acme/nothing"}, "model_unavailable", None),
    "an unknown GPU": ({"inference_expected_gpus": [{"name": "NVIDIA B9000", "compute_capability": "8.6"}]}, "memory_unknown", None),
    "no GPU is named": ({"inference_expected_gpus": []}, "memory_unknown", None),
}


@pytest.mark.parametrize("case", HUB_CASES)
def test_what_is_unknown_is_said(example: Example, hub: Hub, case: str) -> None:
    extra, code, fits = HUB_CASES[case]
    plan = example.plan(**{"models_hub_endpoint": hub.endpoint, **extra})
    assert plan.codes("a10-1") == {*FROM_THE_INVENTORY, code}
    assert plan.host("a10-1")["fits"] is fits


def test_a_host_that_cannot_be_planned_does_not_keep_the_others_from_it(example: Example, hub: Hub) -> None:
    plan = example.plan(models_hub_endpoint=hub.endpoint, a10_model="{{ nobody }}")
    assert plan.codes("a10-1") == {"not_planned"} and plan.host("a10-1")["fits"] is None
    assert "'nobody' is undefined" in " ".join(plan.output.split())
    assert plan.host("rtx5090-1")["fits"] is True


def test_a_model_of_an_architecture_that_nobody_knows(example: Example, tmp_path: Path) -> None:
    strange = models.llama()
    strange.architecture = "acme9"
    with Hub([Repository(A10.repository)]) as hub:
        written = Content(strange.write(tmp_path / "a.gguf"), "0" * 64)
        hub.by_name[A10.repository].commit({A10.model: written, A10.projector: b"not a GGUF"})
        plan = example.plan(models_hub_endpoint=hub.endpoint, a10_model={"repo_id": A10.repository, "file": A10.model})
        assert plan.codes("a10-1") == {*FROM_THE_INVENTORY, "architecture_unknown"}
        assert plan.host("a10-1")["fits"] is None
        broken = example.plan(models_hub_endpoint=hub.endpoint)
        (problem,) = [problem for problem in broken.host("a10-1")["problems"] if problem["code"] == "model_unavailable"]
        assert A10.projector in problem["message"] and "can't be read as a GGUF file" in problem["message"]


# -- a real host ----------------------------------------------------------------------------------------------------------


def service(**changes: t.Any) -> dict[str, t.Any]:
    tiny = {
        "name": "tiny",
        "model": {"file": "/var/lib/inference/models/quickstart-tiny.gguf"},
        "host": "0.0.0.0",
        "port": 8080,
        "api_key": KEY,
        "options": {"ctx_size": 2048, "parallel": 2},
    }
    return {**tiny, **changes}


@pytest.fixture(scope="module")
def models_hub(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Hub]:
    """A hub that the host reaches as well: at the address on this side of its network."""
    address = deployment.run("sh", "-c", "'ip -4 route show default | cut -d\" \" -f3'").strip()
    directory = tmp_path_factory.mktemp("tiny")
    tiny = directory / "tiny.gguf"
    subprocess.run([sys.executable, ROOT / "tools" / "tiny_gguf.py", tiny], check=True, timeout=120)
    with Hub([Repository("acme/tiny"), Repository("acme/gated", gated=True)], address=address, tokens={TOKEN: {"acme/gated"}}) as hub:
        hub.by_name["acme/tiny"].commit({"tiny.gguf": tiny})
        hub.by_name["acme/gated"].commit({"tiny.gguf": tiny})
        yield hub


def from_hub(hub: Hub, repo_id: str = "acme/tiny", **changes: t.Any) -> dict[str, t.Any]:
    model = {"repo_id": repo_id, "file": "tiny.gguf"}
    return {"inference_services": [service(model=model, **changes)], "models_hub_endpoint": hub.endpoint}


ERRORS: dict[str, tuple[dict[str, t.Any], tuple[str, ...]]] = {
    "slots too large for the memory": (
        {"inference_services": [service(options={"ctx_size": 2048, "parallel": 2}, resources={"memory": "1MiB"})]},
        ("tiny: ", "resources.memory"),
    ),
    "a file that nobody brings": ({"inference_services": [service(model={"file": "/srv/none.gguf"})]}, ("/srv/none.gguf",)),
    "a local file that is not there": ({"models_local_files": ["/nowhere/x.gguf"]}, ("models_local_files", "/nowhere/x.gguf")),
    "no such repository": ({}, ("tiny: ", "acme/none")),
    "gated": ({}, ("tiny: ", "acme/gated", "token")),
}


@pytest.mark.parametrize("flags", [(), ("--check",)], ids=["run", "check"])
@pytest.mark.parametrize("case", ERRORS)
def test_an_error_of_the_plan_ends_the_run_before_anything_is_changed(
    deployment: Deployment, models_hub: Hub, case: str, flags: tuple[str, ...]
) -> None:
    extra, words = ERRORS[case]
    repositories = {"no such repository": "acme/none", "gated": "acme/gated"}
    if case in repositories:
        extra = from_hub(models_hub, repositories[case])
    before = deployment.state()
    run = deployment.play("site.yml", extra, *flags)
    assert run.rc != 0, run.output
    assert [task.name for task in run.tasks if task.status == "failed"] == [run.task("Check the host and its services").name]
    for word in words:
        assert word in run.failure
    assert "Traceback" not in run.output
    assert run.changed == []
    assert deployment.state() == before


def test_all_errors_are_told_at_once(deployment: Deployment) -> None:
    services = [
        service(model={"file": "/srv/a.gguf"}),
        service(name="b", port=8081, model={"file": "/srv/b.gguf"}, options={"mlock": True}),
    ]
    run = deployment.play("site.yml", {"inference_services": services})
    assert len(run.failure.splitlines()) == 3
    for word in ("/srv/a.gguf", "/srv/b.gguf", "mlock"):
        assert word in run.failure


def test_a_model_of_the_hub_is_planned_fetched_and_served(deployment: Deployment, models_hub: Hub) -> None:
    """From the header alone before anything is fetched; then from the host; then nothing is asked at all."""
    commit = models_hub.by_name["acme/gated"].refs["main"]
    wanted = {**from_hub(models_hub, "acme/gated"), "models_hub_token": TOKEN}
    wanted["inference_services"][0]["model"]["revision"] = commit
    predicted = deployment.play("site.yml", wanted, "--check")
    assert predicted.rc == 0, predicted.output
    assert plan_of(predicted)["services"][0]["plan"]["tokens_per_slot"] == 1024
    run = deployment.play("site.yml", wanted, "-vvv", "--diff")
    assert run.rc == 0, run.output
    assert any("Models of the hub: present" in name for name in run.changed)
    for secret in (KEY, TOKEN):
        assert secret not in run.output
    served = deployment.run("systemctl", "show", "-P", "ExecStart", "inference-tiny")
    assert f"/snapshots/{commit}/tiny.gguf" in served
    asked = len(models_hub.requests)
    again = deployment.play("site.yml", wanted)
    assert again.rc == 0 and again.changed == []
    assert len(models_hub.requests) == asked
    assert not any("hf_model" in task.name or "Models of the hub" in task.name for task in again.tasks)
    planned = deployment.play("playbooks/plan.yml", {**wanted, "plan_html": "", "inference_plan_calibrate": True}, "-vvv")
    assert planned.rc == 0 and planned.changed == []
    assert KEY not in planned.output and TOKEN not in planned.output
    plan = plan_of(planned)
    assert [file["present"] for file in plan["models"][0]["files"]] == [True]
    assert plan["services"][0]["plan"]["calibrated"] is True


def test_a_hub_that_does_not_answer_is_a_warning_where_the_model_is_complete(deployment: Deployment, models_hub: Hub) -> None:
    wanted = from_hub(models_hub)
    assert deployment.play("site.yml", wanted).rc == 0
    models_hub.faults.add(Fault("status", where="api", status=503, times=0))
    try:
        run = deployment.play("site.yml", wanted)
    finally:
        models_hub.faults.clear()
    assert run.rc == 0 and run.changed == [], run.output


def plan_of(run: Run) -> dict[str, t.Any]:
    plan: dict[str, t.Any] = run.task("Check the host and its services").result["plan"]
    return plan
