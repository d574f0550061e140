# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model hub's client and what it needs: package, version and the sha256 of each wheel that a host may take.

Written by tools/lock_hub_client.py.
"""

from __future__ import annotations

VERSION = "2.4.0"

WHEELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "anyio": (
        "4.16.0",
        ("c66ae634e0b8228396b801741beb3294326d4b6102f7bba4041c0dfb58c29026",),
    ),
    "click": (
        "8.5.1",
        ("8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37",),
    ),
    "exceptiongroup": (
        "1.3.2",
        ("41c6a70dfec22050d3d8b43386b059a4dc0bca3f3d40a40971cb206fff1785af",),
    ),
    "filelock": (
        "4.1.0",
        ("2ce9818e3e2d8f284c1a964414447ef148d42a5fd5e2a477a7118e574b293ec1",),
    ),
    "fsspec": (
        "2026.9.0",
        ("8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f",),
    ),
    "h11": (
        "0.16.0",
        ("63cf8bbe7522de3bf65932fda1d9c2772064ffb3dae62d55932da54b31cb6c86",),
    ),
    "httpcore2": (
        "2.14.0",
        ("4c4f64f4b544afeb778c42c0ffb5941b29e671157e90ed3f6dc787c4bca90cd1",),
    ),
    "httpx2": (
        "2.14.0",
        ("9d20c13a10bae1773a0be3b0f1e5beeb4bdd549bc3a2ba18efa32897c65403e4",),
    ),
    "huggingface-hub": (
        "2.4.0",
        ("42ecfd93ede47bdd333daebbf66a32d7bfe2e18752754fe4d2d4f98a0179d801",),
    ),
    "idna": (
        "3.20",
        ("ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c",),
    ),
    "packaging": (
        "26.4",
        ("81383611a09c1bc0b08b76e0fd5829d7c6824c65b27a6aee339da133f4233ea2",),
    ),
    "pyyaml": (
        "6.0.4",
        (
            "41b4669c3a8fd5750e594dff59d3e62d40e321fec467b50449603710ed0a68f3",
            "45e37dd647db9d67b757444c74060c064ace5fdaa08f42bf4fda3812275d423e",
            "50588147ab2c6a59b5f990a4905db80899a6c2bd197e046a6201f1e67587e794",
            "54c23934cf166bb2090d73d82b1388aadb1cead5e73885223dcfa4a459a22d43",
            "622aa875fa6533f25fedcffe23079357d65a690d462200afed5d8e9d0e01ebee",
            "71bb5b87465d88d1dfc577115af6d435bff9b26f2512936f610c26aa55966028",
            "88a089e6424a8a256321270620d5a4328ad5227fb2061b07d33f596894336914",
            "93bfb2459195406a518e2f487a9bbf01df240175f31e06f5a252ac6734c7bbf0",
            "c604dc2613c417130479cdd6e55c2faa691b6365aa82b3dafddfcecc2eaf1ac7",
            "ed9b957abb12f6ffcd92d5db32fa3ffd4e4a8423d80ddd51b4efa63b42f6a76b",
        ),
    ),
    "tqdm": (
        "4.70.1",
        ("c293e525e6fef9c20e8728fd4612df02a0aa31bb5fe91ecd93e123b1b7bffa73",),
    ),
    "truststore": (
        "0.10.5",
        ("9aaaedaefaf06d8b206278cf8b5012bc897f485a874503501e12d776df78951c",),
    ),
    "typing-extensions": (
        "4.16.0",
        ("481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8",),
    ),
}
