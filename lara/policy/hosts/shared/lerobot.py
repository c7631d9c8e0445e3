"""What a family says of its policies in the lerobot package, in its names.py: where their states are, how text goes in.

    PLACES:    lerobot's name of a policy -> `Places`, for lara.plugins.lerobot, which aligns lerobot's own instance
    PIPELINES: lerobot's name of a policy -> `Pipeline`, for lara.export.lerobot, which writes lara's in its format

Facts: huggingface/lerobot v0.4.4 and v0.6 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Places:
    """Where the states of one kind of policy are. layers: path of the expert's ModuleList.

    between: what is called with the state that enters layer k, below layers.k; "" when the layer itself is called.
    final:   called with the state after the last norm. before_final: called with the state after the last layer.
    first_action: place of action step 0 among the tokens, None: the last H. depth: the paper's for this kind.
    """

    layers: str
    between: str
    final: str
    before_final: str
    first_action: int | None = None
    depth: int = 0


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The text side of a policy's preprocessor.

    Attributes:
        prompt: the registry name of the step that makes the prompt.
        state_in_prompt: whether that step writes the state, which must then be normalised before it.
        tokenizer: the hub name that lerobot's tokenizer step loads.
        length: its max_length.
        padding: its padding.
    """

    prompt: str
    tokenizer: str
    length: int
    state_in_prompt: bool = False
    padding: str = "max_length"

    def steps(self, *, state_dims: int) -> list[dict[str, Any]]:
        """The two steps. state_dims: of the padded state that a prompt may hold."""
        prompt: Mapping[str, Any] = {"max_state_dim": state_dims} if self.state_in_prompt else {}
        tokens = {
            "tokenizer_name": self.tokenizer,
            "max_length": self.length,
            "task_key": "task",
            "padding_side": "right",
            "padding": self.padding,
            "truncation": True,
        }
        return [
            {"registry_name": self.prompt, "config": dict(prompt)},
            {"registry_name": "tokenizer_processor", "config": tokens},
        ]
