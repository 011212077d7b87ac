"""CREMA-D: 91 actors speak twelve sentences in six emotions, and a crowd votes (Cao et al. 2014).

A file is called actor_sentence_emotion_level. Raters heard it, saw it, or both; their majority is not what
the actor intended in 58, 34 and 28 % of the clips (ties included), so each of the labels keeps its source.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mien.corpora import Card, OnFile, Verification
from mien.corpora.clip import Clip, Label, Medium, Reject
from mien.corpora.emotions import CREMAD_CODES
from mien.corpora.fetch.sources import Source
from mien.corpora.inventory import Published, check_files, read_facts
from mien.corpora.tree import Misplaced, find_media, in_order, sort_into_clips
from mien.errors import CorpusError, Finding

CARD = Card(
    name="cremad",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    licence="ODbL 1.0, contents DbCL 1.0",
    access="open download, github.com/CheyneyComputerScience/CREMA-D; fetch the media with `git lfs pull`",
    citation="H. Cao et al., IEEE Transactions on Affective Computing 5(4): 377-390, 2014",
    n_clips=7442,
    n_subjects=91,
    label_sources=("intended", "perceived-voice", "perceived-face", "perceived-both"),
)

SUFFIXES = (".wav", ".mp3", ".flv")
TABLE_SUFFIXES = (".csv",)
SAMPLE = "mien.corpora.sample.cremad"

FIELDS = ("actor", "sentence", "emotion", "level")
ACTORS = tuple(str(actor) for actor in range(1001, 1092))
SENTENCES: dict[str, str] = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
_MOST_TABLE_BYTES = 2**24  # that of the votes has 22,326 rows, of 60 bytes or so
FOLDERS = {"AudioWAV": ".wav", "AudioMP3": ".mp3", "VideoFlash": ".flv"}

DEMOGRAPHICS, SUMMARY, VOTES = (
    "VideoDemographics.csv",
    "processedResults/summaryTable.csv",
    "processedResults/tabulatedVotes.csv",
)
# The row number of tabulatedVotes starts with a digit that says what the raters were given.
CONDITIONS = {"1": "perceived-voice", "2": "perceived-face", "3": "perceived-both"}
SUMMARY_COLUMNS = {
    "perceived-voice": "VoiceVote",
    "perceived-face": "FaceVote",
    "perceived-both": "MultiModalVote",
}
_EMOTION_BY_LETTER = {code[0]: emotion for code, emotion in CREMAD_CODES.items()}


def _parse(stem: str) -> dict[str, str]:
    """Field name to code; ValueError with a sentence where the stem is no CREMA-D name."""
    codes = stem.split("_")
    if len(codes) != len(FIELDS):
        raise ValueError(f"{len(codes)} fields, expected {len(FIELDS)} ({'_'.join(FIELDS)})")
    fields = dict(zip(FIELDS, codes))
    if fields["actor"] not in ACTORS:
        raise ValueError(f"unknown actor {fields['actor']!r}, expected {ACTORS[0]}..{ACTORS[-1]}")
    for name, known in (("sentence", SENTENCES), ("emotion", CREMAD_CODES), ("level", LEVELS)):
        if fields[name] not in known:
            raise ValueError(f"unknown {name} {fields[name]!r}, expected one of {' '.join(known)}")
    return fields


def clip_id(stem: str) -> str:
    """Id of the clip that a file belongs to.

    >>> clip_id("1001_IEO_ANG_HI")
    'cremad/1001_IEO_ANG_HI'
    """
    _parse(stem)
    return f"cremad/{stem}"


def _place(path: Path) -> tuple[str, str]:
    """Clip id and folder of a file."""
    try:
        id = clip_id(path.stem)
    except ValueError as error:
        raise Misplaced("bad-name", str(error)) from None
    folder, suffix = path.parent.name, path.suffix.lower()
    if folder not in FOLDERS:
        raise Misplaced("wrong-folder", f"expected in one of {', '.join(FOLDERS)}")
    if suffix != FOLDERS[folder]:
        raise Misplaced("wrong-suffix", f"{folder} holds {FOLDERS[folder]} files")
    return id, folder


def import_clips(root: Path, settings: None = None) -> Iterator[Clip | Reject]:
    """Clips and rejects below root, sorted by id; tables and file names are read, media files are not.

    Sound is taken from the wav, else the mp3, else the flv. The demographics and the two vote tables are used
    where they are there. Raises CorpusError where root is no folder or holds no media, or a table is broken.
    """
    root = Path(root).absolute()
    files = find_media(root, SUFFIXES, CARD.title, CARD.access)
    recordings, synthetic, rejects = sort_into_clips(files, root, _place)
    perceived, actors = _read_perceived(root), _read_demographics(root)
    clips = [_clip(id, paths, perceived, actors, id in synthetic) for id, paths in recordings.items()]
    return in_order(clips, rejects)


def _clip(
    id: str,
    paths: dict[str, str],
    perceived: dict[str, tuple[Label, ...]],
    actors: dict[str, dict[str, str]],
    synthetic: bool,
) -> Clip:
    stem = id.removeprefix("cremad/")
    fields = _parse(stem)
    media = {
        "audio": next(path for folder in FOLDERS if (path := paths.get(folder))),
        "video": paths.get("VideoFlash"),
    }
    intended = Label(source="intended", own=fields["emotion"], emotion=CREMAD_CODES[fields["emotion"]])
    return Clip(
        id=id,
        corpus="cremad",
        subject=f"cremad/{fields['actor']}",
        media={name: Medium(path=path) for name, path in media.items() if path},
        labels=(intended, *perceived.get(stem, ())),
        groups={"statement": f"cremad/{fields['sentence']}"},
        attributes={
            "channel": "speech",
            "intensity": LEVELS[fields["level"]],
            "statement": SENTENCES[fields["sentence"]],
            **actors.get(fields["actor"], {}),
        },
        synthetic=synthetic,
    )


def _read_table(root: Path, name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a table; none where the file is absent. Raises CorpusError where a cell is missing."""
    path = root / name
    if not path.exists():
        return []
    remedy = "download it again, or remove it to go without"
    if (n_bytes := path.stat().st_size) > _MOST_TABLE_BYTES:
        raise CorpusError(f"{path}: {n_bytes} bytes, which no table of CREMA-D has: {remedy}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, ValueError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}): {remedy}") from None
    for number, row in enumerate(rows, start=2):
        if missing := [column for column in columns if row.get(column) is None]:
            raise CorpusError(f"{path}: line {number} has no {', '.join(missing)}: {remedy}")
    return rows


