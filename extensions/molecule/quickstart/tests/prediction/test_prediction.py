"""`--check` predicts exactly what the run after it changes."""

from __future__ import annotations

import json
import os


def test_check_predicts_what_converge_changes() -> None:
    with open(os.environ["TASK_LOG"], encoding="utf-8") as log:
        entries = [json.loads(line) for line in log]
    runs = list(dict.fromkeys(entry["run"] for entry in entries))
    predicted, changed = ({(e["host"], e["task"]) for e in entries if e["run"] == run and e["changed"]} for run in runs[-2:])
    assert all(entry["check"] for entry in entries if entry["run"] == runs[-2])
    assert predicted == changed
    assert len(changed) >= 5
