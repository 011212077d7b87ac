"""mien predict: what a finished run makes of files. Heavy imports stand inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from mien.cli.corpora import corpus_pages
from mien.cli.features import attachments
from mien.cli.flags import Quiet
from mien.cli.terminal import ERR, OUT, Bars, print_json, table
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.predict.files import Predicted

SHOWN, SHOWN_REJECTS = 40, 3  # rows of a table; rejects whose sentence is told
REST = ("used", "missing")
SHOWN_CHARACTERS = 32  # of a name: a row then fits 80 columns


def predict_command(words: Sequence[str]) -> Callable[..., None]:
    """`mien predict` with the settings of tables."""
    pages = corpus_pages(["table"] if words else [])

    def predict(
        run: Annotated[str, Positional, arg(metavar="RUN")],
        files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE")],
        out: str = "",
        overwrite: bool = False,
        window: float | None = None,
        hop: float | None = None,
        dropout: int = 0,
        seed: int = 0,
        weights: tuple[str, ...] = (),
        settings: Annotated[Any, arg(name="")] = pages(),  # noqa: B008
        store: str = "",
        workers: int | None = None,
        engine: Literal["auto", "ray", "processes"] = "auto",
        clip_limit_s: float = 1800.0,
        clip_limit_mb: int = 4096,
        json: bool = False,
        quiet: Quiet = False,
    ) -> None:
        """What a finished run makes of media files: classes or dimensions, and how sure that is.

        Killed and asked again, it goes on. A file that cannot be used is told with its reason, and all others are
        answered; exits 2 where none is.

        Args:
            run: A run (.../seed-0/fold-0), or a series, whose folds and seeds then answer together.
            files: Recordings, folders, "globs" (** goes into folders), or tables of clips with a column file, as for
                mien prepare table. Sound and picture that lie in two files are paired by a table.
            out: Write the answers here: .csv, .json, .jsonl or .parquet.
            overwrite: Also where that file exists.
            window: Seconds: a track over time as well; a file's answer is then the mean of its windows.
            hop: Seconds from one window to the next; by default they do not overlap.
            dropout: Draw dropout so often for each run: what that changes is uncertainty of the model.
            seed: Of the first draw.
            weights: FEATURE=FILE, where a network lies elsewhere than where the run was trained: facenet=vggface2.pt.
            settings: Of tables.
            store: Keep the features in this store, for other runs that read the same; by default they are removed.
            workers: Processes that extract; by default one for each core.
            engine: ray for Ray Data, processes for processes of this machine alone; auto as in mien prepare.
            clip_limit_s: Seconds that one file, or window, may take a worker.
            clip_limit_mb: Memory that one may take, decoded and while it is extracted.
            json: Print all of it as JSON.
            quiet: No progress.
        """
        from mien.predict.files import Windows, predict_files
        from mien.predict.output import check_output, document, write_output

        if hop is not None and window is None:
            raise MienError(f"hop {hop:g}: says how far windows are apart; give --window too")
        if out:
            check_output(out, files, overwrite=overwrite, with_track=window is not None)
        is_quiet = json or quiet
        with Bars(enabled=not is_quiet) as bars:
            from mien.cli.progress import rest_of

            predicted = predict_files(
                run,
                files,
                settings=getattr(settings, "table", None),
                window=None if window is None else Windows(seconds=window, hop_s=hop),
                dropout=dropout,
                seed=seed,
                weights=attachments(weights, "weights", "facenet=vggface2.pt"),
                store=store or None,
                workers=workers,
                engine=engine,
                clip_limit_s=clip_limit_s,
                clip_limit_mb=clip_limit_mb,
                on_progress=lambda p: bars.update(p.feature.split("-", 2)[2], p.n_done, p.n_clips, rest_of(p)),
                on_predicted=lambda n_done, n_all: bars.update("predicted", n_done, n_all, "clips"),
                on_note=lambda text: None if is_quiet else bars.line(text),
            )
        written = write_output(predicted, out) if out else []
        if json:
            print_json(document(predicted))
        else:
            _show(predicted)
            for path in written:
                print(path)
        for note in predicted.notes:
            ERR.print(f"note: {note}", soft_wrap=True, markup=False)
        if predicted.n_rejects == len(predicted.files):
            (first, *_) = predicted.files["detail"].to_pylist()
            raise MienError(f"none of {len(predicted.files)} files could be used; the first: {first}")

    predict.__annotations__["settings"] = Annotated[pages, arg(name="")]
    return predict


def _show(predicted: Predicted) -> None:
    """A row per file, or per window of a single file; what was left out; scores."""
    from rich.markup import escape

    shown: Any = predicted.files
    if predicted.track is not None and len(predicted.files) == 1:
        shown = predicted.track
    names = predicted.target.names
    is_classes = predicted.target.kind == "classes"
    is_split = is_classes and predicted.n_members * max(1, predicted.n_draws) > 1
    rows, rests = [], []
    for row in shown.slice(0, SHOWN).to_pylist():
        name = escape(_tail(row["clip"])) if "file" in row else f"{row['start_s']:.1f} - {row['end_s']:.1f} s"
        unsure: list[str] = []
        if row["reject"]:
            answer = [f"none: {row['reject']}", *([""] * (0 if is_classes else len(names) - 1))]
        elif is_classes:
            answer = [f"{row['prediction']} {row['p_' + row['prediction']]:.2f}"]
        else:
            answer = [_with_spread(row[name], row[f"sd_{name}"]) for name in names]
        if is_classes:
            unsure = [_number(row["uncertainty"]), *([_number(row["epistemic"])] if is_split else [])]
        rows.append([name, *answer, *unsure])
        rests.append((row["used"] or "", row["missing"] or ""))
    told = [place for place in range(len(REST)) if len({rest[place] for rest in rests}) > 1]
    heads = ["answer", "unsure", *(["of the model"] if is_split else [])] if is_classes else names
    table(
        ["file" if shown is predicted.files else "window", *heads, *(REST[place] for place in told)],
        [[*row, *(rest[place] for place in told)] for row, rest in zip(rows, rests)],
    )
    for place, name in enumerate(REST):
        if place not in told and rests[0][place]:  # the same of all
            OUT.print(f"{name}: {rests[0][place]}", soft_wrap=True, markup=False)
    if is_classes:
        OUT.print(f"unsure: entropy in nats, {math.log(len(names)):.2f} for guessing evenly", markup=False)
    if len(shown) > SHOWN:
        OUT.print(f"... and {len(shown) - SHOWN:,} more; --out FILE.csv has all of them", markup=False)
    if shown is predicted.track:
        (row,) = predicted.files.to_pylist()
        if not row["reject"]:
            answer = [f"{row['prediction']} {row['p_' + row['prediction']]:.2f}"] if is_classes else []
            answer += [] if is_classes else [f"{name} {_with_spread(row[name], row[f'sd_{name}'])}" for name in names]
            OUT.print(f"all of it: {', '.join(answer)}", markup=False)
    _tell(predicted)


def _tell(predicted: Predicted) -> None:
    from mien.results.metrics import metric_named

    n_files = len(predicted.files)
    runs = "1 run" if predicted.n_members == 1 else f"{predicted.n_members} runs"
    drawn = f", {predicted.n_draws} draws of dropout each" if predicted.n_draws else ""
    why = ", ".join(f"{n} {reason}" for reason, n in predicted.reasons.items())
    left = f"; {predicted.n_rejects} without an answer: {why}" if why else ""
    OUT.print(f"{n_files - predicted.n_rejects} of {n_files} files answered by {runs}{drawn}{left}", markup=False)
    details = [one for one in predicted.files.to_pylist() if one["reject"]]
    for one in details[:SHOWN_REJECTS]:
        OUT.print(f"  {one['detail']}", soft_wrap=True, markup=False)
    if scores := predicted.scores:
        label = metric_named(scores["primary"]).label
        value = scores[scores["primary"]]
        told = "not defined" if value is None else f"{value:.3f}"
        interval = scores["interval"]
        told += f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        OUT.print(
            f"{label} {told} of {scores['n']} labelled clips; it holds for people whom the model was not trained on, "
            "which mien cannot know of files",
            soft_wrap=True,
            markup=False,
        )


def _tail(name: str) -> str:
    """The end of a long name, which tells it from others."""
    return name if len(name) <= SHOWN_CHARACTERS else f"...{name[3 - SHOWN_CHARACTERS :]}"


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def _with_spread(value: float, spread: float | None) -> str:
    return f"{value:+.2f}" + ("" if spread is None or math.isnan(spread) else f" ± {spread:.2f}")
