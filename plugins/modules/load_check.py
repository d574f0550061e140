#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_check
short_description: How many requests a service answers, and how fast
version_added: 0.1.0
description:
  - Asks a server of the OpenAI API so many requests at the same time for so many seconds, and measures requests and tokens per second,
    the time to the first token, the time between tokens, and the whole time of a request, with their percentiles; errors are counted by
    kind.
  - It serves llama-server, vLLM and whatever else has the same API. It needs nothing but Python.
  - No two prompts have more than their first few words in common, unless O(shared_percent) says otherwise, so that no prefix cache makes
    a server look faster than it is. Every answer has O(max_tokens) tokens, whatever the model has to say.
  - First it asks for the name of the model, then two short questions tell how long a word is in tokens. If one of them fails, there is no
    load.
  - It ends by itself after at most O(warm_up), O(seconds) and four times O(request_timeout), also if the server hangs. A server that has
    answered nothing is given up as soon as each of the parallel requests has failed.
  - Only one load check runs on a host at a time, because two would measure each other.
  - While it runs, the operator sees how fast it is answered; set the variable C(inference_progress) to V(false) to silence that.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
attributes:
  check_mode:
    details:
      - In check mode nothing is asked, because a load disturbs whoever else uses the service. The task is then skipped.
  platform:
    platforms: posix
