"""Notes: what must be known of answers, as sentences for whoever reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mien.predict.answers import ENOUGH_CLIPS, known_well
from mien.predict.ensemble import Ensemble
from mien.predict.extracted import Extracted
from mien.predict.recordings import Part, Recordings
from mien.predict.truths import unknown_words

LONG_S = 60.0  # of a clip that is predicted as a whole: nobody trains on such


def notes(
    ensemble: Ensemble,
    recordings: Recordings,
    extracted: Extracted,
    parts: Sequence[Part],
    is_cut: bool,
) -> Iterator[str]:
    """is_cut: whether the parts are windows of the recordings."""
    clips = list(recordings.clips.values())
    if any(member.recipe.is_synthetic for member in ensemble.members.values()):
        yield ("this model learned from synthetic recordings (mien sample): its answers say nothing about real people")
    if any(clip.synthetic for clip in clips):
        yield "among these recordings are synthetic ones (mien sample): nobody felt what they show"
    if random := [name for name, spec in ensemble.specs.items() if spec.settings.get("weights") == "random"]:
        yield f"{', '.join(random)} is extracted by a network with random weights: for trials, its answers mean nothing"
    if ensemble.unfinished:
        n_all = len(ensemble.members) + len(ensemble.unfinished)
        yield f"{len(ensemble.members)} of the {n_all} runs of this series are finished, and answer"
    if ensemble.target.kind == "classes" and not ensemble.is_calibrated:
        yield "the probabilities are the model's own: no temperature was fitted on held-out clips"
    if any(member.recipe.normalise == "speaker" for member in ensemble.members.values()):
        yield _of_speakers([part.clip.subject for part in parts])
    if not is_cut and extracted.longest_s > LONG_S:
        yield (
            f"files of up to {extracted.longest_s:.0f} s are predicted as one clip each, and models learn from clips "
            "of seconds: --window 4 --hop 1 gives a track over time and the mean of it"
        )
    if words := unknown_words(clips, ensemble.target):
        listed = ", ".join(f"{word} {n}" for word, n in sorted(words.items()))
        yield f"labels that are no class of this model are not scored: {listed}"


def _of_speakers(subjects: Sequence[str]) -> str:
    """How clips are standardised by a model that was trained with data.normalise speaker."""
    known = known_well(subjects)
    n_own = sum(subject in known for subject in subjects)
    said = (
        "this model was trained on clips that were standardised by each person's own mean and spread "
        "(data.normalise speaker): "
    )
    if n_own == len(subjects):
        return f"{said}so are these, of {len(known)} people with {ENOUGH_CLIPS} clips or more"
    return (
        f"{said}{n_own} of {len(subjects)} clips are, of people with {ENOUGH_CLIPS} clips or more; the others are "
        "standardised like its training clips, so expect less of their answers than its report says: name the subjects "
        "in a table, with more clips of each"
    )
