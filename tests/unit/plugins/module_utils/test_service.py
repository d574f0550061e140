# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import static_problems
from ansible_collections.baremetal.llm.plugins.module_utils._service import Model, Resources, Service, list_problems, parse

SECRET = "sk-top-secret"
VLLM = {"engine": "vllm", "manager": "compose", "model": {"repo_id": "org/mistral-awq"}, "image": "vllm/vllm-openai:v0.33.0"}


def described(**more: Any) -> dict[str, Any]:
    return {"name": "chat", "model": {"file": "/srv/models/chat.gguf"}, "port": 8080, **more}


def test_a_full_service_is_read() -> None:
    service, problems = parse(
        described(
            model={"file": "/m.gguf", "mmproj": "/p.gguf"},
            gpus=[0, "GPU-5a1c"],
            host="0.0.0.0, ::1",
            api_key=SECRET,
            options={"ctx_size": 1024},
            environment={"OMP_NUM_THREADS": 4},
            resources={"cpus": 1.5, "memory": "1.5GiB", "ulimits": {"memlock": -1, "nofile": "1024"}},
        )
    )
    assert problems == []
    assert service == Service(
        name="chat",
        engine="llama_server",
        manager="systemd",
        model=Model("/m.gguf", "/p.gguf"),
        gpus=("0", "GPU-5a1c"),
        addresses=("0.0.0.0", "::1"),
        port=8080,
        api_key=SECRET,
        options={"ctx_size": 1024},
        environment={"OMP_NUM_THREADS": "4"},
        resources=Resources(cpus=1.5, memory_bytes=3 * 2**29, shm_bytes=None, ulimits={"memlock": -1, "nofile": 1024}),
    )
    assert service.listen == ["0.0.0.0:8080", "[::1]:8080"]


def test_a_service_of_vllm_is_a_repository_or_a_directory_and_an_image() -> None:
    service, problems = parse(described(**VLLM, resources={"shm_size": "2GiB"}, options={"override": "50%"}))
    assert problems == [] and service is not None
    assert (service.model.file, service.model.files, service.image, service.resources.shm_bytes) == ("", {}, VLLM["image"], 2**31)
    service, problems = parse(described(**{**VLLM, "model": {"file": "/srv/models/mistral-awq"}}))
    assert problems == [] and service is not None
    assert service.model.files == {"model.file": "/srv/models/mistral-awq"}


def test_what_is_left_out_has_a_harmless_default() -> None:
    # Ansible passes None for what was left out.
    service, problems = parse(
        {**dict.fromkeys(("engine", "gpus", "host", "api_key", "options", "environment", "resources", "image")), **described()}
    )
    assert problems == [] and service is not None
    assert (service.engine, service.manager, service.gpus, service.addresses, service.options) == (
        "llama_server",
        "systemd",
        (),
        ("127.0.0.1",),
        {},
    )


