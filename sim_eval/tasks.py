"""Which tasks of a benchmark a policy was trained on, and which are judged when the protocol names none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lara.errors import ConfigError
from lara.evaluation.protocol import Protocol
from lara.serve.client import PolicyCard


def trained_tasks(facts: Mapping[str, Any], card: PolicyCard) -> list[str] | None:
    """The benchmark's tasks whose instruction is in the policy's training data; None if it learned from no data.

    facts: see `sim_eval.shard.facts_of`. Two tasks with one instruction (Meta-World's push and push-back) are both
    trained if either is: the words are all that a policy is told.
    """
    if card.instructions is None:
        return None
    return [task for task in facts["tasks"] if facts["instructions"][task] in card.instructions]


def decide_tasks(protocol: Protocol, facts: Mapping[str, Any], card: PolicyCard) -> Protocol:
    """The protocol with the tasks that are judged, and a line that says which and why.

    Raises ConfigError when the protocol names none and the policy was trained on no task of this benchmark.
    """
    trained = trained_tasks(facts, card)
    if protocol.tasks is not None:
        unseen = [] if trained is None else [task for task in protocol.tasks if task not in trained]
        if unseen:
            print(f"not in the training data of {card.name}: {', '.join(unseen)}", flush=True)
        return protocol
    if trained is None:
        tasks, why = list(facts["tasks"]), f"all of {facts['name']}'s, {card.name} learned from no data"
    else:
        tasks, why = trained, f"those of {facts['name']}'s that {card.name} was trained on"
    if not tasks:
        known = ", ".join(repr(text) for text in (card.instructions or ())[:5])
        raise ConfigError(
            f"the policy was trained on no task of {facts['name']}; its data says {known or 'nothing'}. "
            f"Name the tasks to judge: 'protocol.tasks=[{next(iter(facts['tasks']))}]'"
        )
    print(f"judged are {len(tasks)} tasks ({why}): {', '.join(tasks)}", flush=True)
    return replace(protocol, tasks=tuple(tasks))
