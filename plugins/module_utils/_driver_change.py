# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change of the driver as one transaction: look, decide, rehearse, and only then do it; finish what was interrupted; go back.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Catalogue, Supply
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import wanted_flavour
from ansible_collections.baremetal.llm.plugins.module_utils._driver_host import DriverHost
from ansible_collections.baremetal.llm.plugins.module_utils._driver_obstacles import (
    cannot_go_back,
    nouveau_loaded,
    secure_boot,
    space_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import branch_of
from ansible_collections.baremetal.llm.plugins.module_utils._driver_pin import NOUVEAU, pin_text
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_work import (
    Request,
    Work,
    as_it_is,
    decide,
    must_ask_apt,
    packages_after,
    reboot_required,
    rehearsed,
    way_back,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import FileChange
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, demand, errors


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do."""

    changed: bool
    due: bool
    """Whether there is something to do, be it to fail or to reboot."""
    installs: bool
    """Whether packages have to come for that."""
    installed: str | None
    target: str | None
    previous: str | None
    """The version that there is a way back to."""
    flavour: Flavour
    packages: tuple[str, ...]
    changes: tuple[Change, ...]
    files: tuple[FileChange, ...]
    offered: tuple[str, ...]
    reboot_required: bool
    problems: tuple[Problem, ...]


class DriverChange:
    """One run; in check mode it changes nothing, and tells what would be."""

    def __init__(self, host: DriverHost, request: Request, *, check_mode: bool) -> None:
        self._host = host
        self._request = request
        self._check_mode = check_mode
        self._healed = False
        self._seen = host.see()

    # -- what can be asked for -------------------------------------------------------------------------------------------

    def planned(self) -> Outcome:
        """What :meth:`present` would do, and what speaks against it."""
        return self._outcome(self._wanted(expected=True), changed=False)

    def downloaded(self) -> Outcome:
        """What :meth:`present` would install is fetched, and the package files of what there is."""
        work = self._wanted(expected=self._check_mode)
        demand(work.problems)
        # apt fetches nothing while dpkg is interrupted, and that is for `present` to finish.
        if not work.arguments or work.target is None or work.unfinished:
            return self._outcome(work, changed=False)
        leaving = self._seen.state.versions if self._request.wish.upgrade and self._seen.record is None else {}
        before = self._unfetched(work, leaving)
        if self._check_mode:
            return self._outcome(work, changed=any(before))
        if leaving:
            work = work.noting(*self._keep())
        self._download(work)
        return self._outcome(work, changed=before != self._unfetched(work, leaving))

    def present(self) -> Outcome:
        """The driver that is wanted is there."""
        return self._carry_out(lambda: self._wanted(expected=self._check_mode), self._go_on)

    def reverted(self) -> Outcome:
        """The driver from before an upgrade that is not accepted is there again."""
        record = self._seen.record
        if record is None:
            return self._outcome(as_it_is(self._seen), changed=False)
        return self._carry_out(lambda: self._back(record), lambda work: self._go_back(work, record))

    def accepted(self) -> Outcome:
        """There is no way back any more."""
        record = self._seen.record
        if record and not self._check_mode:
            self._host.archive.drop()
        self._seen = replace(self._seen, record=None)
        return self._outcome(as_it_is(self._seen), changed=record is not None)

    # -- deciding --------------------------------------------------------------------------------------------------------

    def _wanted(self, *, expected: bool) -> Work:
        catalogue = self._request.catalogue(self._host.distribution(), self._seen.kernel)
        supply = self._supply(catalogue) if must_ask_apt(self._request, self._seen, catalogue) else Supply()
        work = decide(self._request, self._seen, catalogue, supply, expected=expected)
        # Packages that no supply has yet are those of a repository that is still to come: apt cannot be asked about them.
        if not work.arguments or not supply.offers or errors(work.problems):
            return work
        work = self._rehearsed(work)
        return work.noting(*self._obstacles(work, dkms=catalogue.package_set(branch_of(work.version), work.flavour).dkms))

    def _supply(self, catalogue: Catalogue) -> Supply:
        wish, state = self._request.wish, self._seen.state
        flavour = wanted_flavour(wish, self._request.needs, state)
        looked_for = catalogue.branches(self._host.package_names(), [branch_of(wish.version)] if wish.version else [])
        versions = self._host.offered(sorted({*catalogue.names(flavour, looked_for), *state.versions}))
        return catalogue.supply(flavour, looked_for, versions)

    def _back(self, record: Record) -> Work:
        work = way_back(record, self._seen, self._host.archive.arguments_to_install(record.packages))
        return self._rehearsed(work) if work.arguments else work

    def _rehearsed(self, work: Work) -> Work:
        return rehearsed(work, self._seen, self._host.simulate(work.arguments, pin_text(work.version)), healed=self._healed)

    def _obstacles(self, work: Work, *, dkms: bool) -> Iterator[Problem]:
        download = self._host.download_bytes(work.arguments, pin_text(work.version))
        boot_free, initramfs = self._host.boot_space()
        yield from space_problems(boot_free, initramfs, self._host.var_space(), download, dkms=dkms)
        if dkms and self._host.refuses_own_modules():
            yield secure_boot()
        if self._seen.nouveau:
            yield nouveau_loaded(work.version)

    # -- changing --------------------------------------------------------------------------------------------------------

    def _carry_out(self, decided: Callable[[], Work], change: Callable[[Work], Work]) -> Outcome:
        before = self._seen.packages
        work = decided()
        demand(work.problems)
        unfinished = work.unfinished
        if unfinished and not self._check_mode:
            # apt cannot even simulate while dpkg is interrupted, so it is asked again.
            self._host.configure()
            self._healed = True
            self._seen = self._host.see()
            work = decided()
            demand(work.problems)
        if work.due and not self._check_mode:
            work = change(work)
            self._seen = self._host.see()
            self._check_outcome(work)
        changed = bool(work.arguments or work.files) or (unfinished and (self._check_mode or before != self._seen.packages))
        return self._outcome(work, changed=changed, ahead=self._check_mode and bool(work.arguments))

    def _go_on(self, work: Work) -> Work:
        record = self._seen.record
        if self._seen.state.versions and work.arguments:
            if self._request.wish.upgrade:
                # An upgrade that was begun before goes on from where that one came.
                if record is None:
                    work = work.noting(*self._keep())
                    record = self._new_record(work)
                record = record.towards(work.version)
                self._host.archive.write_record(record)
            # All that needs the network is done before a file or a package is touched.
            self._download(work)
        named = {argument.partition("=")[0] for argument in work.arguments}
        self._apply(work, [name for name in record.automatic if name in named] if record else [])
        return work

    def _go_back(self, work: Work, record: Record) -> Work:
        self._apply(work, record.automatic)
        return work

    def _apply(self, work: Work, automatic: Iterable[str]) -> None:
        for file in work.files:
            self._host.write(file.path, file.after)
        if work.arguments:
            self._host.install(work.arguments, f"The installation of {work.subject}")
            self._host.mark_automatic(list(automatic))
        if self._seen.nouveau and any(file.path == NOUVEAU for file in work.files):
            self._host.update_initramfs()

    def _new_record(self, work: Work) -> Record:
        state = self._seen.state
        return Record(
            version=state.version or "",
            kernel_module=(state.flavour or work.flavour).value,
            packages=dict(state.versions),
            automatic=tuple(sorted(self._host.automatic() & set(state.versions))),
            target=work.version,
            kernel=self._seen.kernel.release,
            boot_id=self._host.boot_id(),
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _keep(self) -> Iterator[Problem]:
        if missing := self._host.archive.keep(self._seen.state.versions):
            yield cannot_go_back(missing, self._seen.state.version)

    def _download(self, work: Work) -> None:
        self._host.download(work.arguments, pin_text(work.version), f"The download of {work.subject}")

    def _unfetched(self, work: Work, leaving: Mapping[str, str]) -> tuple[list[str], int]:
        return self._host.archive.missing(leaving), self._host.download_bytes(work.arguments, pin_text(work.version))

    def _check_outcome(self, work: Work) -> None:
        state = self._seen.state
        if work.arguments and (state.version != work.target or state.broken):
            raise UserError(
                f"apt has installed NVIDIA driver {work.target}, but dpkg shows {state.version}"
                + (f" and {', '.join(state.broken)} half-installed" if state.broken else ""),
                packages=packages_after(state, ()),
            )

    # -- telling ---------------------------------------------------------------------------------------------------------

    def _outcome(self, work: Work, *, changed: bool, ahead: bool = False) -> Outcome:
        """``ahead`` tells of the host as it will be once this is installed."""
        state, record = self._seen.state, self._seen.record
        reboot = reboot_required(self._seen, work if ahead else None)
        recorded = state.version if ahead and self._request.wish.upgrade else None
        return Outcome(
            changed=changed,
            due=work.due or bool(errors(work.problems)) or reboot,
            installs=work.installs,
            installed=work.target if ahead else state.version,
            target=work.target,
            previous=record.version if record else recorded,
            flavour=work.flavour,
            packages=tuple(packages_after(state, work.changes if ahead else ())),
            changes=work.changes,
            files=work.files,
            offered=work.offered,
            reboot_required=reboot,
            problems=work.problems,
        )
