"""mien prepare: recordings to features in the store, each feature with settings of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from mien.cli.corpora import CorpusName, corpus_pages
from mien.cli.flags import Quiet
from mien.cli.terminal import ERR, print_json
from mien.errors import ExperimentError, MienError
from mien.features.extractors import EXTRACTORS, settings_of

USUAL = ("egemaps",)


def prepare_command(words: Sequence[str]) -> Callable[..., None]:
    """`mien prepare` with the settings of the features that these words name."""
    pages = settings_pages(named_features(words))
    usual = pages()
    of_corpora = corpus_pages(words)

    def prepare(
        corpus: CorpusName,
        root: Annotated[str, Positional, arg(metavar="ROOT")],
        store: str = "store",
        features: tuple[str, ...] = USUAL,
        settings: Annotated[Any, arg(name="")] = usual,
        corpus_settings: Annotated[Any, arg(name="")] = of_corpora(),  # noqa: B008
        attach: tuple[str, ...] = (),
        workers: int | None = None,
        limit: int | None = None,
        retry_rejects: bool = False,
        fresh: bool = False,
        engine: Literal["auto", "ray", "processes"] = "auto",
        clip_limit_s: float = 1800.0,
        clip_limit_mb: int = 4096,
        json: bool = False,
        quiet: Quiet = False,
    ) -> None:
        """Recordings to features in the store. Asked again, it extracts only what is missing.

        The settings of a feature and of a corpus are shown where it is named: mien prepare table --features facenet
        --help.

        Args:
            root: Folder of the download or table of clips, or s3://bucket/prefix.
            store: The feature store: a folder or s3://bucket/prefix.
            features: egemaps, egemaps-clip, egemaps-lld, compare-clip, logmel, speech-encoder; facenet, frames,
                image-encoder, blendshapes; openface, openface-clip; eeg-bands, eeg-connectivity, eeg-raw; physio,
                physio-raw; or MODULE:SETTINGS of an extractor of your own.
            settings: Of each feature.
            corpus_settings: Of the corpus.
            attach: NAME=PATH of what others made of the clips: openface=FOLDER of OpenFace CSV files or a table with a
                row per clip; ratings=TABLE of valence and arousal.
            workers: Processes that extract; by default one for each core.
            limit: Only the first so many clips.
            retry_rejects: Try the clips again that were rejected before. Those that lacked a medium and have it now are
                tried anyway.
            fresh: Extract all clips anew: for files that were replaced under the same names, which is not looked for.
            engine: ray for Ray Data, processes for processes of this machine alone, which start sooner; auto takes Ray
                Data where a cluster is named or the work is large. The store is the same.
            clip_limit_s: Seconds that one clip may take a worker; one that takes longer is the reject took-too-long.
            clip_limit_mb: Memory that one clip may take, decoded and while it is extracted; one that takes more is the
                reject too-large.
            json: Print the summary as JSON.
            quiet: No progress.
        """
        from dataclasses import asdict

        from mien.cli.progress import preparing
        from mien.cli.summaries import prepared
        from mien.features.prepare import prepare as run

        chosen = [(name, getattr(settings, attribute(name), {})) for name in features]
        is_quiet = json or quiet
        with preparing(enabled=not is_quiet) as on_progress:
            summary = run(
                corpus,
                root,
                store,
                chosen,
                attach=attachments(attach),
                settings=getattr(corpus_settings, corpus, None),
                workers=workers,
                limit=limit,
                retry_rejects=retry_rejects,
                fresh=fresh,
                engine=engine,
                clip_limit_s=clip_limit_s,
                clip_limit_mb=clip_limit_mb,
                on_progress=on_progress,
                on_note=lambda text: None if is_quiet else ERR.print(text, soft_wrap=True, markup=False),
            )
        if json:
            print_json(asdict(summary))
        else:
            prepared(summary)
        for feature in summary.features:
            if not feature.n_rows:
                where = f"{summary.store}/{summary.corpus}/{feature.folder}/rejects.parquet"
                raise MienError(f"{feature.name}: all {feature.n_rejects} clips were rejected; {where} says why")

    prepare.__annotations__["settings"] = Annotated[pages, arg(name="")]
    prepare.__annotations__["corpus_settings"] = Annotated[of_corpora, arg(name="")]
    return prepare


def named_features(words: Sequence[str]) -> list[str]:
    """Features that these words ask for."""
    if "--features" not in words:
        return list(USUAL)
    after = words[words.index("--features") + 1 :]
    end = next((number for number, word in enumerate(after) if word.startswith("-")), len(after))
    return list(after[:end])


def settings_pages(features: Sequence[str]) -> type:
    """A dataclass with a field for the settings of each of these features; unknown names are left to `prepare` to
    refuse."""
    fields: list[Any] = []
    for name in dict.fromkeys(features):
        try:
            declared: Any = settings_of(name)
        except ExperimentError:
            continue
        shown = name if name in EXTRACTORS else attribute(name)
        fields.append((attribute(name), Annotated[declared, arg(name=shown)], field(default_factory=declared)))
    return make_dataclass("FeatureSettings", fields, frozen=True)


def attribute(feature: str) -> str:
    """The name of a feature as that of a field.

    >>> attribute("egemaps-clip"), attribute("my_module:Loudness")
    ('egemaps_clip', 'Loudness')
    """
    return feature.partition(":")[2] or feature.replace("-", "_")


def attachments(
    given: Sequence[str], option: str = "attach", example: str = "openface=FOLDER or ratings=TABLE"
) -> dict[str, str]:
    """NAME=PATH words by name. option, example: for the error of another word."""
    found: dict[str, str] = {}
    for word in given:
        name, is_pair, path = word.partition("=")
        if not (name and is_pair and path):
            raise MienError(f"{option} {word}: give NAME=PATH, such as {example}")
        found[name] = path
    return found
