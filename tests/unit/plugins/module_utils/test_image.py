# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._image import Image, parse_image

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "image", "registry", "repository"),
    [
        ("debian", Image("debian"), "docker.io", "library/debian"),
        ("debian:13-slim", Image("debian", "13-slim"), "docker.io", "library/debian"),
        ("docker.io/debian:13", Image("docker.io/debian", "13"), "docker.io", "library/debian"),
        ("vllm/vllm-openai:v0.33.0", Image("vllm/vllm-openai", "v0.33.0"), "docker.io", "vllm/vllm-openai"),
        (f"vllm/vllm-openai@{DIGEST}", Image("vllm/vllm-openai", None, DIGEST), "docker.io", "vllm/vllm-openai"),
        (f"a/b:c@{DIGEST}", Image("a/b", "c", DIGEST), "docker.io", "a/b"),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda", Image("ghcr.io/ggml-org/llama.cpp", "server-cuda"), "ghcr.io", "ggml-org/llama.cpp"),
        ("localhost/shim", Image("localhost/shim"), "localhost", "shim"),
        ("localhost:5000/a/shim:1", Image("localhost:5000/a/shim", "1"), "localhost:5000", "a/shim"),
        ("[::1]:5000/shim", Image("[::1]:5000/shim"), "[::1]:5000", "shim"),
        ("local-host/shim", Image("local-host/shim"), "docker.io", "local-host/shim"),
    ],
)
def test_what_docker_makes_of_a_name(text: str, image: Image, registry: str, repository: str) -> None:
    assert parse_image(text) == image
    assert (image.registry, image.repository, str(image)) == (registry, repository, text)


@pytest.mark.parametrize(
    "text",
    ["", "Debian", "a//b", "a/b:", "a/b:c d", "a b", "a/b@sha256:12", f"a/b@{DIGEST}0", "-a", "a/-b", "a/b:.c", "https://a/b", "a/b:c\n", "é/b"],
)  # fmt: skip
def test_what_names_no_image(text: str) -> None:
    assert parse_image(text) is None
