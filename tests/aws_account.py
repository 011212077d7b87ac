"""An AWS account in moto, and cluster.yaml as a user fills it in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import ROOT

REGION, BUCKET, ADDRESS = "eu-central-1", "emotion-bucket", "198.51.100.7/32"


def filled(folder: Path, *, bucket: str = BUCKET, ssh_from: str = ADDRESS, region: str = REGION) -> Path:
    """cluster.yaml with its three values filled in, as a user would."""
    text = (ROOT / "cluster.yaml").read_text()
    for key, value in (("bucket", bucket), ("ssh_from", ssh_from), ("region", region)):
        text, n_places = re.subn(rf"^  {key}: FILL-IN ", f"  {key}: {value} ", text, flags=re.MULTILINE)
        assert n_places == 1, f"cluster.yaml has no place for {key}"
    file = folder / "cluster.yaml"
    file.write_text(text)
    return file


def account_and_home(folder: Path, monkeypatch) -> Iterator[Path]:
    """An empty AWS account in moto, a home with a token, and the filled-in file in it."""
    from moto import mock_aws

    for name in [name for name in os.environ if name.startswith(("AWS_", "RAY_AUTH"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "platform"))
    token = folder / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o700)
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    with mock_aws():
        yield filled(folder)


def up_to_ssh(file: Path) -> SimpleNamespace:
    """`ray up` of a cluster file until it would go to the head by SSH: what it would do there (`NodeUpdater`'s arguments,
    among them node_resources, ray_start_commands), and, as bootstrap, the configuration that the head would get."""
    from pytest import MonkeyPatch
    from ray.autoscaler._private import commands

    updaters = []

    class Updater:
        """In the place of the thread that goes to the head by SSH."""

        exitcode = 0

        def __init__(self, **wanted: Any) -> None:
            mounted = Path(wanted["file_mounts"]["~/ray_bootstrap_config.yaml"]).read_text()
            updaters.append(SimpleNamespace(**wanted, bootstrap=mounted))

        def start(self) -> None:
            pass

        def join(self) -> None:
            pass

    with MonkeyPatch.context() as until_up:
        until_up.chdir(ROOT)
        until_up.setattr(commands, "NodeUpdaterThread", Updater)
        commands.create_or_update_cluster(
            config_file=str(file),
            override_min_workers=None,
            override_max_workers=None,
            no_restart=False,
            restart_only=False,
            yes=True,
            override_cluster_name=None,
            no_config_cache=True,
        )
    (updater,) = updaters
    return updater


def client(service: str):
    import boto3

    return boto3.client(service, region_name=REGION)


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]
