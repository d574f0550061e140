# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._image import Image, parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._registry import Login, Reply, digest_of, is_loopback, login_of
from ansible_collections.baremetal.llm.plugins.plugin_utils._registry_web import RegistryWeb, docker_config
from ansible_collections.baremetal.llm.tests.registry import INDEX, MANIFEST, Registry

DIGEST = "sha256:" + "0123456789abcdef" * 4
AUTH = base64.b64encode(b"me:secret").decode()
ME = Login("me", "secret")


def image(text: str) -> Image:
    parsed = parse_image(text)
    assert parsed is not None
    return parsed


@dataclass
class Answers:
    """A registry that says one thing after the other."""

    replies: list[Reply]
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        self.asked.append((method, url, headers.get("Authorization", "")))
        return self.replies.pop(0)


def found(**headers: str) -> Reply:
    return Reply(200, {"content-type": INDEX, "docker-content-digest": DIGEST, **headers})


def challenge(realm: str, more: str = "") -> Reply:
    return Reply(401, {"www-authenticate": f'Bearer realm="{realm}"{more}'})


# -- against a server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "login"),
    [
        (Registry(tokens=False), None),
        (Registry(), None),
        (Registry({"me": "secret"}), ME),
        (Registry({"me": "secret"}, tokens=False), ME),
        (Registry(tells_digest=False), None),
    ],
)
def test_a_tag_has_a_digest(registry: Registry, login: Login | None) -> None:
    with registry:
        digest = registry.push("team/vllm", "v0.33.0", "amd64", "arm64")
        assert digest_of(image(f"{registry.name}/team/vllm:v0.33.0"), RegistryWeb(), login) == digest
        moved = registry.push("team/vllm", "v0.33.0", "amd64", "arm64", "riscv64")
        assert digest_of(image(f"{registry.name}/team/vllm:v0.33.0"), RegistryWeb(), login) == moved != digest
        single = registry.push("team/plain", "latest", kind=MANIFEST)
        assert digest_of(image(f"{registry.name}/team/plain"), RegistryWeb(), login) == single


@pytest.mark.parametrize(
    ("registry", "name", "login", "said"),
    [
        (Registry(), "team/vllm:v9", None, "has no team/vllm:v9; correct the name or the tag"),
        (Registry(), "vllm:v9", None, "has no vllm:v9"),
        (
            Registry({"me": "secret"}),
            "team/vllm:v1",
            None,
            "refuses team/vllm (401), so it is private, or not there; `docker login 127.0.0.1:",
        ),
        (Registry({"me": "other"}), "team/vllm:v1", ME, "refuses team/vllm (401), so the login of me has no access to it"),
        (Registry({"me": "other"}, tokens=False), "team/vllm:v1", ME, "so the login of me has no access to it"),
        (Registry(fails_with=429), "team/vllm:v1", None, "gets too many requests (429)"),
        (Registry(fails_with=503), "team/vllm:v1", None, "fails with 503; try again later"),
        (Registry(fails_with=418), "team/vllm:v1", None, "answers 418"),
    ],
)
def test_a_registry_that_gives_none(registry: Registry, name: str, login: Login | None, said: str) -> None:
    with registry:
        registry.push("team/vllm", "v1", "amd64")
        with pytest.raises(UserError) as refused:
            digest_of(image(f"{registry.name}/{name}"), RegistryWeb(), login)
    assert refused.value.msg.startswith("image: 127.0.0.1:") and said in refused.value.msg
    assert "secret" not in refused.value.msg and isinstance(refused.value, UnavailableError) == (registry.fails_with in (429, 503))


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 can't be reached from this machine: .*refused.*HTTPS_PROXY"):
        digest_of(image("127.0.0.1:9/vllm:v1"), RegistryWeb())


