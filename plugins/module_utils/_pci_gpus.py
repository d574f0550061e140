# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA's GPUs by PCI id: what a host has in it before any driver is there, or when the driver is broken.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

NVIDIA = "10de"
_DISPLAY_CONTROLLER = "03"  # the base class in the PCI code and ID assignment: VGA controllers (0300) and 3D controllers (0302)
_HANDED_AWAY = frozenset({"vfio-pci", "pci-stub", "pciback", "xen-pciback"})
_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)


class Model(NamedTuple):
    name: str
    """As nvidia-smi calls it."""
    compute_capability: str


class PciGpu(NamedTuple):
    """An NVIDIA GPU in its slot."""

    address: str
    device: str
    model: Model | None
    kernel_driver: str | None

    @property
    def pci_id(self) -> str:
        return f"{NVIDIA}:{self.device}"

    @property
    def name(self) -> str:
        return self.model.name if self.model else f"NVIDIA GPU {self.pci_id}"

    @property
    def handed_away(self) -> bool:
        """Whether it is bound to a driver that keeps it for a virtual machine."""
        return self.kernel_driver in _HANDED_AWAY


def find_address(text: str) -> str | None:
    """The first PCI address in ``text`` as Linux writes it: ``0000:cb:00.0`` for nvidia-smi's ``GPU00000000:CB:00.0``."""
    match = _ADDRESS.search(text)
    return f"{int(match[1], 16):04x}:{match[2].lower()}" if match else None


def bus_order(address: str) -> tuple[int, str]:
    """The order in which nvidia-smi counts."""
    domain, _colon, rest = address.partition(":")
    return int(domain, 16), rest


def model_of(device: str, subdevice: str | None = None) -> Model | None:
    """The model by its device id, and by that of its subsystem where a device id has several names; all of them have one capability."""
    return _MODELS.get(f"{device}:{subdevice}") or _MODELS.get(device)


def gpu(address: str, read: Callable[[str], str], kernel_driver: str | None) -> PciGpu | None:
    """The GPU that a directory below /sys/bus/pci/devices describes, if it is one of NVIDIA's; ``read`` gives the text of a file in it.

    NVIDIA's devices have more functions: sound, USB, and on servers the switches of NVLink.
    """
    if _id(read("vendor")) != NVIDIA:
        return None
    device = _id(read("device"))
    model = model_of(device, _id(read("subsystem_device")))
    kind = _id(read("class"))
    is_gpu = kind.startswith(_DISPLAY_CONTROLLER) if kind else model is not None
    if not is_gpu:
        return None
    return PciGpu(find_address(address) or address, device, model, kernel_driver)


def _id(text: str) -> str:
    return text.strip().lower().removeprefix("0x")


