# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub of this machine with the models of inventories/example: their real headers, and holes in the place of their weights.

    .venv/bin/python -m ansible_collections.baremetal.llm.tests.example_hub [--port 8000]

serves it until it is ended, for `ansible-playbook playbooks/plan.yml -i inventories/example -e models_hub_endpoint=http://127.0.0.1:8000`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import tempfile
import threading
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.tests import model_blueprints as models
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Content, Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

from .host_classes import A10, RTX5090


def blueprints() -> dict[str, dict[str, models.Blueprint]]:
    """The files of each repository."""
    in_full = models.in_full()
    return {
        A10.repository: {A10.model: in_full["qwen2vl"], A10.projector: models.qwen2vl_projector()},
        RTX5090.repository: {RTX5090.model: in_full["qwen3vl30"], RTX5090.projector: models.qwen3vl_projector()},
    }


@contextlib.contextmanager
def example_hub(directory: Path, port: int = 0, address: str = "127.0.0.1") -> t.Iterator[Hub]:
    """Files are written below the directory. No one is to download them, so nobody reads their gigabytes for a checksum."""
    with Hub([Repository(repo_id) for repo_id in blueprints()], port=port, address=address) as hub:
        for repo_id, files in blueprints().items():
            place = directory / repo_id
            place.mkdir(parents=True)
            claimed = {name: hashlib.sha256(name.encode()).hexdigest() for name in files}
            hub.by_name[repo_id].commit({name: Content(made.write(place / name), claimed[name]) for name, made in files.items()})
        yield hub


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, example_hub(Path(directory), arguments.port) as hub:
        print(hub.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
