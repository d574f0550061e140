# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated GPUs: what they are called and need is what the collection itself says, and their packages fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import identify
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import required_flavour
from ansible_collections.baremetal.llm.plugins.module_utils._pci_gpus import model_of
from ansible_collections.baremetal.llm.tests.range.rangelib import gpu_repository
from ansible_collections.baremetal.llm.tests.range.rangelib.errors import RangeError
from ansible_collections.baremetal.llm.tests.range.rangelib.gpu_models import MODELS, SLOTS, UNKNOWN, Model, cards
from ansible_collections.baremetal.llm.tests.range.rangelib.gpu_packages import (
    BROKEN,
    COMPUTE,
    MODULE_PACKAGES,
    VERSIONS,
    Package,
    driver,
    everything,
    needed,
)

KERNEL = "6.1.0-41-amd64"


KNOWN = {name: model for name, model in MODELS.items() if name != UNKNOWN}


@pytest.mark.parametrize("model", KNOWN.values(), ids=KNOWN)
def test_a_model_is_what_the_collection_knows_by_its_pci_id(model: Model) -> None:
    known = model_of(model.device, model.subdevice)
    assert known is not None
    assert (known.name, known.compute_capability) == (model.name, model.compute_capability)
    required = required_flavour(model.compute_capability, model.name)
    assert model.flavours == ((required.value,) if required else ("open", "proprietary"))


def test_nobody_knows_the_unknown_one() -> None:
    unknown = MODELS[UNKNOWN]
    assert (model_of(unknown.device, unknown.subdevice), identify(unknown.name)) == (None, None)


def test_cards_keep_their_uuid() -> None:
    first, second = cards(["a10", "a10"])
    assert (first.address, second.address) == SLOTS[:2] == tuple(sorted(SLOTS))[:2]
    assert first.uuid != second.uuid
    assert cards(["a10"]) == [first]
    assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first.uuid)


@pytest.mark.parametrize(("names", "says"), [(["a10", "gtx"], "called gtx; there are: v100, t4"), (["t4"] * 9, "9 GPUs do not fit")])
def test_cards_that_there_cannot_be(names: list[str], says: str) -> None:
    with pytest.raises(RangeError, match=says):
        cards(names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_driver_depends_on_itself_alone(version: str) -> None:
    packages = driver(version, KERNEL)
    names = {package.name for package in packages} | {"nvidia-smi", f"nvidia-kernel-{version}"}
    for package in packages:
        for relation, value in package.relations:
            if relation in ("Depends", "Recommends"):
                assert {part.split(" (")[0] for part in re.split(r", | \| ", value)} <= names
                assert set(re.findall(r"\(= (.+?)\)", value)) == {f"{version}-1"}
                assert value.count("(=") == len(re.split(r", | \| ", value))


def test_what_an_operator_asks_for_and_what_it_needs() -> None:
    asked, others = needed("580.126.09", "open")
    assert asked == [*COMPUTE, MODULE_PACKAGES["open"]]
    assert {"libcuda1", "libnvidia-ml1", "nvidia-persistenced", "firmware-nvidia-gsp"} <= set(others)
    assert MODULE_PACKAGES["proprietary"] not in others


def files(packages: list[Package], name: str) -> dict[str, bytes]:
    return {path: file.content for package in packages if package.name == name for path, file in package.files.items()}


def test_nvidia_smi_comes_with_the_driver_package_and_knows_its_version() -> None:
    packages = driver("610.43.02", KERNEL)
    owners = [package.name for package in packages if "usr/bin/nvidia-smi" in package.files]
    assert owners == ["nvidia-driver-cuda"]
    text = files(packages, "nvidia-driver-cuda")["usr/bin/nvidia-smi"].decode()
    assert 'VERSION = "610.43.02"' in text and 'CUDA = "13.3"' in text
    compile(text, "nvidia-smi", "exec")


@pytest.mark.parametrize(
    ("version", "flavour", "licence", "kernel"),
    [
        ("580.126.09", "open", "Dual MIT/GPL", KERNEL),
        ("580.126.09", "proprietary", "NVIDIA", KERNEL),
        (BROKEN, "open", "Dual MIT/GPL", "6.1.0-99-amd64"),
    ],
)
def test_modinfo_reads_the_module(tmp_path: Path, version: str, flavour: str, licence: str, kernel: str) -> None:
    module = tmp_path / "nvidia.ko"
    module.write_bytes(files(driver(version, KERNEL), MODULE_PACKAGES[flavour])[f"usr/src/nvidia-{version}/nvidia.ko"])
    program = shutil.which("modinfo", path="/usr/sbin:/sbin:/usr/bin:/bin")

    def modinfo(field: str) -> str:
        return subprocess.check_output([str(program), "-F", field, str(module)], text=True).strip()

    assert (modinfo("version"), modinfo("license"), modinfo("vermagic").split()[0]) == (version, licence, kernel)


def test_the_key_follows_the_content() -> None:
    packages = everything(KERNEL)
    assert gpu_repository.key(packages) == gpu_repository.key(everything(KERNEL))
    assert gpu_repository.key(packages) != gpu_repository.key(everything("6.12.0-1-amd64"))
    assert len({(package.name, package.version) for package in packages}) == len(packages)
