"""What an import takes of a file that is huge, or claims to be: one sentence, and no memory for what it claims.

Imports run in the process that starts everything, which nothing watches. The files are sparse: they take no room.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.corpora import ami, cremad, csv_table, mahnob
from mien.corpora.clip import Clip, Reject
from mien.corpora.ratings import read_ratings
from mien.corpora.table import Settings, import_clips
from mien.errors import CorpusError
from tiny_ami import FILES, MEETING_XML, NXT, put
from tiny_mahnob import SENSORS, session_xml, write_sensors, write_session

MOST_BYTES = 2**26  # that the import of these few files may take, whatever they claim


@pytest.fixture(autouse=True)
def frugal() -> Iterator[None]:
    arrow = pa.default_memory_pool()
    before = arrow.max_memory()
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES
    assert arrow.max_memory() < max(before + 1, MOST_BYTES)


def grow(path: Path, n_bytes: int = 2**31) -> Path:
    """Zeros at its end, which no disk has to hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(n_bytes)
    return path


def records(found: Iterator[Clip | Reject]) -> tuple[list[str], list[tuple[str, str]]]:
    """Ids of clips; reason and detail of rejects."""
    every = list(found)
    rejects = [(one.reason, one.detail) for one in every if isinstance(one, Reject)]
    return [one.id for one in every if isinstance(one, Clip)], rejects


def test_xml_of_two_gigabytes(tmp_path: Path) -> None:
    root = put(tmp_path / "ami", FILES)
    grow(root / NXT / "words/ES2002a.A.words.xml")
    clips, rejects = records(ami.import_clips(root))
    assert len(clips) == 4
    assert [reason for reason, _ in rejects] == ["broken-xml"]
    assert "2147483648 bytes, more than the 16777216 that annotations have" in rejects[0][1]
    grow(root / MEETING_XML)
    with pytest.raises(CorpusError, match=r"meetings\.xml: 2147483648 bytes"):
        records(ami.import_clips(root))
    folder = write_session(tmp_path / "mahnob")
    grow(folder / "session.xml")
    clips, rejects = records(mahnob.import_clips(tmp_path / "mahnob"))
    assert clips == []
    assert [reason for reason, _ in rejects] == ["bad-xml"]


@pytest.mark.parametrize(
    ("n_signals", "n_samples", "n_records", "n_bytes", "reason", "detail"),
    [
        ("2   ", None, "99999999", None, "truncated", "holds 3 of 99999999 records"),
        ("9999", None, None, None, "bad-header", "claims 9999 signals"),
        ("2   ", None, "-1      ", 10**9, "bad-header", "claims 520832"),
        (
            "2   ",
            "10000000",
            "-1      ",
            10**9,
            "bad-header",
            "33 records of 1 s, each with 10000000 samples of Status",
        ),
    ],
)
def test_a_bdf_that_claims_more_than_was_recorded(
    tmp_path: Path,
    n_signals: str,
    n_samples: str | None,
    n_records: str | None,
    n_bytes: int | None,
    reason: str,
    detail: str,
) -> None:
    folder = write_session(tmp_path)
    path = folder / SENSORS
    write_sensors(path, 3, (0.5, 2.5), rate_hz=32, channels=("Fp1",))
    data = bytearray(path.read_bytes())
    data[252:256] = n_signals.encode()
    if n_records:
        data[236:244] = n_records.encode()
    if n_samples:
        data[256 + 2 * 216 + 8 : 256 + 2 * 216 + 16] = n_samples.encode()
    path.write_bytes(data)
    if n_bytes:
        grow(path, n_bytes)
    _, rejects = records(mahnob.import_clips(tmp_path))
    assert reason in [found for found, _ in rejects]
    assert detail in " ".join(text for _, text in rejects)


def many_rows(path: Path) -> None:
    """A footer that claims a thousand million rows, of which no page is there."""
    pq.write_table(pa.table({"file": pa.nulls(10_000_000, pa.string())}), path)
    metadata = pq.read_metadata(path)
    whole = pq.read_metadata(path)
    for _ in range(99):
        metadata.append_row_groups(whole)
    metadata.write_metadata_file(path)
    assert pq.read_metadata(path).num_rows == 10**9


def lines(*texts: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text("\n".join(texts) + "\n"), None)[1]


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("t.csv", lambda path: grow(path), "2147483648 bytes, more than the 1073741824 that are read as a table"),
        ("t.jsonl", lambda path: grow(path), "2147483648 bytes, more than"),
        ("t.parquet", lambda path: grow(path), "2147483648 bytes, more than"),
        ("db.yaml", lambda path: grow(path), "2147483648 bytes, more than the 4194304 that are read as a header"),
        ("t.csv", lines("file,subject", "a.wav," * 50_000), "line 2: goes on for more than 262144 characters"),
        ("t.csv", lines("a," * 140_000), "line 1: goes on for more than 262144 characters"),
        ("t.csv", lines("file,subject", '"a\n"' + ',"a\n"' * 60_000), "goes on for more than 262144 characters"),
        ("t.csv", lines("file", "x" * 200_000, "y"), "field larger than field limit"),
        ("t.csv", lines(",".join(f"c{n}" for n in range(20_000)), "1"), "more rows or columns than are read at once"),
        ("t.jsonl", lines('{"file": "' + "x" * 2**18 + '"}'), "line 1: goes on for more than 262144 characters"),
        ("t.jsonl", lines(*(f'{{"c{n}": 1}}' for n in range(9_000))), "more rows or columns than are read at once"),
        ("t.parquet", many_rows, "more rows or columns than are read at once (1000000000 of 1)"),
    ],
)
def test_a_table_of_more_than_a_table_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], None], message: str
) -> None:
    monkeypatch.setattr(csv_table, "_MOST_LINE", 2**18)
    write(tmp_path / name)
    with pytest.raises(CorpusError) as error:
        list(import_clips(tmp_path / name, Settings()))
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_other_tables_are_held_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="2147483648 bytes, more than"):
        read_ratings(str(grow(tmp_path / "ratings.csv")))
    root = tmp_path / "cremad"
    (root / "AudioWAV").mkdir(parents=True)
    (root / "AudioWAV" / "1001_IEO_ANG_HI.wav").write_bytes(b"x")
    grow(root / "VideoDemographics.csv")
    with pytest.raises(CorpusError, match=r"VideoDemographics\.csv: 2147483648 bytes"):
        list(cremad.import_clips(root))


def test_broken_lines_of_a_wide_table_do_not_each_repeat_its_header(tmp_path: Path) -> None:
    names = ",".join(f"c{n}" for n in range(10_000))
    (tmp_path / "t.csv").write_text(f"file,{names}\n" + "a\n" * 3_000)
    clips, rejects = records(import_clips(tmp_path / "t.csv", Settings()))
    assert (clips, len(rejects)) == ([], 3_000)
    assert all(len(detail) < 500 for _, detail in rejects)


def test_a_session_of_deeply_nested_xml(tmp_path: Path) -> None:
    folder = write_session(tmp_path)
    deep = "<a>" * 20_000 + "</a>" * 20_000
    (folder / "session.xml").write_text(session_xml().replace("</session>", f"{deep}</session>"))
    assert records(mahnob.import_clips(tmp_path))[0] == ["mahnob/2"]
