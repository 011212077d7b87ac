"""What Ray exports of mien, as a real Prometheus reads it, and the dashboard's queries asked of that Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

import tiny
from conftest import ROOT
from heads import free_port, running_head
from mien.features.store import FeatureStore
from mien.results.run import Series
from mien.telemetry import DECLARED
from tiny_corpus import write_corpus

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]

MONITORING = ROOT / "platform" / "mien" / "cluster" / "monitoring"
N_CLIPS, N_BROKEN = 24, 3


class Prometheus:
    """Prometheus with the project's configuration, but for the place of Ray's list of nodes and a shorter interval."""

    def __init__(self, folder: Path, nodes: Path) -> None:
        text = (MONITORING / "prometheus.yml").read_text()
        assert "/tmp/ray/prom_metrics_service_discovery.json" in text
        text = text.replace("/tmp/ray/prom_metrics_service_discovery.json", str(nodes)).replace(": 10s", ": 1s")
        (folder / "prometheus.yml").write_text(text)
        self._url = f"127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={self._url}"]
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, f"--storage.tsdb.path={folder / 'data'}"], stdout=log, stderr=log, start_new_session=True
            )

    def ask(self, query: str) -> list[dict]:
        """Series of an instant query, with their labels and values; AssertionError with Prometheus' own words."""
        address = f"http://{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            answer = json.load(urllib.request.urlopen(address, timeout=20))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        return answer["data"]["result"]

    def number(self, query: str) -> float | None:
        """None where there is no such series."""
        found = self.ask(query)
        return float(found[0]["value"][1]) if found else None

    def becomes(self, query: str, number: float, within_s: float = 45) -> None:
        deadline_s = time.monotonic() + within_s
        while (found := self.number(query)) != pytest.approx(number, abs=1e-6):
            assert time.monotonic() < deadline_s, f"{query}: {found} instead of {number}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A head, a Prometheus that watches it, and what two jobs left: a store and a series."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on this machine: apt install prometheus")
    place = tmp_path_factory.mktemp("watched")
    for clip_id in write_corpus(place / "RAVDESS", N_CLIPS)[:N_BROKEN]:
        (place / "RAVDESS" / "Actor_01" / f"03-{clip_id.removeprefix('ravdess/')}.wav").write_bytes(b"no sound")
    (place / "training").mkdir()
    tiny.write_store(str(place / "training" / "store"))
    path = f"{ROOT / 'platform'}:{ROOT / 'tests'}"
    with running_head({"PYTHONPATH": path}) as head:
        prometheus = Prometheus(place, head.folder / "prom_metrics_service_discovery.json")
        try:
            environment = {**head.environment, "RAY_ADDRESS": head.gcs, "PYTHONPATH": path}

            def mien(*words: str) -> None:
                command = [sys.executable, "-m", "mien", *words]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
                assert not done.returncode, done.stderr[-3000:]

            corpus = ("ravdess", str(place / "RAVDESS"), "--store", str(place / "store"), "--workers", "2")
            mien("prepare", *corpus, "--features", "tiny_extractors:Loudness")
            asked = tiny.search(place / "training").experiment
            (place / "experiment.json").write_text(json.dumps(asked.to_json()))
            mien("train", str(place / "experiment.json"), "--no-baseline")
            yield prometheus, place
        finally:
            prometheus.process.send_signal(signal.SIGTERM)
            prometheus.process.wait(30)


def test_what_prometheus_counts_is_what_the_store_holds(watched):
    prometheus, place = watched
    store = FeatureStore(str(place / "store"))
    rejects = store.rejects("ravdess", store.spec("ravdess", "loudness"))
    labels = '{corpus="ravdess", feature="loudness"}'
    prometheus.becomes(f"sum(last_over_time(ray_mien_clips_total{labels}[10m]))", N_CLIPS)
    assert len(rejects) == N_BROKEN
    for reason in {reject.reason for reject in rejects}:
        n = sum(reject.reason == reason for reject in rejects)
        prometheus.becomes(f'sum(last_over_time(ray_mien_rejects_total{{reason="{reason}"}}[10m]))', n)
    prometheus.becomes(f"sum(last_over_time(ray_mien_clips_left{labels}[10m]))", 0)


def test_epochs_and_scores_are_those_of_the_history(watched):
    prometheus, place = watched
    series = Series.open(str(next((place / "training" / "runs" / "tiny-search").iterdir())))
    runs = list(series.runs())
    assert len(runs) == 2
    for run in runs:
        last = run.history()[-1]
        labels = f'{{experiment="tiny-search", run="{run.label}"}}'
        prometheus.becomes(f"last_over_time(ray_mien_epoch{labels}[10m])", last["epoch"])
        prometheus.becomes(f"last_over_time(ray_mien_validation_score{labels}[10m])", last["score"])
    n_samples = sum(record["n_samples"] for run in runs for record in run.history())
    prometheus.becomes("sum(last_over_time(ray_mien_samples_total[10m]))", n_samples)


def test_every_query_of_the_dashboard_is_understood_and_names_what_is_exported(watched):
    prometheus, _ = watched
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) == len(set(queries)) > 10
    named: set[str] = set()
    for query in queries:
        assert "ray_io_cluster" in query
        prometheus.ask(query.replace("$__rate_interval", "1m").replace("$cluster", ".*"))
        named |= set(re.findall(r"ray_(?!io_cluster)\w+", query))
    assert {name.removeprefix("ray_") for name in named if name.startswith("ray_mien_")} == set(DECLARED)
    absent_here = {
        "ray_cluster_pending_nodes",
        "ray_cluster_active_nodes",
        "ray_cluster_idle_nodes",
        "ray_node_gpus_utilization",
    }  # no autoscaler, no GPU
    ours = '{ray_io_cluster="mien"}'
    unknown = [name for name in sorted(named - absent_here) if not prometheus.ask(f"last_over_time({name}{ours}[10m])")]
    assert not unknown


def test_the_configuration_is_one_for_promtool():
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine: apt install prometheus")
    done = subprocess.run(["promtool", "check", "config", str(MONITORING / "prometheus.yml")], capture_output=True)
    assert not done.returncode, done.stderr
