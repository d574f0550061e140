# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the range."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence

from . import doctor, gpu_fit, host
from .base import DISTRIBUTIONS
from .errors import RangeError
from .gpu_models import MODELS
from .gpu_packages import MODULE_PACKAGES, OPEN, VERSIONS
from .layout import Layout
from .record import Host


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="range", description="Disposable, real systemd hosts on this machine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot a host and wait until SSH answers; one that is up already is left as it is")
    up.add_argument("name", metavar="NAME")
    up.add_argument("--distribution", choices=sorted(DISTRIBUTIONS), help="what to install (default: debian12, or the snapshot's)")
    up.add_argument("--from", dest="snapshot", metavar="SNAPSHOT", help="start from a saved snapshot")
    up.add_argument(
        "--bind", dest="binds", action="append", default=[], metavar="SRC:DST", help="show a path of this machine in the host; repeatable"
    )
    up.add_argument("--docker", action="store_true", help="let Docker run in it; a snapshot of such a host brings that with it")

    down = commands.add_parser("down", help="remove hosts and everything of theirs")
    down.add_argument("names", nargs="*", metavar="NAME")
    down.add_argument("--all", action="store_true", help="all hosts, and whatever killed runs left")

    cut = commands.add_parser("cut", help="cut the power: a host ends at once, without a shutdown; `up` boots its disk again")
    cut.add_argument("names", nargs="+", metavar="NAME")

    gpus = commands.add_parser("gpus", help="fit a running host with simulated GPUs, and with a driver for them")
    gpus.add_argument("name", metavar="NAME")
    gpus.add_argument("models", nargs="*", metavar="MODEL", help=f"in the order of their slots: {', '.join(MODELS)}")
    gpus.add_argument("--driver", metavar="VERSION", help=f"{', '.join(VERSIONS)} or none (default: leave what is installed)")
    gpus.add_argument("--modules", choices=sorted(MODULE_PACKAGES), default=OPEN, help="the driver's kernel modules (default: open)")
    gpus.add_argument(
        "--program", dest="programs", action="append", default=[], metavar="NAME=MIB", help="processes of this name use GPUs; repeatable"
    )

    lose = commands.add_parser("lose", help="let GPUs of a running host fall off the bus, until it boots again")
    lose.add_argument("name", metavar="NAME")
    lose.add_argument("indexes", nargs="+", type=int, metavar="INDEX")

    listing = commands.add_parser("list", help="the hosts there are")
    listing.add_argument("--json", action="store_true", help="for programs: a list of objects with all that an inventory needs")

    inventory = commands.add_parser("inventory", help="an Ansible inventory of these hosts, or of all")
    inventory.add_argument("names", nargs="*", metavar="[ALIAS=]NAME", help="ALIAS is what the inventory calls the host")

    ssh = commands.add_parser("ssh", help="log in, or run a command: its words are joined and read by the host's shell, as with ssh itself")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("argv", nargs="*", metavar="-- CMD")

    save = commands.add_parser("save", help="shut a host down and keep its disk as a snapshot")
    save.add_argument("name", metavar="NAME")
    save.add_argument("snapshot", metavar="SNAPSHOT")

    forget = commands.add_parser("forget", help="remove a snapshot")
    forget.add_argument("snapshot", metavar="SNAPSHOT")

    commands.add_parser("doctor", help="can this machine run the range?")
    return top


def line(layout: Layout, machine: Host) -> str:
    return f"{machine.name}  {machine.address}  {machine.distribution}  {host.state(machine)}  {shlex.join(host.ssh_argv(layout, machine))}"


def program(text: str) -> tuple[str, int]:
    name, _equals, mib = text.partition("=")
    if not name or not mib.isdecimal():
        raise RangeError(f"--program {text}: give NAME=MIB, the name of a process and the memory that it holds on each of its GPUs.")
    return name, int(mib)


def dispatch(arguments: argparse.Namespace, layout: Layout) -> None:
    match arguments.command:
        case "up":
            origin = (arguments.distribution, arguments.snapshot, arguments.binds)
            print(line(layout, host.up(layout, arguments.name, *origin, docker=arguments.docker)))
        case "down":
            if bool(arguments.names) == arguments.all:
                raise RangeError("Say which hosts to remove, or --all.")
            if arguments.all:
                host.down_all(layout)
            for name in arguments.names:
                host.down(layout, name)
        case "cut":
            for name in arguments.names:
                host.cut(layout, name)
        case "gpus":
            programs = dict(program(text) for text in arguments.programs)
            for card in gpu_fit.fit(layout, arguments.name, arguments.models, arguments.driver, arguments.modules, programs):
                print(f"{card.index}  {card.address}  {card.uuid}  {card.model.name}")
        case "lose":
            gpu_fit.lose(layout, arguments.name, arguments.indexes)
        case "list":
            machines = host.all_hosts(layout)
            if arguments.json:
                print(json.dumps([host.describe(layout, machine) for machine in machines], indent=2))
            for machine in () if arguments.json else machines:
                print(line(layout, machine))
        case "ssh":
            argv = host.ssh_argv(layout, host.get(layout, arguments.name), "-o", "LogLevel=ERROR")
            os.execvp("ssh", [*argv, *arguments.argv])
        case "inventory":
            named = [name.rpartition("=") for name in arguments.names] or [("", "", found.name) for found in host.all_hosts(layout)]
            print(host.inventory(layout, {alias or name: host.get(layout, name) for alias, _eq, name in named}), end="")
        case "save":
            host.save(layout, arguments.name, arguments.snapshot)
        case "forget":
            host.forget(layout, arguments.snapshot)
        case "doctor":
            doctor.check(layout)
            print("The range can run here.")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        if arguments.command not in ("doctor", "list") and os.geteuid() != 0:
            doctor.check(Layout.from_environment())
        dispatch(arguments, Layout.from_environment())
    except RangeError as error:
        print(f"range: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0
