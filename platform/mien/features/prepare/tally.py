"""Tally: what came back of one feature of a job, for the bar, for Prometheus, and for `mien cost`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from mien import telemetry
from mien.features.prepare.progress import PrepareProgress
from mien.features.prepare.worker import ClipOutcome


class Tally:
    """Counts the clips of one feature. n_before: those that were done before the job."""

    def __init__(self, corpus: str, feature: str, n_clips: int, n_before: int) -> None:
        self._corpus, self._feature = corpus, feature
        self._n_clips, self._n_before = n_clips, n_before
        self._clip_ids: set[str] = set()
        self.n_rejected = 0
        self.first_s, self.last_s = math.inf, -math.inf  # when the first clip was begun, when the last ended
        self.busy_s = 0.0
        self.peak_bytes = 0

    @property
    def n_extracted(self) -> int:
        """Clips that came back as a row or a reject."""
        return len(self._clip_ids)

    def count(self, outcomes: Iterable[ClipOutcome]) -> None:
        """outcomes: of this feature; those of a repeated batch are not counted twice."""
        new = [outcome for outcome in outcomes if outcome.clip_id not in self._clip_ids]
        self._clip_ids |= {outcome.clip_id for outcome in new}
        reasons = Counter(outcome.reason for outcome in new if outcome.reason)
        busy_s = sum(outcome.busy_s for outcome in new)
        self.n_rejected += reasons.total()
        self.busy_s += busy_s
        self.first_s = min([self.first_s, *(outcome.started_s for outcome in new)])
        self.last_s = max([self.last_s, *(outcome.ended_s for outcome in new)])
        self.peak_bytes = max([self.peak_bytes, *(outcome.peak_bytes for outcome in new)])
        labels = {"corpus": self._corpus, "feature": self._feature}
        telemetry.add("mien_clips_total", len(new), **labels)
        telemetry.add("mien_extraction_seconds_total", busy_s, **labels)
        for reason, n in reasons.items():
            telemetry.add("mien_rejects_total", n, reason=reason, **labels)
        telemetry.put("mien_clips_left", self._n_clips - self._n_before - self.n_extracted, **labels)

    def progress(self) -> PrepareProgress:
        clips_per_s, left_s = 0.0, None
        n_done = self._n_before + self.n_extracted
        if self.n_extracted:
            clips_per_s = self.n_extracted / max(self.last_s - self.first_s, 1e-3)
            left_s = (self._n_clips - n_done) / clips_per_s
        return PrepareProgress(
            feature=f"{self._corpus}-{self._feature}",
            n_done=n_done,
            n_clips=self._n_clips,
            n_rejects=self.n_rejected,
            clips_per_s=clips_per_s,
            left_s=left_s,
        )
