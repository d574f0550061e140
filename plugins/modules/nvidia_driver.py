#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver
short_description: NVIDIA's driver from apt, at one version, changed only on purpose
version_added: 0.1.0
description:
  - Installs NVIDIA's driver from the repositories that the host has, at exactly one version, and keeps it there.
  - Before anything is changed, apt simulates the installation. What would be removed, a version that is not on offer, a full C(/boot),
    missing kernel headers and the like are told as RV(problems), and the module fails.
  - A driver that is installed is not changed for another, whatever O(version) says, unless O(upgrade=true).
  - With O(upgrade=true), what was there is written to C(/var/lib/baremetal-llm/driver-upgrade.json) and its package files are kept beside
    it, until O(state=accepted) or O(state=reverted). A run that is killed, even by a power cut, is finished by the next one, in either
    direction.
  - The version is kept by a pin in C(/etc/apt/preferences.d) and a list in C(/etc/apt/apt.conf.d) for unattended-upgrades. The packages
    that NVIDIA has for pinning (C(nvidia-driver-pinning-...)) are not used, because other repositories do not have them. Nor is
    C(apt-mark hold), which would also stop the way back.
  - Services that use the driver are not stopped, and the host is not rebooted. See RV(reboot_required).
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  version:
    description:
      - The driver, as a full version such as V(580.126.09), or a branch such as V(580).
      - A branch is the newest version of it that is on offer when a driver is installed or upgraded. After that, any version of the branch
        will do.
      - Empty is the driver that is installed. Where none is, it is the newest on offer that fits O(gpus) and O(toolkit_version). With
        O(upgrade=true), it is the newest of the branch that is installed.
    type: str
    default: ''
  kernel_module:
    description:
      - The flavour of the kernel modules.
      - By default the installed one. Where none is installed, what O(gpus) need, and V(open) where they work with both.
    type: str
    choices: [open, proprietary]
  repository:
    description:
      - Whose packages to install, which are called differently.
      - V(nvidia) is NVIDIA's CUDA repository or a mirror of it, and V(distribution) the archive of Debian or Ubuntu. Neither is set up
        here.
      - Of Ubuntu's archive the server drivers with signed modules are taken, which start with Secure Boot.
    type: str
    choices: [nvidia, distribution]
    default: nvidia
  compute_only:
    description: Leave out what is for screens. It decides about the packages of a new driver only.
    type: bool
    default: true
  gpus:
    description:
      - The GPUs of the host, each with a C(name), a C(compute_capability) or both, as RV(baremetal.llm.gpu_info#module:gpus) has them.
      - A driver that does not fit them is refused.
    type: list
    elements: dict
    default: []
  toolkit_version:
    description: The CUDA toolkit of which the programs of this host are built. A driver that is too old for it is refused.
    type: str
    default: ''
  upgrade:
    description: Whether a driver that is installed may be changed for another version, newer or older, or another flavour.
    type: bool
    default: false
  lock_timeout:
    description: For how many seconds to wait while another program installs packages.
    type: int
    default: 300
  state:
    description:
      - V(present) installs the driver, finishes what was interrupted, and writes pin and lists.
      - V(planned) changes nothing and does not fail, and tells what V(present) would do and what speaks against it.
      - V(accepted) ends an upgrade, so that there is no way back any more.
      - V(reverted) puts back the driver from before an upgrade that is not accepted. Without one it does nothing.
    type: str
    choices: [planned, present, accepted, reverted]
    default: present
notes:
  - The packages are handled with C(apt-get) itself, since M(ansible.builtin.apt) cannot tell what it would do before it does it.
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.gpu_info
  - module: baremetal.llm.cuda_plan
  - plugin: baremetal.llm.driver_check
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look what GPUs are there
  baremetal.llm.gpu_info:
  register: gpu_info

- name: Install the newest driver of branch 580
  baremetal.llm.nvidia_driver:
    version: '580'
    gpus: "{{ gpu_info.gpus }}"
  register: driver

- name: Start it
  ansible.builtin.reboot:
  when: driver.reboot_required

- name: Would an upgrade work?
  baremetal.llm.nvidia_driver:
    version: 590.48.01
    upgrade: true
    state: planned
  register: plan

- name: Upgrade, with a way back
  baremetal.llm.nvidia_driver:
    version: 590.48.01
    upgrade: true

- name: Go back
  baremetal.llm.nvidia_driver:
    state: reverted

- name: Stay
  baremetal.llm.nvidia_driver:
    state: accepted
"""

RETURN = r"""
installed_version:
  description: The version that is installed after this, or null. With O(state=planned), the one that is now.
  type: str
  returned: always
  sample: 580.126.09
target_version:
  description: The version that shall be there, or null where none was found.
  type: str
  returned: always
  sample: 580.126.09
previous_version:
  description: The version that O(state=reverted) goes back to, or null.
  type: str
  returned: always
  sample: 580.95.05
kernel_module:
  description: The flavour of the kernel modules that shall be there.
  type: str
  returned: always
  sample: open
packages:
  description: The packages of the driver that are installed after this, with their versions. With O(state=planned), those that are now.
  type: list
  elements: str
  returned: always
  sample: [nvidia-driver-cuda=580.126.09-1, nvidia-kernel-open-dkms=580.126.09-1]
changes:
  description: What apt does, or would do.
  type: list
  elements: str
  returned: always
  sample: [install nvidia-driver-cuda 580.126.09-1]
offered:
  description: The versions that apt offers with this flavour, oldest first. Empty where apt did not have to be asked.
  type: list
  elements: str
  returned: always
installs:
  description: Whether packages are to be installed, so that the repository has to be there and apt's lists have to be new.
  type: bool
  returned: with O(state=planned)
message:
  description: The errors of RV(problems) in a text, to fail with; empty where there is none.
  type: str
  returned: with O(state=planned)
due:
  description: Whether O(state=present) has something to do, be it to fail, or the host has to be rebooted.
  type: bool
  returned: with O(state=planned)
reboot_required:
  description: Whether the driver that is installed only runs after a reboot.
  type: bool
  returned: always
problems:
  description:
    - What was found. The C(code) of each stays the same for good.
    - "Errors: V(other_version) and V(other_flavour) (another driver is installed, and O(upgrade) is not set), V(version_not_offered),
      V(repository_missing) (a warning in check mode and with O(state=planned)), V(not_from_apt) (there is a driver of NVIDIA's C(.run)
      installer), V(upgrade_unfinished), V(apt_refuses), V(would_remove) (something that is not NVIDIA's driver), V(mixed_versions),
      V(on_hold), V(boot_full), V(var_full), V(no_kernel_headers), V(secure_boot), and those of M(baremetal.llm.cuda_plan) about the
      driver."
    - "Warnings: V(left_behind), V(nouveau_loaded), V(upgrade_not_accepted), V(cannot_go_back)."
  type: list
  elements: dict
  returned: always
  contains:
    code:
      description: What it is.
      type: str
    severity:
      description: V(error) or V(warning).
      type: str
    message:
      description: What it is, in a sentence.
      type: str
    remedy:
      description: What to do about it.
      type: str
"""

import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as files
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_plan as plan
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change, Package, reason, transaction_diff
from ansible_collections.baremetal.llm.plugins.module_utils._driver_host import DriverHost, state_of
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import (
    Kernel,
    Offer,
    PackageSet,
    Repository,
    branch_of,
    branches,
    names_to_ask_for,
    offers,
    package_set,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, errors, failure_message, warning


@dataclass
class Work:
    """What is to be done, and what was found on the way to that."""

    target: str | None = None
    flavour: Flavour = Flavour.OPEN
    arguments: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Those that say something else yet, and what they shall say."""
    before: dict[str, str] = field(default_factory=dict)
    """What they say."""
    unfinished: bool = False
    """Whether dpkg has to finish what it was interrupted in."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def due(self) -> bool:
        return bool(self.arguments or self.files or self.unfinished)


class NvidiaDriver:
    """One run of the module: look, decide, then change."""

    def __init__(self, module: AnsibleModule) -> None:
        params = module.params
        self.dry = module.check_mode or params["state"] == "planned"
        self.check_mode = module.check_mode
        self.state_wanted: str = params["state"]
        self.wish = plan.Wish(params["version"], Flavour(params["kernel_module"]) if params["kernel_module"] else None, params["upgrade"])
        self.needs = plan.Needs(params["gpus"], params["toolkit_version"])
        self.repository = Repository(params["repository"])
        self.compute_only: bool = params["compute_only"]
        self.healed = False
        self.host = DriverHost(lock_timeout=params["lock_timeout"])
        self.look()

    def look(self) -> None:
        self.installed: list[Package] = self.host.packages()
        self.record = self.host.record()
        self.state = state_of(self.installed, self.record)

    def run(self) -> dict[str, t.Any]:
        if self.state_wanted == "accepted":
            return self.accepted()
        if self.state_wanted == "reverted":
            return self.reverted()
        if self.state_wanted == "planned":
            work = self.work()
            installs = bool(work.arguments) or any(problem.code == "version_not_offered" for problem in work.problems)
            blocked = bool(errors(work.problems))
            message = failure_message(work.problems) if blocked else ""
            due = work.due or blocked or self.reboot_required()
            return {**self.result(work, changed=False), "installs": installs, "due": due, "message": message}
        return self.present(self.work)

    # -- states ------------------------------------------------------------------------------------------------------------

    def present(self, decide: t.Callable[[], Work]) -> dict[str, t.Any]:
        before = self.installed
        work = decide()
        demand(work)
        unfinished = work.unfinished
        if unfinished and not self.check_mode:
            # apt cannot even simulate while dpkg is interrupted, so it is asked again.
            self.host.configure()
            self.healed = True
            self.look()
            work = decide()
            demand(work)
        if not self.check_mode and work.due:
            self.change(work)
            self.look()
            self.check_outcome(work)
        changed = bool(work.arguments or work.files) or (unfinished and (self.check_mode or before != self.installed))
        return self.result(work, changed=changed)

    def accepted(self) -> dict[str, t.Any]:
        record = self.record
        if record and not self.check_mode:
            self.host.drop_record()
            self.record = None
        return self.result(Work(self.state.version, self.state.flavour or Flavour.NONE), changed=record is not None)

    def reverted(self) -> dict[str, t.Any]:
        if self.record is None:
            return self.result(Work(self.state.version, self.state.flavour or Flavour.NONE), changed=False)
        return self.present(self.way_back)

    # -- deciding ----------------------------------------------------------------------------------------------------------

    def way_back(self) -> Work:
        assert self.record is not None
        record = self.record
        work = Work(record.version, Flavour(record.kernel_module), unfinished=self.unfinished())
        if dict(self.state.versions) != dict(record.packages) or self.state.broken:
            leaving = sorted(f"{name}-" for name in self.state.versions if name not in record.packages)
            work.arguments = [*self.host.arguments_to_install(record.packages), *leaving]
        self.outdated_files(work)
        self.simulate(work)
        return work

    def work(self) -> Work:
        distribution = self.host.distribution()
        kernel = self.host.kernel(self.installed)
        flavour = plan.wanted_flavour(self.wish, self.needs, self.state)
        work = Work(flavour=flavour, unfinished=self.unfinished())
        if not self.state.versions and (library := self.host.foreign_driver()):
            work.problems.append(
                error(
                    "not_from_apt",
                    f"{library} is of an NVIDIA driver that no package has brought, such as one of NVIDIA's .run installer",
                    "Remove it with `nvidia-uninstall`, or set nvidia_driver_manage to false to keep it",
                )
            )
            return work
        self.unaccepted(work)
        found, available = self.offers(distribution, kernel, flavour) if plan.needs_offers(self.wish, self.state, flavour) else ([], {})
        work.offered = [offer.version for offer in found]
        if not self.state.usable and self.record and not self.wish.upgrade:
            return work
        work.target = plan.wanted_version(self.wish, self.needs, self.state.version, work.offered)
        if available is not None and not found and plan.needs_offers(self.wish, self.state, flavour):
            self.nothing_offered(work, distribution, kernel)
            return work
        work.problems += plan.version_problems(self.wish, self.needs, self.state, work.target, flavour, work.offered)
        if errors(work.problems) or work.target is None:
            return work
        self.arguments(work, distribution, kernel, found, available)
        self.outdated_files(work)
        if work.arguments and not errors(work.problems):
            self.simulate(work)
            self.obstacles(work, self.set_for(distribution, work.target, kernel, flavour))
        return work

    def arguments(self, work: Work, distribution: str, kernel: Kernel, found: list[Offer], available: dict[str, list[str]]) -> None:
        """What apt is to install: all of it, or what is missing, or nothing."""
        assert work.target is not None
        names = {package.name for package in self.installed}
        headers = self.host.has_headers(kernel)
        if self.state.usable and work.target == self.state.version and self.state.has(work.flavour):
            packages = self.set_for(distribution, work.target, kernel, work.flavour)
            if not plan.missing_packages(packages, self.state, names, headers=headers):
                return
            found, available = self.offers(distribution, kernel, work.flavour)
        offer = next((offer for offer in found if offer.version == work.target), None)
        if offer is None:
            if not (self.state.usable and work.target == self.state.version):
                work.problems.append(plan.not_offered(work.target, work.offered, work.flavour))
            return
        if not headers and (problem := plan.headers_problem(offer.set, kernel, available, names)):
            work.problems.append(problem)
            return
        wanted = plan.specs(offer, work.flavour, self.state, available)
        if self.state.usable and work.target == self.state.version and self.state.has(work.flavour):
            wanted = [spec for spec in wanted if spec.partition("=")[0].rstrip("-") not in names]
        work.arguments = wanted

    def offers(self, distribution: str, kernel: Kernel, flavour: Flavour) -> tuple[list[Offer], dict[str, list[str]]]:
        wished = [int(self.wish.version.partition(".")[0])] if self.wish.version else []
        looked_for = branches(distribution, self.repository, self.host.package_names(), wished)
        names = names_to_ask_for(distribution, self.repository, flavour, kernel, looked_for, compute_only=self.compute_only)
        available = self.host.offered(sorted({*names, *self.state.versions}))
        return (
            offers(distribution, self.repository, flavour, kernel, available, looked_for, compute_only=self.compute_only),
            available,
        )

    def set_for(self, distribution: str, version: str, kernel: Kernel, flavour: Flavour) -> PackageSet:
        return package_set(distribution, self.repository, branch_of(version), flavour, kernel, compute_only=self.compute_only)

    def nothing_offered(self, work: Work, distribution: str, kernel: Kernel) -> None:
        branch = int(self.wish.version.partition(".")[0]) if self.wish.version else 590
        names = package_set(distribution, self.repository, branch, work.flavour, kernel, compute_only=self.compute_only).driver
        work.problems.append(plan.no_repository(names, expected=self.dry))
        if self.dry:
            # As far as can be told: these come, in a version that only the repository knows.
            work.arguments = list(names)
            work.changes = [Change(name, None, self.wish.version or "(newest)") for name in names]

    def unaccepted(self, work: Work) -> None:
        record = self.record
        if record is None or self.wish.upgrade:
            return
        began = f"An upgrade of NVIDIA driver {record.version} to {record.target} was begun"
        if not self.state.usable or self.state.version not in (record.version, record.target):
            remedy = f"Run {plan.UPGRADE_PLAYBOOK} again, which finishes it or goes back"
            work.problems.append(error("upgrade_unfinished", f"{began}, and not finished", remedy))
        else:
            remedy = f"Run {plan.UPGRADE_PLAYBOOK} again, which accepts it if the services are well"
            work.problems.append(warning("upgrade_not_accepted", f"{began}, and neither accepted nor taken back", remedy))

    def outdated_files(self, work: Work) -> None:
        if work.target is None:
            return
        wanted = {
            files.PIN: files.pin_text(work.target),
            files.BLACKLIST: files.blacklist_text(),
            files.NOUVEAU: files.nouveau_text(),
        }
        work.files = {path: text for path, text in wanted.items() if self.host.text(path) != text}
        work.before = {path: self.host.text(path) or "" for path in work.files}

    def simulate(self, work: Work) -> None:
        if not work.arguments or work.target is None:
            return
        done, work.changes = self.host.simulate(work.arguments, files.pin_text(work.target))
        if done.rc != 0:
            if work.unfinished and not self.healed:
                return
            work.problems.append(
                error(
                    "apt_refuses",
                    f"apt cannot install NVIDIA driver {work.target}: {reason(done.stderr + done.stdout)}",
                    "Put that right, or ask for another version; what is missing may be in a component of the archive that is not enabled, "
                    "as contrib of Debian",
                )
            )
            return
        if not work.changes and not self.state.broken:
            work.arguments = []
        work.problems += plan.transaction_problems(work.changes, self.state, work.target, held=self.state.held)

    def obstacles(self, work: Work, packages: PackageSet) -> None:
        assert work.target is not None
        download = self.host.download_bytes(work.arguments, files.pin_text(work.target))
        boot_free, initramfs = self.host.boot_space()
        work.problems += plan.space_problems(boot_free, initramfs, self.host.var_space(), download, dkms=packages.dkms)
        if packages.dkms and self.host.refuses_own_modules():
            work.problems.append(
                error(
                    "secure_boot",
                    "Secure Boot is on, and the kernel refuses modules that were compiled on this host: no key for them is enrolled",
                    "Take Ubuntu's signed modules (nvidia_driver_repository: distribution), or enrol the key of DKMS with "
                    "`mokutil --import` at the console, or switch Secure Boot off",
                )
            )
        if self.host.nouveau():
            work.problems.append(
                warning(
                    "nouveau_loaded",
                    f"nouveau holds the GPUs, so NVIDIA driver {work.target} runs after a reboot only",
                    f"Nothing to do but to reboot: {self.host.path(files.NOUVEAU)} keeps nouveau away from then on",
                )
            )

    # -- changing ----------------------------------------------------------------------------------------------------------

    def change(self, work: Work) -> None:
        if self.state_wanted == "present" and self.state.versions and work.arguments and work.target:
            if self.wish.upgrade:
                self.begin(work)
            # All that needs the network is done before a file or a package is touched.
            self.host.download(work.arguments, files.pin_text(work.target))
        for path, text in work.files.items():
            self.host.write(path, text)
        if work.arguments:
            self.host.install(work.arguments, f"The installation of NVIDIA driver {work.target}")
            chosen = {argument.partition("=")[0] for argument in work.arguments}
            automatic = self.record.automatic if self.record else ()
            self.host.mark_automatic([name for name in automatic if name in chosen or self.state_wanted == "reverted"])
        if files.NOUVEAU in work.files and self.host.nouveau():
            self.host.update_initramfs()

    def begin(self, work: Work) -> None:
        """Write down what there is, once, and keep it: an upgrade that was begun before goes on from where that one came."""
        assert work.target is not None
        if self.record is None:
            missing = self.host.keep(self.state.versions)
            self.record = Record(
                version=self.state.version or "",
                kernel_module=(self.state.flavour or work.flavour).value,
                packages=dict(self.state.versions),
                automatic=tuple(sorted(self.host.automatic() & set(self.state.versions))),
                target=work.target,
                kernel=self.host.kernel(self.installed).release,
                boot_id=self.host.boot_id(),
                time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
            if missing:
                work.problems.append(
                    warning(
                        "cannot_go_back",
                        f"apt no longer has the package files of {', '.join(missing)}: there is no way back to {self.record.version}",
                        "Keep a mirror of the repository that has them, if that matters",
                    )
                )
        self.record = self.record.towards(work.target)
        self.host.write_record(self.record)

    def check_outcome(self, work: Work) -> None:
        if work.arguments and (self.state.version != work.target or self.state.broken):
            raise UserError(
                f"apt has installed NVIDIA driver {work.target}, but dpkg shows {self.state.version}"
                + (f" and {', '.join(self.state.broken)} half-installed" if self.state.broken else ""),
                packages=self.shown(),
            )

    # -- telling -----------------------------------------------------------------------------------------------------------

    def unfinished(self) -> bool:
        return self.host.interrupted() or any(not package.intact for package in self.installed)

    def reboot_required(self) -> bool:
        loaded, installed = self.host.loaded_version(), self.state.version
        if installed is None or loaded == installed:
            return False
        # One that was there before the host was booted and does not run has another reason not to.
        return loaded is not None or self.host.installed_since_boot(self.state.versions)

    def shown(self) -> list[str]:
        return [f"{name}={version}" for name, version in sorted(self.state.versions.items())]

    def result(self, work: Work, *, changed: bool) -> dict[str, t.Any]:
        installing = self.check_mode and bool(work.arguments)
        before, after = transaction_diff(work.changes)
        diffs = [{"before_header": "packages", "after_header": "packages", "before": before, "after": after}] if work.changes else []
        diffs += [
            {
                "before_header": self.host.path(path),
                "after_header": self.host.path(path),
                "before": work.before[path],
                "after": text,
            }
            for path, text in work.files.items()
        ]
        return {
            "changed": changed,
            "installed_version": work.target if installing else self.state.version,
            "target_version": work.target,
            "previous_version": self.record.version if self.record else None,
            "kernel_module": work.flavour.value,
            "packages": self.shown(),
            "changes": [str(change) for change in work.changes],
            "offered": work.offered,
            "reboot_required": (installing and (not work.changes or plan.changes_driver(work.changes))) or self.reboot_required(),
            "problems": [problem.as_dict() for problem in work.problems],
            "diff": diffs,
        }


class ProblemsError(Exception):
    """What was found makes going on pointless."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(failure_message(problems))
        self.problems = problems


def demand(work: Work) -> None:
    if errors(work.problems):
        raise ProblemsError(work.problems)


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "default": ""},
            "kernel_module": {"type": "str", "choices": ["open", "proprietary"]},
            "repository": {"type": "str", "choices": ["nvidia", "distribution"], "default": "nvidia"},
            "compute_only": {"type": "bool", "default": True},
            "gpus": {"type": "list", "elements": "dict", "default": []},
            "toolkit_version": {"type": "str", "default": ""},
            "upgrade": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 300},
            "state": {"type": "str", "choices": ["planned", "present", "accepted", "reverted"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        driver = NvidiaDriver(module)
        result = driver.run()
    except ProblemsError as failure:
        module.fail_json(msg=str(failure), problems=[problem.as_dict() for problem in failure.problems])
    except UserError as failure:
        module.fail_json(msg=failure.msg, **failure.details)
    if driver.state_wanted != "planned":
        for problem in result["problems"]:
            if problem["severity"] == "warning":
                module.warn(f"{problem['message']}. {problem['remedy']}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
