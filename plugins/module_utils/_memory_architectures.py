# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What llama.cpp keeps in memory for which architecture, as far as a GGUF's header leaves it open.

Read in llama.cpp at commit 0c1e57098: ``load_arch_hparams`` of each file in src/models, ``create_memory`` in src/llama-model.cpp.
An architecture that is not listed here is one of which this project has not checked what it keeps: diffusion heads that draft for another
model, text to speech, and the sparse attention with a cache of its own kind (deepseek4, dots3note, glm5-next, hy_v4, minimax-m3, qwen4exp).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Layers that look back over a sliding window only, and so cache little more than that."""

    period: int | None
    """Each period-th layer sees the whole context, with 0 none does; None where the header has to list them. A header that says
    otherwise is believed."""
    whole_first: bool = False
    """Whether a period begins with the layer that sees the whole context, or ends with it."""
    default: int = 0
    """The window in tokens where the header does not tell one; 0 for none at all."""
    fixed: int = 0
    """The window whatever the header tells, unless that is 0."""
    block_count: int | None = None
    """The only number of layers for which there is a window."""


class Recurrent(enum.Enum):
    """Which layers keep a state of fixed size for each slot instead of, or beside, keys and values."""

    NONE = enum.auto()
    ALL = enum.auto()
    ALL_BESIDE_ATTENTION = enum.auto()
    WITHOUT_KV_HEADS = enum.auto()
    WITHOUT_KV_HEADS_AND_FEED_FORWARD = enum.auto()
    ALL_BUT_INTERVAL = enum.auto()


@dataclass(frozen=True)
class Family:
    cache: bool = True
    """False for models that look at a text as a whole, and anew each time."""
    output: bool = True
    """Whether it ends in a layer that gives each word of the vocabulary its odds; without one of its own, that is its token_embd."""
    window: Window | None = None
    recurrent: Recurrent = Recurrent.NONE
    interval: int = 0
    """With ALL_BUT_INTERVAL: each so-many-th layer attends, where the header tells no other number."""
    layers_with_cache: int | None = None
    """The first so many layers cache; those above look into theirs."""
    counts_sharing_layers: bool = False
    """Whether the header tells how many of the last layers look into the caches of earlier ones."""
    indexer: bool = False
    """A second, smaller key is kept for each token, by which attention picks what it looks at."""


_PLAIN = """
    apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chameleon chatglm codeshell cogvlm command-r dbrx deci deepseek
    deepseek2 deepseek2-ocr dots1 ernie4_5 ernie4_5-moe exaone falcon gemma glm4 glm4moe gpt2 gptneox granite granitemoe grok grovemoe
    hrm_text hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 internlm2 jais jais2 llama llama-embed maincoder minicpm minicpm3 minimax-m2
    mistral3 mistral4 mpt nemotron olmo olmoe openelm orion paddleocr pangu-embedded phi2 phi3 phimoe plamo plm qwen qwen2 qwen2moe
    qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe refact seed_oss smollm3 stablelm starcoder starcoder2 xverse
"""
_ENCODERS = "bert eurobert jina-bert-v2 jina-bert-v3 modern-bert neo-bert nomic-bert nomic-bert-moe"
_WITHOUT_CACHE = "dream gemma-embedding llada llada-moe rnd1"
_STATE_ONLY = "mamba mamba2 rwkv6 rwkv6qwen2 rwkv7 arwkv7"

FAMILIES = {
    **{name: Family() for name in _PLAIN.split()},
    **{name: Family(cache=False, output=False) for name in _ENCODERS.split()},
    **{name: Family(cache=False) for name in _WITHOUT_CACHE.split()},
    **{name: Family(recurrent=Recurrent.ALL) for name in _STATE_ONLY.split()},
    # -- sliding windows
    "afmoe": Family(window=Window(4)),
    "cohere2": Family(window=Window(4)),
    "cohere2moe": Family(window=Window(4, whole_first=True)),
    "exaone4": Family(window=Window(4, default=4096, block_count=64)),
    "exaone-moe": Family(window=Window(4, default=128)),
    "gemma2": Family(window=Window(2, default=4096)),
    "gemma3": Family(window=Window(6)),
    "gemma3n": Family(window=Window(5), layers_with_cache=20),
    "gemma4": Family(window=Window(None), counts_sharing_layers=True),
    "gpt-oss": Family(window=Window(2)),
    "granite_swa": Family(window=Window(None)),
    "laguna": Family(window=Window(4, whole_first=True)),
    "llama4": Family(window=Window(4, default=8192, fixed=8192)),
    "maple": Family(window=Window(None)),
    "mellum": Family(window=Window(4)),
    "mimo2": Family(window=Window(None)),
    "muse-glimmer": Family(window=Window(4)),
    "olmo2": Family(window=Window(4)),
    "plamo3": Family(window=Window(8)),
    "smallthinker": Family(window=Window(4, whole_first=True, fixed=4096)),
    "spark2_5": Family(window=Window(None)),
    "step35": Family(window=Window(None)),
    # -- attention in some layers, a state of fixed size in the others
    "bailingmoe3": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "falcon-h1": Family(recurrent=Recurrent.ALL_BESIDE_ATTENTION),
    "granitehybrid": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "jamba": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "kimi-k3": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "kimi-linear": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "lfm2": Family(recurrent=Recurrent.WITHOUT_KV_HEADS, window=Window(0)),
    "lfm2moe": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "minimax-01": Family(recurrent=Recurrent.ALL_BUT_INTERVAL, interval=8),
    "nemotron_h": Family(recurrent=Recurrent.WITHOUT_KV_HEADS_AND_FEED_FORWARD),
    "nemotron_h_moe": Family(recurrent=Recurrent.WITHOUT_KV_HEADS_AND_FEED_FORWARD),
    "plamo2": Family(recurrent=Recurrent.WITHOUT_KV_HEADS),
    "qwen3next": Family(recurrent=Recurrent.ALL_BUT_INTERVAL, interval=4),
    "qwen35": Family(recurrent=Recurrent.ALL_BUT_INTERVAL, interval=4),
    "qwen35moe": Family(recurrent=Recurrent.ALL_BUT_INTERVAL, interval=4),
    # -- attention that picks its tokens by an index
    "deepseek32": Family(indexer=True),
    "glm-dsa": Family(indexer=True),
}  # fmt: skip
