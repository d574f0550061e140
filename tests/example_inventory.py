# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of the host classes as Ansible reads it, and the tables of their pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[1]
INVENTORY = ROOT / "inventories" / "example"


class ExampleInventory:
    def __init__(self) -> None:
        self._loader = DataLoader()
        self._inventory = InventoryManager(self._loader, sources=[str(INVENTORY)])
        self._manager = VariableManager(self._loader, self._inventory)

    def read(self, host: str, name: str, **extra: Any) -> Any:
        """A variable of a host, with these extra variables."""
        self._manager._extra_vars = extra
        templar = Templar(self._loader, self._manager.get_vars(host=self._inventory.get_host(host)))
        return templar.template(templar.available_variables[name])


def rows(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose head starts with this cell, or these."""
    table = re.search(rf"^\| {re.escape(first)} \|.*\n\| ---.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert table, f"no table of {first}"
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table[1].splitlines()]
