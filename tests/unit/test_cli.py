"""Words of the command line that are none, or half a command."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import ROOT
from factories import series_directory
from mien.cli.main import COMMANDS, GROUPS, commands_for, main
from mien.connection import search_path
from tiny import write_store

SEARCH = str(ROOT / "experiments" / "search_sync_aug.py")
SCRIPT = str(ROOT / "experiments" / "sync_aug.py")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("rest", [[], ["--help"]])
def test_a_group_lists_its_commands_and_no_others(capsys, group, rest):
    with pytest.raises(SystemExit) as ended:
        main([group, *rest])
    said = capsys.readouterr().out
    assert not ended.value.code
    assert said.startswith(f"usage: mien {group} ") and GROUPS[group] in said
    listed = [line.split("•")[1].split()[0] for line in said.splitlines() if "•" in line]
    assert [f"{group} {name}" for name in listed] == [name for name in commands_for([]) if name.startswith(f"{group} ")]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--help"], "mien --version"),
        (["train", "--help"], "--json"),
        (["search", "--help"], "--json"),
        (["train", SCRIPT, "--help"], "--json"),
        (["search", SCRIPT, "--help"], "--json"),
        (["runs", "list", "--help"], "usage: mien runs list "),
    ],
)
def test_help_names_what_there_is(capsys, words, named):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    assert named in capsys.readouterr().out


FRAGILE = """
import atexit, os, signal, sys
from mien.cli import main as cli
class Thread:
    def __del__(self):  # as the interpreter ends
        os.kill(os.getpid(), signal.SIGSEGV)
left = Thread()
atexit.register(print, "closed")
def command():
    print("flushed")
    if sys.argv[1:]:
        raise KeyboardInterrupt
cli.leave(cli._guarded(command, []))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code"), [(["interrupt"], 130), ([], -11)])
def test_what_would_crash_the_end_of_the_interpreter_is_not_met_after_ctrl_c(words, code):
    command = [sys.executable, "-c", FRAGILE, *words]
    done = subprocess.run(command, env={"PYTHONPATH": search_path()}, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (code, ["flushed", "closed"])
    assert done.stderr.startswith("mien: interrupted") == bool(words)


def refused(capsys: pytest.CaptureFixture[str], words: Sequence[str], *named: str) -> None:
    """The words end in exit code 2 and one line on stderr that holds all that is named."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("mien: ") and said.count("\n") == 1, said
    for name in named:
        assert name in said


@pytest.mark.parametrize("command", ["train", "search"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--seeds"], "--seeds is empty"),
        (["--parallel", "0"], "--parallel is 0"),
        (["--min-workers", "2"], "--min-workers is 2"),
        (["--save-every-s", "-1"], "--save-every-s is -1"),
    ],
)
def test_a_wrong_scale_is_refused_by_field_and_value(capsys, command, words, named):
    refused(capsys, [command, SCRIPT, *words], named)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command line runs; a file and a table of series lie there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.json").write_text("{}")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("report afile", "/afile: is a file; give a folder"),
        ("runs list afile", "/afile: is a file; give a folder"),
        ("runs pull afile out", "/afile: is a file; give a folder"),
        ("runs pull runs afile", "/afile: cannot be made a folder (File exists); choose another place"),
        ("runs pull runs afile/below", "/afile/below: cannot be made a folder (Not a directory)"),
        (f"train {SCRIPT} --store afile", "/afile: is a file; give a folder"),
        ("sample afile", "/afile: cannot be made a folder (File exists)"),
        ("sample /proc/x", "/proc/x: cannot be made a folder"),
        ("sample s3://b/x", "s3:/b/x: neither a path nor a bucket"),
        ("prepare ravdess . --attach openface=afile", "afile"),
        ("bench envelope --figure nowhere/x.png", "nowhere/x.png: cannot be written (No such file or directory)"),
        ("prepare ravdess gs://b/x", "gs://b/x: neither a path nor a bucket"),
        (f"cost afile --cluster {ROOT}/cluster.yaml", "/afile: is a file; give a folder"),
    ],
)
def test_a_file_or_an_impossible_place_where_a_folder_is_wanted(folder, capsys, words, named):
    refused(capsys, words.split(), named)
    assert not list(folder.glob("out*"))


@pytest.mark.parametrize("uri", ["gs://b/x", "file:///tmp/nope", "s3://", "s3:///x", "s3:/b/x"])
@pytest.mark.parametrize(
    "words",
    [
        ["runs", "list", "{}"],
        ["report", "{}"],
        ["runs", "pull", "runs", "{}"],
        ["train", SCRIPT, "--store", "{}"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_neither_a_path_nor_a_bucket_is_refused_at_once(folder, capsys, monkeypatch, words, uri):
    monkeypatch.setattr("mien.bucket.explained", None)  # which goes around all that is asked of a network
    refused(
        capsys, [word.format(uri) for word in words], f"{uri}: neither a path nor a bucket; give a folder, or s3://"
    )


def test_verify_says_that_it_reads_folders_of_this_machine(capsys):
    refused(capsys, ["verify", "ravdess", "s3://b/x"], "s3://b/x: verify reads folders of this machine")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_what_the_disk_refuses_is_told_in_a_line(capsys, monkeypatch, number):
    def full() -> None:
        raise OSError(number, os.strerror(number), "/somewhere/x")

    monkeypatch.setitem(COMMANDS, "corpora", full)
    refused(capsys, ["corpora"], "/somewhere/x", os.strerror(number))


def test_other_errors_of_the_system_are_ours(monkeypatch):
    def gone() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "/site-packages/mien/table.json")

    monkeypatch.setitem(COMMANDS, "corpora", gone)
    with pytest.raises(FileNotFoundError):
        main(["corpora"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished series, small."""
    series = series_directory(tmp_path_factory.mktemp("runs"), n_subjects=4, folds=2, epochs=2)
    return Path(series.folder.uri)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("experiment.json", '{"name": "tri'),
        ("data.json", ""),
        ("seed-0/fold-0/predictions.parquet", ""),
        ("seed-0/fold-1/predictions.parquet", "PAR1 and no more"),
        ("seed-0/fold-0/metrics.json", "{"),
        ("seed-0/fold-0/history.jsonl", '{"epoch": 1}\n{"epo'),
    ],
)
def test_a_damaged_file_of_a_series_is_named(finished, tmp_path, capsys, file, text):
    shutil.copytree(finished, tmp_path / "series")
    (tmp_path / "series" / file).write_text(text)
    refused(
        capsys, ["report", str(tmp_path / "series")], f"/series/{file}: damaged (", "copy it here again, or delete it"
    )


