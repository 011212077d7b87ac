"""Valence and arousal by support vector machines, one for each kind of recording, fused late: of MAHNOB-HCI or of AMI.

python experiments/dimensions.py --store store
python experiments/dimensions.py --protocol.kind loso                      # a fold for each person
python experiments/dimensions.py --data.features physio --model.members          # one machine
python experiments/dimensions.py --data.corpora ami --target.source annotated --protocol.kind by-group \
    --protocol.group meeting --data.features egemaps-clip blendshapes --model.members egemaps-clip blendshapes
"""

from mien.experiment import (
    AugmentConfig,
    DataConfig,
    DimensionsConfig,
    Experiment,
    ProtocolConfig,
    SvmConfig,
)

SENSORS = ("eeg-bands", "physio", "blendshapes")

EXPERIMENT = Experiment(
    name="dimensions",
    question="What does each kind of recording tell of valence and arousal, and do they tell more together?",
    data=DataConfig(corpora=("mahnob",), features=SENSORS, normalise="speaker"),
    target=DimensionsConfig(source="self-report"),
    protocol=ProtocolConfig(folds=3),
    augment=AugmentConfig(kind="none"),
    model=SvmConfig(members=SENSORS),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
