# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tools.tiny_gguf import MIB, WORDS, main
from gguf import GGUFReader


def test_it_is_a_llama_that_spells_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tiny.gguf"
    assert main([str(path), "--context-length", "512"]) == 0
    reader = GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["llama.context_length"] == 512
    tokens = fields["tokenizer.ggml.tokens"]
    assert {f"<0x{byte:02X}>" for byte in range(256)} <= set(tokens)
    assert len(tokens) == len(set(tokens)) == 3 + 256 + len(WORDS)
    assert path.stat().st_size < MIB
    (output,) = (tensor.data for tensor in reader.tensors if tensor.name == "output.weight")
    assert not output[: -len(WORDS)].any() and output[-len(WORDS) :].any(axis=1).all()


def test_the_same_arguments_leave_the_same_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.gguf"
    main([str(path)])
    first = path.stat()
    main([str(path)])
    again = path.stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert [line.split(": ")[1].split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["written", "already there"]

    content = path.read_bytes()
    main([str(path), "--seed", "1"])
    assert path.read_bytes() != content
    assert list(tmp_path.iterdir()) == [path]


def test_a_larger_file_for_a_visible_load(tmp_path: Path) -> None:
    path = tmp_path / "larger.gguf"
    main([str(path), "--size-mib", "16"])
    assert path.stat().st_size / MIB == pytest.approx(16, abs=0.2)


@pytest.mark.parametrize(
    ("option", "value", "message"), [("--embedding-length", "100", "multiple of 64"), ("--context-length", "0", "at least 1 token")]
)
def test_an_impossible_shape_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "tiny.gguf"), option, value])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