def test_a_damaged_search_is_named(tmp_path, capsys):
    (tmp_path / "search.json").write_text('{"space": {')
    refused(capsys, ["report", str(tmp_path)], "/search.json: damaged (")
    (tmp_path / "search.json").write_text("{}")
    refused(capsys, ["report", str(tmp_path)], "/search.json: damaged (not a search: experiment: ")


def test_a_comparison_needs_a_folder_to_write_to(finished, folder, capsys):
    shutil.copytree(finished, folder / "other")
    refused(
        capsys, ["compare", str(finished), "other", "--out", "afile"], "/afile: cannot be made a folder (File exists)"
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (f"search {SEARCH} --trials 0", "--trials 0: give more than 0"),
        (f"search {SEARCH} --epochs -1", "--epochs -1: give more than 0"),
        ("envelope --clips 0", "--clips 0: give more than 0"),
        ("envelope --nodes 10 0", "--nodes 0: give more than 0"),
        ("envelope --nodes", "--nodes: give at least one number"),
        ("envelope --partitions 0", "--partitions 0: give more than 0"),
        ("scale --clips 100 -4", "--clips -4: give more than 0"),
        ("scale --limit-gb nan", "--limit-gb nan: give more than 0"),
        ("scale --batches -1", "--batches -1: give 0 or more"),
        ("prepare ravdess nowhere --clips 0", "--clips 0: give more than 0"),
        ("prepare ravdess nowhere --rate 0", "--rate 0: give more than 0"),
        ("svc nowhere --rounds 0", "--rounds 0: give more than 0"),
    ],
)
def test_a_bench_of_nothing_is_refused(capsys, words, named):
    refused(capsys, ["bench", *words.split()], named)


def test_bench_svc_looks_at_the_corpus_before_it_makes_an_environment(folder, capsys, monkeypatch):
    monkeypatch.setattr("mien.bench.svc.nkululeko_python", None)
    refused(capsys, ["bench", "svc", "nowhere"], "nowhere: does not exist")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One corpus, ravdess, with the features voice and face."""
    folder = str(tmp_path_factory.mktemp("store"))
    write_store(folder)
    return folder


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--data.corpora ravdes", "has no corpus 'ravdes', it has ravdess: the nearest is ravdess"),
        (
            "--data.features egemap",
            "has no finished 'egemap', it has .*: choose from face, row, voice, or prepare egemap",
        ),
        ("--data.features voices", "has no finished 'voices', it has .*: the nearest is voice, or prepare voices"),
        ("--target.source perceived", "target.source 'perceived': the nearest are perceived-"),
        ("--target.source perceived-face", r"no clip is left of ravdess \(41 clips: no perceived-face label\)"),
        ("--data.only channel song", r"\(41 clips: channel is not song\)"),
    ],
)
def test_a_name_that_is_none_is_told_with_the_nearest(store, capsys, words, named):
    asked = [
        "train",
        SCRIPT,
        "--store",
        store,
        "--data.corpora",
        "ravdess",
        "--data.features",
        "voice",
        "face",
    ]
    assert main([*asked, *words.split()]) == 2
    said = capsys.readouterr().err
    assert re.match(f"mien: .*{named}", said) and said.count("\n") == 1, said


@pytest.mark.parametrize("words", [["report"], ["report", "--json"]])
def test_a_report_of_nothing_is_refused(capsys, words):
    refused(capsys, words, "report: give a folder that `mien train` or `mien search` printed")


@pytest.mark.parametrize("storage", ["afile", "/proc/x"])
@pytest.mark.parametrize("command", ["train", "search"])
def test_runs_need_a_folder_to_go_to(store, folder, capsys, command, storage):
    asked = [command, SCRIPT, "--store", store, "--data.corpora", "ravdess", "--data.features", "voice", "face"]
    asked += ["--space", "loss.gamma", "0 .. 4"] if command == "search" else []
    refused(capsys, [*asked, "--storage", storage], f"{storage}/sync-aug", ": cannot be made a folder (")
