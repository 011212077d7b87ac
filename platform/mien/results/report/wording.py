"""What a report states in words: the protocol, the label and the baseline, each in an honest sentence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mien.experiment.official import lists_in
from mien.experiment.protocol import is_unknown
from mien.experiment.target import ClassesConfig
from mien.folder import absolute
from mien.results.json_values import Json
from mien.results.metrics import Metric, metric_named
from mien.results.report.estimates import gain, least_p, standing
from mien.results.report.page import digits, duration, interval, p_value

if TYPE_CHECKING:
    from mien.experiment import ExecutionConfig, ProtocolConfig
    from mien.experiment.target import TargetConfig
    from mien.results.run import Series
    from mien.results.search_folder import SearchFolder

PROTOCOLS = {
    "by-subject": "by-subject: no person on both sides of a split",
    "loso": "leave one subject out: each person tested by a model that never met them",
    "by-group": "by-group: no {group} and no person on both sides of a split",
    "crossed": "crossed: no person and no {group} on both sides of a split",
    "official": "official folds ({lists}): no person on both sides of a split",
    "leave-one-corpus-out": "leave one corpus out: each corpus tested by a model that never saw it",
    "random-leaky": "random-leaky: clips split at random, the same people on both sides",
}
LABELS = {
    "intended": "intended, the emotion that the actor was asked to show",
    "perceived-voice": "perceived, the choice of most raters who heard the voice",
    "perceived-face": "perceived, the choice of most raters who saw the face",
    "perceived-both": "perceived, the choice of most raters who heard and saw the clip",
    "self-report": "self-reported, what the person said to have felt",
    "annotated": "annotated by observers",
    "proxy": "proxy, derived from something else than emotion",
}

NO_CLASS = " is not among the classes"  # how mien.data.targets ends the reason for which it leaves out an emotion

UNTOLD = "who is in which clip is not known"

# Wherever figures of such a series stand.
TRANSDUCTIVE = "normalised per test speaker (transductive)"

DRAWN = {
    "tpe": "by a tree-structured Parzen estimator",
    "random": "at random",
    "grid": "as all combinations",
}
PRUNING = {
    "asha": "those behind at epochs {0}, {1}, {2}, ... stopped early (ASHA)",
    "median": "those below the median stopped early",
    "none": "",
}


def measured_on(summary: Json) -> str:
    """As "144 clips of 12 subjects, 2 folds, one seed"."""
    n_seeds, n_folds = len(summary["seeds"]), summary["n_folds"]
    seeds = "one seed" if n_seeds == 1 else f"mean of {n_seeds} seeds"
    folds = "one fold" if n_folds == 1 else f"{n_folds} folds"
    # A metrics.json that an older mien wrote does not say.
    speaker = f", {TRANSDUCTIVE}" if summary.get("normalise") == "speaker" else ""
    clips, subjects = _counted(summary["n_clips"], "clip"), _counted(summary["n_subjects"], "subject")
    return f"{clips} of {subjects}, {folds}, {seeds}{speaker}"


def protocol_text(protocol: str, group: str, lists: Sequence[str] = ()) -> str:
    """A protocol in words. group: what by-group or crossed keeps apart, else empty. lists: the published ones that
    official takes; none of them where it takes a file."""
    return PROTOCOLS.get(protocol, protocol).format(group=group, lists=", ".join(lists) or "a list of one's own")


def official_lists(protocol: ProtocolConfig) -> list[str]:
    """What the folds of the protocol official are: published lists, or the corpus's own; none of other protocols."""
    if protocol.kind == "official" and not protocol.official:
        return ["the split of the corpus itself"]
    return lists_in(protocol.official)


def statement(summary: Json) -> str:
    """What the headline was measured on, in one sentence."""
    protocol = protocol_text(summary["protocol"], summary["group"], summary["official"])
    if summary["n_subjects_on_both_sides"] and summary["protocol"] != "random-leaky":
        protocol = f"{summary['protocol']}, but with people on both sides of a split"
    elif summary["protocol"] == "official" and any(
        one["kind"] == "unknown-subjects" for one in summary.get("caveats", ())
    ):
        protocol = f"official folds ({', '.join(summary['official'])}), and {UNTOLD}"
    return (
        f"{measured_on(summary)}. Protocol {protocol}. Labels "
        f"{LABELS.get(summary['label_source'], summary['label_source'])}."
    )


def data_statement(data: Json, target: TargetConfig) -> str:
    """What was learnt from, in short: corpora, classes or dimensions, clips left out, features."""
    corpora = [f"{name} ({_counted(one['n_clips'], 'clip')})" for name, one in data["corpora"].items()]
    names = data["target"]["names"]
    said = [f"{'Corpus' if len(corpora) == 1 else 'Corpora'}: {', '.join(corpora)}"]
    if data["target"]["kind"] == "classes":
        counted_as = target.merge if isinstance(target, ClassesConfig) else {}
        merged = data.get("merged")  # a data.json that an older mien wrote does not say
        n_left = sum(reason.endswith(NO_CLASS) for reason in data["left_out"])
        of = f" of {len(names) + len(merged) + n_left} emotions" if merged is not None and (merged or n_left) else ""
        said.append(f"{len(names)} classes{of}: {', '.join(names)}")
        said += [f"{name} ({_counted(n, 'clip')}) counted as {counted_as[name]}" for name, n in (merged or {}).items()]
    else:
        said.append(f"{'Dimension' if len(names) == 1 else 'Dimensions'}: {', '.join(names)}")
    said += [f"{_counted(n, 'clip')} left out ({reason})" for reason, n in data["left_out"].items()]
    said.append(f"{'Feature' if len(data['features']) == 1 else 'Features'}: {', '.join(data['features']) or 'none'}")
    return f"{'. '.join(said)}."


