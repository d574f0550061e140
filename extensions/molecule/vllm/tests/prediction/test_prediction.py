"""`--check` predicts exactly what the run after it changes."""

from __future__ import annotations

import json
import os

# How a project that was written comes to run. That it will be is told where it is written, and nothing more can be told without it.
OF_A_WRITTEN_PROJECT = {"Make the container", "Start it"}


def test_check_predicts_what_converge_changes() -> None:
    with open(os.environ["TASK_LOG"], encoding="utf-8") as log:
        entries = [json.loads(line) for line in log]
    runs = list(dict.fromkeys(entry["run"] for entry in entries))
    predicted, changed = ({e["task"].rpartition(" : ")[2] for e in entries if e["run"] == run and e["changed"]} for run in runs[-2:])
    assert all(entry["check"] for entry in entries if entry["run"] == runs[-2])
    assert predicted == changed - OF_A_WRITTEN_PROJECT
    assert changed > OF_A_WRITTEN_PROJECT
    assert {"Write the services", "Set up Docker and CDI", "Install Docker, and what gives its containers GPUs"} < predicted
