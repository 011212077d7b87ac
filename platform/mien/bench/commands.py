"""mien bench: ratios against plain loops, on this machine, in one run. Imports inside: help must load nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mien.scripts import load_experiment


def bench_prepare(
    corpus: Annotated[str, Positional],
    root: Annotated[Path, Positional],
    clips: int = 200,
    memory: bool = False,
    faces: tuple[Path, ...] = (),
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Extraction against plain loops that do the same with the same libraries, in one run on this machine.

    Args:
        corpus: ravdess or cremad.
        root: Folder of the download.
        clips: Use the first so many clips.
        memory: Also the peak memory of preparing 100 and 1,000 clips.
        faces: Also face features of these videos.
        as_json: Print it as JSON.
    """
    from mien.bench.extract import face_agreement, mien_face_loop, plain_face_loop
    from mien.bench.prepare import prepare_memory, prepare_rate

    rate = prepare_rate(corpus, str(root), n_clips=clips)
    rows: dict[str, Any] = {
        "clips/s, openSMILE once a window": round(rate.plain_clips_per_s, 2),
        "clips/s, one pass, one core": round(rate.one_pass_clips_per_s, 2),
        f"clips/s, prepare on {rate.n_workers} workers": round(rate.prepare_clips_per_s, 2),
        "ratio to once a window": round(rate.over_plain, 2),
        "ratio to one pass": round(rate.over_one_pass, 2),
        "start-up of Ray, s": round(rate.ray_startup_s, 1),
        "start-up of the workers, s": round(rate.actors_startup_s, 1),
    }
    if faces:
        paths, rate_hz = [str(path) for path in faces], 5.0
        plain, ours = plain_face_loop(paths, rate_hz), mien_face_loop(paths, rate_hz)
        agreement = face_agreement(paths, rate_hz)
        rows |= {
            "face frames/s, MTCNN on each full frame": round(plain.n_frames / plain.seconds, 2),
            "face frames/s, facenet": round(ours.n_frames / ours.seconds, 2),
            "ratio": round((ours.n_frames / ours.seconds) / (plain.n_frames / plain.seconds), 2),
            "same presence": round(agreement.same_presence, 3),
            "share of boxes with IoU above 0.5": round(float((agreement.iou > 0.5).mean()), 3),
        }
    if memory:
        few, many = (prepare_memory(corpus, str(root), n) for n in (100, 1000))
        rows |= {
            "worker's peak, 100 clips, MiB": round(few.worker_bytes / 2**20),
            "worker's peak, 1,000 clips, MiB": round(many.worker_bytes / 2**20),
            "driver's peak, 100 and 1,000 clips, MiB": f"{few.driver_bytes >> 20} {many.driver_bytes >> 20}",
        }
    _print_rows(rows, as_json)


def bench_train(
    experiment: Annotated[str, Positional], store: str = "store", as_json: Annotated[bool, arg(name="json")] = False
) -> None:
    """Training against a plain Keras loop: the same model, the same batches in memory.

    Args:
        experiment: A script of experiments/ or an experiment.json, of the LSTM-attention family.
        store: The feature store.
        as_json: Print it as JSON.
    """
    import dataclasses

    from mien.bench.train import training

    loaded = load_experiment(experiment)
    timing = training(dataclasses.replace(loaded, execution=dataclasses.replace(loaded.execution, store=store)))
    rows = {
        "clips": timing.n_clips,
        "clips/s, plain Keras": round(timing.plain_samples_per_s, 1),
        "clips/s, mien": round(timing.mien_samples_per_s, 1),
        "ratio": round(timing.ratio, 3),
        "start-up of plain Keras, s": round(timing.plain_startup_s, 1),
        "start-up of mien, s": round(timing.mien_startup_s, 1),
    }
    _print_rows(rows, as_json)


def bench_svc(
    root: Annotated[Path, Positional],
    nkululeko: Path = Path("nkululeko-environment"),
    rounds: int = 3,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Raw clips to a by-subject table of support vector machines, against nkululeko on the same clips and folds.

    Args:
        root: Folder of RAVDESS' speech; the middle 2.4 s of each clip are used.
        nkululeko: A virtual environment for nkululeko, made and filled from the package index where there is none.
        rounds: Each of the two runs so often, by turns first and second; medians are told.
        as_json: Print it as JSON.
    """
    from mien.bench.svc import NKULULEKO, median_s, median_steps, svc_timing

    timing = svc_timing(root, nkululeko, n_rounds=rounds)
    rows: dict[str, Any] = {"clips": timing.n_clips}
    for name, attempts in (("mien", timing.mien), (f"nkululeko {NKULULEKO}", timing.nkululeko)):
        rows |= {f"{name}, {step}, s": round(seconds, 1) for step, seconds in median_steps(attempts).items()}
        rows[f"{name}, all of it, s"] = round(median_s(attempts), 1)
        rows[f"{name}, each round, s"] = " ".join(f"{attempt.total_s:.1f}" for attempt in attempts)
        rows[f"{name}, UAR"] = round(attempts[-1].uar, 3)
    rows["ratio, nkululeko over mien"] = round(timing.ratio, 2)
    _print_rows(rows, as_json)


def _print_rows(rows: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from mien.terminal import table

    table(["measured", ""], list(rows.items()))
