#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage GGUF headers in every way and read them: each is read or refused with a reason, in bounded time and memory.

    .venv/bin/python tests/fuzz/gguf_headers.py [--cases 100000] [--first 0] [--seconds 600] [--replay CASE]

A case is a number, and the same number is the same case. Prints why cases were refused, and what the most expensive one took. Exits with
1 when a case raises anything but the documented error, takes more than it may, or when there was no time for all cases.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._gguf import read_header
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import File, Model
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import LONGEST_HEADER, LocalFile, NotGgufError
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_models import MODELS, write
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_packer import (
    BOOL,
    F16,
    FLOAT64,
    INT64,
    Q4_K,
    STRING,
    UINT32,
    InMemory,
    Packer,
)

MOST_SECONDS = 20  # for one case; the longest headers take two on a quiet machine
LONGEST_REASON = 300
MOST_MEMORY = 256 << 20  # bytes that the process grows by
BATCH = 500
HUGE = 20 << 30

NUMBERS = [0, 1, 2, 3, 7, 8, 9, 12, 31, 64, 255, 1024, 1025, 65535, 65536, 10**6, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40]
NUMBERS += [2**62, 2**63 - 1, 2**63, 2**64 - 1]


class Outcome(t.NamedTuple):
    case: int
    reason: str
    """Why it was refused, without what differs from case to case; "" if it was read."""
    seconds: float
    bytes_read: int
    failure: str


