# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse

from .build import BASE_IMAGE, LLAMA_IMAGE, VERSION, build_base_image, build_image, build_llama_image, collect_release, collect_release_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="image", description="The test image of vLLM on a host of the range that has Docker.")
    parser.add_argument("host", nargs="?", help="its name; without it, only llama-server is taken")
    parser.add_argument("--tag", help=f"what it is called there (default: vllm/vllm-openai:vVERSION, or {BASE_IMAGE})")
    parser.add_argument("--version", default=VERSION, help="of the vLLM that it stands in for (default: %(default)s)")
    parser.add_argument("--label", default="", help="something that makes it another image")
    parser.add_argument("--base", action="store_true", help="a small base image instead, without vLLM")
    parser.add_argument("--release-from", metavar="HOST", help="take llama-server from this host first, where llama.cpp was built")
    parser.add_argument("--release-from-snapshot", metavar="SNAPSHOT", help="the same, from a host that is booted for it")
    parser.add_argument("--llama", action="store_true", help="an image with llama-server instead, as those of its project")
    parser.add_argument("--registry", default="", metavar="HOST:PORT", help="put it in there; the host then needs no Docker")
    arguments = parser.parse_args()
    if arguments.release_from:
        collect_release(arguments.release_from)
    if arguments.release_from_snapshot:
        collect_release_of(arguments.release_from_snapshot)
    if not arguments.host:
        return 0
    if arguments.base:
        print(build_base_image(arguments.host, tag=arguments.tag or BASE_IMAGE))
    elif arguments.llama:
        print(build_llama_image(arguments.host, tag=arguments.tag or LLAMA_IMAGE, registry=arguments.registry))
    else:
        options = {"version": arguments.version, "tag": arguments.tag or "", "label": arguments.label, "registry": arguments.registry}
        print(build_image(arguments.host, **options))
    return 0
