#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_vllm_flags.py: what the parser of `vllm serve` accepts, release by release.

Beside it, what the same parsers say to the command lines of command_lines.txt, for the unit tests to compare with.

    tests/vllm/extract_parser.py             the releases that are in the table
    tests/vllm/extract_parser.py 0.33.0 …    these releases alone

Each release is downloaded without what it depends on (350 MB or more), and its own code makes the parser, in an environment of its own that
holds the few packages of requirements.txt; torch and the rest are stubs (stub_imports.py). All of it is thrown away at the end.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import types
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMAND_LINES = HERE / "command_lines.txt"
ANSWERS = ROOT / "tests" / "unit" / "plugins" / "fixtures" / "vllm" / "answers.json"
TABLE = ROOT / "plugins" / "module_utils" / "_vllm_flags.py"
PLATFORMS = ("manylinux_2_35_x86_64", "manylinux_2_31_x86_64", "manylinux_2_28_x86_64", "manylinux1_x86_64")

# Where the parser is made: since 0.31, in 0.28 to 0.30, before.
MODULES = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")

HEADER = '''\
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parser of ``vllm serve`` accepts, as released packages of vLLM make it. The newest look at it is that of RELEASES[-1].

Written by tests/vllm/extract_parser.py. What the columns mean tells _vllm_table.py, which reads them.
"""

from __future__ import annotations

Row = tuple[str, str, str, str, str, str, str, str, str]

'''

# How many characters of choices go into one line.
WIDTH = 120


def pip(python: str, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "-qq", *arguments], check=True)


def in_the_table() -> list[str]:
    listed = re.search(r"^RELEASES = \((.*)\)$", TABLE.read_text("utf-8"), re.MULTILINE) if TABLE.exists() else None
    return re.findall(r'"([^"]+)"', listed[1]) if listed else []


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def sources(version: str, scratch: Path) -> Path:
    """vLLM's Python files, from a wheel that is gone again."""
    target = scratch / version
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    pip(
        sys.executable,
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version=3.12",
        *platforms,
        f"--dest={target}",
        f"vllm=={version}",
    )
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target, [name for name in archive.namelist() if name.endswith((".py", ".dist-info/METADATA"))])
    wheel.unlink()
    return target


# -- in the environment of vLLM ------------------------------------------------------------------------------------------


def dump(directory: str) -> None:
    """Print the options of the release in this directory, as JSON."""
    sys.path[:0] = [directory, str(HERE)]
    import stub_imports

    stub_imports.install()
    import torch

    torch.iinfo = lambda dtype: types.SimpleNamespace(min=-(2**63), max=2**63 - 1)
    import vllm.platforms
    from vllm.platforms.interface import Platform, PlatformEnum

    class Cuda(Platform):  # type: ignore[misc]
        _enum = PlatformEnum.CUDA
        device_name = device_type = "cuda"

        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> None:
            return None

    vllm.platforms._current_platform = Cuda()
    import vllm.utils.torch_utils

    vllm.utils.torch_utils.direct_register_custom_op = lambda *arguments, **keywords: None
    module = next(module for module in MODULES if Path(directory, *module.split(".")).with_suffix(".py").exists())
    make_arg_parser = importlib.import_module(module).make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    program = FlexibleArgumentParser(prog="vllm")
    parser = make_arg_parser(program.add_subparsers(dest="subparser").add_parser("serve"))
    deprecated = getattr(parser, "_deprecated", ())
    by_action: dict[Any, list[str]] = {}
    for name, action in parser._option_string_actions.items():
        by_action.setdefault(action, []).append(name)
    options = [
        option(action, names, action in deprecated or getattr(action, "deprecated", False))
        for action, names in by_action.items()
        if action.dest != "help"
    ]
    answers = [answer(program, shlex.split(line)) for line in command_lines()]
    import vllm.envs

    variables = [name for name in vllm.envs.environment_variables if name.startswith("VLLM_")]
    json.dump({"options": options, "variables": variables, "answers": answers}, sys.stdout)