# Names and device ids: the appendix on compatible GPUs in the README of NVIDIA's open-gpu-kernel-modules 595.45.04, which begins with
# Turing; without the Max-Q variants of laptops. From the PCI ID database (pci.ids of 2026-08-22): Volta, 2348, 2c3a, 31c3, and which chip
# a device id is. The chip decides the compute capability: GV100 7.0, TU1xx 7.5, GA100 8.0, GA10x 8.6, AD10x 8.9, GH100 9.0, GB10x 10.0,
# GB110 10.3, GB20x 12.0, GB20B 12.1. `id:subsystem` stands where one device id is sold under several names.
_TABLE = {
    "7.0": """
1db1 Tesla V100-SXM2-16GB
1db4 Tesla V100-PCIE-16GB
1db5 Tesla V100-SXM2-32GB
1db6 Tesla V100-PCIE-32GB
1df6 Tesla V100S-PCIE-32GB
""",
    "7.5": """
1e02 NVIDIA TITAN RTX
1e04 NVIDIA GeForce RTX 2080 Ti
1e07 NVIDIA GeForce RTX 2080 Ti
1e09 NVIDIA CMP 50HX
1e30 Quadro RTX 6000
1e30:129e Quadro RTX 8000
1e36 Quadro RTX 6000
1e78:13d8 Quadro RTX 8000
1e78:13d9 Quadro RTX 6000
1e81 NVIDIA GeForce RTX 2080 SUPER
1e82 NVIDIA GeForce RTX 2080
1e84 NVIDIA GeForce RTX 2070 SUPER
1e87 NVIDIA GeForce RTX 2080
1e89 NVIDIA GeForce RTX 2060
1e90 NVIDIA GeForce RTX 2080
1e91 NVIDIA GeForce RTX 2070 Super
1e93 NVIDIA GeForce RTX 2080 Super
1eb0 Quadro RTX 5000
1eb1 Quadro RTX 4000
1eb5 Quadro RTX 5000
1eb6 Quadro RTX 4000
1eb8 Tesla T4
1ec2 NVIDIA GeForce RTX 2070 SUPER
1ec7 NVIDIA GeForce RTX 2070 SUPER
1ed0 NVIDIA GeForce RTX 2080
1ed1 NVIDIA GeForce RTX 2070 Super
1ed3 NVIDIA GeForce RTX 2080 Super
1ef5 Quadro RTX 5000
1f02 NVIDIA GeForce RTX 2070
1f03 NVIDIA GeForce RTX 2060
1f06 NVIDIA GeForce RTX 2060 SUPER
1f07 NVIDIA GeForce RTX 2070
1f08 NVIDIA GeForce RTX 2060
1f0a NVIDIA GeForce GTX 1650
1f0b NVIDIA CMP 40HX
1f10 NVIDIA GeForce RTX 2070
1f11 NVIDIA GeForce RTX 2060
1f12 NVIDIA GeForce RTX 2060
1f14 NVIDIA GeForce RTX 2070
1f15 NVIDIA GeForce RTX 2060
1f36 Quadro RTX 3000
1f42 NVIDIA GeForce RTX 2060 SUPER
1f47 NVIDIA GeForce RTX 2060 SUPER
1f50 NVIDIA GeForce RTX 2070
1f51 NVIDIA GeForce RTX 2060
1f54 NVIDIA GeForce RTX 2070
1f55 NVIDIA GeForce RTX 2060
1f76 Quadro RTX 3000
1f82 NVIDIA GeForce GTX 1650
1f83 NVIDIA GeForce GTX 1630
1f91 NVIDIA GeForce GTX 1650
1f95 NVIDIA GeForce GTX 1650 Ti
1f96 NVIDIA GeForce GTX 1650
1f97 NVIDIA GeForce MX450
1f98 NVIDIA GeForce MX450
1f99 NVIDIA GeForce GTX 1650
1f9c NVIDIA GeForce MX450
1f9d NVIDIA GeForce GTX 1650
1f9f NVIDIA GeForce MX550
1fa0 NVIDIA GeForce MX550
1fb0 NVIDIA T1000
1fb1 NVIDIA T600
1fb2 NVIDIA T400
1fb6 NVIDIA T600 Laptop GPU
1fb7 NVIDIA T550 Laptop GPU
1fb8 Quadro T2000
1fb9 Quadro T1000
1fba NVIDIA T600 Laptop GPU
1fbb NVIDIA T500
1fbc NVIDIA T1200 Laptop GPU
1fdd NVIDIA GeForce GTX 1650
1ff0 NVIDIA T1000 8GB
1ff2:1613 NVIDIA T400 4GB
1ff2:18ff NVIDIA T400E
1ff2:8a80 NVIDIA T400 4GB
1ff9 Quadro T1000
2182 NVIDIA GeForce GTX 1660 Ti
2184 NVIDIA GeForce GTX 1660
2187 NVIDIA GeForce GTX 1650 SUPER
2188 NVIDIA GeForce GTX 1650
2189 NVIDIA CMP 30HX
2191 NVIDIA GeForce GTX 1660 Ti
2192 NVIDIA GeForce GTX 1650 Ti
21c4 NVIDIA GeForce GTX 1660 SUPER
21d1 NVIDIA GeForce GTX 1660 Ti
""",
    "8.0": """
20b0 NVIDIA A100-SXM4-40GB
20b0:1450 NVIDIA A100-PG509-200
20b2:1463 NVIDIA A100-SXM4-80GB
20b2:147f NVIDIA A100-SXM4-80GB
20b2:1622 NVIDIA A100-SXM4-80GB
20b2:1623 NVIDIA A100-SXM4-80GB
20b2:1625 NVIDIA PG509-210
20b3 NVIDIA A100-SXM-64GB
20b5 NVIDIA A100 80GB PCIe
20b6 NVIDIA PG506-232
20b7 NVIDIA A30
20bd NVIDIA A800-SXM4-40GB
20f1 NVIDIA A100-PCIE-40GB
20f3 NVIDIA A800-SXM4-80GB
20f5:1799 NVIDIA A800 80GB PCIe
20f5:179a NVIDIA A800 80GB PCIe LC
20f6 NVIDIA A800 40GB Active
20fd NVIDIA AX800
""",
    "8.6": """
2203 NVIDIA GeForce RTX 3090 Ti
2204 NVIDIA GeForce RTX 3090
2206 NVIDIA GeForce RTX 3080
2207 NVIDIA GeForce RTX 3070 Ti
2208 NVIDIA GeForce RTX 3080 Ti
220a NVIDIA GeForce RTX 3080
220d NVIDIA CMP 90HX
2216 NVIDIA GeForce RTX 3080
2230 NVIDIA RTX A6000
2231 NVIDIA RTX A5000
2232 NVIDIA RTX A4500
2233 NVIDIA RTX A5500
2235 NVIDIA A40
2236 NVIDIA A10
2237 NVIDIA A10G
2238 NVIDIA A10M
2414 NVIDIA GeForce RTX 3060 Ti
2420 NVIDIA GeForce RTX 3080 Ti Laptop GPU
2438 NVIDIA RTX A5500 Laptop GPU
2460 NVIDIA GeForce RTX 3080 Ti Laptop GPU
2482 NVIDIA GeForce RTX 3070 Ti
2484 NVIDIA GeForce RTX 3070
2486 NVIDIA GeForce RTX 3060 Ti
2487 NVIDIA GeForce RTX 3060
2488 NVIDIA GeForce RTX 3070
2489 NVIDIA GeForce RTX 3060 Ti
248a NVIDIA CMP 70HX
249c NVIDIA GeForce RTX 3080 Laptop GPU
249d NVIDIA GeForce RTX 3070 Laptop GPU
24a0 NVIDIA GeForce RTX 3070 Ti Laptop GPU
24b0 NVIDIA RTX A4000
24b1 NVIDIA RTX A4000H
24b6 NVIDIA RTX A5000 Laptop GPU
24b7 NVIDIA RTX A4000 Laptop GPU
24b8 NVIDIA RTX A3000 Laptop GPU
24b9 NVIDIA RTX A3000 12GB Laptop GPU
24ba NVIDIA RTX A4500 Laptop GPU
24bb NVIDIA RTX A3000 12GB Laptop GPU
24c7 NVIDIA GeForce RTX 3060
24c9 NVIDIA GeForce RTX 3060 Ti
24dc NVIDIA GeForce RTX 3080 Laptop GPU
24dd NVIDIA GeForce RTX 3070 Laptop GPU
24e0 NVIDIA GeForce RTX 3070 Ti Laptop GPU
24fa NVIDIA RTX A4500 Embedded GPU
2503 NVIDIA GeForce RTX 3060
2504 NVIDIA GeForce RTX 3060
2507 NVIDIA GeForce RTX 3050
2508 NVIDIA GeForce RTX 3050 OEM
2520 NVIDIA GeForce RTX 3060 Laptop GPU
2521 NVIDIA GeForce RTX 3060 Laptop GPU
2523 NVIDIA GeForce RTX 3050 Ti Laptop GPU
2531 NVIDIA RTX A2000
2544 NVIDIA GeForce RTX 3060
2560 NVIDIA GeForce RTX 3060 Laptop GPU
2563 NVIDIA GeForce RTX 3050 Ti Laptop GPU
2571 NVIDIA RTX A2000 12GB
2582 NVIDIA GeForce RTX 3050
2584 NVIDIA GeForce RTX 3050
25a0 NVIDIA GeForce RTX 3050 Ti Laptop GPU
25a2 NVIDIA GeForce RTX 3050 Laptop GPU
25a5 NVIDIA GeForce RTX 3050 Laptop GPU
25a6 NVIDIA GeForce MX570
25a7 NVIDIA GeForce RTX 2050
25a9 NVIDIA GeForce RTX 2050
25aa NVIDIA GeForce MX570 A
25ab NVIDIA GeForce RTX 3050 4GB Laptop GPU
25ac NVIDIA GeForce RTX 3050 6GB Laptop GPU
25ad NVIDIA GeForce RTX 2050
25b0 NVIDIA RTX A1000
25b2 NVIDIA RTX A400
25b6:14a9 NVIDIA A16
25b6:157e NVIDIA A2
25b8 NVIDIA RTX A2000 Laptop GPU
25b9 NVIDIA RTX A1000 Laptop GPU
25ba NVIDIA RTX A2000 8GB Laptop GPU
25bb NVIDIA RTX A500 Laptop GPU
25bc NVIDIA RTX A1000 6GB Laptop GPU
25bd NVIDIA RTX A500 Laptop GPU
25e0 NVIDIA GeForce RTX 3050 Ti Laptop GPU
25e2 NVIDIA GeForce RTX 3050 Laptop GPU
25e5 NVIDIA GeForce RTX 3050 Laptop GPU
25ec NVIDIA GeForce RTX 3050 6GB Laptop GPU
25ed NVIDIA GeForce RTX 2050
25f9 NVIDIA RTX A1000 Embedded GPU
25fa NVIDIA RTX A2000 Embedded GPU
25fb NVIDIA RTX A500 Embedded GPU
""",
    "8.9": """
2684 NVIDIA GeForce RTX 4090
2685 NVIDIA GeForce RTX 4090 D
2689 NVIDIA GeForce RTX 4070 Ti SUPER
26b1 NVIDIA RTX 6000 Ada Generation
26b2 NVIDIA RTX 5000 Ada Generation
26b3 NVIDIA RTX 5880 Ada Generation
26b5 NVIDIA L40
26b9 NVIDIA L40S
26ba NVIDIA L20
2702 NVIDIA GeForce RTX 4080 SUPER
2704 NVIDIA GeForce RTX 4080
2705 NVIDIA GeForce RTX 4070 Ti SUPER
2709 NVIDIA GeForce RTX 4070
2717 NVIDIA GeForce RTX 4090 Laptop GPU
2730 NVIDIA RTX 5000 Ada Generation Laptop GPU
2757 NVIDIA GeForce RTX 4090 Laptop GPU
2770 NVIDIA RTX 5000 Ada Generation Embedded GPU
2782 NVIDIA GeForce RTX 4070 Ti
2783 NVIDIA GeForce RTX 4070 SUPER
2786 NVIDIA GeForce RTX 4070
2788 NVIDIA GeForce RTX 4060 Ti
27a0 NVIDIA GeForce RTX 4080 Laptop GPU
27b0 NVIDIA RTX 4000 SFF Ada Generation
27b1 NVIDIA RTX 4500 Ada Generation
27b2 NVIDIA RTX 4000 Ada Generation
27b6 NVIDIA L2
27b8 NVIDIA L4
27ba NVIDIA RTX 4000 Ada Generation Laptop GPU
27bb NVIDIA RTX 3500 Ada Generation Laptop GPU
27e0 NVIDIA GeForce RTX 4080 Laptop GPU
27fb NVIDIA RTX 3500 Ada Generation Embedded GPU
2803 NVIDIA GeForce RTX 4060 Ti
2805 NVIDIA GeForce RTX 4060 Ti
2808 NVIDIA GeForce RTX 4060
2820 NVIDIA GeForce RTX 4070 Laptop GPU
2822 NVIDIA GeForce RTX 3050 A Laptop GPU
2838 NVIDIA RTX 3000 Ada Generation Laptop GPU
2860 NVIDIA GeForce RTX 4070 Laptop GPU
2882 NVIDIA GeForce RTX 4060
28a0 NVIDIA GeForce RTX 4060 Laptop GPU
28a1 NVIDIA GeForce RTX 4050 Laptop GPU
28a3 NVIDIA GeForce RTX 3050 A Laptop GPU
28b0:1870 NVIDIA RTX 2000 Ada Generation
28b0:1871 NVIDIA RTX 2000E Ada Generation
28b8 NVIDIA RTX 2000 Ada Generation Laptop GPU
28b9 NVIDIA RTX 1000 Ada Generation Laptop GPU
28ba NVIDIA RTX 500 Ada Generation Laptop GPU
28bb NVIDIA RTX 500 Ada Generation Laptop GPU
28e0 NVIDIA GeForce RTX 4060 Laptop GPU
28e1 NVIDIA GeForce RTX 4050 Laptop GPU
28e3 NVIDIA GeForce RTX 3050 A Laptop GPU
28f8 NVIDIA RTX 2000 Ada Generation Embedded GPU
""",
    "9.0": """
230e NVIDIA H20 NVL16
2321 NVIDIA H100 NVL
2322 NVIDIA H800 PCIe
2324 NVIDIA H800
2329 NVIDIA H20
232c NVIDIA H20-3e
2330 NVIDIA H100 80GB HBM3
2331 NVIDIA H100 PCIe
2335 NVIDIA H200
2339 NVIDIA H100
233a NVIDIA H800 NVL
233b NVIDIA H200 NVL
2342:16eb NVIDIA GH200 120GB
2342:1805 NVIDIA GH200 120GB
2342:1809 NVIDIA GH200 480GB
2348 NVIDIA GH200 144G HBM3e
""",
    "10.0": """
2901 NVIDIA B200
2941 NVIDIA GB200
""",
    "10.3": """
3182 NVIDIA B300 SXM6 AC
31c2 NVIDIA GB300
31c3 NVIDIA GB300
""",
    "12.0": """
2b85 NVIDIA GeForce RTX 5090
2b87 NVIDIA GeForce RTX 5090 D
2b8c NVIDIA GeForce RTX 5090 D v2
2bb1 NVIDIA RTX PRO 6000 Blackwell Workstation Edition
2bb3:204d NVIDIA RTX PRO 5000 Blackwell
2bb3:227a NVIDIA RTX PRO 5000 72GB Blackwell
2bb4 NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition
2bb5 NVIDIA RTX PRO 6000 Blackwell Server Edition
2bb9 NVIDIA RTX 6000D
2c02 NVIDIA GeForce RTX 5080
2c05 NVIDIA GeForce RTX 5070 Ti
2c18 NVIDIA GeForce RTX 5090 Laptop GPU
2c19 NVIDIA GeForce RTX 5080 Laptop GPU
2c31 NVIDIA RTX PRO 4500 Blackwell
2c33 NVIDIA RTX PRO 4000 Blackwell SFF Edition
2c34 NVIDIA RTX PRO 4000 Blackwell
2c38 NVIDIA RTX PRO 5000 Blackwell Generation Laptop GPU
2c39 NVIDIA RTX PRO 4000 Blackwell Generation Laptop GPU
2c3a NVIDIA RTX PRO 4500 Blackwell Server Edition
2c58 NVIDIA GeForce RTX 5090 Laptop GPU
2c59 NVIDIA GeForce RTX 5080 Laptop GPU
2c77 NVIDIA RTX PRO 5000 Blackwell Embedded GPU
2c79 NVIDIA RTX PRO 4000 Blackwell Embedded GPU
2d04 NVIDIA GeForce RTX 5060 Ti
2d05 NVIDIA GeForce RTX 5060
2d18 NVIDIA GeForce RTX 5070 Laptop GPU
2d19 NVIDIA GeForce RTX 5060 Laptop GPU
2d30 NVIDIA RTX PRO 2000 Blackwell
2d39 NVIDIA RTX PRO 2000 Blackwell Generation Laptop GPU
2d58 NVIDIA GeForce RTX 5070 Laptop GPU
2d59 NVIDIA GeForce RTX 5060 Laptop GPU
2d79 NVIDIA RTX PRO 2000 Blackwell Embedded GPU
2d83 NVIDIA GeForce RTX 5050
2d98 NVIDIA GeForce RTX 5050 Laptop GPU
2db8 NVIDIA RTX PRO 1000 Blackwell Generation Laptop GPU
2db9 NVIDIA RTX PRO 500 Blackwell Generation Laptop GPU
2dd8 NVIDIA GeForce RTX 5050 Laptop GPU
2df9 NVIDIA RTX PRO 500 Blackwell Embedded GPU
2f04 NVIDIA GeForce RTX 5070
2f18 NVIDIA GeForce RTX 5070 Ti Laptop GPU
2f38 NVIDIA RTX PRO 3000 Blackwell Generation Laptop GPU
2f58 NVIDIA GeForce RTX 5070 Ti Laptop GPU
""",
    "12.1": """
2e12 NVIDIA GB10
""",
}


def _models() -> dict[str, Model]:
    models: dict[str, Model] = {}
    for capability, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            ids, _space, name = line.partition(" ")
            models[ids] = Model(name, capability)
            models.setdefault(ids.partition(":")[0], models[ids])
    return models


_MODELS = _models()
