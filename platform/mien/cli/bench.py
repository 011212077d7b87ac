"""mien bench: ratios against plain loops, on this machine, in one run. Imports inside: help must load nothing heavy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mien.cli.corpora import CorpusName
from mien.errors import MienError, above_0, nearest
from mien.experiment.scripts import load_experiment, load_search


def bench_prepare(
    corpus: CorpusName,
    root: Annotated[Path, Positional, arg(metavar="ROOT")],
    clips: int = 200,
    memory: bool = False,
    faces: tuple[Path, ...] = (),
    landmarker: Path | None = None,
    rate: float = 10.0,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Extraction against plain loops that do the same with the same libraries, in one run on this machine.

    Args:
        root: Folder of the download.
        clips: Use the first so many clips.
        memory: Also the peak memory of preparing 100 and 1,000 clips.
        faces: Also face features of these videos.
        landmarker: Also blendshapes of these videos, by this .task file of MediaPipe.
        rate: Frames of a video that are looked at, a second.
        as_json: Print it as JSON.
    """
    from mien.bench.extract import face_agreement, mien_face_loop, plain_face_loop, shared_pass
    from mien.bench.prepare import prepare_memory, prepare_rate
    from mien.features.recipe import ExtractorRecipe

    above_0("clips", clips)
    above_0("rate", rate)
    measured = prepare_rate(corpus, str(root), n_clips=clips)
    rows: dict[str, Any] = {
        "clips/s, openSMILE once a window": round(measured.plain_clips_per_s, 2),
        "clips/s, one pass, one core": round(measured.one_pass_clips_per_s, 2),
    }
    for engine, one in measured.engines.items():
        rows |= {
            f"{engine}: clips/s on {one.n_workers} workers": round(one.clips_per_s, 2),
            f"{engine}: ratio to once a window": round(measured.over_plain(engine), 2),
            f"{engine}: ratio to one pass": round(measured.over_one_pass(engine), 2),
            f"{engine}: until the first clip, s": round(one.ray_startup_s + one.workers_startup_s, 1),
            f"{engine}: all of it, s": round(one.total_s, 1),
        }
    if faces:
        paths = [str(path) for path in faces]
        plain = plain_face_loop(paths, rate)
        rows["face frames/s, MTCNN and embedding on each full frame"] = round(plain.n_frames / plain.seconds, 2)
        for precision in ("float32", "bfloat16"):
            ours = mien_face_loop(paths, rate, precision)
            rows[f"face frames/s, facenet {precision}"] = round(ours.n_frames / ours.seconds, 2)
            rows[f"ratio, {precision}"] = round(plain.seconds / ours.seconds, 2)
        recipes = [ExtractorRecipe("facenet", {"weights": "random"}), ExtractorRecipe("frames")]
        if landmarker:
            recipes.append(ExtractorRecipe("blendshapes", {"model": str(landmarker)}))
        together = shared_pass(paths, recipes)
        rows |= {f"CPU s, {name} alone": round(alone_s, 2) for name, alone_s in together.alone_s.items()}
        rows |= {
            "CPU s, all in one pass": round(together.together_s, 2),
            "ratio to the dearest alone": round(together.ratio, 3),
        }
        agreement = face_agreement(paths)
        rows |= {
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
    print_rows(rows, as_json)


def bench_predict(
    run: Annotated[str, Positional, arg(metavar="RUN")],
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE")],
    clips: int = 200,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """mien predict against a plain loop of the same extractors and model, in clips a second; start-up stands apart.

    Args:
        run: A finished run or series. Its extractors and its model must fit into one process for the plain loop:
            facenet goes with models of torch, not of Keras.
        files: Recordings, folders or globs.
        clips: Use the first so many.
        as_json: Print it as JSON.
    """
    from mien.bench.predict import predict_rate

    above_0("clips", clips)
    measured = predict_rate(run, files, clips)
    rows: dict[str, Any] = {
        "clips": measured.n_clips,
        "clips/s, plain loop, one process": round(measured.plain_clips_per_s, 2),
    }
    for workers, rate in measured.by_workers.items():
        rows[f"clips/s, {workers} worker{'s' if workers > 1 else ''}"] = round(rate, 2)
        rows[f"ratio, {workers} worker{'s' if workers > 1 else ''}"] = round(measured.ratio(workers), 3)
    rows |= {
        "CPU s of a clip, plain loop": round(measured.plain_cpu_s, 4),
        "CPU s of a clip, 1 worker": round(measured.cpu_s, 4),
        "ratio in CPU seconds": round(measured.plain_cpu_s / measured.cpu_s, 3),
    }
    rows |= {"until the first clip, s": round(measured.startup_s, 1), "all of it, s": round(measured.total_s, 1)}
    print_rows(rows, as_json)


def bench_extract(
    features: tuple[str, ...] = (),
    corpora_root: Path | None = None,
    weights: tuple[str, ...] = (),
    clips: int = 8,
    rounds: int = 3,
    corpora: bool = False,
    rates: tuple[Path, ...] = (),
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """What each extractor takes of one core, of memory and of the store, each in a process of its own.

    Times are CPU seconds of the quickest round. Two at once: how many times the clips of one process.

    Args:
        features: Only these.
        corpora_root: Folder with ravdess and mahnob in it, as mien sample lays them out, and openface with tables; of
            what is not there, synthetic recordings are written.
        weights: NAME=PATH of a network: speech-encoder and image-encoder a folder, facenet a file, blendshapes
            MediaPipe's .task file, without which it is skipped. Without them random ones of the published size.
        clips: Of each corpus; of mahnob at most two are made.
        rounds: Each measurement so often.
        corpora: Measure nothing; print what each full corpus costs by the rates of mien cost.
        rates: For --corpora: what this command printed on your machine with --json.
        as_json: Print it as JSON, which --corpora --rates reads.
    """
    from mien.cli import bench_tables as tables

    if corpora:
        from mien.bench.corpora import costs
        from mien.cluster.cost.rates import load_rates

        loaded = load_rates(rates)
        tables.print_corpora(list(costs(loaded)), loaded.machine, as_json)
        return
    if rates:
        raise MienError("--rates is of --corpora; give both, or leave it out")
    above_0("clips", clips)
    above_0("rounds", rounds)
    tables.measure_and_print(features, corpora_root, weights, clips, rounds, as_json)


def bench_train(
    experiment: Annotated[str, Positional, arg(metavar="SCRIPT")] = "",
    family: str = "",
    store: str = "store",
    clips: int = 320,
    rounds: int = 9,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Training against a plain loop of the same framework: the same model, the same decoded batches in memory.

    Args:
        experiment: A script of experiments/ or an experiment.json, on the clips of the store.
        family: In place of a script: a model family, on clips made of noise. No store is read.
        store: The feature store.
        clips: Of --family; four fifths of them are trained on.
        rounds: Epochs of each, by turns; the middle one is told.
        as_json: Print it as JSON.
    """
    import dataclasses
    import statistics

    from mien.bench.clips import FAMILIES, clips_for
    from mien.bench.train import training

    above_0("rounds", rounds)
    if bool(experiment) == bool(family):
        raise MienError(f"give a SCRIPT, or --family with one of {', '.join(FAMILIES)}")
    if family:
        if family not in FAMILIES:
            raise MienError(f"--family {family}: {nearest(family, FAMILIES)}")
        if clips < 100:
            raise MienError(f"--clips {clips}: give at least 100")
        loaded, dataset = clips_for(family, clips)
    else:
        loaded, dataset = load_experiment(experiment), None
    loaded = dataclasses.replace(loaded, execution=dataclasses.replace(loaded.execution, store=store))
    timing = training(loaded, dataset, n_rounds=rounds)
    plain = f"plain {'Keras' if timing.framework == 'tensorflow' else timing.framework}"
    rows = {
        "family": loaded.model.family,
        "clips": timing.n_clips,
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f}",
        f"clips/s, {plain}": round(timing.n_clips / statistics.median(timing.plain_s), 1),
        "clips/s, mien": round(timing.n_clips / statistics.median(timing.mien_s), 1),
        "ratio": round(timing.ratio, 3),
        "ratio in CPU seconds": round(timing.cpu_ratio, 3),
        "ratio, each round": " ".join(f"{plain_s / s:.2f}" for plain_s, s in zip(timing.plain_s, timing.mien_s)),
        "share of the time that batches were waited for": round(timing.waited_share, 4),
        f"start-up of {plain}, s": round(timing.plain_startup_s, 1),
        "start-up of mien, s": round(timing.mien_startup_s, 1),
        "a checkpoint, MB": round(timing.checkpoint_bytes / 1e6, 2),
        "a checkpoint, s to write and to go on from": f"{timing.checkpoint_s:.2f} {timing.load_s:.2f}",
    }
    print_rows(rows, as_json)


def bench_svc(
    root: Annotated[Path, Positional, arg(metavar="ROOT")],
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

    above_0("rounds", rounds)
    timing = svc_timing(root, nkululeko, n_rounds=rounds)
    rows: dict[str, Any] = {"clips": timing.n_clips}
    for name, attempts in (("mien", timing.mien), (f"nkululeko {NKULULEKO}", timing.nkululeko)):
        rows |= {f"{name}, {step}, s": round(seconds, 1) for step, seconds in median_steps(attempts).items()}
        rows[f"{name}, all of it, s"] = round(median_s(attempts), 1)
        rows[f"{name}, each round, s"] = " ".join(f"{attempt.total_s:.1f}" for attempt in attempts)
        rows[f"{name}, UAR"] = round(attempts[-1].uar, 3)
    rows["ratio, nkululeko over mien"] = round(timing.ratio, 2)
    print_rows(rows, as_json)


def bench_search(
    search: Annotated[str, Positional, arg(metavar="SCRIPT")],
    store: str = "store",
    trials: int = 20,
    epochs: int = 8,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """A search against Optuna's own loop, the memory of two trials, and what stopping early saves; on the first fold.

    Args:
        search: A script of experiments/ with a SEARCH, or a search.json.
        store: The feature store.
        trials: Trials of each measurement.
        epochs: Epochs of each trial.
        as_json: Print it as JSON.
    """
    import dataclasses

    from mien.bench.search import overhead, saving, trial_memory

    above_0("trials", trials)
    above_0("epochs", epochs)
    asked = load_search(search)
    experiment = dataclasses.replace(
        asked.experiment,
        execution=dataclasses.replace(asked.experiment.execution, store=store, parallel=2),
        training=dataclasses.replace(asked.experiment.training, epochs=epochs, patience=epochs),
    )
    space = {path: text for path, text in asked.space.items() if path != "training.epochs"}
    asked = dataclasses.replace(asked, experiment=experiment, space=space, trials=trials)
    stopped, memory, timing = saving(asked), trial_memory(asked), overhead(asked)
    rows = {
        "trials": timing.n_trials,
        "Optuna's own loop, s": round(timing.plain_s, 1),
        "mien search, one at a time, s": round(timing.mien_s, 1),
        "ratio, mien over the plain loop": round(timing.ratio, 3),
        "start-up of mien, s": round(timing.startup_s, 1),
        "dataset, MB": round(memory.dataset_bytes / 1e6, 1),
        "own memory of a second trial's process for it, MB": round(memory.grown_bytes / 1e6, 1),
        "training with asha and without, s": " ".join(f"{seconds:.0f}" for seconds in stopped.seconds),
        "best validation UAR with asha and without": " ".join(f"{score:.3f}" for score in stopped.best),
    }
    print_rows(rows, as_json)


def bench_live(
    run: Annotated[str, Positional, arg(metavar="RUN")],
    seconds: float = 60.0,
    window: int = 30,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """How late `mien demo` is: from a frame of the camera to its prediction on the screen, in a browser here.

    The browser is the system's Chromium; its camera is a synthetic film of 640 x 480 at 25 frames a second, with sound.

    Args:
        run: Folder of a finished run.
        seconds: That are measured, once the first prediction is there.
        window: Frames that a prediction is of.
        as_json: Print it as JSON.
    """
    from tempfile import TemporaryDirectory

    from mien.bench.live import live_rate
    from mien.cli.bench_tables import machine_in_words

    above_0("seconds", seconds)
    above_0("window", window)
    with TemporaryDirectory() as folder:
        rate = live_rate(run, Path(folder), seconds=seconds, window=window)
    rows = {
        "from frame to painted prediction, ms, p50 and p95": f"{rate.quantile(0.5):.0f} {rate.quantile(0.95):.0f}",
        "predictions a second": round(rate.n_predictions / rate.seconds, 1),
        "frames of the camera a second": round(rate.n_frames / rate.seconds, 1),
        "share of them that was sent, at the rate of the features": round(rate.n_sent / max(rate.n_frames, 1), 3),
        "share of those sent that was looked at": round(rate.n_looked_at / max(rate.n_sent, 1), 3),
        "CPU of the server and of the browser, cores": " ".join(
            f"{cpu_s / rate.seconds:.2f}" for cpu_s in (rate.server_cpu_s, rate.browser_cpu_s)
        ),
        "median ms of a picture, of sound, of the model": " ".join(f"{ms:.0f}" for ms in rate.took_ms.values()),
        "memory of the server, first and last, MB": " ".join(f"{size:.0f}" for size in rate.server_mb),
        "last third of the latencies above the first, ms": round(rate.drift_ms()),
        "machine": machine_in_words(),
    }
    print_rows(rows, as_json)


def print_rows(rows: dict[str, Any], as_json: bool) -> None:
    """What was measured, by name."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from mien.cli.terminal import table

    table(["measured", ""], list(rows.items()))