def headers() -> list[InMemory]:
    """What is damaged: files of the `gguf` package in both byte orders, and others of version 2, without their data."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for name, model in MODELS.items():
            for big_endian in (False, True):
                (path,) = write(Path(directory, f"{name}-{big_endian}.gguf"), model, big_endian=big_endian)
                content = path.read_bytes()
                found.append(InMemory(content.rstrip(b"\0") + bytes(8), len(content)))
    for packer in (Packer(version=2), Packer(">", 2)):
        pairs = [packer.pair("general.architecture", STRING, "llama"), packer.pair("general.alignment", UINT32, 64)]
        pairs += [
            packer.pair("a.flag", BOOL, True),
            packer.pair("a.double", FLOAT64, 0.5),
            packer.array_pair("a.numbers", INT64, [-1, 2**40]),
        ]
        pairs += [packer.array_pair("a.texts", STRING, ["", "x" * 300]), packer.array_pair("a.flags", BOOL, [True] * 1025)]
        tensors = (packer.tensor("a", (256, 3), Q4_K, 0), packer.tensor("b", (), F16, 448), packer.tensor("c", (5, 0, 7, 2), F16, 512))
        found.append(InMemory(packer.file(*pairs, tensors=tensors, data=512, alignment=64)))
    return found


def damage(rng: random.Random, content: bytes, others: t.Sequence[InMemory]) -> bytes:
    """In one of the ways in which files get damaged, or are made to look so."""
    data = bytearray(content)
    # Half of the time in the counts and the first pairs, on which everything else depends.
    at = rng.randrange(min(len(data), 400) if rng.random() < 0.5 else len(data))
    way = rng.randrange(9)
    if way == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        data[at] = rng.randrange(256)
    elif way in (2, 3, 4):
        form = rng.choice("<>") + rng.choice("IQQ")
        size = struct.calcsize(form)
        number = rng.choice(NUMBERS) + rng.randrange(-1, 2)
        data[at : at + size] = struct.pack(form, number % 256**size)
    elif way == 5:
        del data[at:]
    elif way == 6:
        del data[at : at + rng.randrange(1, 64)]
    elif way == 7:
        begin = rng.randrange(len(data))
        data[at:at] = data[begin : begin + rng.randrange(1, 300)] if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 40))
    else:
        other = rng.choice(others).content
        begin = rng.randrange(len(other))
        data[at : at + 200] = other[begin : begin + 200]
    return bytes(data) or b"\0"


def made(case: int, seeds: t.Sequence[InMemory]) -> InMemory:
    rng = random.Random(case)
    seed = rng.choice(seeds)
    content = seed.content
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        content = damage(rng, content, seeds)
    # As large as it was, with nothing behind the header, or with so many zeros that a wrong count finds room.
    size = rng.choices((seed.size, 0, HUGE), (60, 39, 1))[0]
    return InMemory(content, size, windows=rng.choice(((64, 256), LocalFile.windows)))


def too_long(*_: object) -> t.NoReturn:
    raise AssertionError(f"takes more than {MOST_SECONDS} s")


def tried(case: int, seeds: t.Sequence[InMemory]) -> Outcome:
    file, reason, failure = made(case, seeds), "", ""
    began = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        header = read_header(file)
        json.dumps(Model(header, (File("m.gguf", file.file_size),)).as_dict(), allow_nan=False)
        if header.tensor_bytes > file.file_size:
            failure = f"claims {header.tensor_bytes} bytes of tensors in {file.file_size}"
    except NotGgufError as error:
        reason = str(error)
        if not reason.isprintable() or len(reason) > LONGEST_REASON:
            failure = f"says {reason!r}"
        reason = re.sub(r"b?'[^']*'|b?\"[^\"]*\"|\[[^]]*\]|\d+", "…", reason)  # without the names and numbers of the case
    except BaseException:
        failure = traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    bytes_read = sum(size for _offset, size in file.reads)
    if not failure and bytes_read > 2 * LONGEST_HEADER:
        failure = f"reads {bytes_read} bytes"
    return Outcome(case, reason, time.perf_counter() - began, bytes_read, failure)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


SEEDS: list[InMemory] = []
START = 0


def prepare() -> None:
    global START
    signal.signal(signal.SIGALRM, too_long)
    SEEDS[:] = headers()
    START = peak()


def batch(first: int) -> tuple[list[Outcome], int]:
    outcomes = [tried(case, SEEDS) for case in range(first, first + BATCH)]
    return outcomes, peak() - START


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case; other numbers are other cases")
    parser.add_argument("--seconds", type=float, default=600, help="stop then, and fail")
    parser.add_argument("--replay", type=int, metavar="CASE", help="try this one alone, and show what becomes of it")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        prepare()
        outcome = tried(arguments.replay, SEEDS)
        print(outcome.failure or outcome.reason or "is read")
        return bool(outcome.failure)

    began = time.monotonic()
    reasons: collections.Counter[str] = collections.Counter()
    slowest = most_read = Outcome(0, "", 0, 0, "")
    failures, grown, cases = [], 0, 0
    with multiprocessing.Pool(os.cpu_count(), prepare) as pool:
        for outcomes, growth in pool.imap_unordered(batch, range(arguments.first, arguments.first + arguments.cases, BATCH)):
            cases += len(outcomes)
            grown = max(grown, growth)
            reasons.update(outcome.reason for outcome in outcomes)
            failures += [outcome for outcome in outcomes if outcome.failure]
            slowest = max(slowest, *outcomes, key=lambda outcome: outcome.seconds)
            most_read = max(most_read, *outcomes, key=lambda outcome: outcome.bytes_read)
            if time.monotonic() - began > arguments.seconds:
                break
    seconds = time.monotonic() - began

    print(f"{cases} damaged headers in {seconds:.0f} s; {reasons.pop('', 0)} were read, the others were refused:")
    print(*(f"{count:8}  {reason}" for reason, count in reasons.most_common()), sep="\n")
    print(f"slowest       {slowest.seconds:8.2f} s    case {slowest.case}, at most {MOST_SECONDS}")
    print(f"most read     {most_read.bytes_read / 2**20:8.1f} MiB  case {most_read.case}, at most {2 * LONGEST_HEADER >> 20}")
    print(f"memory grown  {grown / 2**20:8.1f} MiB  at most {MOST_MEMORY >> 20}")
    for outcome in failures[:10]:
        print(f"\ncase {outcome.case} FAILS: {outcome.failure}")
    if cases < arguments.cases:
        print(f"no time for {arguments.cases - cases} of {arguments.cases} cases")
    return 1 if failures or grown > MOST_MEMORY or cases < arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())
