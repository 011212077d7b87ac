"""MAHNOB-HCI: people watch 20 films while cameras, EEG and body sensors record (Soleymani et al. 2012).

A folder Sessions/<number> is one trial: session.xml, a BDF of all sensors, videos, sound, a table of the eye tracker.
A session in which the participant reported what they felt is a clip; all others are rejects. The media are laid on one
clock by `mien.corpora.mahnob.clock`, for which the triggers in the BDF are read, and nothing else of any recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.corpora import Card, OnFile, Verification
from mien.corpora.clip import Clip, Medium, Reject
from mien.corpora.inventory import container_fault
from mien.corpora.mahnob.clock import Extent, Recording, read_gaze_clock, read_recording
from mien.corpora.mahnob.session import Flaw, Section, Session, read_person, read_session
from mien.corpora.tree import SYNTHETIC_MARKER, UNKNOWN_SUFFIX, MediaFile, find_media, in_order, printable
from mien.errors import Finding, MediaError

CARD = Card(
    name="mahnob",
    title="MAHNOB-HCI-Tagging database, emotion elicitation",
    licence="end user licence agreement: academic research only, no redistribution",
    access="ask for an account at mahnob-db.eu/hci-tagging and sign its agreement; unpack to Sessions/ and Subjects/",
    citation="M. Soleymani et al., IEEE Transactions on Affective Computing 3(1): 42-55, 2012",
    n_clips=527,
    n_subjects=27,
    label_sources=("self-report",),
)

SUFFIXES = (".bdf", ".avi", ".wav", ".tsv", ".xml")
TABLE_SUFFIXES = (".xml",)
EXCERPTS = {".bdf": read_recording, ".tsv": read_gaze_clock}
SAMPLE = "mien.corpora.sample.mahnob"

# The cap, in the order of the file (positions of the international 10-20 system).
EEG_CHANNELS = (
    *("Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz"),
    *("Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"),
)
# EXG1 to EXG3 are the ECG, GSR1 skin resistance in ohm, Resp the breathing belt, Temp a finger's temperature.
BODY_CHANNELS = ("EXG1", "EXG2", "EXG3", "GSR1", "Resp", "Temp")

# Trials of each person whose colour video and BDF are both there, each a session 130 (person - 1) + 2 trial: the 527
# of Li et al. 2014 (CVPR), as listed in bob.db.hci_tagging. Nothing was recorded of persons 12, 15 and 26.
TRIALS = {n: 20 for n in range(1, 31) if n not in (12, 15, 26)} | {3: 17, 9: 14, 16: 16}

_XML, _SESSIONS, _SUBJECTS, _STIMULI = "session.xml", "Sessions", "Subjects", "MediaFiles"
_MOST_XML_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the import can be asked."""

    camera: str = ""
    """Whose video it is: "" the one in colour, of the face; else a part of the name of its file, such as BW1."""
    baseline_s: float = 0.0
    """Seconds before the stimulus at which EEG and body begin, as far as they were recorded (30 s)."""
    fallback: bool = True
    """Whether a BDF without two triggers is taken to have 30 s before and after the stimulus, as the others have."""
    partial: bool = True
    """Whether a session without video or without BDF is a clip of what it has."""


def published_sessions() -> dict[int, int]:
    """Number of each published session with self-report, video and BDF, to its person."""
    return {130 * (person - 1) + 2 * trial: person for person, n in TRIALS.items() for trial in range(1, n + 1)}


def import_clips(root: Path, settings: Settings | None = None) -> Iterator[Clip | Reject]:
    """Clips and rejects below root, sorted by id: each folder of a session is one or the other.

    Of a recording, the header and the triggers of a BDF and the first rows of a gaze table are read. A clip that lacks
    something, such as its video, is followed by a reject of its id that says what. Raises CorpusError where root is no
    folder or holds no media.
    """
    root = Path(root).absolute()
    asked = settings or Settings()
    folders, strays = _sorted(root, find_media(root, SUFFIXES, CARD.title, CARD.access))
    people, rejects = _people(root, strays)
    clips: list[Clip] = []
    seen: set[str] = set()
    for folder, files in folders.items():
        id = f"mahnob/{int(folder.name)}"
        if id in seen:
            rejects.append(_reject(root, id, folder, "duplicate", "is a second folder of this number: remove one"))
            continue
        seen.add(id)
        clip, flaws = _clip(id, folder, files, people, asked)
        clips += [clip] if clip else []
        rejects += [_reject(root, id, folder, *flaw) for flaw in flaws]
    return in_order(clips, rejects)


