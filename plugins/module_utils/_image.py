# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a container image: what registries and Docker make of it.

The grammar is that of the distribution project, reference/reference.go, and the defaults are Docker's.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?", re.ASCII
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Image:
    name: str
    """As it is written, without tag and digest: vllm/vllm-openai."""
    tag: str | None = None
    digest: str | None = None
    """sha256:… of what the registry keeps under it, which never changes."""

    @property
    def registry(self) -> str:
        """The host that it comes from, and its port."""
        return self._split()[0]

    @property
    def repository(self) -> str:
        """Its name in that registry."""
        return self._split()[1]

    def _split(self) -> tuple[str, str]:
        first, slash, rest = self.name.partition("/")
        if slash and (set(first) & set(".:[") or first == "localhost" or first != first.lower()):
            return first, rest if first != DEFAULT_REGISTRY or "/" in rest else f"library/{rest}"
        return DEFAULT_REGISTRY, self.name if slash else f"library/{self.name}"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_digest(text: str) -> bool:
    return bool(_DIGEST.fullmatch(text))


def parse_image(text: str) -> Image | None:
    """None for what cannot name an image."""
    found = _REFERENCE.fullmatch(text)
    return Image(found["name"], found["tag"], found["digest"]) if found else None
