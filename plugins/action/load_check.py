# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.baremetal.llm.plugins.plugin_utils._live_progress import LiveProgressAction


class ActionModule(LiveProgressAction):
    """Shows how fast it is answered."""

    goes_on = "ends by itself also without this terminal"
