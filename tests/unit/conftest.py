"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.baremetal.llm.tests.example_inventory import ExampleInventory
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def example() -> Callable[..., Any]:
    """Reads a variable of a host of inventories/example."""
    return ExampleInventory().read