@pytest.mark.parametrize(("written", "size"), [("512MiB", 2**29), ("128 GiB", 2**37), ("1TiB", 2**40), (1048576, 2**20), ("64KiB", 2**16)])
def test_sizes(written: object, size: int) -> None:
    service, problems = parse(described(resources={"memory": written}))
    assert service is not None and problems == []
    assert service.resources.memory_bytes == size


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        ({"name": None}, "name_invalid", "None"),
        ({"name": ""}, "name_invalid", "''"),
        ({"name": "Chat"}, "name_invalid", "'Chat'"),
        ({"name": "../chat"}, "name_invalid", "'../chat'"),
        ({"name": "chat@1"}, "name_invalid", "'chat@1'"),
        ({"name": "chat\n"}, "name_invalid", "chat"),
        ({"name": "-chat"}, "name_invalid", "'-chat'"),
        ({"name": "c" * 64}, "name_invalid", "63"),
        ({"name": "ch.at", "manager": "compose"}, "name_invalid", "'ch.at' cannot name a project of Compose"),
        ({"modell": {}}, "unknown_key", "Did you mean model?"),
        ({"engine": "vllm", "model": {"repo_id": "org/mistral-awq"}}, "engine_needs_compose", "manager: compose"),
        ({"engine": "ollama"}, "wrong_type", "llama_server or vllm"),
        ({**VLLM, "image": None}, "missing_key", "vllm/vllm-openai"),
        ({**VLLM, "image": "vllm/vllm-OpenAI:v0.33.0"}, "image_invalid", "NAME:TAG"),
        ({**VLLM, "model": {}}, "missing_key", "model.repo_id"),
        ({**VLLM, "model": {"file": "mistral"}}, "path_relative", "absolute path of a directory"),
        ({"model": None}, "missing_key", "model.file"),
        ({"model": "/srv/m.gguf"}, "wrong_type", "model: '/srv/m.gguf' is a text"),
        ({"model": {"file": "chat.gguf"}}, "path_relative", "'chat.gguf'"),
        ({"model": {"file": "/m.gguf", "mmproj": "p.gguf"}}, "path_relative", "model.mmproj"),
        ({"model": {"repo_id": "Qwen2-VL", "file": "q4.gguf"}}, "repo_id_invalid", "'Qwen2-VL'"),
        ({"model": {"repo_id": "Qwen/Qwen2-VL", "file": "q4.gguf", "revision": "a b"}}, "revision_invalid", "'a b'"),
        ({"model": {"repo_id": "Qwen/Qwen2-VL", "file": "/q4.gguf"}}, "path_not_in_repository", "'/q4.gguf'"),
        ({"model": {"repo_id": "Qwen/Qwen2-VL", "file": "*q4*.gguf"}}, "path_not_in_repository", "one file in the repository"),
        ({"model": {"repo_id": "Qwen/Qwen2-VL", "file": "q4.gguf", "mmproj": "../p.gguf"}}, "path_not_in_repository", "model.mmproj"),
        ({"model": {"repo_id": "Qwen/Qwen2-VL"}}, "missing_key", "path of the GGUF file in the repository"),
        ({"model": {"file": "/m\n.gguf"}}, "unsafe_text", "model.file"),
        ({"gpus": "0"}, "wrong_type", "gpus"),
        ({"gpus": [0, "first"]}, "gpu_invalid", "'first'"),
        ({"gpus": [True]}, "gpu_invalid", "nvidia-smi -L"),
        ({"host": "127.0.0.1,inference.example"}, "host_invalid", "'inference.example'"),
        ({"host": "/run/llama.sock"}, "host_invalid", "IP address"),
        ({"host": ""}, "host_invalid", "''"),
        ({"port": None}, "missing_key", "port"),
        ({"port": 0}, "port_invalid", "1 to 65535"),
        ({"port": 65536}, "port_invalid", "65536"),
        ({"port": "http"}, "port_invalid", "'http'"),
        ({"port": True}, "port_invalid", "True"),
        ({"port": 80.5}, "port_invalid", "80.5"),
        ({"api_key": ""}, "api_key_invalid", "empty"),
        ({"api_key": f"{SECRET}\n"}, "api_key_invalid", "line break"),
        ({"api_key": f"{SECRET} "}, "api_key_invalid", "a space"),
        ({"api_key": f"#{SECRET}"}, "api_key_invalid", "comment"),
        ({"api_key": f"é{SECRET}"}, "api_key_invalid", "ASCII"),
        ({"api_key": 1234}, "api_key_invalid", "not a text"),
        ({"options": ["ctx_size"]}, "wrong_type", "options"),
        ({"options": {"chat_template": "a\nExecStartPost=/bin/sh"}}, "unsafe_text", "options.chat_template"),
        ({"options": {"alias": "50%h"}}, "unsafe_text", "options.alias"),
        ({"options": {"tags": ["fine", "a\x1bb"]}}, "unsafe_text", "options.tags"),
        ({"options": {"chat_template_kwargs": {"a": {"b": "50%"}}}}, "unsafe_text", "options.chat_template_kwargs"),
        ({"options": {"tags": "a\u2028b"}}, "unsafe_text", "options.tags"),
        ({"options": {"x\nExecStart": True}}, "unsafe_text", "the name of an option"),
        ({"environment": {"A B": "1"}}, "environment_invalid", "'A B'"),
        ({"environment": {"A": "1\nUser=root"}}, "unsafe_text", "environment.A"),
        ({"environment": {"A": True}}, "wrong_type", "in quotes"),
        ({"environment": {"A": None}}, "wrong_type", "environment.A"),
        ({"environment": {"HF_TOKEN": SECRET}}, "environment_secret", "api_key"),
        ({"environment": {"LLAMA_API_KEY": SECRET}}, "environment_secret", "api_key"),
        ({"environment": {"MY_PASSWORD": SECRET}}, "environment_secret", "MY_PASSWORD"),
        ({"environment": {"HOME": "/root"}}, "environment_owned", "HOME"),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, "environment_owned", "gpus"),
        ({"resources": {"ram": 1}}, "unknown_key", "resources.ram"),
        ({"resources": {"memory": "3GB"}}, "size_invalid", "'3GB'"),
        ({"resources": {"memory": 0}}, "size_invalid", "128GiB"),
        ({"resources": {"memory": "-1"}}, "size_invalid", "'-1'"),
        ({"resources": {"cpus": 0}}, "size_invalid", "resources.cpus"),
        ({"resources": {"cpus": "many"}}, "size_invalid", "'many'"),
        ({"resources": {"cpus": "nan"}}, "size_invalid", "'nan'"),
        ({"resources": {"ulimits": {"memlok": -1}}}, "unknown_key", "Did you mean memlock?"),
        ({"resources": {"ulimits": {"memlock": "unlimited"}}}, "wrong_type", "-1 for no limit"),
    ],
)
def test_bad_input_is_one_error_that_names_it(more: dict[str, Any], code: str, told: str) -> None:
    _, problems = parse(described(**more))
    assert [(problem.code, problem.severity) for problem in problems] == [(code, "error")]
    assert told in str(problems[0])
    assert SECRET not in str(problems[0])


