# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse

from .build import BASE_IMAGE, VERSION, build_base_image, build_image, collect_release


def main() -> int:
    parser = argparse.ArgumentParser(prog="image", description="The test image of vLLM on a host of the range that has Docker.")
    parser.add_argument("host", help="its name")
    parser.add_argument("--tag", help=f"what it is called there (default: vllm/vllm-openai:vVERSION, or {BASE_IMAGE})")
    parser.add_argument("--version", default=VERSION, help="of the vLLM that it stands in for (default: %(default)s)")
    parser.add_argument("--label", default="", help="something that makes it another image")
    parser.add_argument("--base", action="store_true", help="a small base image instead, without vLLM")
    parser.add_argument("--release-from", metavar="HOST", help="take llama-server from this host first, where llama.cpp was built")
    arguments = parser.parse_args()
    if arguments.release_from:
        collect_release(arguments.release_from)
    if arguments.base:
        print(build_base_image(arguments.host, tag=arguments.tag or BASE_IMAGE))
    else:
        print(build_image(arguments.host, version=arguments.version, tag=arguments.tag or "", label=arguments.label))
    return 0