def _sorted(root: Path, files: Sequence[MediaFile]) -> tuple[dict[Path, dict[str, MediaFile]], list[MediaFile]]:
    """Folder of a session to its files by name, and the files of none."""
    sessions = {file.path.parent for file in files if file.path.name == _XML}
    above = {folder for file in files for folder in (file.path.parent, file.path.parent.parent)}
    for folder in above:
        if folder.name == _SESSIONS and folder.is_relative_to(root):
            sessions |= {entry for entry in folder.iterdir() if entry.is_dir()}  # also those that hold no file
    found: dict[Path, dict[str, MediaFile]] = {
        folder: {} for folder in sorted(sessions) if folder.name.isascii() and folder.name.isdecimal()
    }
    strays = []
    for file in files:
        if file.path.parent in found:
            found[file.path.parent][file.path.name] = file
        else:
            strays.append(file)
    return found, strays


def _people(root: Path, strays: Sequence[MediaFile]) -> tuple[dict[int, dict[str, str]], list[Reject]]:
    """Person to sex and age, and a reject for each file that is of no session and no person."""
    people: dict[int, dict[str, str]] = {}
    rejects = []
    for file in strays:
        parents = [folder.name for folder in file.path.relative_to(root).parents]
        if _STIMULI in parents or (file.path.suffix.lower() == ".tsv"):
            continue  # the films that were shown; a table beside nothing
        if file.path.suffix.lower() == ".xml" and file.path.name != _XML:
            digits = "".join(filter(str.isdecimal, file.path.stem))
            if file.path.parent.name == _SUBJECTS and digits.isascii() and digits:
                try:
                    people[int(digits)] = read_person(_bytes(file))
                except MediaError as error:
                    rejects.append(_reject(root, None, file.path, error.reason, str(error)))
            continue
        why = file.problem or ("bad-name", "lies in no folder of a session, which is called by its number")
        rejects.append(_reject(root, None, file.path, *why))
    return people, rejects


def _clip(
    id: str, folder: Path, files: Mapping[str, MediaFile], people: Mapping[int, Mapping[str, str]], asked: Settings
) -> tuple[Clip | None, list[Flaw]]:
    """The clip of a session, None where it cannot be one; and what of it cannot be used."""
    try:
        if _XML not in files:
            raise MediaError("no-session", f"has no {_XML}: download the session again")
        session = read_session(_bytes(files[_XML]), int(folder.name), asked.camera)
    except MediaError as error:
        return None, [(error.reason, str(error))]
    flaws = list(session.flaws)
    found = _usable(session, files, flaws)
    media, timing = _media(session, found, asked, flaws)
    missing = [name for name in ("video", "eeg") if name not in media]
    if not media.keys() - {"gaze"} or (missing and not asked.partial):
        flaws.append(("no-media", f"{' and '.join(missing)} cannot be used, see the other reasons; it is no clip"))
        return None, flaws
    clip = Clip(
        id=id,
        corpus="mahnob",
        subject=f"mahnob/{session.subject}",
        media=media,
        labels=(session.label,),
        groups={"stimulus": f"mahnob/{session.stimulus}"} if session.stimulus else {},
        attributes={**session.attributes, "timing": timing, **people.get(session.subject, {})},
        synthetic=any(file.synthetic for file in files.values()),
    )
    return clip, flaws


def _usable(session: Session, files: Mapping[str, MediaFile], flaws: list[Flaw]) -> dict[str, Path]:
    """Kind to the file of it that is there; a flaw for each that is not, and for each file that is not named."""
    names = dict(session.files)
    sounds = [name for name in files if name.lower().endswith(".wav")]
    if "audio" not in names and len(sounds) == 1:  # how a track names sound is not known for sure
        names["audio"] = sounds[0]
    for kind in ("video", "bdf"):
        if kind not in names:
            flaws.append((f"no-{kind}", f"{_XML} names no {kind}"))
    found: dict[str, Path] = {}
    for kind, name in names.items():
        if name != PurePosixPath(name.replace("\\", "/")).name or name in (".", ".."):
            flaws.append(("bad-name", f"{_XML} names {name[:80]!r}, which is not in its folder: not read"))
        elif name not in files:
            flaws.append(("missing", f"{name[:80]} is not there: download it again"))
        elif files[name].problem:
            reason, detail = files[name].problem or ("", "")
            flaws.append((reason, f"{name}: {detail}"))
        elif name in (path.name for path in found.values()):
            flaws.append(("bad-name", f"{_XML} names {name[:80]} as {kind} and as something else"))
        else:
            found[kind] = files[name].path
    known = {*names.values(), *session.others, _XML}
    for name, file in files.items():
        if name not in known and file.path.suffix.lower() not in (".tsv", ".xml"):
            reason, detail = file.problem or ("not-named", f"is not named in {_XML}: take it away")
            flaws.append((reason, f"{printable(Path(name))}: {detail}"))
    return found