# -- the protocol --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "plain", "url"),
    [
        ("vllm/vllm-openai:v0.33.0", False, "https://registry-1.docker.io/v2/vllm/vllm-openai/manifests/v0.33.0"),
        ("debian", False, "https://registry-1.docker.io/v2/library/debian/manifests/latest"),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda", False, "https://ghcr.io/v2/ggml-org/llama.cpp/manifests/server-cuda"),
        ("registry.lan:5000/vllm:v1", False, "https://registry.lan:5000/v2/vllm/manifests/v1"),
        ("registry.lan:5000/vllm:v1", True, "http://registry.lan:5000/v2/vllm/manifests/v1"),
        ("localhost:5000/vllm:v1", False, "http://localhost:5000/v2/vllm/manifests/v1"),
    ],
)
def test_where_an_image_is_asked_for(name: str, plain: bool, url: str) -> None:
    web = Answers([found()])
    assert digest_of(image(name), web, plain=plain) == DIGEST
    assert web.asked == [("HEAD", url, "")]


def test_what_is_told_of_a_digest_has_to_be_one() -> None:
    nonsense = {"docker-content-digest": "sha512:00"}
    web = Answers([found(**nonsense), Reply(200, {"content-type": MANIFEST, **nonsense}, b"{}")])
    assert digest_of(image("ghcr.io/x:v1"), web) == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"


def test_a_token_is_asked_for_where_the_registry_says() -> None:
    web = Answers([challenge("https://auth.example/token", ',service="r",scope="s:x:pull"'), Reply(200, {}, b'{"token":"t1"}'), found()])
    assert digest_of(image("ghcr.io/x:v1"), web, ME) == DIGEST
    assert web.asked[1] == ("GET", "https://auth.example/token?service=r&scope=s%3Ax%3Apull", f"Basic {AUTH}")
    assert web.asked[2][2] == "Bearer t1"
    other = Answers([challenge("https://auth.example/token?a=b"), Reply(200, {}, b'{"access_token":"t2"}'), found()])
    assert digest_of(image("ghcr.io/x:v1"), other) == DIGEST
    assert other.asked[1][1:] == ("https://auth.example/token?a=b&scope=repository%3Ax%3Apull", "")


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ([challenge("http://auth.example/token")], "'http://auth.example/token', which is not secure"),
        ([challenge("file:///etc/passwd")], "which is not secure"),
        ([challenge("https://auth.example/token"), Reply(200, {}, b"<html>")], "auth.example answers without a token"),
        ([challenge("https://auth.example/token"), Reply(200, {}, b'{"token":"a\\nb"}')], "answers without a token"),
        ([Reply(401, {"www-authenticate": "Negotiate"})], "ghcr.io refuses x (401)"),
        ([Reply(403, {})], "ghcr.io refuses x (403)"),
        ([found(**{"content-type": "text/html; charset=utf-8"})], "answers with text/html, which is no manifest"),
    ],
)
def test_answers_that_are_none(replies: list[Reply], said: str) -> None:
    with pytest.raises(UserError) as refused:
        digest_of(image("ghcr.io/x:v1"), Answers(replies))
    assert said in refused.value.msg


@pytest.mark.parametrize(
    ("registry", "auths", "user"),
    [
        ("docker.io", {"https://index.docker.io/v1/": {"auth": AUTH}}, "me"),
        ("ghcr.io", {"ghcr.io": {"auth": AUTH}}, "me"),
        ("ghcr.io", {"https://ghcr.io": {"username": "you", "password": "secret"}}, "you"),
        ("ghcr.io", {"quay.io": {"auth": AUTH}}, None),
        ("ghcr.io", {"ghcr.io": {}}, None),  # a credential helper has it
        ("ghcr.io", {"ghcr.io": {"auth": "***"}}, None),
        ("ghcr.io", None, None),
    ],
)
def test_logins_of_docker(registry: str, auths: Any, user: str | None) -> None:
    login = login_of(registry, {"auths": auths})
    assert (login and login.user) == user and (login is None or login.password == "secret")
    assert "secret" not in repr(login) and login_of(registry, None) is None


def test_where_docker_keeps_them(tmp_path: Path) -> None:
    config = {"auths": {"ghcr.io": {"auth": AUTH}}}
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert docker_config({"HOME": str(tmp_path)}) == docker_config({"DOCKER_CONFIG": str(tmp_path / ".docker")}) == config
    assert docker_config({"DOCKER_CONFIG": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("registry", "loopback"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:5000", True),
        ("10.0.0.1:5000", False),
        ("ghcr.io", False),
    ],
)
def test_registries_of_this_machine(registry: str, loopback: bool) -> None:
    assert is_loopback(registry) is loopback
