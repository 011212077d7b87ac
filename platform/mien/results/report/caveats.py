"""Caveats: what a reader has to know before quoting a number. A report shows all that apply, on top."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mien.experiment import MEETING, Experiment, SvmConfig
from mien.results.json_values import Json
from mien.results.metrics import metric_named
from mien.results.report.estimates import FEWEST_SUBJECTS, gain
from mien.results.report.kinds import KINDS
from mien.results.report.page import digits, interval
from mien.results.report.wording import stands, too_few
from mien.results.run import Series


class Caveat(NamedTuple):
    """kind: a stable word for scripts. is_warning: the number is not what it seems; else a note."""

    kind: str
    is_warning: bool
    title: str
    text: str


def caveats(series: Series, summary: Json) -> list[Caveat]:
    """All that apply, the gravest first."""
    return [
        *caveats_of_protocol(summary["protocol"], summary["n_subjects_on_both_sides"]),
        *caveats_of_data(series.data, series.experiment),
        *caveats_of_subjects(summary["n_subjects"]),
        *_of_choosing(summary),
        *_of_parts(summary),
        *_of_runs(summary),
        *_of_baseline(series, summary),
    ]


def caveats_of_data(data: Json, experiment: Experiment) -> Iterator[Caveat]:
    """Those that hold for every run on these data, whatever it scored. data: as data.json of a series."""
    synthetic = [name for name, corpus in data["corpora"].items() if corpus["synthetic"]]
    if synthetic:
        yield Caveat(
            "synthetic",
            True,
            "Synthetic data",
            f"The clips of {listed(synthetic)} were made by a program. They show that the platform runs; "
            "the scores say nothing about people.",
        )
    nobody = [name for name, corpus in data["corpora"].items() if not corpus["n_subjects"]]
    if nobody:
        yield Caveat(
            "unknown-subjects",
            True,
            "Who is in which clip is not known",
            f"The clips of {listed(nobody)} do not say who is in them. They count as of one person, and the same "
            "people may have been trained on, so these scores say nothing about people whom the model has not met, and "
            "have no interval over people.",
        )
    if experiment.target.source == "proxy":
        yield Caveat(
            "proxy-labels",
            True,
            "Proxy labels",
            "What is scored was derived from something else than emotion. The scores say how well that was predicted, "
            "not how well emotions were.",
        )
    random = [name for name, spec in data["features"].items() if spec["settings"].get("weights") == "random"]
    if random:
        yield Caveat(
            "random-weights",
            True,
            "Random weights",
            f"{listed(random)} was extracted by a network with random weights, for a trial. It was trained "
            "on nothing; do not quote these scores as that feature's.",
        )
    if experiment.data.normalise == "speaker":
        yield Caveat(
            "speaker-normalised",
            True,
            "Normalised per test speaker (transductive)",
            "Each test speaker's own clips, without their labels, set the mean and deviation by which these clips were "
            "standardised. In use this needs several clips of a person, of mixed emotions, before the first can be "
            "judged. Do not compare these scores with scores that do without.",
        )
    yield from _of_meetings(data, experiment)
    yield from _of_groups(data, experiment)


def _of_meetings(data: Json, experiment: Experiment) -> Iterator[Caveat]:
    """People who were recorded together: what is recorded of one may hold another."""
    protocol = experiment.protocol
    n_met, n_sharing = (data.get(name, 0) for name in ("n_met", "n_sharing"))  # an older mien wrote neither
    # Of random-leaky worse is said; no meeting is in two corpora.
    if n_met and protocol.kind not in ("random-leaky", "leave-one-corpus-out") and protocol.group != MEETING:
        yield Caveat(
            "recorded-together",
            True,
            "People who met may stand on both sides",
            f"{n_met} subjects were recorded in one room with others. A microphone also hears, and a camera may see, "
            f"who sits beside its owner, so a model may have met a test subject in a training clip. {protocol.kind} "
            "keeps a person on one side, not a meeting; --protocol.kind by-group --protocol.group meeting keeps both.",
        )
    if n_sharing:
        yield Caveat(
            "shared-recording",
            False,
            "Several people in one recording",
            f"Clips of at least {n_sharing} subjects hold the same seconds of one recording. Its sound or picture is "
            "of all who are in it, so a clip tells less of its own subject than a recording of this person alone.",
        )


def _of_groups(data: Json, experiment: Experiment) -> Iterator[Caveat]:
    """Stimuli that the test shares with training, and groups that no interval is over."""
    protocol = experiment.protocol
    n_same = data.get("n_same_stimulus", 0)
    if n_same and protocol.kind in ("by-subject", "loso", "official"):
        yield Caveat(
            "known-stimuli",
            False,
            "Test people saw what training people saw",
            f"{n_same} subjects were recorded at a stimulus that another was recorded at, and {protocol.kind} keeps "
            "people apart, not stimuli. What tells the stimulus tells how most people felt at it, so these scores are "
            "of new people at known stimuli; --protocol.kind crossed --protocol.group stimulus tests them at new ones.",
        )
    if protocol.kind == "crossed":
        yield Caveat(
            "interval-of-people",
            False,
            "Intervals are over people alone",
            f"An interval says how far the score may lie elsewhere with other people, each {protocol.group} as it is; "
            f"with another {protocol.group} it may lie further.",
        )


def caveats_of_protocol(protocol: str, n_both: int) -> Iterator[Caveat]:
    """n_both: most test subjects of one fold that were trained or validated on."""
    if protocol == "random-leaky":
        both = (
            f"in one fold, {n_both} of the test subjects were trained on as well"
            if n_both
            else "the same people may stand on all sides"
        )
        yield Caveat(
            "random-leaky",
            True,
            "Inflated by its protocol",
            f"Clips were split at random: {both}. The model may know the person, so these scores are too high for "
            "people whom it has never met. They serve to compare with papers that split this way; mien compare with a "
            "by-subject series gives the gap.",
        )
    elif n_both:
        yield Caveat(
            "leak",
            True,
            "Subjects on both sides",
            f"In one fold {n_both} of the test subjects were also trained on, which {protocol} "
            "must not do. Do not use these scores; split.json of each run names the subjects.",
        )


def caveats_of_subjects(n_subjects: int) -> Iterator[Caveat]:
    """Those of few test subjects."""
    if n_subjects < 2:
        yield Caveat(
            "one-subject",
            True,
            "One subject: no interval",
            "All test clips are of one person, or of people who are not told apart, so nothing can be said about other "
            "people.",
        )
    elif n_subjects < FEWEST_SUBJECTS:
        yield Caveat(
            "few-subjects",
            False,
            f"{n_subjects} subjects only",
            f"{too_few(n_subjects)}. So no comparison here is called shown; the intervals are wide, and rest on the "
            "assumption that subjects spread about normally.",
        )


def _of_choosing(summary: Json) -> Iterator[Caveat]:
    """Validation subjects of a fold tested in another: clean for what a fold chooses, not for what a person did."""
    n = summary["n_subjects_validated_elsewhere"]
    if n and summary["protocol"] != "random-leaky":  # which says worse of itself
        yield Caveat(
            "validated-elsewhere",
            False,
            "Validation subjects of one fold are tested in another",
            f"{n} of the {summary['n_subjects']} tested subjects are validation subjects of another fold. No fold "
            "looked at its own test subjects. But if somebody chose features, inputs or the number of epochs by "
            "validation scores over the folds, people who are tested here helped to choose, and these scores are "
            "somewhat too high. mien search chooses within each fold.",
        )


def _of_parts(summary: Json) -> Iterator[Caveat]:
    kind = KINDS[summary["target"]["kind"]]
    absent = [name for name, row in summary[kind.PARTS].items() if not row["n_clips"]]
    if absent:
        title, words = kind.LACKING
        yield Caveat(
            "absent-classes" if kind.PARTS == "per_class" else "unrated", True, title.format(listed(absent)), words
        )


def _of_runs(summary: Json) -> Iterator[Caveat]:
    if summary["incomplete"]:
        missing = [f"seed {run['seed']} fold {run['fold']} ({run['reason']})" for run in summary["incomplete"]]
        yield Caveat(
            "incomplete",
            True,
            "Incomplete",
            f"{_counted(len(missing), 'run')} missing: {listed(missing, most=6)}. The scores are of "
            f"{_counted(summary['n_folds'], 'fold')} and seed "
            f"{listed([str(seed) for seed in summary['seeds']], most=9)}.",
        )
    if summary["unused"]:
        yield Caveat(
            "unused",
            False,
            "Finished runs left out",
            f"{_counted(len(summary['unused']), 'run')} of seeds that lack a fold: with them some folds "
            "would weigh more than others.",
        )
    if summary["n_clips_not_tested"]:
        n_all = summary["n_clips"] + summary["n_clips_not_tested"]
        yield Caveat(
            "partly-tested",
            True,
            "Not all clips are tested",
            f"The scores are of {summary['n_clips']:,} of {n_all:,} clips: those of the folds that were trained.",
        )


def _of_baseline(series: Series, summary: Json) -> Iterator[Caveat]:
    baseline = summary["baseline"]
    if baseline is None:
        if series.baseline_named:  # one was trained, whether it can be read here or not
            yield Caveat(
                "baseline-not-here",
                False,
                "Its baseline is not here",
                f"A support vector machine was trained beside it, {series.baseline_named}, but no finished run of the "
                "same target is in that folder of this storage. Copy it there to have the two compared.",
            )
        elif not isinstance(series.experiment.model, SvmConfig):
            # A data.json that an older mien wrote names no codec.
            has_pictures = any(spec.get("codec") == "jpeg" for spec in series.data["features"].values())
            yield Caveat(
                "no-baseline",
                False,
                "No baseline",
                "No support vector machine was trained on the same features, so it is open whether this model is worth "
                f"its cost. {'It cannot read pictures.' if has_pictures else 'Train with --baseline to add one.'}",
            )
        return
    if baseline["difference"] is None:
        yield Caveat("no-baseline", False, "No baseline", "The baseline was tested on none of these clips.")
        return
    metric = metric_named(summary["score_name"])
    difference = baseline["difference"][summary["score_name"]]
    reached = (
        f"A support vector machine on the same features and folds reaches {metric.label} "
        f"{digits(baseline[summary['score_name']]['value'])}"
    )
    stand = stands(difference, metric)
    if stand == "worse":
        yield Caveat(
            "below-baseline",
            True,
            "Loses to the baseline",
            f"{reached}, which is better than this model by {digits(-gain(difference, metric)['value'])}.",
        )
    elif stand != "better":
        yield Caveat(
            "near-baseline",
            True,
            "Not clearly better than the baseline",
            f"{reached}; the difference of {digits(difference['value'], signed=True)} "
            f"({interval(difference, signed=True)}) may be chance.",
        )


def listed(names: list[str], most: int = 3) -> str:
    """ "a, b and c", or "a, b, c and 4 more"."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
