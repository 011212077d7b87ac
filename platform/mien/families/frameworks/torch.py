"""torch in a worker: threads, determinism, sums over all workers, and what every torch family trains with.

One thread: with more, sums are taken in another order each time, and a resumed run is no longer bit-identical (seen
with r3d_18 and two threads). Gradients are summed in one flat all-reduce, over the process group that Ray's
TorchTrainer has initialised.
"""

# ruff: noqa: E402 - the other framework is looked for before this one is imported

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from mien.errors import MienError
from mien.families.contract import Group
from mien.families.frameworks import check_alone

check_alone("torch")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic algorithms ask of CUDA

# isort: split
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from mien.data.batches import stable_seed


@cache
def configure() -> None:
    """Threads and determinism, once per process."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def group(rank: int, world: int) -> Group:
    """This worker's place in the process group that Ray's TorchTrainer has initialised; alone without one."""
    configure()
    is_initialised = dist.is_available() and dist.is_initialized()
    described = (dist.get_rank(), dist.get_world_size()) if is_initialised else (0, 1)
    if described != (rank, world):
        raise MienError(
            f"rank {rank} of {world} workers: torch.distributed describes {described[0]} of {described[1]}. Start the "
            "workers by Ray's TorchTrainer, which initialises it"
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Group(rank, world, _sum_array if world > 1 else Group().sum, device)


def has_bfloat16(device: str) -> bool:
    """Whether a device is a GPU that computes in bfloat16 by itself (Ampere and later)."""
    return torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _sum_array(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return summed(torch.tensor(array), dist.get_world_size()).numpy()


def summed(tensor: torch.Tensor, world: int) -> torch.Tensor:
    """Element-wise sum over all workers, without gradient, on the tensor's device; the tensor with one worker."""
    if world == 1:
        return tensor.detach()
    # gloo sums in main memory, nccl on the GPU, wherever the tensor is.
    total = tensor.detach().to("cuda" if dist.get_backend() == "nccl" else "cpu", copy=True)
    dist.all_reduce(total)
    return total.to(tensor.device)


def sum_gradients(loss: torch.Tensor, parameters: Sequence[nn.Parameter], world: int) -> tuple[float, bool]:
    """Sets each parameter's gradient to its sum over all workers; returns the sum of their losses, and whether that and
    the gradients are finite, which all workers answer alike.

    loss: this worker's share, already divided by the weight of the whole batch: DistributedDataParallel would divide it
    by the number of workers again.
    """
    gradients = torch.autograd.grad(loss, parameters)
    total = summed(torch.cat([loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)]), world)
    first, *parts = torch.split(total, [1, *(parameter.numel() for parameter in parameters)])
    for parameter, part in zip(parameters, parts):
        parameter.grad = part.view_as(parameter)
    mean, of_all = torch.stack([first[0], total.sum()]).tolist()  # asks a GPU once
    return mean, math.isfinite(of_all)


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """What is drawn inside depends on these parts alone, and what is drawn outside does not change by it.

    (seed, epoch, rank) for dropout: a resumed run repeats.
    """
    with torch.random.fork_rng():
        torch.manual_seed(stable_seed(*parts) % 2**63)
        yield


# Attention drops weights inside itself, and torch's transformer layers leave out all of it where they are not training.
_DROP_OUT = (
    *(nn.Dropout, nn.MultiheadAttention),
    *(nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.TransformerEncoder, nn.TransformerDecoder),
)


def drop_out(model: nn.Module) -> None:
    """Of a model that predicts, lets that part alone which drops out do as in training; `eval` ends it."""
    for module in model.modules():
        if isinstance(module, _DROP_OUT):
            module.training = True  # not train(), which would reach what lies in it


class MovingAverage:
    """Moving average of a model's parameters, with a short memory at first, so that the initial weights are soon
    forgotten.

    decay: per step; 0 keeps no average, and `applied` changes nothing.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.restart()

    def restart(self) -> None:
        """The average is the parameters as they are."""
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    def update(self, n_steps: int) -> None:
        """After a step. n_steps: steps so far, this one included."""
        decay = min(self.decay, (1 + n_steps) / (10 + n_steps))
        with torch.no_grad():  # all of them by one call, as torch's own optimisers do
            torch._foreach_mul_(self.values, decay)
            torch._foreach_add_(self.values, list(self.parameters), alpha=1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The average in the model's place, and the live parameters back afterwards."""
        if not self.decay:
            yield
            return
        live = [parameter.detach().clone() for parameter in self.parameters]
        _copy(self.values, self.parameters)
        try:
            yield
        finally:
            _copy(live, self.parameters)


def _copy(values: Sequence[torch.Tensor], parameters: Sequence[nn.Parameter]) -> None:
    with torch.no_grad():
        for value, parameter in zip(values, parameters):
            parameter.copy_(value)


def model_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """A model's weights and buffers by name."""
    return {name: _array(tensor) for name, tensor in model.state_dict().items()}


def set_model_arrays(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def training_arrays(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage
) -> dict[str, NDArray[Any]]:
    """All that a checkpoint of AdamW holds. The optimiser's moments are zeros before its first step."""
    arrays = {f"model/{name}": array for name, array in model_arrays(model).items()}
    for i, (parameter, value) in enumerate(zip(average.parameters, average.values)):
        state = optimizer.state.get(parameter, {})
        arrays[f"average/{i}"] = _array(value)
        arrays[f"optimizer/{i}/step"] = _array(state.get("step", torch.zeros(())))
        for moment in ("exp_avg", "exp_avg_sq"):
            arrays[f"optimizer/{i}/{moment}"] = _array(state.get(moment, torch.zeros_like(value)))
    return arrays


def set_training_arrays(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Puts back what `training_arrays` returned."""
    prefix = "model/"
    set_model_arrays(model, {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
    for i, (parameter, value) in enumerate(zip(average.parameters, average.values)):
        value.copy_(torch.from_numpy(arrays[f"average/{i}"]))
        state = {"step": torch.from_numpy(arrays[f"optimizer/{i}/step"])}
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment] = torch.from_numpy(arrays[f"optimizer/{i}/{moment}"]).to(parameter.device)
        optimizer.state[parameter] = state


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy().copy()
