"""The dashboard's queries: rates over Grafana's interval, of one cluster, and nothing that only ever grows."""

from __future__ import annotations

import json
import re

from conftest import ROOT

DASHBOARD = json.loads((ROOT / "platform/mien/cluster/monitoring/grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_counters_are_shown_as_rates_over_grafanas_interval():
    for query in QUERIES:
        n_counters = len(re.findall(r"ray_\w+_total\b", query))
        rates = re.findall(r"rate\(ray_\w+_total\{[^}]*\}\[\$__rate_interval\]\)", query)
        assert len(rates) == n_counters == query.count("["), query


def test_every_metric_is_of_the_cluster_that_was_chosen():
    for query in QUERIES:
        assert query.count('{ray_io_cluster=~"$cluster"') == len(re.findall(r"ray_(?!io_cluster)\w+", query)), query
    (chosen,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "cluster"]
    assert chosen["includeAll"] and chosen["allValue"] == ".*", "without the label, as where nobody set it"
    assert "target_label: ray_io_cluster" in (ROOT / "platform/mien/cluster/monitoring/prometheus.yml").read_text()
