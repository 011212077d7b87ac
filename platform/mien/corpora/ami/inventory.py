"""An inventory of AMI: what of it is there, by what is known of the published corpus.

Known are the 171 meetings of the manual annotations 1.6.2 (Carletta 2006; the list of recipes such as lhotse's agrees),
three of which had five people, so 687 headsets and as many words files; and that 139 of the meetings have dialogue
acts. Sizes and hashes are not known, nor which cameras were published: what meetings.xml names is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mien.corpora import OnFile, Verification
from mien.corpora.ami.nxt import BrokenXml, read_nxt
from mien.corpora.ami.seats import Meeting, read_meetings
from mien.corpora.ami.speech import Annotations
from mien.corpora.inventory import Published, check_files
from mien.corpora.tree import MediaFile
from mien.errors import CorpusError, Finding


def _of_series(site: str, numbers: Sequence[int], letters: str, without: Sequence[str] = ()) -> list[str]:
    names = [f"{site}{number}{letter}" for number in numbers for letter in letters or ("",)]
    return [name for name in names if name not in without]


MEETINGS: tuple[str, ...] = (
    *_of_series("ES", range(2002, 2017), "abcd"),
    *_of_series("IS", range(1000, 1010), "abcd", without=("IS1002a", "IS1005d")),
    *_of_series("TS", range(3003, 3013), "abcd"),
    *_of_series("EN", [2001], "abde"),
    *_of_series("EN", [2002], "abcd"),
    *_of_series("EN", [2003, 2004, 2005], "a"),
    *_of_series("EN", [2006], "ab"),
    *_of_series("EN", [2009], "bcd"),
    *_of_series("IB", [4001, 4002, 4003, 4004, 4005, 4010, 4011], ""),
    *_of_series("IN", [1001, 1002, 1005, 1007, 1008, 1009, 1012, 1013, 1014, 1016], ""),
)
OF_FIVE = ("EN2001a", "EN2001d", "EN2001e")
N_SEATS = 4 * len(MEETINGS) + len(OF_FIVE)
N_WITH_ACTS = 139  # meetings that have dialogue acts
_PARTS = {"Headset": "headset", "Mix-Headset": "mix", "Closeup": "closeup"}


def check(
    root: Path,
    files: Sequence[MediaFile],
    annotations: Annotations | None,
    place: Callable[[Path], tuple[str, str]],
    on_file: OnFile | None = None,
) -> Verification:
    """Compare files and annotations with what is known. A meeting of which nothing is there was not downloaded.

    place: from a path to the id of its meeting and its signal. on_file: called with (files hashed, files to hash).
    """
    present = _present(files, place)
    media = check_files("ami", root, files, list(_published(present)), place, on_file)
    n_of = {part: media.counts.get(part, (0, 0))[0] for part in _PARTS.values()}
    counts = {"headset": (n_of["headset"], N_SEATS), "mix": (n_of["mix"], len(MEETINGS))}
    findings = list(media.findings)
    try:
        more, said = _annotated(root, annotations, present)
        findings += said
    except CorpusError as error:
        more = {}
        findings.append(_finding("error", "broken-xml", root, str(error)))
    if (part := "closeup, by meetings.xml") in more:
        more[part] = (n_of["closeup"], more[part][1])
    if absent := [name for name in MEETINGS if name not in present]:
        detail = f"{len(absent)} of {len(MEETINGS)} meetings: nothing of them is there"
        findings.append(_finding("info", "not-downloaded", root, detail))
    detail = "sizes and hashes of AMI, and which closeups were published, are not known here: a file that was swapped "
    findings.append(_finding("info", "not-known", root, detail + "for another whole one is not noticed"))
    return replace(media, counts=counts | more, findings=tuple(findings))


def _present(files: Sequence[MediaFile], place: Callable[[Path], tuple[str, str]]) -> dict[str, set[str]]:
    """Meeting to the signals that are there of it."""
    present: dict[str, set[str]] = {}
    for file in files:
        try:
            id, signal = place(file.path)
        except ValueError:
            continue
        present.setdefault(id.removeprefix("ami/"), set()).add(signal)
    return present


def _published(present: dict[str, set[str]]) -> Iterator[Published]:
    """Of each meeting that is there: its headsets and their mix, and of cameras those that are there."""
    for meeting, signals in present.items():
        wanted = set(signals)
        if meeting in MEETINGS:
            wanted |= {"Mix-Headset", *(f"Headset-{number}" for number in range(4 + (meeting in OF_FIVE)))}
        for signal in sorted(wanted):
            part = _PARTS[signal.rstrip("-0123456789")]
            yield Published(part=part, name=f"{meeting}.{signal}{'.avi' if part == 'closeup' else '.wav'}")


def _annotated(
    root: Path, annotations: Annotations | None, present: dict[str, set[str]]
) -> tuple[dict[str, tuple[int, int]], list[Finding]]:
    """Counts and findings of the annotations. Raises CorpusError where meetings.xml is broken."""
    if annotations is None:
        detail = "no corpusResources/meetings.xml below it: without the manual annotations nothing can be imported"
        return {}, [_finding("error", "no-annotations", root, detail)]
    meetings, rejects = read_meetings(root, annotations.meetings)
    findings = [_finding("error", reject.reason, Path(reject.path), reject.detail) for reject in rejects]
    files = {part: sorted((annotations.folder / part).glob("[!.]*.xml")) for part in ("words", "segments")}
    files["dialogueActs"] = sorted((annotations.folder / "dialogueActs").glob("[!.]*.dialog-act.xml"))
    for path in (path for paths in files.values() for path in paths):
        try:
            read_nxt(path)
        except BrokenXml as error:
            findings.append(_finding("error", "broken-xml", path, f"{error}: unpack the annotations again"))
    findings += _lacking(root, annotations, meetings, present)
    n_cameras = sum(bool(seat.camera) for meeting in meetings.values() for seat in meeting.seats.values())
    n_with_acts = len({path.name.partition(".")[0] for path in files["dialogueActs"]})
    counts = {
        "closeup, by meetings.xml": (0, n_cameras),
        "words": (len(files["words"]), N_SEATS),
        "meetings with dialogue acts": (n_with_acts, N_WITH_ACTS),
    }
    return counts, findings


def _lacking(
    root: Path, annotations: Annotations, meetings: dict[str, Meeting], present: dict[str, set[str]]
) -> Iterator[Finding]:
    """What the meetings that are there lack, one finding for each meeting and kind."""
    has_video = any(signal.startswith("Closeup") for signals in present.values() for signal in signals)
    without_acts = []
    for name, signals in sorted(present.items()):
        if name not in meetings:
            detail = f"{name}: recordings are there, and meetings.xml does not know it: no clip can be imported"
            yield _finding("error", "unknown-meeting", annotations.meetings, detail)
            continue
        seats = meetings[name].seats.values()
        for kind, path_of in (("words", annotations.words_file), ("segments", annotations.segments_file)):
            if lacks := [path_of(seat.name).name for seat in seats if not path_of(seat.name).is_file()]:
                detail = f"{name} lacks {', '.join(lacks)}: unpack the annotations again"
                yield _finding("error", f"missing-{kind}", annotations.folder / kind, detail)
        cameras = [seat.camera for seat in seats if seat.camera and seat.camera not in signals]
        if has_video and cameras:
            detail = f"{name} lacks {', '.join(cameras)}, which meetings.xml names; whether it was published is not "
            yield _finding("warning", "missing-video", root, detail + "known here")
        if not any(annotations.acts_file(seat.name).is_file() for seat in seats):
            without_acts.append(name)
    if without_acts:
        some = ", ".join(without_acts[:3]) + (", ..." if len(without_acts) > 3 else "")
        detail = f"{len(without_acts)} of {len(present)} meetings have no dialogue acts, so no proxy label: {some}"
        yield _finding("info", "no-dialogue-acts", annotations.folder, detail)


def _finding(severity: str, what: str, path: Path, detail: str) -> Finding:
    return Finding(severity=severity, what=what, path=str(path), detail=detail)