def _media(
    session: Session, found: Mapping[str, Path], asked: Settings, flaws: list[Flaw]
) -> tuple[dict[str, Medium], str]:
    """The media of a clip on its clock, and how the start and end of its stimulus are known."""
    recording = _recording(found.get("bdf"), flaws)
    stimulus = recording.stimulus_s() if recording else None
    if recording and (stimulus is None or (stimulus[2] != "triggers" and not asked.fallback)):
        flaws.append(("no-triggers", f"{found['bdf'].name}: no two triggers, and its times cannot be told without"))
        recording = stimulus = None
    cut_s = _cut_s(session, found.get("gaze"))
    extents: dict[str, Extent] = {}
    for kind, section in (("video", session.video), ("audio", session.audio)):
        if kind in found:
            extents[kind] = _extent(cut_s, section)
    length_s = math.inf
    if recording and stimulus:
        start_s, end_s, _ = stimulus
        extents["bdf"] = Extent(from_s=-start_s, to_s=recording.length_s - start_s)
        length_s = end_s - start_s
    for kind, extent in list(extents.items()):
        if min(extent.to_s, length_s) <= max(extent.from_s, 0.0):
            flaws.append(("bad-stretch", f"{found[kind].name}: holds nothing of the stimulus by its times"))
            del extents[kind]
    # All begin when the last one does, so that rows of their features belong together.
    from_s = max(0.0, *(extent.from_s for extent in extents.values()), 0.0)
    media: dict[str, Medium] = {}
    for kind, extent in extents.items():
        to_s = min(extent.to_s, length_s)
        if to_s <= from_s:
            flaws.append(("bad-stretch", f"{found[kind].name}: ends before the others begin, by its times"))
            continue
        start_s = max(from_s - asked.baseline_s, extent.from_s) if kind == "bdf" else from_s
        medium = Medium(
            path=str(found[kind]),
            start_s=start_s - extent.from_s,
            end_s=None if math.isinf(to_s) else to_s - extent.from_s,
            offset_s=start_s,
        )
        names = _of_channels(recording, flaws) if kind == "bdf" and recording else [kind]
        media |= dict.fromkeys(names, medium)
    if media and "gaze" in found:
        media["gaze"] = Medium(path=str(found["gaze"]), offset_s=cut_s)
    return media, stimulus[2] if stimulus else "cut"


def _recording(path: Path | None, flaws: list[Flaw]) -> Recording | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return read_recording(path.name, file)
    except MediaError as error:
        flaws.append((error.reason, str(error)))
    except OSError as error:
        flaws.append(("unreadable", f"{path.name}: cannot be read ({error.strerror}): check the disk"))
    return None


def _of_channels(recording: Recording, flaws: list[Flaw]) -> list[str]:
    """The media that a recording has channels for. Some programs number the names: "1Fp1" is Fp1."""
    there = {name.lstrip("0123456789") for name in recording.names}
    if lacking := [name for name in (*EEG_CHANNELS, *BODY_CHANNELS) if name not in there]:
        flaws.append(("no-channel", f"the BDF has no {', '.join(lacking)}: what is made of these will be missing"))
    groups = {"eeg": EEG_CHANNELS, "physio": BODY_CHANNELS}
    return [medium for medium, names in groups.items() if there & set(names)]


def _cut_s(session: Session, gaze: Path | None) -> float:
    """When video and sound were cut, on the clip's clock: 0 where it is not known to be another moment."""
    if gaze is None or session.audio is None:
        return 0.0
    try:
        with gaze.open("rb") as file:
            clock = read_gaze_clock(gaze.name, file)
    except OSError:
        return 0.0
    if clock is None:
        return 0.0
    return (session.audio.begin - clock.stimulus_sample(session.audio.rate_hz)) / session.audio.rate_hz


def _extent(cut_s: float, section: Section | None) -> Extent:
    if section is None:
        return Extent(from_s=cut_s, to_s=math.inf)
    return Extent(from_s=cut_s + section.late_s, to_s=cut_s + section.length_s)


