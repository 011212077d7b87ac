"""The late fusion of three support vector machines on RAVDESS: the bar that a deep model has to clear.

python experiments/svc_baselines.py --store store
python experiments/svc_baselines.py --data.normalise speaker --model.c 3
python experiments/svc_baselines.py --data.features egemaps-clip --model.members --model.c 1    # one SVC
"""

from mien.experiment import AugmentConfig, DataConfig, Experiment, ProtocolConfig, SvmConfig

EXPERIMENT = Experiment(
    name="svc-baselines",
    question="What do support vector machines on whole-clip features reach, fused late?",
    data=DataConfig(corpora=("ravdess",), features=("egemaps-clip", "compare-clip", "openface-clip")),
    protocol=ProtocolConfig(folds=6),
    augment=AugmentConfig(kind="none"),
    model=SvmConfig(c=10.0, members=("egemaps-clip+openface-clip", "compare-clip", "openface-clip")),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
