"""Prepare a corpus as a Ray job: the same words as `mien prepare`.

    ray job submit --working-dir . --runtime-env experiments/runtime_env.yaml -- \\
        python experiments/prepare.py ravdess /data/RAVDESS --store s3://bucket/store --features egemaps facenet
"""

import sys

if __name__ == "__main__":
    from mien.cli.main import leave, main

    leave(main(["prepare", *sys.argv[1:]]))
