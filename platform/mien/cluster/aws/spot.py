"""The notice before EC2 takes a spot instance away, handed to Ray: `python -m mien.cluster.aws.spot` on each node.

EC2 tells an instance two minutes before that it will be stopped or terminated, by its metadata service and nowhere
else. This asks every five seconds and then drains the node: Ray schedules nothing on it any more, and what trains there
learns by when it has to be saved. It needs Ray's own environment (RAY_AUTH_MODE, RAY_ADDRESS) and the standard library.

Source: "Spot Instance interruption notices" and "Use the Instance Metadata Service", Amazon EC2 User Guide.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

LOG = logging.getLogger("mien.cluster.aws.spot")
POLL_S = 5.0  # as EC2's guide advises
TOKEN_S = 21_600  # the longest that the service grants
TIMEOUT_S = 2.0
N_TRIES = 3  # at the start, before this is taken for a machine without a metadata service
DRAIN_TIMEOUT_S = 60
UNANSWERED = (OSError, ValueError, http.client.HTTPException)
NOTICE, REBALANCE = "spot/instance-action", "events/recommendations/rebalance"


class Metadata:
    """The instance metadata service, version 2: every question carries a token that had to be asked for."""

    def __init__(self, endpoint: str) -> None:
        self._root = f"{endpoint.rstrip('/')}/latest"
        self._token = ""
        # It answers this machine alone: a proxy of the environment would ask about another one, or nobody.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def json(self, path: str) -> Any:
        """What stands at a path below meta-data; None where there is nothing. Raises what UNANSWERED names."""
        try:
            try:
                return json.loads(self._ask(path))
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    raise
                self._token = ""  # it ran out
                return json.loads(self._ask(path))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def _ask(self, path: str) -> bytes:
        if not self._token:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
            self._token = self._open("PUT", "api/token", lifetime).decode()
        return self._open("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _open(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(f"{self._root}/{path}", method=method, headers=headers)
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            return answer.read()


def watch(metadata: Metadata, node: Sequence[str], poll_s: float = POLL_S) -> None:
    """Returns once the node is drained, or where there is no metadata service. node: options of `ray drain-node` that
    say which."""
    for n_left in reversed(range(N_TRIES)):
        try:
            metadata.json(NOTICE)
            break
        except UNANSWERED as error:
            if not n_left:
                LOG.info("no instance metadata service (%s): not on EC2, so no notice will come", error)
                return
            time.sleep(poll_s)
    LOG.info("waiting for a notice, every %g s", poll_s)
    advised = None
    while True:
        try:
            if (notice := metadata.json(NOTICE)) and drain(notice, node):
                return
            if (advice := metadata.json(REBALANCE)) and advice != advised:
                LOG.info("EC2 expects to need this instance (%s); going on", advice.get("noticeTime"))
                advised = advice
        except (*UNANSWERED, KeyError) as error:
            LOG.warning("the metadata service did not answer (%s); asking again", error)
        time.sleep(poll_s)


def drain(notice: dict[str, str], node: Sequence[str]) -> bool:
    """Whether Ray took the node out of service. notice: {"action": "terminate", "time": "2026-01-31T23:59:00Z"}."""
    leaves = datetime.fromisoformat(notice["time"]).astimezone(UTC)
    left_s = max(0, int((leaves - datetime.now(UTC)).total_seconds()))
    said = f"EC2 will {notice['action']} this spot instance at {notice['time']}"
    LOG.warning("%s, in %d s: draining the node", said, left_s)
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", *node]
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--deadline-remaining-seconds", str(left_s)]
    command += ["--reason-message", said]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DRAIN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        LOG.error("ray drain-node did not end within %d s; trying again", DRAIN_TIMEOUT_S)
        return False
    if done.returncode:
        answer = (done.stderr.strip() or done.stdout.strip()).splitlines()
        LOG.error("ray drain-node: %s; trying again", answer[-1] if answer else f"exit code {done.returncode}")
        return False
    LOG.warning("drained")
    return True


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mien.cluster.aws.spot", description=__doc__.split("\n")[0])
    parser.add_argument("--address", help="of Ray's head, host:port; by default that of the Ray on this machine")
    parser.add_argument("--node-id", help="by default that of the Ray on this machine")
    parser.add_argument("--poll-s", type=float, default=POLL_S, help="seconds between two questions")
    words = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s mien.cluster.aws.spot: %(message)s")
    endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
    node = ["--address", words.address] if words.address else []
    node += ["--node-id", words.node_id] if words.node_id else []
    watch(Metadata(endpoint), node, words.poll_s)


if __name__ == "__main__":
    main()