options:
  base_url:
    description:
      - Where the server answers, such as V(http://127.0.0.1:8080) or V(http://[::1]:8080), with or without C(/v1) at its end.
    type: str
    required: true
  api_key:
    description: The API key of the server, if it has one.
    type: str
  validate_certs:
    description: Whether the certificate of an C(https) server has to be valid.
    type: bool
    default: true
  model:
    description: The name of the model. Without it, the first one that the server names.
    type: str
  parallel:
    description:
      - How many requests are under way at any time. Each is followed by the next as soon as it is answered.
    type: int
    default: 8
  seconds:
    description: For how long requests begin that are measured. Those that are under way at its end are waited for.
    type: int
    default: 30
  warm_up:
    description:
      - Seconds before that. The parallel requests begin one after the other in this time, so that they are not in step, and none of them is
        measured.
    type: int
    default: 5
  prompt_tokens:
    description:
      - About how many tokens a prompt has, with what the chat template adds. RV(figures.prompt_tokens) says how many the server counted.
    type: int
    default: 256
  shared_percent:
    description:
      - How much of each prompt, from its beginning, is the same in all of them, as with a long system prompt. With V(100) all are the same.
    type: int
    default: 0
  max_tokens:
    description: How many tokens an answer has.
    type: int
    default: 64
  endpoint:
    description: V(chat) is C(/v1/chat/completions), V(completions) is C(/v1/completions).
    type: str
    choices: [chat, completions]
    default: chat
  stream:
    description: Whether answers are streamed. Without it, neither the first token nor the time between tokens can be measured.
    type: bool
    default: true
  reuse_connections:
    description:
      - Whether each of the parallel requests keeps its connection for the next one, as one busy client does. By default each request has a
        connection of its own, as from many users.
      - A server that gives each connection a thread, as llama-server does, lets those wait that come when all are kept by others.
    type: bool
    default: false
  request_timeout:
    description: Seconds that one request may take, all of it together. One that takes longer is an error of the kind V(timeout).
    type: int
    default: 60
  request:
    description:
      - More keys for the body of each request, such as C(temperature), which is 0 otherwise. A key that is V(null) is left out of it, such
        as C(ignore_eos) for a server that does not know it.
    type: dict
    default: {}
  require_success:
    description: Whether to fail if not a single request was answered. The figures are returned in any case.
    type: bool
    default: true
seealso:
  - module: baremetal.llm.load_check_report
  - module: baremetal.llm.inference_probe
"""

EXAMPLES = r"""
- name: Measure a service with 16 requests at a time
  baremetal.llm.load_check:
    base_url: http://127.0.0.1:8080
    api_key: "{{ vault_api_key }}"
    parallel: 16
    prompt_tokens: 2000
    max_tokens: 200
  register: load

- name: Be content with nothing less
  ansible.builtin.assert:
    that:
      - load.figures.requests.failed == 0
      - load.figures.time_to_first_token_ms.p95 < 3000
"""

RETURN = r"""
base_url:
  description: Where it was asked.
  returned: when not in check mode
  type: str
  sample: http://127.0.0.1:8080
model:
  description: The name of the model; V(null) if the server did not tell.
  returned: when not in check mode
  type: str
  sample: chat
parameters:
  description: What was asked. Figures can be compared if these are the same.
  returned: when not in check mode
  type: dict
  sample:
    parallel: 8
    prompt_tokens: 256
    shared_percent: 0
    max_tokens: 64
    endpoint: chat
    stream: true
    reuse_connections: false
    request: {}
figures:
  description: What was measured. What there was nothing to measure of is V(null).
  returned: when not in check mode
  type: dict
  contains:
    requests:
      description: How many requests began in the O(seconds), were C(sent), and how many of them have C(succeeded) and C(failed).
      type: dict
      sample: {sent: 412, succeeded: 412, failed: 0}
    seconds:
      description: How long was measured. It is less than O(seconds) if the server was given up.
      type: float
      sample: 30.0
    requests_per_second:
      description: Requests that were answered in this time.
      type: float
      sample: 13.7
    tokens_per_second:
      description: Tokens of answers that came in this time, for all requests together.
      type: float
      sample: 878.9
    time_to_first_token_ms:
      description: From the beginning of a request, with its connection, to the first text of the answer.
      type: dict
      sample: {mean: 61.2, p50: 58.4, p95: 88.9, p99: 101.3, max: 140.2}
    inter_token_ms:
      description:
        - From one piece of text to the next. A server may send several tokens in a piece; pieces that arrive at once share the time since
          the one before.
      type: dict
      sample: {mean: 8.3, p50: 8.1, p95: 9.9, p99: 21.7, max: 64.0}
    time_per_token_ms:
      description: For each request, the time from its first to its last text, divided by the tokens after the first.
      type: dict
      sample: {mean: 8.3, p50: 8.2, p95: 9.0, p99: 9.4, max: 10.1}
    latency_ms:
      description: From the beginning of a request to the end of its answer.
      type: dict
      sample: {mean: 583.1, p50: 577.5, p95: 640.7, p99: 671.0, max: 702.4}
    prompt_tokens:
      description: How long prompts were on average, as the server has counted.
      type: float
      sample: 256.3
    completion_tokens:
      description: How long answers were on average, as the server has counted.
      type: float
      sample: 64.0
    client_cpu_percent:
      description: How much of one CPU the load check itself has used.
      type: float
      sample: 7.5
    errors:
      description:
        - How many requests failed, by kind.
        - "The kinds are C(connection_refused), C(connection_closed), C(not_connected), C(name_not_resolved), C(tls_failed), C(timeout),
          C(http_STATUS) such as C(http_401), C(not_http), C(not_json), C(stream_broken), C(stream_error), C(no_tokens), C(answer_too_long),
          and of the question for the name of the model C(no_answer) and C(no_model)."
      type: dict
      sample: {timeout: 3}
    error_examples:
      description: What the first one of each kind says.
      type: dict
      sample: {timeout: not answered within 60 s}
problems:
  description: What makes the figures say less than they seem to.
  returned: when not in check mode
  type: list
  elements: dict
  contains:
    code:
      description:
        - V(client_busy) if the load check itself may have been slower than the server, V(few_requests) if percentiles are of few.
      type: str
      sample: few_requests
    severity:
      description: Always V(warning).
      type: str
      sample: warning
    message:
      description: What is.
      type: str
      sample: only 12 requests were measured, so percentiles say little
    remedy:
      description: What to do.
      type: str
      sample: Give it more seconds
message:
  description: Why nothing was measured; empty where something was.
  returned: when not in check mode
  type: str
progress_file:
  description: Where it says on the host how far it is.
  returned: in check mode
  type: str
  sample: /run/baremetal.llm/load-check-3f1d8a0c.json
"""

import hashlib
import os
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check import Request, load_check
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_client import Tally
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile

ARGUMENT_SPEC: dict[str, t.Any] = {
    "base_url": {"type": "str", "required": True},
    "api_key": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "model": {"type": "str"},
    "parallel": {"type": "int", "default": 8},
    "seconds": {"type": "int", "default": 30},
    "warm_up": {"type": "int", "default": 5},
    "prompt_tokens": {"type": "int", "default": 256, "no_log": False},  # their names look like secrets
    "shared_percent": {"type": "int", "default": 0},
    "max_tokens": {"type": "int", "default": 64, "no_log": False},
    "endpoint": {"type": "str", "choices": ["chat", "completions"], "default": "chat"},
    "stream": {"type": "bool", "default": True},
    "reuse_connections": {"type": "bool", "default": False},
    "request_timeout": {"type": "int", "default": 60},
    "request": {"type": "dict", "default": {}},
    "require_success": {"type": "bool", "default": True},
}


def request_of(params: t.Mapping[str, t.Any]) -> Request:
    same = {name: params[name] for name in ARGUMENT_SPEC if name not in ("request", "require_success")}
    return Request(**same, extra=params["request"])


def directory() -> Path:
    """What is only there while something runs; each user has their own."""
    if os.geteuid() == 0:
        return Path("/run/baremetal.llm")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "baremetal.llm"


def progress_file(base_url: str) -> Path:
    return directory() / f"load-check-{hashlib.sha256(base_url.encode()).hexdigest()[:8]}.json"


def measure(request: Request) -> dict[str, t.Any]:
    total = request.warm_up + request.seconds
    try:
        with locked(directory() / "load-check.lock", wait=False), ProgressFile(progress_file(request.base_url)) as progress:
            progress.step("load check", total=round(total), unit="%")
            report = load_check(request, lambda tally: progress.advance(min(round(tally.seconds), round(total)), detail=pace(tally)))
    except BlockingIOError:
        what = "another load check runs on this host, and both would measure each other. Wait until it has ended, which it does by itself."
        raise UserError(what) from None
    return {
        "base_url": request.base_url,
        "model": report.model,
        "parameters": request.parameters(),
        "figures": report.figures.as_dict(),
        "problems": [problem.as_dict() for problem in report.figures.problems()],
        "message": report.message,
    }


def pace(tally: Tally) -> str:
    if not tally.seconds:
        return ""
    failed = f" · {tally.failed} failed" if tally.failed else ""
    return f"{tally.succeeded / tally.seconds:.1f} requests/s · {tally.tokens / tally.seconds:.0f} tokens/s{failed}"


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    request = request_of(module.params)
    try:
        request.check()
        if module.check_mode:
            why = "Nothing is asked in check mode: a load disturbs whoever else uses the service."
            module.exit_json(changed=False, skipped=True, msg=why, progress_file=str(progress_file(request.base_url)))
        result = measure(request)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    if result["message"] and module.params["require_success"]:
        module.fail_json(msg=f"{request.base_url}: {result['message']}", **result)
    for problem in result["problems"]:
        module.warn(f"{request.base_url}: {problem['message']}. {problem['remedy']}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