def _bytes(file: MediaFile) -> bytes:
    """All of a small file; MediaError where it cannot be had."""
    if file.problem:
        raise MediaError(*file.problem)
    if file.n_bytes > _MOST_XML_BYTES:
        raise MediaError(
            "bad-xml", f"{file.path.name}: {file.n_bytes} bytes, which no description is: download it again"
        )
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise MediaError("unreadable", f"cannot be read ({error.strerror}): check the disk") from error


def _reject(root: Path, id: str | None, path: Path, reason: str, detail: str) -> Reject:
    where = printable(path.relative_to(root)) if path != root else printable(Path(path.name))
    return Reject(id=id or where, path=printable(path), stage="import", reason=reason, detail=f"{where}: {detail}")


def verify(root: Path, on_file: OnFile | None = None) -> Verification:
    """Compare a download with what is known to be published: 527 sessions of 27 people, video and BDF in each.

    Sizes and hashes are published nowhere; of each BDF, AVI and wav the container is checked to be whole. A person
    of whom nothing is there was not downloaded, which is fine. on_file: called with (files checked, files to check).
    """
    root = Path(root).absolute()
    files = find_media(root, SUFFIXES, CARD.title, CARD.access)
    records = list(import_clips(root))
    whole = {r.id for r in records if isinstance(r, Clip) and {"video", "eeg"} <= r.media.keys()}
    published = {f"mahnob/{number}": person for number, person in published_sessions().items()}
    people = {person for id, person in published.items() if id in whole}
    n_people = len(set(published.values()))
    counts = {"sessions": (len(whole & published.keys()), len(published)), "subjects": (len(people), n_people)}
    if n_synthetic := sum(file.synthetic for file in files):
        made = f"{n_synthetic} of {len(files)} files made by `mien sample`"
        detail = f"{made}, as {SYNTHETIC_MARKER} says: not the published corpus"
        findings = [Finding(severity="error", what="synthetic", path=str(root), detail=detail)]
    else:
        absent = {id: person for id, person in published.items() if id not in whole}
        findings = [*_absent(root, absent, people), *_of_rejects(root, records), *_faults(files, on_file)]
    return Verification(corpus="mahnob", root=str(root), counts=counts, findings=tuple(findings))


# Of a session with its label that lacks something else; what is not listed is an error.
_WARNINGS = ("no-video", "no-bdf", "no-stimulus", "no-triggers", "no-channel", "bad-rating", "bad-emotion", "not-named")


def _absent(root: Path, absent: Mapping[str, int], people: set[int]) -> Iterator[Finding]:
    for id, person in absent.items():
        if person in people:
            detail = f"{id} is not there with video and BDF: download it again"
            yield Finding(severity="error", what="missing", path=str(root), detail=detail)
    if rest := sorted(set(absent.values()) - people):
        detail = f"persons {', '.join(map(str, rest))}: nothing of them was downloaded"
        yield Finding(severity="info", what="not-downloaded", path=str(root), detail=detail)


def _of_rejects(root: Path, records: Sequence[Clip | Reject]) -> Iterator[Finding]:
    rejects = [record for record in records if isinstance(record, Reject)]
    for reject in rejects:
        if reject.reason not in ("no-rating", "truncated"):  # the second is told of its file
            severity = "warning" if reject.reason in (*_WARNINGS, UNKNOWN_SUFFIX) else "error"
            yield Finding(severity=severity, what=reject.reason, path=reject.path, detail=reject.detail)
    if n_unrated := sum(reject.reason == "no-rating" for reject in rejects):
        detail = f"{n_unrated} sessions without self-report, such as the neutral ones: they are no clips"
        yield Finding(severity="info", what="no-rating", path=str(root), detail=detail)
    detail = "no size or hash is published: recordings are checked for being whole, no more"
    yield Finding(severity="info", what="no-published-hash", path=str(root), detail=detail)


def _faults(files: Sequence[MediaFile], on_file: OnFile | None) -> Iterator[Finding]:
    to_check = [file for file in files if file.path.suffix.lower() in (".bdf", ".avi", ".wav") and not file.problem]
    for n_done, file in enumerate(to_check, start=1):
        if fault := container_fault(file):
            detail = f"{fault}: download it again"
            yield Finding(severity="error", what="truncated", path=printable(file.path), detail=detail)
        if on_file:
            on_file(n_done, len(to_check))
