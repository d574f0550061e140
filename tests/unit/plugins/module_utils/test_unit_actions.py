from __future__ import annotations

from ansible_collections.baremetal.llm.plugins.module_utils._unit_actions import Shown, decide, parse_show

A, B = "inference-a.service", "inference-b.service"

SHOWN = f"""\
Id={A}
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no

Id={B}
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
"""


def test_several_units_are_read_apart():
    assert parse_show(SHOWN) == {A: Shown(active=True, enabled=True), B: Shown()}


def test_a_unit_that_waits_for_its_restart_counts_as_active():
    assert parse_show(f"Id={A}\nActiveState=activating\n")[A].active


def test_a_running_enabled_unit_needs_nothing():
    actions = decide([A], [], {A: Shown(active=True, enabled=True)})
    assert not actions
    assert not actions.daemon_reload


def test_a_unit_that_is_not_there_yet_is_enabled_and_started():
    actions = decide([A], [A], {})
    assert (actions.enable, actions.start, actions.restart) == ((A,), (A,), ())
    assert actions.daemon_reload


def test_only_a_running_unit_is_restarted():
    actions = decide([A, B], [A, B], parse_show(SHOWN))
    assert (actions.enable, actions.start, actions.restart) == ((B,), (B,), (A,))


def test_a_stale_unit_is_read_again_without_counting_as_a_change():
    actions = decide([A], [], {A: Shown(active=True, enabled=True, stale=True)})
    assert actions.daemon_reload
    assert not actions
