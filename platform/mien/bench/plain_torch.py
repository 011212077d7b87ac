"""The plain loop of torch, over arrays: forward, backward, clip, AdamW."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mien.data.batches import Batch
from mien.families import FAMILIES
from mien.families.contract import Task

Clock = Callable[[], float]
Between = Callable[[], None]
Epochs = list[tuple[float, float]]


def train(task: Task, batches: Sequence[Batch], n_rounds: int, between: Between, clock: Clock) -> Epochs:
    """Seconds, and those by the clock, of each epoch. between: called before each but the first.

    What a family makes of a batch before its torch module reads it is part of the model.
    """
    import torch
    from torch.nn import functional

    built: Any = FAMILIES[task.model.family].build(task)
    model, head_weights, device = built._model, built._head_weights, task.group.device
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = task.training
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)

    def loss_of(output: Any, targets: Any) -> Any:
        if task.target.kind == "classes":
            return functional.cross_entropy(output, targets)
        return functional.mse_loss(output, targets)

    seconds = []
    for number in range(n_rounds + 1):
        if number:
            between()
        start_s, start_cpu_s = time.perf_counter(), clock()
        total = 0.0
        model.train()
        for batch in batches:
            inputs = built._read(batch, task)
            heads = model({name: torch.from_numpy(array).to(device) for name, array in inputs.items()})
            wanted = torch.from_numpy(batch.targets).to(device)
            loss = sum(weight * loss_of(head, wanted) for weight, head in zip(head_weights, heads))
            optimizer.zero_grad()
            loss.backward()
            if training.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, training.clip_norm)
            optimizer.step()
            total += loss.item()
        seconds.append((time.perf_counter() - start_s, clock() - start_cpu_s))
    return seconds
