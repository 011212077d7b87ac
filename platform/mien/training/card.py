"""model/card.md of a run: written at its end, so that it goes wherever its model goes."""

from __future__ import annotations

from mien.corpora import CORPORA, load
from mien.data.dataset import Dataset
from mien.experiment import Experiment
from mien.results.done import MODEL
from mien.results.report.card import CorpusFacts, model_card
from mien.results.run import Run


def write_card(run: Run, experiment: Experiment, dataset: Dataset) -> None:
    """Writes it of a run that lacks nothing but DONE."""
    cards = {name: getattr(load(name), "CARD", None) for name in set(dataset.corpora) & set(CORPORA)}
    corpora = {name: CorpusFacts(card.title, card.licence, card.citation) for name, card in cards.items() if card}
    text = model_card(run, experiment, dataset.summary(), dataset.told(), corpora)
    (run.folder / MODEL).write_text("card.md", text)
