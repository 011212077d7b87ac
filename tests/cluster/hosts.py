"""Hosts of a network on this one machine: each with its own address, processes, home, /tmp and /dev/shm.

A host is a process in Linux namespaces of its own, most of them with an sshd; a switch in another namespace joins
them. None of it has a name outside: when the process that started them ends, however it ends, the kernel takes down
their processes, mounts and links. Nothing leads out: there is no route and no link to the machine's own network.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NETWORK = "10.77.0"
PROGRAMS = ("curl", "ip", "nsenter", "ps", "rsync", "setpriv", "ssh", "ssh-keygen", "sshd", "unshare")
SEPARATE = ("--net", "--mount", "--pid", "--ipc", "--uts", "--mount-proc")

# The first process of a host. What is mounted over is bound elsewhere first: the folder of this host may lie in /tmp.
BOOT = """
name=$1 folder=$2; shift 2
hostname "$name"
ip link set lo up
for path in "$@"; do  # others are seen anyway
    case $path in /tmp/*) place=$folder/tmp/${path#/tmp/} ;; "$HOME"/*) place=$folder/home/${path#"$HOME"/} ;; *) continue ;; esac
    mkdir -p "$place"
    mount --bind "$path" "$place"
done
mount --bind "$folder/hosts" /etc/hosts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
mkdir /run/sshd
cp -r "$folder/ssh" /run/ssh
mount --rbind "$folder/home" "$HOME"
mount --rbind "$folder/tmp" /tmp
cd "$HOME"
echo ready
exec >/run/log 2>&1
if [ -f /run/ssh/sshd_config ]; then "$(command -v sshd)" -D -e -f /run/ssh/sshd_config & else sleep infinity & fi
echo $! >/run/own
wait  # the first process has to bury the orphans, and a shell does
"""

SSHD_CONFIG = """
HostKey /run/ssh/host_key
AuthorizedKeysFile /run/ssh/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
MaxSessions 100
MaxStartups 100
"""


def missing() -> str | None:
    """Why this machine cannot have hosts, in words; None where it can."""
    if sys.platform != "linux" or os.geteuid():
        return "namespaces with a network need Linux and root"
    if absent := [program for program in PROGRAMS if not shutil.which(program)]:
        return f"not installed: {', '.join(absent)}"
    command = ["unshare", "--fork", *SEPARATE, "ip", "link", "add", "br0", "type", "bridge"]
    tried = subprocess.run(command, capture_output=True, text=True)
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class Host:
    """A host that runs. environment: what `run` sets. home: seen from the machine."""

    name: str
    address: str
    environment: Mapping[str, str]
    home: Path
    _process: subprocess.Popen[str]
    _switch: subprocess.Popen[str]

    def command(self, *words: str, cwd: str | Path | None = None, **environment: str) -> list[str]:
        """What the machine has to execute for this host to execute `words`: they end with it."""
        found = {**self.environment, **environment}
        enter = ["nsenter", f"--target={_first(self._process)}", "--net", "--mount", "--pid", "--ipc", "--uts"]
        enter += ["setpriv", "--pdeathsig", "TERM"]  # nsenter forks, and does not end its child
        enter += ["env", "--ignore-environment", f"--chdir={cwd or found['HOME']}"]
        return [*enter, *(f"{name}={value}" for name, value in found.items()), *words]

    def run(self, *words: str, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command on this host, and what it said."""
        try:
            return subprocess.run(self.command(*words, **options), capture_output=True, text=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            said = b"".join(part for part in (error.stdout, error.stderr) if part).decode()
            raise AssertionError(f"{self.name}: {words} took over {timeout_s} s\n{said[-6000:]}") from None

    def processes(self) -> list[str]:
        """Command lines of all that runs on it but the two by which it is a host."""
        return self.run("sh", "-c", "exec ps -N -p 1,$(cat /run/own),$$ -o args=").stdout.splitlines()

    def cut_off(self) -> None:
        """The host is gone from one moment to the next: first nothing reaches it, then none of its processes lives."""
        _ip(self._switch, "link", "set", self.name, "down")
        self._process.kill()


@contextmanager
def network(
    folder: Path,
    servers: Mapping[str, Mapping[str, str]],
    clients: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Host]]:
    """Hosts that reach each other and nothing else, by name.

    folder: theirs on disk. servers: those with an sshd, each with what it sets for who comes in. clients: those
    without, but with the key to the others in ~/.ssh/hosts.pem. folders: what all of them see of the machine's home and
    /tmp, in whose place they have their own; this Python is always among it. environment: what `Host.run` sets.
    """
    addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate([*servers, *clients], start=1)}
    seen = [str(path) for path in dict.fromkeys((sys.prefix, sys.base_prefix, *folders))]
    home = pwd.getpwuid(0).pw_dir
    folder.mkdir(parents=True)
    key = _key(folder / "key")
    with ExitStack() as stack:
        switch = stack.enter_context(_process("--net", "sh", "-c", "echo ready; exec sleep infinity"))
        _ip(switch, "link", "add", "bridge", "type", "bridge")
        _ip(switch, "link", "set", "bridge", "up")
        hosts = {}
        for name, address in addresses.items():
            own = folder / name
            _furnish(own, addresses, key, servers.get(name))
            boot = [*SEPARATE, "bash", "-euc", BOOT, "bash", name, str(own), *seen]
            process = stack.enter_context(_process(*boot, HOME=home))
            port = ("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(_first(process)))
            _ip(switch, *port)
            _ip(switch, "link", "set", name, "master", "bridge", "up")
            _ip(process, "address", "add", f"{address}/24", "dev", "eth0")
            _ip(process, "link", "set", "eth0", "up")
            typed = {"HOME": home, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | dict(environment or {})
            hosts[name] = Host(name, address, typed, own / "home", process, switch)
        yield hosts


def _furnish(own: Path, addresses: Mapping[str, str], key: Path, served: Mapping[str, str] | None) -> None:
    """The disk of a host. served: what its sshd sets; None where it has none."""
    for part in ("home", "tmp", "ssh"):
        (own / part).mkdir(parents=True)
    (own / "home" / ".bashrc").touch()
    known = {"localhost": "127.0.0.1", **addresses}
    (own / "hosts").write_text("".join(f"{address} {name}\n" for name, address in known.items()))
    if served is None:
        (own / "home" / ".ssh").mkdir(mode=0o700)
        shutil.copy(key, own / "home" / ".ssh" / "hosts.pem")
    else:
        _key(own / "ssh" / "host_key")
        shutil.copy(f"{key}.pub", own / "ssh")
        quoted = [f"{name}={value}".replace('"', '\\"') for name, value in served.items()]
        set_them = "SetEnv " + " ".join(f'"{pair}"' for pair in quoted) if quoted else ""
        (own / "ssh" / "sshd_config").write_text(SSHD_CONFIG + set_them)


def _key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@contextmanager
def _process(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process in namespaces of its own, once it said that it is ready; it dies with this one."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child", *words]
    options: dict[str, Any] = {"env": dict(os.environ) | environment, "start_new_session": True, "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            assert process.stdout and process.stderr
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(process.stderr.read())
            yield process
        finally:
            process.kill()


def _first(process: subprocess.Popen[str]) -> int:
    """The first process within its namespaces, by the number that it has on the machine."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


def _ip(where: subprocess.Popen[str], *words: str) -> None:
    subprocess.run(["nsenter", f"--target={_first(where)}", "--net", "ip", *words], check=True)
