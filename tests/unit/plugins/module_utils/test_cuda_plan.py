# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Coverage
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import BLACKWELL, CAPABILITIES, Capability, Modules, Support
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Request, preferred
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import Plan, resolve
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import TOOLKITS, HostCompiler, find, parse_host_compiler
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import parse_version
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import MODELS
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors
from hypothesis import given
from hypothesis import strategies as st

A10, RTX5090, V100, T4 = "NVIDIA A10", "NVIDIA GeForce RTX 5090", "Tesla V100-SXM2-16GB", "Tesla T4"
H100, L40S, B200, GB10, GH200 = "NVIDIA H100 80GB HBM3", "NVIDIA L40S", "NVIDIA B200", "NVIDIA GB10", "NVIDIA GH200 480GB"
NEWEST = "13.4"


def plan(gpus: Any, **wish: str | list[str]) -> Plan:
    """``gpus``: names or entries; ``wish``: toolkit, driver, compiler and cmake as the operator writes them."""
    entries = [{"name": gpu} if isinstance(gpu, str) else gpu for gpu in ([gpus] if isinstance(gpus, str) else gpus)]
    parsers: dict[str, Any] = {
        "compiler": parse_host_compiler,
        **dict.fromkeys(("toolkit", "driver", "cmake"), lambda text: parse_version(text, "", "")),
    }
    return resolve(entries, Request(**{key: parsers[key](value) if key in parsers else value for key, value in wish.items()}))