def run_statement(protocol: ProtocolConfig, split: Json) -> str:
    """What one fold was tested on."""
    test = split["test"]
    protocol_words = protocol_text(protocol.kind, protocol.group, official_lists(protocol))
    if protocol.kind == "official" and any(map(is_unknown, test["subjects"])):
        protocol_words = f"official folds, and {UNTOLD}"
    return (
        f"{_counted(test['n_clips'], 'clip')} of {_counted(len(test['subjects']), 'subject')}; "
        f"protocol {protocol_words}."
    )


def stands(difference: Json, metric: Metric) -> str:
    """What a paired difference allows to say: "better" and "worse" where it is clear, else its `standing`."""
    found = standing(difference)
    if found != "clear":
        return found
    return "better" if gain(difference, metric)["value"] > 0 else "worse"


def too_few(n_subjects: int) -> str:
    """Why fewer than six subjects show nothing."""
    return (
        f"{n_subjects} subjects can show no difference: were it of one sign in all of them, p would still be "
        f"{least_p(n_subjects):.3g}"
    )


def baseline_sentence(summary: Json) -> str:
    """How the model stands against the support vector machine; empty where there is none to stand against."""
    baseline = summary["baseline"]
    if not (baseline and baseline["difference"]):
        return ""
    name = summary["score_name"]
    metric = metric_named(name)
    difference, n_clips = baseline["difference"][name], baseline["n_shared_clips"]
    verdict = {
        "untold": "there is no interval, so whether that is chance cannot be told",
        "few": too_few(difference["n_subjects"]),
        "hint": "a hint of a difference, which among the tests of this table may be chance",
        "better": "clearly better",
        "worse": "clearly worse",
        "open": "not clearly different",
    }[stands(difference, metric)]
    return (
        f"A support vector machine on the same features and folds reaches {metric.label} "
        f"{digits(baseline[name]['value'])}. On the {_counted(n_clips, 'clip')} that both were tested on "
        f"this model differs from it by {digits(difference['value'], signed=True)} "
        f"({interval(difference, signed=True)}, corrected {p_value(difference['p_adjusted'])}): {verdict}."
    )


def commands_again(words: str, of: Series | SearchFolder, asked: ExecutionConfig) -> tuple[str, str]:
    """What goes on with a folder, and what reports it anew; both hold in any directory. words: "train experiment.json".

    The storage is where the folder lies now, the store where it was read. Older data.json do not name the store: a
    relative one is then taken as of here.
    """
    verb, file = words.split()
    store = of.data.get("store") or absolute(asked.store)
    again = ("mien", verb, of.folder.path(file), "--store", store, "--storage", of.storage.uri)
    return shlex.join(again), shlex.join(("mien", "report", of.folder.uri))


def search_sentence(result: Json, n_asked: int, grace_epochs: int) -> str:
    """How a search was run and what became of it."""
    n = result["n_trials"]
    states = ", ".join(f"{n[state]} {state}" for state in ("done", "pruned", "failed", "running") if n[state])
    pruned = PRUNING[result["pruner"]].format(*(grace_epochs * 3**rung for rung in range(3)))
    finalists = f" The {result['finalists']} best of each fold were trained again on its other inner splits."
    return (
        f"Up to {_counted(n_asked, 'trial')} per fold in {_counted(len(result['folds']), 'fold')}, drawn "
        f"{DRAWN[result['method']]}{', ' + pruned if pruned else ''}: {states}. "
        f"{duration(result['minutes'])} of training, summed over trials."
        f"{finalists if result['finalists'] > 1 else ''}"
    )


def gap_sentence(grouped: str, random: str, group: str, score_name: str, difference: Json, n_clips: int) -> str:
    """The leakage gap: what splitting at random adds to the same model's score, where it is told from 0.

    group: what the other protocol keeps apart, such as "subject".
    """
    metric = metric_named(score_name)
    known = "speakers" if group == "subject" else f"{group} groups"
    verdict = {
        "untold": "There is no interval, so whether that is a leakage gap cannot be told.",
        "few": f"But {too_few(difference['n_subjects'])}.",
        "hint": "That is a hint of a leakage gap, and among the tests of this page may be chance.",
        "better": f"This leakage gap is what knowing the test {known} is worth: on new "
        f"{'people' if group == 'subject' else 'ones'} it is lost.",
        "worse": "So these data show no leakage gap: the split at random scored worse.",
        "open": "So these data show no leakage gap; one of more than "
        f"{digits(gain(difference, metric)['high'])} is unlikely.",
    }[stands(difference, metric)]
    return (
        f"Splitting clips at random ({random}) instead of by {group} ({grouped}) changes {metric.label} by "
        f"{digits(difference['value'], signed=True)} ({interval(difference, signed=True)}; "
        f"corrected {p_value(difference['p_adjusted'])}; {_counted(n_clips, 'clip')}). {verdict}"
    )


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