def _read_perceived(root: Path) -> dict[str, tuple[Label, ...]]:
    """File stem to what the raters perceived, in the order voice, face, both.

    The vote counts come from tabulatedVotes; where only summaryTable is there, the majorities are known and
    the shares are not.
    """
    labels: dict[str, dict[str, Label]] = {}
    for row in _read_table(root, SUMMARY, ("FileName", *SUMMARY_COLUMNS.values())):
        labels[row["FileName"]] = {
            source: _perceived(source, row[column], {}) for source, column in SUMMARY_COLUMNS.items()
        }
    for row in _read_table(root, VOTES, ("", "fileName", "emoVote", *_EMOTION_BY_LETTER)):
        try:
            source = CONDITIONS[row[""][:1]]
            counts = {emotion: int(row[letter]) for letter, emotion in _EMOTION_BY_LETTER.items()}
            n_votes = sum(counts.values())
            shares = {emotion: count / n_votes for emotion, count in counts.items()}
            label = _perceived(source, row["emoVote"], shares)
        except (KeyError, ValueError, ZeroDivisionError):
            raise CorpusError(f"{root / VOTES}: row {row['']!r} is not a count of votes: download it again") from None
        labels.setdefault(row["fileName"], {})[source] = label
    return {
        stem: tuple(by_source[source] for source in SUMMARY_COLUMNS if source in by_source)
        for stem, by_source in labels.items()
    }


def _perceived(source: str, vote: str, shares: dict[str, float]) -> Label:
    """A label from the table's word: one letter, or several with colons ("N:S") where raters were split."""
    return Label(source=source, own=vote, emotion=_EMOTION_BY_LETTER.get(vote), votes=shares)


def _read_demographics(root: Path) -> dict[str, dict[str, str]]:
    rows = _read_table(root, DEMOGRAPHICS, ("ActorID", "Age", "Sex", "Race", "Ethnicity"))
    return {
        row["ActorID"]: {
            "age": row["Age"],
            "sex": row["Sex"].lower(),
            "race": row["Race"],
            "ethnicity": row["Ethnicity"],
        }
        for row in rows
    }


def sources() -> Iterator[Source]:
    """The wav and flv files with the size and SHA-256 of their git LFS pointers, and the tables, of which nothing is
    published. The mp3 files hold the sound of the wav files, which is taken before theirs."""
    repository = "CheyneyComputerScience/CREMA-D/master"
    for row in read_facts("cremad_manifest.csv.gz"):
        for folder in ("AudioWAV", "VideoFlash"):
            path = f"{folder}/{row['stem']}{FOLDERS[folder]}"
            yield Source(
                url=f"https://media.githubusercontent.com/media/{repository}/{path}",
                path=path,
                n_bytes=int(row[f"{folder}_bytes"]),
                sha256=row[f"{folder}_sha256"],
            )
    for path in (DEMOGRAPHICS, SUMMARY, VOTES):
        yield Source(url=f"https://raw.githubusercontent.com/{repository}/{path}", path=path)


def verify(root: Path, on_file: OnFile | None = None) -> Verification:
    """Compare a download with what was published: sizes and hashes of 3 x 7,442 files, rows of the tables.

    on_file: called with (files hashed, files to hash).
    """
    root = Path(root).absolute()
    published = [
        Published(
            part=folder,
            name=row["stem"] + suffix,
            sha256=row[f"{folder}_sha256"],
            n_bytes=int(row[f"{folder}_bytes"]),
        )
        for row in read_facts("cremad_manifest.csv.gz")
        for folder, suffix in FOLDERS.items()
    ]
    files = find_media(root, SUFFIXES, CARD.title, CARD.access)
    media = check_files("cremad", root, files, published, _place, on_file)
    counts, findings = _verify_tables(root)
    return replace(media, counts=media.counts | counts, findings=(*media.findings, *findings))


def _verify_tables(root: Path) -> tuple[dict[str, tuple[int, int]], list[Finding]]:
    counts: dict[str, tuple[int, int]] = {}
    findings: list[Finding] = []
    for name, n_rows in ((DEMOGRAPHICS, 91), (SUMMARY, 7442), (VOTES, 3 * 7442)):
        path = str(root / name)
        try:
            counts[name] = (len(_read_table(root, name, ())), n_rows)
        except CorpusError as error:
            counts[name] = (0, n_rows)
            findings.append(Finding(severity="error", what="unreadable", path=path, detail=str(error)))
            continue
        n_found = counts[name][0]
        if not Path(path).exists():
            detail = "not downloaded: clips go without what it says"
            findings.append(Finding(severity="info", what="not-downloaded", path=path, detail=detail))
        elif n_found != n_rows:
            detail = f"{n_found} rows, published {n_rows}: download it again"
            findings.append(Finding(severity="error", what="rows", path=path, detail=detail))
    return counts, findings
