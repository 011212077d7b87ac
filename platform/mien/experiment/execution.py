"""Where and how wide a run is executed: nothing here changes what is learnt, so nothing here enters the signature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionConfig:
    """Places and scale."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    store: str = "store"
    """The feature store: a folder or s3://bucket/prefix."""
    storage: str = "runs"
    """Where Run directories go: a folder or s3://bucket/prefix."""
    seeds: tuple[int, ...] = (0,)
    """Each seed trains every fold again from other initial weights."""
    only_folds: tuple[int, ...] = ()
    """Train these folds only (0, 1, ...); empty: all."""
    workers: int = 0
    """Ray Train workers of one run. 0: in this process, no worker group (fastest for small data)."""
    min_workers: int = 0
    """With workers above it: elastic, goes on with as few as this when nodes are lost. 0: not elastic."""
    max_failures: int = 3
    """Worker groups that may be lost and restarted from the last epoch before a run gives up."""
    save_every_s: float = 0.0
    """Seconds between two checkpoints, besides the best epoch's; 0: each epoch. A spot notice saves at once."""
    cpus_per_worker: int = 1
    """CPUs that Ray reserves for each worker."""
    gpu: bool = False
    """One GPU for each worker; refused where the cluster has none and none can come, or the framework sees none."""
    gpu_share: float = 1.0
    """What of a GPU each worker reserves, with gpu: at 0.25 four runs or trials of `parallel` share one. Nothing keeps
    them from taking more of its memory. A group of several workers takes whole ones."""
    parallel: int = 1
    """Runs (seed x fold), or trials of a search, at a time, each in a process of its own; runs with workers=0 only."""
    baseline: bool = True
    """Train the support vector machine on the same clips, features and folds, and report beside it."""
    conditions: bool = True
    """Once trained, predict the test clips of a run also with modalities hidden, with noise on the inputs and with
    dropout drawn: what each modality is worth, and how sure the model is. About 30 predictions of them, of pictures
    9."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("execution.seeds is empty: give at least one")
        for name, least in (("parallel", 1), ("workers", 0), ("min_workers", 0), ("cpus_per_worker", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"execution.{name} is {getattr(self, name)}: at least {least}")
        if self.min_workers > self.workers:
            raise ValueError(f"execution.min_workers is {self.min_workers}: at most execution.workers ({self.workers})")
        if not 0 < self.gpu_share <= 1:
            raise ValueError(f"execution.gpu_share is {self.gpu_share:g}: above 0, at most 1")
        if self.gpu_share < 1 and (self.workers > 1 or not self.gpu):
            why = "workers of a group cannot share a GPU" if self.gpu else "execution.gpu is not set"
            raise ValueError(f"execution.gpu_share is {self.gpu_share:g}: {why}")
        if not self.save_every_s >= 0:
            raise ValueError(f"execution.save_every_s is {self.save_every_s}: seconds, or 0 for each epoch")
