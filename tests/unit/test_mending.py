"""Damage of every kind in a store: it is named, nothing wrong is read, and what the message advises mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from breaking import flip
from mien.cli.main import main
from mien.errors import MienError, StoreError
from mien.features.prepare import Prepared, prepare
from mien.features.store import FeatureStore
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import SoundExtractor

pytestmark = pytest.mark.slow

SPEC = SoundExtractor().spec
N_CLIPS = 9


@pytest.fixture
def place(tmp_path: Path, in_this_process: None) -> Path:
    """A corpus with a broken file, and a store of it: parts, rejects, clip table."""
    clip_ids = write_corpus(tmp_path / "root", N_CLIPS)
    wav_of(tmp_path / "root", clip_ids[1]).write_bytes(wav_of(tmp_path / "root", clip_ids[1]).read_bytes()[:44])
    again(tmp_path)
    return tmp_path


def again(place: Path) -> Prepared:
    return prepare("ravdess", place / "root", place / "store", ["tiny_extractors:Loudness"])


def folder(place: Path) -> Path:
    return place / "store" / "ravdess" / SPEC.folder


def contents(place: Path) -> dict[str, bytes]:
    """What readers see: hidden notes are left out."""
    found = (place / "store").rglob("[!.]*")
    return {str(path.relative_to(place)): path.read_bytes() for path in found if path.is_file()}


def held(place: Path) -> tuple[Any, ...]:
    """All rows and rejects; into which parts they were cut is of no matter."""
    opened = FeatureStore(place / "store")
    table = opened.load("ravdess", SPEC)
    return opened.fingerprint("ravdess", SPEC), table.values.tobytes(), opened.rejects("ravdess", SPEC)


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads(path.read_text())
    changed = change(manifest)
    path.write_text(json.dumps(manifest if changed is None else changed))


def double(manifest: dict[str, Any]) -> None:
    manifest["parts"].append(manifest["parts"][0])


OF_PARTS: dict[str, Callable[[Path], Any]] = {
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "gone": Path.unlink,
    "text": lambda path: path.write_text("hello"),
}
OF_MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "empty": lambda manifest: {},
    "a list": lambda manifest: [],
    "a key is gone": lambda manifest: manifest.pop("fingerprint"),
    "a key more": lambda manifest: manifest.update(extra=1),
    "another dim": lambda manifest: manifest["spec"].update(shape=[4]),
    "a spec of nothing": lambda manifest: manifest.update(spec={"name": "loudness"}),
    "a part twice": double,
    "a part less": lambda manifest: manifest["parts"].pop() and None,
    "more rows": lambda manifest: manifest.update(n_rows=99),
    "rows for rejects": lambda manifest: manifest.update(n_rows=9, n_rejects=0, reasons={}),
    "rows in words": lambda manifest: manifest.update(n_rows="8"),
    "a fingerprint of zeros": lambda manifest: manifest.update(fingerprint="0" * 64),
}


def assert_mended(place: Path, before: tuple[Any, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The damage is told and not read; `--mend` and the same prepare make the store what it was."""
    opened = FeatureStore(place / "store")
    with pytest.raises(StoreError, match="mien store verify STORE --mend"):
        opened.load("ravdess", opened.spec("ravdess", "loudness"))
    with pytest.raises(SystemExit) as ended:
        main(["store", "verify", str(place / "store")])
    assert ended.value.code == 2
    said = capsys.readouterr().out
    assert "NOT intact" in said.splitlines()[0]
    assert main(["store", "verify", str(place / "store"), "--mend"]) == 0
    assert "taken out: " in capsys.readouterr().out
    again(place)
    assert main(["store", "verify", str(place / "store")]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(": intact")
    assert held(place) == before


@pytest.mark.parametrize("damage", OF_PARTS)
def test_a_damaged_part_is_taken_out_and_extracted_again(damage, place, capsys):
    before = held(place)
    part = min(folder(place).glob("part-*.parquet"))
    OF_PARTS[damage](part)
    assert_mended(place, before, capsys)


@pytest.mark.parametrize("damage", OF_MANIFESTS)
def test_a_manifest_that_was_changed_is_believed_in_nothing(damage, place, capsys):
    before = held(place)
    edit(folder(place) / "MANIFEST.json", OF_MANIFESTS[damage])
    assert_mended(place, before, capsys)


def test_a_manifest_that_is_no_json(place, capsys):
    before = held(place)
    (folder(place) / "MANIFEST.json").write_text("{")
    assert_mended(place, before, capsys)


@pytest.mark.parametrize("damage", OF_PARTS)
def test_damaged_rejects_are_made_again(damage, place):
    before = contents(place)
    OF_PARTS[damage](folder(place) / "rejects.parquet")
    opened = FeatureStore(place / "store")
    assert opened.verify("ravdess")[0].severity == "error"
    assert opened.mend("ravdess")
    again(place)
    assert opened.verify("ravdess") == [] and contents(place) == before


@pytest.mark.parametrize("name", ["clips.parquet", "rejects.parquet"])
@pytest.mark.parametrize("damage", OF_PARTS)
def test_a_damaged_clip_table_is_written_anew_by_the_same_prepare(damage, name, place):
    before = contents(place)
    OF_PARTS[damage](place / "store" / "ravdess" / name)
    opened = FeatureStore(place / "store")
    assert opened.verify("ravdess")[0].what == "damaged"
    if name == "clips.parquet":
        with pytest.raises(StoreError, match="missing or damaged: prepare again, which writes it anew"):
            opened.clips("ravdess")
    again(place)
    assert opened.verify("ravdess") == [] and contents(place) == before


@pytest.mark.parametrize("change", ["empty", "a list", "a key more"])
def test_a_changed_manifest_of_a_clip_table_is_written_anew(change, place):
    before = contents(place)
    edit(place / "store" / "ravdess" / "MANIFEST.json", OF_MANIFESTS[change])
    with pytest.raises(StoreError, match="is not what mien wrote"):
        FeatureStore(place / "store").clips("ravdess")
    again(place)
    assert contents(place) == before


def test_forty_flipped_bits_are_forty_errors(place):
    """Whichever bit it is, nothing is read as if it were whole."""
    opened = FeatureStore(place / "store")
    part = max(folder(place).glob("part-*.parquet"))
    whole = part.read_bytes()
    for seed in range(40):
        flip(part, seed)
        for read in (opened.load, lambda *feature: list(opened.iterate(*feature))):
            with pytest.raises(StoreError, match=f"{part.name} is missing or damaged"):
                read("ravdess", SPEC)
        part.write_bytes(whole)
    assert len(opened.load("ravdess", SPEC)) == N_CLIPS - 1


def test_rejects_that_were_changed_are_not_read(place):
    path = folder(place) / "rejects.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("reason"), "reason", [["other"] * len(table)]), path)
    with pytest.raises(StoreError, match=r"rejects\.parquet is missing or damaged"):
        FeatureStore(place / "store").rejects("ravdess", SPEC)


@pytest.mark.soak
def test_of_forty_flipped_bits_of_any_file_none_gives_other_rows(place):
    whole = held(place)
    names = list(contents(place))
    assert {Path(name).name.partition("-")[0] for name in names} >= {"MANIFEST.json", "clips.parquet", "part"}
    for name in names:
        data = (place / name).read_bytes()
        for seed in range(40):
            flip(place / name, seed)
            with suppress(MienError):
                assert held(place) == whole
                FeatureStore(place / "store").clips("ravdess")
            is_other = name.endswith(".json") is False or json.loads(data) != loads(place / name)
            assert main_finds(place) or not is_other, "blanks of JSON alone may differ"
            (place / name).write_bytes(data)


def loads(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def main_finds(place: Path) -> bool:
    """Whether `mien store verify` is discontent."""
    try:
        return main(["store", "verify", str(place / "store")]) != 0
    except SystemExit as end:
        return bool(end.code)


def test_an_intact_store_is_left_as_it_is(place, capsys):
    before = contents(place)
    assert main(["store", "verify", str(place / "store"), "--mend", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"intact": True, "findings": {"ravdess": []}, "taken_out": {"ravdess": []}}
    assert contents(place) == before


def test_of_many_findings_of_a_kind_three_are_printed(place, capsys):
    for part in folder(place).glob("part-*.parquet"):
        part.unlink()
    for words, n_shown in ((["--all"], N_CLIPS - 1), ([], 3)):
        with pytest.raises(SystemExit):
            main(["store", "verify", str(place / "store"), *words])
        lines = capsys.readouterr().out.splitlines()
        assert sum(" has 0 rows and 0 rejects" in line for line in lines) == n_shown
        assert any(f"{N_CLIPS - 1 - 3} more like these; --all prints them" in line for line in lines) == (not words)