@pytest.mark.parametrize(
    ("gpus", "wish", "architectures", "toolkits", "chosen", "driver"),
    [
        # nothing but the GPU: each family
        (V100, {}, "70-real", "11.8-12.9", "12.9", "525"),
        (T4, {}, "75-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ("NVIDIA A100-SXM4-80GB", {}, "80-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (A10, {}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ("NVIDIA A10-24Q", {}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (L40S, {}, "89-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (H100, {}, "90-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ("NVIDIA H200", {}, "90-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (GH200, {}, "90-real", f"11.8-{NEWEST}", NEWEST, "580 open"),
        (B200, {}, "100-real", f"12.8-{NEWEST}", NEWEST, "580 open"),
        ("NVIDIA B300 SXM6 AC", {}, "103-real", f"12.9-{NEWEST}", NEWEST, "580 open"),
        (RTX5090, {}, "120a-real", f"12.8-{NEWEST}", NEWEST, "580 open"),
        (GB10, {}, "121a-real", f"12.9-{NEWEST}", NEWEST, "580 open"),
        # a capability says as much as a name, and both together no more
        ([{"compute_capability": "8.6"}], {}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ([{"compute_capability": 12.0}], {}, "120a-real", f"12.8-{NEWEST}", NEWEST, "580 open"),
        ([{"name": "NVIDIA Graphics Device", "compute_capability": "12.0"}], {}, "120a-real", f"12.8-{NEWEST}", NEWEST, "580 open"),
        ([{"name": A10, "compute_capability": "8.6", "index": 0, "uuid": "GPU-8b89b58e"}], {}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ([{"name": A10, "compute_capability": None}], {}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        # several GPUs
        ([A10] * 8, {}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ([RTX5090, A10], {}, "86-real 120a-real", f"12.8-{NEWEST}", NEWEST, "580 open"),
        (
            [B200, RTX5090, H100, L40S, A10, T4],
            {},
            "75-real 86-real 89-real 90-real 100-real 120a-real",
            f"12.8-{NEWEST}",
            NEWEST,
            "580 open",
        ),
        ([V100, T4], {}, "70-real 75-real", "11.8-12.9", "12.9", "525"),
        # the driver decides
        (A10, {"driver": "580.126.09"}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (A10, {"driver": "580"}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (A10, {"driver": "575.51.03"}, "86-real", "11.8-12.9", "12.9", "525"),
        (A10, {"driver": "535.54.03"}, "86-real", "11.8-12.9", "12.9", "525"),
        (A10, {"driver": "470.256.02"}, "86-real", "11.8-11.8", "11.8", "455"),
        (RTX5090, {"driver": "570.172.08", "kernel_module": "open"}, "120a-real", "12.8-12.9", "12.9", "570 open"),
        (V100, {"driver": "580.95.05", "kernel_module": "proprietary"}, "70-real", "11.8-12.9", "12.9", "525"),
        # the compiler decides
        (A10, {"compiler": "gcc 11"}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (A10, {"compiler": "gcc 12"}, "86-real", f"12.0-{NEWEST}", NEWEST, "580"),
        (A10, {"compiler": "gcc 13"}, "86-real", f"12.4-{NEWEST}", NEWEST, "580"),
        (A10, {"compiler": "gcc 14"}, "86-real", f"12.8-{NEWEST}", NEWEST, "580"),
        (A10, {"compiler": "gcc 15"}, "86-real", f"13.0-{NEWEST}", NEWEST, "580"),
        (A10, {"compiler": "gcc 16"}, "86-real", f"13.4-{NEWEST}", NEWEST, "580"),
        (A10, {"compiler": "clang 21"}, "86-real", f"13.1-{NEWEST}", NEWEST, "580"),
        (V100, {"compiler": "gcc 14"}, "70-real", "12.8-12.9", "12.9", "525"),
        # the operator decides
        (A10, {"toolkit": "12.2"}, "86-real", f"11.8-{NEWEST}", "12.2", "525"),
        (A10, {"toolkit": "13.0.2"}, "86-real", f"11.8-{NEWEST}", "13.0.2", "580"),
        (RTX5090, {"toolkit": "12.8.1"}, "120a-real", f"12.8-{NEWEST}", "12.8.1", "570 open"),
        (GB10, {"toolkit": "12.9"}, "121a-real", f"12.9-{NEWEST}", "12.9", "575 open"),
        (V100, {"toolkit": "11.8"}, "70-real", "11.8-12.9", "11.8", "450"),
        (
            A10,
            {"toolkit": "13.0", "driver": "580.65.06", "compiler": "gcc 12", "cmake": "3.25.1", "kernel_module": "none"},
            *("86-real", f"12.0-{NEWEST}", "13.0", "580"),
        ),
        (A10, {"kernel_module": "proprietary"}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        (A10, {"kernel_module": "open"}, "86-real", f"11.8-{NEWEST}", NEWEST, "580"),
        ([A10, RTX5090], {"architectures": ["120-real", "86"]}, "86 120a-real", f"12.8-{NEWEST}", NEWEST, "580 open"),
    ],
)
def test_a_plan(gpus: Any, wish: dict[str, Any], architectures: str, toolkits: str, chosen: str, driver: str) -> None:
    found = plan(gpus, **wish).as_dict()
    assert found["problems"] == []
    assert found["cuda_architectures"] == architectures.split()
    least, _dash, most = toolkits.partition("-")
    assert found["toolkit"] == {"min": least, "max": most, "chosen": chosen}
    minimum, _blank, flavour = driver.partition(" ")
    last = "580" if V100 in gpus else None
    assert found["driver"] == {"min": minimum, "max": last, "open_required": flavour == "open"}


@pytest.mark.parametrize(
    ("gpus", "wish", "code", "message", "remedy"),
    [
        # the GPUs
        ([], {}, "no_gpus", "gpus is empty", "Use the CPU backend"),
        ("Tesla P40", {}, "gpu_unknown", "gpus[0] is 'Tesla P40', which belongs to no known family; known are Volta (V100,", "compute_capability, from"),
        ([A10, "MIG 1g.5gb"], {}, "gpu_unknown", "gpus[1] is 'MIG 1g.5gb'", "compute_capability"),
        ([{"index": 0}], {}, "gpu_unknown", "gpus[0] has neither a name nor a compute_capability", "Give its compute_capability"),
        ([{"compute_capability": "6.1"}], {}, "capability_unknown", "of gpus[0] is '6.1', which is none of 7.0, 7.5", "older than Volta"),
        ([{"compute_capability": "86"}], {}, "capability_unknown", "'86'", "Write it like 8.6"),
        ([{"name": RTX5090, "compute_capability": "10.1"}], {}, "capability_unknown", "is '10.1', which is none of", "8.6"),
        ([{"name": RTX5090, "compute_capability": "10.1"}], {}, "capability_unknown", "such a GPU has 12.0", "8.6"),
        ([V100, RTX5090], {}, "gpus_without_common_driver", f"{RTX5090} works with the open kernel modules only, {V100} with", "different hosts"),
        # the toolkit
        (RTX5090, {"toolkit": "12.2"}, "toolkit_too_old", f"CUDA 12.2 doesn't know {RTX5090} (compute capability 12.0; CUDA 12.8 or", "Use CUDA 12.8 to 13.4"),
        (RTX5090, {"toolkit": "12.2", "driver": "570.26"}, "toolkit_too_old", "CUDA 12.2", "Use CUDA 12.8 to 12.9"),
        (GB10, {"toolkit": "12.8"}, "toolkit_too_old", "12.9 or newer", "Use CUDA 12.9 to 13.4"),
        ([A10, RTX5090], {"toolkit": "12.4"}, "toolkit_too_old", f"doesn't know {RTX5090} (", "Use CUDA 12.8 to 13.4"),
        (V100, {"toolkit": "13.0"}, "toolkit_too_new", f"CUDA 13.0 no longer builds for {V100} (compute capability 7.0; CUDA 9.0 to 12.9)", "Use CUDA 11.8 to 12.9"),
        (A10, {"toolkit": "12.7"}, "toolkit_unknown", "toolkit_version is 12.7, which is none of 11.8, 12.0", "Use CUDA 11.8 to 13.4, or a newer release"),
        (A10, {"toolkit": "14.0"}, "toolkit_unknown", "14.0", "a newer release of this collection if it knows it"),
        (A10, {"toolkit": "13.0", "driver": "535.54.03"}, "toolkit_newer_than_driver", "CUDA 13.0 is newer than driver 535.54.03: what it builds runs on 580 or", "Install driver 580 or newer, or use CUDA 11.8 to 12.9"),
        (A10, {"toolkit": "12.8", "driver": "470.256.02"}, "toolkit_newer_than_driver", "runs on 525 or newer", "or use CUDA 11.8"),
        # the driver
        (RTX5090, {"driver": "550.54.14"}, "driver_too_old", f"driver 550.54.14 is too old for {RTX5090}, which needs 570 or newer", "Install driver 570"),
        (A10, {"driver": "440.33.01"}, "driver_too_old", "needs 455 or newer", "Install driver 455 or newer"),
        (V100, {"driver": "590.44.01"}, "driver_too_new", f"no longer drives {V100}: 580 is the last branch that does", "branch 580, and pin it"),
        (RTX5090, {"kernel_module": "proprietary"}, "open_modules_required", f"{RTX5090} works with the open kernel modules only", "nvidia-open"),
        (GH200, {"kernel_module": "proprietary"}, "open_modules_required", GH200, "nvidia-open"),
        ([A10, RTX5090], {"kernel_module": "proprietary"}, "open_modules_required", f"{RTX5090} works", "nvidia-open"),
        (V100, {"kernel_module": "open"}, "proprietary_modules_required", f"{V100} works with the proprietary kernel modules only", "cuda-drivers), of branch 580 or older"),
        # the tools
        (A10, {"toolkit": "12.2", "compiler": "gcc 14"}, "host_compiler_too_new", "gcc 14 is too new for CUDA 12.2, whose nvcc takes gcc up to 12", "Install gcc-12 and g++-12 and set CMAKE_CUDA_HOST_COMPILER to g++-12 in cmake_options, or use CUDA 12.8 to 13.4"),
        (A10, {"toolkit": "13.0", "compiler": "clang 22"}, "host_compiler_too_new", "takes clang up to 20", "Install clang-20 and set CMAKE_CUDA_HOST_COMPILER to clang++-20"),
        (A10, {"compiler": "gcc 17"}, "host_compiler_too_new", "gcc 17 is too new: CUDA 13.4 is the newest for NVIDIA A10, and takes gcc up to 16", "Install gcc-16"),
        (V100, {"compiler": "gcc 15"}, "host_compiler_too_new", "CUDA 12.9 is the newest for Tesla V100-SXM2-16GB, and takes gcc up to 14", "Install gcc-14"),
        (A10, {"compiler": "gcc 15", "driver": "535.54.03"}, "host_compiler_too_new", "CUDA 12.9 is the newest for NVIDIA A10 with driver 535.54.03, and", "Install gcc-14 and g++-14 and set CMAKE_CUDA_HOST_COMPILER to g++-14 in cmake_options, or driver 580 or newer"),
        (A10, {"cmake": "3.16.3"}, "cmake_too_old", "CMake 3.16.3 doesn't know CUDA architectures", "CMake 3.18"),
        (RTX5090, {"architectures": ["120f"], "cmake": "3.25.1"}, "cmake_without_family_architectures", "CMake 3.25.1 rejects 120f in", "Use 120a-real, or leave"),
        # the architectures
        (A10, {"architectures": ["native"]}, "architecture_invalid", "cuda_architectures has native", "Use 86-real, or leave cuda_architectures out"),
        (RTX5090, {"architectures": ["101-real"]}, "architecture_invalid", "101-real", "Use 120a-real"),
        ([A10, RTX5090], {"architectures": ["120a-real"]}, "architecture_missing", "(120a-real) has nothing that NVIDIA A10 can run", "Use 86-real;120a-real"),
        (GB10, {"architectures": ["120a-real"]}, "architecture_missing", "nothing that NVIDIA GB10 can run", "Use 121a-real"),
        (A10, {"architectures": ["86-real", "120a-real"], "toolkit": "12.2"}, "architecture_unknown_to_toolkit", "CUDA 12.2 doesn't build for 120a-real of cuda_architectures", "Use 86-real"),
        (RTX5090, {"architectures": ["120f-real", "120a-real"], "toolkit": "12.8"}, "architecture_unknown_to_toolkit", "for 120f-real of", "Use 120a-real"),
        (H100, {"architectures": ["80-virtual"], "driver": "580.65.06", "toolkit": "13.2"}, "architecture_ptx_only", "only driver 595.45.04 or newer compiles that of CUDA 13.2; this is 580.65.06", "Use 90-real"),
    ],
)  # fmt: skip
def test_an_error_and_its_remedy(gpus: Any, wish: dict[str, Any], code: str, message: str, remedy: str) -> None:
    found = plan(gpus, **wish)
    assert [(problem.code, problem.severity.value) for problem in found.problems] == [(code, "error")]
    assert message in found.problems[0].message
    assert remedy in found.problems[0].remedy
    assert not found.problems[0].remedy.endswith(".") and "\n" not in str(found.problems[0])


@pytest.mark.parametrize(
    ("gpus", "wish", "code", "message", "architectures"),
    [
        (
            [{"name": A10, "compute_capability": "8.0"}],
            {},
            "capability_differs",
            f"of {A10} is given as 8.0, but such a GPU has 8.6",
            ["80-real"],
        ),
        (
            A10,
            {"architectures": ["80-real"]},
            "architecture_inexact",
            "has no code of NVIDIA A10's own compute capability, 8.6",
            ["80-real"],
        ),
        (H100, {"architectures": ["80-virtual"]}, "architecture_ptx_only", "which the driver has to compile when", ["80-virtual"]),
        (
            H100,
            {"architectures": ["80"], "driver": "580.65.06", "toolkit": "13.0"},
            "architecture_ptx_only",
            "only PTX for NVIDIA H100",
            ["80"],
        ),
        (
            GB10,
            {"architectures": ["120f-real"], "cmake": "4.0.2"},
            "architecture_inexact",
            "(120f-real) has no code of NVIDIA GB10's",
            ["120f-real"],
        ),
    ],
)
def test_a_warning_leaves_the_plan_as_it_is_asked_for(
    gpus: Any, wish: dict[str, Any], code: str, message: str, architectures: list[str]
) -> None:
    found = plan(gpus, **wish)
    assert [(problem.code, problem.severity.value) for problem in found.problems] == [(code, "warning")]
    assert message in found.problems[0].message
    assert found.as_dict()["cuda_architectures"] == architectures
    assert found.chosen


def test_all_conflicts_are_told_at_once() -> None:
    found = plan(
        [RTX5090, RTX5090, A10, "Tesla P40"],
        toolkit="13.0",
        driver="535.54.03",
        kernel_module="proprietary",
        compiler="gcc 16",
        cmake="3.16",
    )
    assert [problem.code for problem in found.problems] == [
        *("gpu_unknown", "host_compiler_too_new", "toolkit_newer_than_driver", "driver_too_old", "open_modules_required", "cmake_too_old")
    ]


def test_gpus_of_which_no_toolkit_builds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    # None so far, but each major release of CUDA has dropped a family.
    monkeypatch.setitem(CAPABILITIES, Capability(13, 0), Support(BLACKWELL, 580, (13, 0)))
    found = plan([{"compute_capability": "13.0"}, V100], toolkit="12.9").as_dict()
    assert found["toolkit"] == {"min": None, "max": None, "chosen": None}
    assert found["cuda_architectures"] == ["70-real", "130-real"]
    problems: Any = found["problems"]
    assert problems[0]["code"] == "gpus_without_common_toolkit"
    assert f"both the GPU of compute capability 13.0 (CUDA 13.0 or newer) and {V100} (CUDA 9.0 to 12.9)" in problems[0]["message"]


def test_python_packages_are_preferred_to_a_newer_toolkit_without_them() -> None:
    packaged, bare = TOOLKITS[-1], TOOLKITS[0]
    assert packaged.pypi and not bare.pypi
    newer = type(bare)((14, 0), (700,), max_gcc=17, max_clang=23)
    assert preferred([bare, packaged, newer]) is packaged
    assert preferred([bare, newer]) is newer
    assert preferred([]) is None


GPUS = st.lists(st.sampled_from([model.examples.split(", ")[0].replace("xx", "90") for model in MODELS]), min_size=1, max_size=4)
REQUESTS = st.builds(
    Request,
    toolkit=st.none() | st.sampled_from([toolkit.version for toolkit in TOOLKITS] + [(12, 7), (12, 8, 1), (14, 0)]),
    driver=st.none()
    | st.sampled_from([(440,), (470, 256, 2), (525,), (535, 54, 3), (570, 26), (575, 51), (580, 65, 6), (590, 44, 1), (615,)]),
    kernel_module=st.sampled_from([None, "open", "proprietary", "none"]),
    compiler=st.none() | st.builds(HostCompiler, st.sampled_from(["gcc", "clang"]), st.integers(9, 23)),
    cmake=st.none() | st.sampled_from([(3, 16), (3, 25, 1), (3, 31, 8), (4, 0, 0), (4, 1)]),
    architectures=st.none()
    | st.lists(st.sampled_from(["70-real", "86", "80-virtual", "90a-real", "120f", "120", "native"]), min_size=1, max_size=3),
)


def of(names: list[str], request: Request) -> Plan:
    return resolve([{"name": name} for name in names], request)


@given(GPUS, REQUESTS)
def test_the_chosen_toolkit_is_in_the_range_and_the_range_has_no_gap(names: list[str], request: Request) -> None:
    found = of(names, request)
    assert found.chosen is None or found.chosen[:2] in [toolkit.version for toolkit in found.toolkits]
    assert found.chosen is not None or errors(found.problems)
    positions = [TOOLKITS.index(toolkit) for toolkit in found.toolkits]
    assert all(later == earlier + 1 for earlier, later in pairwise(positions))


@given(GPUS, REQUESTS)
def test_every_gpu_is_covered_by_an_architecture(names: list[str], request: Request) -> None:
    found = of(names, request)
    assert len(found.gpus) == len(names)
    for gpu in found.gpus:
        assert max(architecture.coverage(gpu.capability) for architecture in found.architectures) > Coverage.NONE


@given(GPUS, GPUS, REQUESTS)
def test_one_gpu_more_never_widens_the_range_nor_lowers_the_driver_for_a_toolkit(
    names: list[str], more: list[str], request: Request
) -> None:
    before, after = of(names, request), of(names + more, request)
    assert set(after.toolkits) <= set(before.toolkits)
    assert after.open_required >= before.open_required
    if before.chosen and before.chosen == after.chosen:
        assert before.min_driver and after.min_driver and before.min_driver <= after.min_driver


@given(GPUS, REQUESTS)
def test_the_order_of_the_gpus_does_not_matter(names: list[str], request: Request) -> None:
    one, other = of(names, request), of(names[::-1], request)
    assert (one.architectures, one.toolkits, one.chosen, one.min_driver) == (
        other.architectures,
        other.toolkits,
        other.chosen,
        other.min_driver,
    )
    assert {problem.code for problem in one.problems} == {problem.code for problem in other.problems}


@given(GPUS, REQUESTS)
def test_without_an_error_everything_fits(names: list[str], request: Request) -> None:
    found = of(names, request)
    if errors(found.problems):
        return
    assert found.chosen and found.min_driver
    toolkit = find(found.chosen)
    assert toolkit and (not request.toolkit or found.chosen == request.toolkit)
    flavours = {gpu.family.modules for gpu in found.gpus}
    assert not flavours >= {Modules.OPEN, Modules.PROPRIETARY}
    assert not (request.kernel_module == "proprietary" and Modules.OPEN in flavours)
    assert not (request.kernel_module == "open" and Modules.PROPRIETARY in flavours)
    for gpu in found.gpus:
        assert gpu.support.first_toolkit <= toolkit.version <= (gpu.support.last_toolkit or toolkit.version)
        assert found.min_driver >= (gpu.support.driver,)
    if request.driver:
        assert request.driver >= found.min_driver >= toolkit.min_driver
        assert found.last_driver is None or request.driver[0] <= found.last_driver
    if request.compiler:
        assert request.compiler.major <= (toolkit.max_gcc if request.compiler.name == "gcc" else toolkit.max_clang)
    for architecture in found.architectures:
        assert CAPABILITIES[architecture.capability].first_toolkit <= toolkit.version
