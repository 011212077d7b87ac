"""RAVDESS: 24 actors speak and sing two sentences in eight emotions (Livingstone & Russo 2018).

A file is called modality-channel-emotion-intensity-statement-repetition-actor, each of two digits. The files
that differ in their modality only (01 audio-video, 02 video, 03 audio) recorded one performance: they are one
clip, because apart they would put one performance on both sides of a split.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.resources import files as package_files
from itertools import product
from pathlib import Path

from mien.corpora import Card, OnFile, Verification
from mien.corpora.clip import Clip, Label, Medium, Reject
from mien.corpora.emotions import RAVDESS_CODES
from mien.corpora.fetch.sources import Source
from mien.corpora.inventory import Published, check_files, read_facts
from mien.corpora.tree import Misplaced, find_media, in_order, sort_into_clips

CARD = Card(
    name="ravdess",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song",
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    access="open download, doi:10.5281/zenodo.1188976; unpack the archives side by side below one folder",
    citation="S. R. Livingstone and F. A. Russo, PLoS ONE 13(5): e0196391, 2018",
    n_clips=2452,
    n_subjects=24,
    label_sources=("intended",),
)

SUFFIXES = (".wav", ".flac", ".mp4")
TABLE_SUFFIXES: tuple[str, ...] = ()
SAMPLE = "mien.corpora.sample.ravdess"

# Name and codes of each field of a file name; Livingstone & Russo 2018, table 1.
FIELDS: dict[str, dict[str, str]] = {
    "modality": {"01": "audio-video", "02": "video", "03": "audio"},
    "channel": {"01": "speech", "02": "song"},
    "emotion": {code: own for code, (own, _) in RAVDESS_CODES.items()},
    "intensity": {"01": "normal", "02": "strong"},
    "statement": {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"},
    "repetition": {"01": "1", "02": "2"},
    "actor": {f"{actor:02d}": f"{actor:02d}" for actor in range(1, 25)},
}
_SUFFIXES_OF_MODALITY = {"01": (".mp4",), "02": (".mp4",), "03": (".wav", ".flac")}

# Never recorded: strong neutral; sung disgust and surprise; songs of actor 18.
_NEUTRAL, _NORMAL, _SONG, _UNSUNG_EMOTIONS, _UNSUNG_ACTOR = "01", "01", "02", ("07", "08"), "18"


def _parse(stem: str) -> dict[str, str]:
    """Field name to two-digit code; ValueError with a sentence where the stem is no RAVDESS name."""
    codes = stem.split("-")
    if len(codes) != len(FIELDS):
        raise ValueError(f"{len(codes)} fields, expected {len(FIELDS)} ({'-'.join(FIELDS)})")
    fields = dict(zip(FIELDS, codes))
    for name, code in fields.items():
        if code not in FIELDS[name]:
            known = list(FIELDS[name])
            raise ValueError(f"unknown {name} {code!r}, expected {known[0]}..{known[-1]}")
    if fields["emotion"] == _NEUTRAL and fields["intensity"] != _NORMAL:
        raise ValueError("neutral with strong intensity, which was never recorded")
    return fields


def clip_id(stem: str) -> str:
    """Id of the clip that a file belongs to, whichever of the three modalities it is.

    >>> clip_id("01-01-05-02-01-01-12"), clip_id("03-01-05-02-01-01-12")
    ('ravdess/01-05-02-01-01-12', 'ravdess/01-05-02-01-01-12')
    """
    _parse(stem)
    return f"ravdess/{stem[3:]}"


def _place(path: Path) -> tuple[str, str]:
    """Clip id and modality code of a file."""
    try:
        fields = _parse(path.stem)
    except ValueError as error:
        raise Misplaced("bad-name", str(error)) from None
    allowed = _SUFFIXES_OF_MODALITY[fields["modality"]]
    if path.suffix.lower() not in allowed:
        kind = FIELDS["modality"][fields["modality"]]
        raise Misplaced("wrong-suffix", f"{kind} (modality {fields['modality']}) is expected as {' or '.join(allowed)}")
    if path.parent.name != f"Actor_{fields['actor']}":
        raise Misplaced("wrong-folder", f"actor {fields['actor']} is expected in a folder Actor_{fields['actor']}")
    return clip_id(path.stem), fields["modality"]


def import_clips(root: Path, settings: None = None) -> Iterator[Clip | Reject]:
    """Clips and rejects below root, sorted by id; file names are read, files are not.

    Actor folders lie in root or in the published Audio_*/Video_* folders, in any mixture. Sound is taken from
    the audio file where there is one, else from the audio-video file; the picture from the audio-video file,
    else from the video file. Raises CorpusError where root is no folder or holds no media.
    """
    root = Path(root).absolute()
    files = find_media(root, SUFFIXES, CARD.title, CARD.access)
    recordings, synthetic, rejects = sort_into_clips(files, root, _place)
    clips = [_clip(id, by_modality, id in synthetic) for id, by_modality in recordings.items()]
    return in_order(clips, rejects)


def _clip(id: str, by_modality: dict[str, str], synthetic: bool) -> Clip:
    fields = _parse(f"01-{id.removeprefix('ravdess/')}")
    own, emotion = RAVDESS_CODES[fields["emotion"]]
    media = {
        "audio": by_modality.get("03") or by_modality.get("01"),
        "video": by_modality.get("01") or by_modality.get("02"),
    }
    attributes = {name: FIELDS[name][fields[name]] for name in ("channel", "intensity", "statement", "repetition")}
    return Clip(
        id=id,
        corpus="ravdess",
        subject=f"ravdess/{fields['actor']}",
        media={name: Medium(path=path) for name, path in media.items() if path},
        labels=(Label(source="intended", own=own, emotion=emotion),),
        groups={"statement": f"ravdess/{fields['statement']}"},
        attributes={**attributes, "sex": "male" if int(fields["actor"]) % 2 else "female"},
        synthetic=synthetic,
    )


def published_names() -> dict[str, list[str]]:
    """Part of the corpus to its file names: 7,356 in all."""
    names: dict[str, list[str]] = {f"{kind} {c}": [] for kind in ("audio", "video") for c in ("speech", "song")}
    for codes in product(*FIELDS.values()):
        modality, channel, emotion, intensity, _, _, actor = codes
        if emotion == _NEUTRAL and intensity != _NORMAL:
            continue
        if channel == _SONG and (emotion in _UNSUNG_EMOTIONS or actor == _UNSUNG_ACTOR):
            continue
        part = f"{'audio' if modality == '03' else 'video'} {FIELDS['channel'][channel]}"
        names[part].append("-".join(codes) + _SUFFIXES_OF_MODALITY[modality][0])
    return names


def sources() -> Iterator[Source]:
    """The 49 archives of the Zenodo record.

    Sizes and MD5 are those of the record as other projects wrote them down: of both audio archives several, alike; of
    the 24 archives of spoken video one the sizes, another the MD5. Of the 23 archives of sung video no such note was
    found: what is checked of them is the CRC-32 of each file when they are unpacked.
    """
    text = package_files("mien.corpora").joinpath("ravdess_sources.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        yield Source(
            url=f"https://zenodo.org/records/1188976/files/{row['name']}?download=1",
            path=row["name"],
            n_bytes=int(row["n_bytes"]) if row["n_bytes"] else None,
            md5=row["md5"] or None,
        )


def verify(root: Path, on_file: OnFile | None = None) -> Verification:
    """Compare a download with what was published: names of all files, hashes of the 1,440 speech recordings.

    No sizes or hashes are published for song and video; of those, the container is checked to be whole.
    on_file: called with (files hashed, files to hash).
    """
    root = Path(root).absolute()
    hashes = {row["name"]: row["sha256"] for row in read_facts("ravdess_speech.csv.gz")}
    published = [
        Published(part=part, name=name, sha256=hashes.get(name))
        for part, names in published_names().items()
        for name in names
    ]
    files = find_media(root, SUFFIXES, CARD.title, CARD.access)
    return check_files("ravdess", root, files, published, _place, on_file)
