# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write a small, valid GGUF model with random weights: everything of a real model but the sense.

It loads in any llama.cpp and answers every endpoint, so a service can be proven from end to end without a download. Its vocabulary is the
256 bytes, which spell every prompt, and a few plain words, which are all it ever says: an answer is nonsense that a terminal can show, and
it never ends before the asked number of tokens. The same arguments give the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, LlamaFileType, TokenType

HEAD_DIM = 64  # a quantised KV cache works in blocks of 32
BLOCKS = 2
MIB = 1024**2

_TEXT = """
    a and any answer around as bare be before bright build but by calm clear cloud cold could day deep down each early even every fan
    far fast few field fine first for from full gate give good green grow hand heat here high host how in it just keep kind know large
    late leaf light like line little long low make many may metal mind more most move must near new night no not now of old on one only
    open or other our out over path plain quick quiet rain ready right river run same sea see serve set short side slow small so some
    soon still stone sun than that the then there this time to token tree true turn under up very warm was water way we well where which
    while will wind with word work you
"""
WORDS = tuple(_TEXT.split())

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The sizes of the model; `feed_forward_length` is what grows when a larger file is wanted."""

    context_length: int = 4096
    embedding_length: int = 128
    feed_forward_length: int = 256

    def __post_init__(self) -> None:
        if self.embedding_length < HEAD_DIM or self.embedding_length % HEAD_DIM:
            raise ValueError(f"the embedding length must be a multiple of {HEAD_DIM}, the size of a head; you gave {self.embedding_length}")
        if self.context_length < 1:
            raise ValueError(f"the context length must be at least 1 token; you gave {self.context_length}")

    @classmethod
    def of_size(cls, size_mib: int, *, context_length: int, embedding_length: int) -> Shape:
        """A shape whose weights take about this many MiB."""
        smallest = cls(context_length, embedding_length)
        bytes_per_unit = BLOCKS * 3 * embedding_length * 2  # gate, up and down, in 16 bits
        rest = size_mib * MIB - sum(2 * rows * columns for _, rows, columns in smallest.matrices())
        return cls(context_length, embedding_length, smallest.feed_forward_length + max(0, rest // bytes_per_unit))

    def matrices(self) -> Iterator[tuple[str, int, int]]:
        embedding, feed_forward = self.embedding_length, self.feed_forward_length
        yield "token_embd", len(vocabulary()), embedding
        for block in range(BLOCKS):
            for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
                yield f"blk.{block}.{name}", embedding, embedding
            yield f"blk.{block}.ffn_gate", feed_forward, embedding
            yield f"blk.{block}.ffn_up", feed_forward, embedding
            yield f"blk.{block}.ffn_down", embedding, feed_forward

    def norms(self) -> Iterator[str]:
        yield "output_norm"
        for block in range(BLOCKS):
            yield f"blk.{block}.attn_norm"
            yield f"blk.{block}.ffn_norm"


def vocabulary() -> list[tuple[str, TokenType]]:
    special = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    spelling = [(f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(256)]
    return special + spelling + [(f"\N{LOWER ONE EIGHTH BLOCK}{word}", TokenType.NORMAL) for word in WORDS]


def write(path: Path, shape: Shape, seed: int) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_name("Tiny random llama")
    writer.add_description("Random weights, for tests: its answers mean nothing")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_block_count(BLOCKS)
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.embedding_length)
    writer.add_feed_forward_length(shape.feed_forward_length)
    writer.add_head_count(shape.embedding_length // HEAD_DIM)
    writer.add_head_count_kv(shape.embedding_length // HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_DIM)

    tokens = vocabulary()
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)

    random = np.random.default_rng(seed)
    for name, rows, columns in shape.matrices():
        # Scaled like a fresh layer, so that activations neither vanish nor overflow at any size.
        weights = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)
        writer.add_tensor(f"{name}.weight", weights.astype(np.float16))
    for name in shape.norms():
        writer.add_tensor(f"{name}.weight", np.ones(shape.embedding_length, dtype=np.float32))
    # Rows of zeros leave the special tokens and the bytes no chance against the best of the words, at any common temperature.
    output = np.zeros((len(tokens), shape.embedding_length), dtype=np.float32)
    output[-len(WORDS) :] = random.standard_normal((len(WORDS), shape.embedding_length), dtype=np.float32)
    writer.add_tensor("output.weight", output.astype(np.float16))

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def update(path: Path, shape: Shape, seed: int) -> bool:
    """Put the model at `path`, whole or not at all; False when it is already there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary, shape, seed)
        if path.exists() and filecmp.cmp(temporary, path, shallow=False):
            return False
        temporary.chmod(0o644)
        temporary.replace(path)
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write a small, valid GGUF model with random weights.")
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    parser.add_argument("--context-length", type=int, default=Shape.context_length, metavar="TOKENS", help="default: %(default)s")
    parser.add_argument("--embedding-length", type=int, default=Shape.embedding_length, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--size-mib", type=int, default=0, metavar="MIB", help="grow the file to about this size, so that loading it takes time"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random weights; default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        shape = Shape.of_size(arguments.size_mib, context_length=arguments.context_length, embedding_length=arguments.embedding_length)
    except ValueError as error:
        parser.error(str(error))
    changed = update(arguments.output, shape, arguments.seed)
    print(f"{arguments.output}: {'written' if changed else 'already there'}, {arguments.output.stat().st_size / MIB:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