@pytest.mark.parametrize("raw", [None, "chat", 3, ["chat"]])
def test_what_is_no_dict_is_no_service(raw: object) -> None:
    service, problems = parse(raw)
    assert service is None
    assert [problem.code for problem in problems] == ["wrong_type"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"host": "0.0.0.0"}, "no_api_key"),
        ({"host": "127.0.0.1,10.0.0.7"}, "no_api_key"),
        ({"image": "ghcr.io/x/y"}, "setting_ignored"),
        ({"resources": {"shm_size": "8GiB"}}, "setting_ignored"),
        ({"model": {"file": "/m.gguf", "revision": "main"}}, "setting_ignored"),
        ({**VLLM, "model": {"repo_id": "org/mistral-awq", "file": "model.safetensors"}}, "setting_ignored"),
        ({**VLLM, "model": {"repo_id": "org/qwen-vl", "mmproj": "p.gguf"}}, "setting_ignored"),
    ],
)
def test_what_would_disappoint_is_a_warning(more: dict[str, Any], code: str) -> None:
    _, problems = parse(described(**more))
    assert [(problem.code, problem.severity) for problem in problems] == [(code, "warning")]


def test_a_key_or_the_loopback_is_enough() -> None:
    for more in ({"host": "0.0.0.0", "api_key": SECRET}, {"host": "127.0.0.1,::1"}, {"host": "localhost"}):
        assert parse(described(**more))[1] == []


# -- the list ----------------------------------------------------------------------------------------------------------


def codes(*services: object) -> list[str]:
    return [problem.code for problem in list_problems(services, static_problems)]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {"name": "embed", "port": 8081}, []),
        ({}, {"port": 8081}, ["duplicate_name"]),
        ({}, {"name": "embed"}, ["duplicate_port"]),
        ({"host": "127.0.0.1"}, {"name": "embed", "host": "127.0.0.2"}, []),
        ({"host": "127.0.0.1"}, {"name": "embed", "host": "0.0.0.0", "api_key": SECRET}, ["duplicate_port"]),
        ({"host": "127.0.0.1,10.0.0.7", "api_key": SECRET}, {"name": "embed", "host": "10.0.0.7", "api_key": SECRET}, ["duplicate_port"]),
        ({"host": "::", "api_key": SECRET}, {"name": "embed"}, ["duplicate_port"]),
    ],
)
def test_services_must_not_take_from_each_other(one: dict[str, Any], other: dict[str, Any], expected: list[str]) -> None:
    assert codes(described(**one), described(**other)) == expected


def test_what_the_engine_no_longer_has_is_found_before_there_is_a_binary() -> None:
    wrong = described(options={"mlock": True, "port": 1, "parallel": 0}, environment={"LLAMA_ARG_CTX_SIZE": "1"})
    assert codes(wrong) == ["option_owned", "option_removed", "environment_option", "parallel_zero"]


def test_every_message_names_its_service_and_none_a_secret() -> None:
    problems = list_problems([described(port=0, api_key=f"{SECRET}\n"), {"api_key": SECRET}, 3], static_problems)
    texts = [str(problem) for problem in problems]
    assert [text.split(":")[0] for text in texts] == ["chat", "chat", *["inference_services[1]"] * 3, "inference_services[2]"]
    assert not any(SECRET in text for text in texts)


def test_two_services_without_a_port_do_not_clash_over_it() -> None:
    assert codes(described(port=None), described(name="embed", port=None)) == ["missing_key", "missing_key"]
