"""What is trained, prepared or searched on one machine listens to that machine alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from ipaddress import ip_address

import pytest

pytestmark = pytest.mark.ray

LISTENING = """
import psutil, ray, time
from mien import connection
with connection.connected(workers=1):
    ray.get(ray.remote(lambda: 0).remote())
    found, end_s = [], time.monotonic() + 60
    while not any(name.startswith("ray::RuntimeEnvAgent") for name, _ in found) and time.monotonic() < end_s:
        time.sleep(1)  # the agents are the last to listen
        found = []
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            name = " ".join(process.cmdline()[:1])
            for socket in process.net_connections("inet"):
                if socket.status == psutil.CONN_LISTEN:
                    found.append((name, socket.laddr.ip))
print(found)
"""


def test_an_embedded_ray_listens_on_loopback_alone():
    ended = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, check=True, timeout=300)
    found = ast.literal_eval(ended.stdout.splitlines()[-1])
    names = " ".join(name for name, _ in found)
    assert len(found) > 6 and all(part in names for part in ("gcs_server", "raylet", "RuntimeEnvAgent")), found
    open_to_all = [
        (name, address)
        for name, address in found
        if not (getattr(ip_address(address), "ipv4_mapped", None) or ip_address(address)).is_loopback
    ]
    assert not open_to_all