def command_lines() -> list[str]:
    return [line for line in COMMAND_LINES.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def answer(program: Any, words: list[str]) -> str | None:
    """What vLLM says to these words, None if it takes them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            program.parse_args(["serve", *words])
    except SystemExit:
        return re.sub(r" at 0x[0-9a-f]+", "", said.getvalue().rpartition(" error: ")[2].strip())
    except ValueError as refused:
        return str(refused)
    return None


def option(action: Any, names: list[str], deprecated: bool) -> dict[str, str]:
    """One option, in the columns of the table."""
    negative = getattr(action, "negative_option_strings", None)
    if negative is None:  # argparse's own switch
        negative = {name for name in names if name.startswith("--no-")} if type(action).__name__ == "BooleanOptionalAction" else set()
    kind, optional = kind_of(action)
    literal = action.choices if action.choices is not None else action.metavar if isinstance(action.metavar, (list, tuple)) else ()
    notes = {
        "deprecated": deprecated or type(action).__name__.startswith("Deprecated"),
        "optional": optional,
        "open": action.choices is None,
        "repeated": type(action).__name__ == "_AppendAction",
    }
    simple = action.default if isinstance(action.default, (bool, int, float, str)) else None
    return {
        "names": " ".join(name for name in names if name.startswith("--") and name not in negative),
        "negatives": " ".join(name for name in names if name in negative),
        "short": " ".join(name for name in names if not name.startswith("--")),
        "kind": kind,
        "nargs": str(action.nargs) if action.nargs else "",
        "choices": " ".join(str(choice) for choice in literal if str(choice) != "None"),
        "notes": " ".join(word for word, given in notes.items() if given and (word != "open" or literal)),
        "default": "" if simple is None or " " in str(simple) else str(simple),
    }


def kind_of(action: Any) -> tuple[str, bool]:
    """What the option's value is, and whether none can be said."""
    if action.nargs == 0:
        return ("switch", False)
    function, optional = action.type, False
    while (wrapped := {"_optional_type", "_parse_type"} & {getattr(function, "__name__", "")}) and function.__closure__:
        optional = optional or "_optional_type" in wrapped
        function = function.__closure__[0].cell_contents
    name = "str" if function is None else function.__name__
    if type(action).__name__ == "LoRAParserAction":
        name = "lora"
    if name == "<lambda>":
        name = "lower" if action.choices is not None else "str"
    return {"loads": "json", "parse_dataclass": "config", "union_dict_and_str": "json_or_str", "parse_reasoning_parser": "str"}.get(
        name, name
    ), optional


# -- the table -----------------------------------------------------------------------------------------------------------


def merged(releases: list[tuple[str, list[dict[str, str]]]]) -> list[dict[str, str]]:
    """One row for each option, and for each way in which a release differs from the one before; the default is that of the last."""
    rows: dict[str, list[dict[str, str]]] = {}
    for index, (version, options) in enumerate(releases):
        for given in options:
            history = rows.setdefault(given["names"].split()[0], [])
            known = {key: value for key, value in given.items() if key != "default"}
            last = history[-1] if history else {}
            if last.get("until") == releases[index - 1][0] and index and known == {key: last[key] for key in known}:
                last.update(given, until=version)
            else:
                history.append({**given, "since": version, "until": version})
    return [row for name in sorted(rows) for row in rows[name]]


def rendered(releases: list[tuple[str, list[dict[str, str]]]], variables: dict[str, list[str]]) -> str:
    lines = [f"RELEASES = ({', '.join(json.dumps(version) for version, _ in releases)})", "", "ROWS: tuple[Row, ...] = ("]
    for row in merged(releases):
        cells = [row[key] for key in ("names", "negatives", "short", "kind", "nargs", "choices", "notes", "default")]
        cells.append(f"{row['since']} {row['until']}")
        lines.append(f"    ({', '.join(cell(text) for text in cells)}),")
    lines += [")", "", "# The variables of vLLM's own that it reads, and the first and the last release that does.", "VARIABLES = {"]
    for name in sorted(set().union(*variables.values())):
        known = [version for version, names in variables.items() if name in names]
        lines.append(f'    "{name}": "{known[0]} {known[-1]}",')
    return HEADER + "\n".join([*lines, "}", ""])


def cell(text: str) -> str:
    pieces = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    literals = [json.dumps(piece + (" " if number < len(pieces) else "")) for number, piece in enumerate(pieces, 1)]
    return literals[0] if len(literals) == 1 else "(" + "\n".join(literals) + ")"


def main(arguments: list[str]) -> None:
    versions = sorted(arguments or in_the_table(), key=numbers)
    if not versions:
        sys.exit("Name the releases of vLLM, such as 0.33.0")
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        python = str(scratch / "venv" / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(scratch / "venv")], check=True)
        pip(python, "install", "--require-hashes", "--only-binary=:all:", f"--requirement={HERE / 'requirements.txt'}")
        releases, variables, answers = [], {}, {}
        for version in versions:
            given = os.environ.get("VLLM_SOURCES")
            source = Path(given) / version if given else sources(version, scratch)
            argv = [python, str(Path(__file__).resolve()), "--dump", str(source)]
            printed = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, cwd=scratch).stdout
            read = json.loads(printed.splitlines()[-1])
            releases.append((version, read["options"]))
            variables[version] = read["variables"]
            answers[version] = dict(zip(command_lines(), read["answers"], strict=True))
            print(f"{version}: {len(releases[-1][1])} options")
    TABLE.write_text(rendered(releases, variables), encoding="utf-8")
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    ruff = ROOT / ".venv" / "bin" / "ruff"
    subprocess.run([str(ruff), "format", "--quiet", str(TABLE)], check=True)
    print(f"{TABLE.name}: {len(merged(releases))} rows")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--dump"]:
        dump(sys.argv[2])
    else:
        main(sys.argv[1:])
