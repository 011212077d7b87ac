"""mien export: a finished run, to be used elsewhere. Heavy imports stand inside."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional, arg

from mien.cli.terminal import ERR, OUT, print_json


def export(
    run: Annotated[str, Positional, arg(metavar="RUN")],
    out: str = "export",
    format: Literal["onnx"] = "onnx",
    int8: bool = False,
    store: str = "",
    json: bool = False,
) -> None:
    """Write a finished run as a folder that is used without torch and TensorFlow.

    `mien predict` and `mien demo` take it in a run's place; example.py in it needs numpy and onnxruntime alone.

    Args:
        run: A finished run, <storage>/<experiment>/<signature>/seed-<n>/fold-<k>.
        out: Folder, or s3://bucket/prefix, to write; it must be empty.
        format: onnx is the only one.
        int8: Matrices of eight-bit integers: smaller, and not always faster.
        store: Score what is exported on the run's test clips, whose features lie here.
        json: Print what was measured.
    """
    from mien.predict.export import export as written

    exported = written(run, out, int8=int8, store=store, tell=lambda line: ERR.print(line, markup=False))
    if json:
        print_json({"folder": exported.folder.uri, "format": format, **exported.measured})
        return
    for name, one in exported.measured.items():
        if name == "test":
            scores = f"{one['run']:.4f} of the run, {one['export']:.4f} exported"
            OUT.print(f"test {one['score']}: {scores} ({one['n_clips']:,} clips)")
            continue
        sizes = ", ".join(f"{kind} {n / 1e6:.2f} MB" for kind, n in one["bytes"].items())
        times = ", ".join(f"{kind} {ms:.2f}" for kind, ms in one["ms_per_clip"].items())
        OUT.print(f"{name or 'model'}: {sizes}; ms per clip {times}; differs by {one['largest_difference']:.1g}")
    OUT.print(f"export: {exported.folder.uri}", soft_wrap=True)
