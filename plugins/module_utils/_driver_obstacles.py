# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What speaks against a change of the driver, or has to be known about it: each finding with its remedy.

The codes are documented in the module nvidia_driver.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Kernel, PackageSet
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import UPGRADE_PLAYBOOK
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import is_driver_package, is_version, upstream
from ansible_collections.baremetal.llm.plugins.module_utils._driver_pin import NOUVEAU
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import State
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning

_MIB = 1 << 20
# An initramfs is written beside the old one before it takes its place.
_BOOT_MARGIN = 16 * _MIB
# The source and the objects of the modules, of which DKMS keeps one tree for each version.
_DKMS_TREE = 1024 * _MIB
# Tools that are released apart from the driver in some repositories.
_OWN_VERSIONS = ("nvidia-settings", "nvidia-persistenced", "nvidia-modprobe", "nvidia-xconfig", "libxnvctrl0", "libnvsdm")


# -- of what there is ----------------------------------------------------------------------------------------------------


def not_from_apt(library: str) -> Problem:
    return error(
        "not_from_apt",
        f"{library} is of an NVIDIA driver that no package has brought, such as one of NVIDIA's .run installer",
        "Remove it with `nvidia-uninstall`, or set nvidia_driver_manage to false to keep it",
    )


def unended_upgrade(record: Record, state: State) -> Problem:
    """Of a run that is no upgrade itself."""
    began = f"An upgrade of NVIDIA driver {record.version} to {record.target} was begun"
    if not state.usable or state.version not in (record.version, record.target):
        remedy = f"Run {UPGRADE_PLAYBOOK} again, which finishes it or goes back"
        return error("upgrade_unfinished", f"{began}, and not finished", remedy)
    remedy = f"Run {UPGRADE_PLAYBOOK} again, which accepts it if the services are well"
    return warning("upgrade_not_accepted", f"{began}, and neither accepted nor taken back", remedy)


# -- of what apt has -----------------------------------------------------------------------------------------------------


def no_repository(names: Iterable[str], *, expected: bool) -> Problem:
    """``expected`` where the repository may be set up later in the same run."""
    what = f"apt offers no NVIDIA driver: none of its sources has all of {', '.join(names)}"
    if expected:
        return warning("repository_missing", what, "Nothing to do if the repository is set up before the driver is installed")
    return error(
        "repository_missing",
        what,
        "Set up NVIDIA's repository or a mirror of it (role nvidia_repository); of Debian's own archive, enable contrib and non-free",
    )


def headers_problem(packages: PackageSet, kernel: Kernel, offered: Container[str], installed: Container[str]) -> Problem | None:
    """DKMS compiles the modules for the kernel that runs, and skips it without a word where its headers are missing."""
    name = kernel.headers[0]
    if not packages.dkms or name in installed or name in offered:
        return None
    images = " and ".join(f"linux-image-{meta}" for meta in kernel.metas) or "the current kernel"
    newer = f"Install {images}, reboot into it, and run this again"
    return error("no_kernel_headers", f"The modules have to be compiled for the kernel that runs, and apt has no {name}", newer)


def cannot_go_back(missing: Iterable[str], version: str | None) -> Problem:
    return warning(
        "cannot_go_back",
        f"apt no longer has the package files of {', '.join(missing)}: there is no way back to {version}",
        "Keep a mirror of the repository that has them, if that matters",
    )


# -- of what apt would do ------------------------------------------------------------------------------------------------


def apt_refuses(target: str, why: str) -> Problem:
    return error(
        "apt_refuses",
        f"apt cannot install NVIDIA driver {target}: {why}",
        "Put that right, or ask for another version; what is missing may be in a component of the archive that is not enabled, "
        "as contrib of Debian",
    )


def transaction_problems(changes: Iterable[Change], state: State, target: str) -> Iterator[Problem]:
    """What speaks against what apt would do."""
    changes = list(changes)
    if foreign := [change for change in changes if change.new is None and not is_driver_package(change.name)]:
        yield error(
            "would_remove",
            f"To install NVIDIA driver {target}, apt would remove {', '.join(change.name for change in foreign)}",
            "Remove or upgrade these yourself if that is meant, or ask for another version",
        )
    mixed = [change for change in changes if change.new is not None and _differs(change.name, change.new, target)]
    if mixed:
        yield error(
            "mixed_versions",
            f"With NVIDIA driver {target}, apt would install {', '.join(f'{change.name} {change.new}' for change in mixed)}",
            "Look for other pins below /etc/apt/preferences.d and remove them; the packages of a driver only work with their own version",
        )
    if on_hold := sorted({change.name for change in changes} & set(state.held)):
        yield _held_problem(on_hold)
    touched = {change.name for change in changes}
    behind = [name for name, version in state.versions.items() if name not in touched and _differs(name, version, target)]
    if behind:
        yield warning(
            "left_behind",
            f"{', '.join(f'{name} {state.versions[name]}' for name in sorted(behind))} would stay beside NVIDIA driver {target}",
            "Remove them if nothing needs them: they work with their own version of the driver only",
        )


def _held_problem(names: Sequence[str]) -> Problem:
    return error(
        "on_hold",
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} on hold, so apt would not change the driver as a whole",
        f"Run `apt-mark unhold {' '.join(names)}`: the pin of this module keeps the driver where it is, and also lets it go back",
    )


# -- of the machine ------------------------------------------------------------------------------------------------------


def space_problems(boot_free: int | None, initramfs: int, var_free: int, download: int, *, dkms: bool) -> Iterator[Problem]:
    """All in bytes. ``boot_free`` is None where there is no initramfs, and ``initramfs`` is the size of the largest."""
    if boot_free is not None and boot_free < initramfs + _BOOT_MARGIN:
        yield error(
            "boot_full",
            f"/boot has {boot_free // _MIB} MiB free, and a new initramfs needs {(initramfs + _BOOT_MARGIN) // _MIB} MiB",
            "Remove kernels that are no longer used: `apt-get autoremove --purge`",
        )
    # The packages that come and those that go are both kept, so that going back needs no network.
    needed = 2 * download + (_DKMS_TREE if dkms else 0)
    if var_free < needed:
        yield error(
            "var_full",
            f"/var has {var_free // _MIB} MiB free, and the driver's packages and the build of its modules need {needed // _MIB} MiB",
            "Make room: `apt-get clean`, or `journalctl --vacuum-size=200M`",
        )


def secure_boot() -> Problem:
    return error(
        "secure_boot",
        "Secure Boot is on, and the kernel refuses modules that were compiled on this host: no key for them is enrolled",
        "Take Ubuntu's signed modules (nvidia_driver_repository: distribution), or enrol the key of DKMS with "
        "`mokutil --import` at the console, or switch Secure Boot off",
    )


def nouveau_loaded(target: str) -> Problem:
    return warning(
        "nouveau_loaded",
        f"nouveau holds the GPUs, so NVIDIA driver {target} runs after a reboot only",
        f"Nothing to do but to reboot: {NOUVEAU} keeps nouveau away from then on",
    )


def _differs(name: str, version: str, target: str) -> bool:
    plain = name.partition(":")[0]
    return is_driver_package(name) and plain not in _OWN_VERSIONS and is_version(upstream(version)) and upstream(version) != target
