"""
The network of the run: a bridge, and one network namespace per pod, node and outside end.

Everything happens inside namespaces that `enter` makes first (network, mount and process ids): whatever becomes of the
maker, the kernel takes the addresses, the mounts and every process down with it, and the machine's own network is
never touched.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from maker.cast import NODES, OUTSIDE, PODS, SERVICES, address

BRIDGE = "br0"
_NAMES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_libc = ctypes.CDLL(None, use_errno=True)


def can_enter() -> bool:
    """Whether this user may make the namespaces."""
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def enter(script: Path, arguments: list[str]) -> NoReturn:
    """Become *script* inside fresh namespaces: whoever ends this process ends all of them."""
    _NAMES.mkdir(parents=True, exist_ok=True)
    os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, str(script), *arguments])


def _ip(commands: list[str], host: str | None = None) -> None:
    where = ["-n", host] if host else []
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(commands), text=True, check=True)


def mac(ip: str) -> str:
    """Return the MAC that the CNI bridge plugin gives an address: 0a:58 and its four bytes."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(ip).packed)


def build() -> None:
    """Make the bridge and every end that is there from the beginning (all but Kibana, whose address is still taken)."""
    subprocess.run(["mount", "-t", "tmpfs", "none", str(_NAMES)], check=True)
    _ip(["link set lo up", f"link add {BRIDGE} type bridge mcast_snooping 0", f"link set {BRIDGE} up"])
    _no_ipv6(Path("/proc/sys"))
    for key in [*NODES, *OUTSIDE]:
        add(key)
    for key, pod in PODS.items():
        if key != "kibana" and not pod.host_network:
            add(key)


def add(key: str) -> None:
    """
    Make one end: its namespace, its cable to the bridge, its address.

    Everything is on one link, so a capture on the bridge sees each packet once. A Service address stands on the end
    that is to answer for it: on the loopback of a pod whose own sidecar takes it (in place of a redirect), on the
    backend's cable for those who dial it without a sidecar (in place of kube-proxy's address translation).
    """
    ip, cable = address(key), f"v{address(key).replace('.', '')}"
    subprocess.run(["ip", "netns", "add", key], check=True)
    with inside(key):
        _no_ipv6(Path("/proc/sys"))
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
    _ip(
        [
            f"link add {cable} mtu 1450 type veth peer name eth0 mtu 1450 netns {key}",
            f"link set {cable} master {BRIDGE} up",
        ]
    )
    commands = [
        "link set lo up",
        f"link set eth0 address {mac(ip)}",
        # One segment a packet, as on a real wire; otherwise veth hands over 64 kB at a time.
        "link set eth0 up gso_max_segs 1",
        f"addr add {ip}/32 dev eth0",
        f"route add default dev eth0 src {ip}",
    ]
    if key in PODS:
        commands += [f"addr add {SERVICES[o.service].cluster_ip}/32 dev lo" for o in PODS[key].outbound]
    commands += [
        f"addr add {SERVICES[name].cluster_ip}/32 dev eth0"
        for name in ("kubernetes", "kube-dns", "istiod")
        if key in SERVICES[name].backends
    ]
    _ip(commands, key)


def remove(key: str) -> None:
    """Take an end away, its address with it."""
    subprocess.run(["ip", "netns", "del", key], check=True)


def drop_between(initiator: str, responder: str) -> None:
    """Let *responder*'s end drop silently whatever *initiator* sends, as a policy does."""
    _ip([f"neigh replace {address(responder)} lladdr {mac(address(responder))} dev eth0"], initiator)
    # The rule has to come before the one that delivers to local addresses.
    _ip(
        ["rule add pref 1 lookup local", "rule del pref 0", f"rule add pref 0 from {address(initiator)} blackhole"],
        responder,
    )


def _no_ipv6(sysctl: Path) -> None:
    for which in ("all", "default"):
        switch = sysctl / "net/ipv6/conf" / which / "disable_ipv6"
        if switch.exists():
            switch.write_text("1")


@contextmanager
def inside(key: str) -> Iterator[None]:
    """Let this thread make sockets in an end's namespace; a socket stays where it was made."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(_NAMES / key, os.O_RDONLY)
    try:
        _enter_network(there)
        yield
    finally:
        _enter_network(home)
        os.close(there)
        os.close(home)


def _enter_network(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def start(key: str | None, command: list[str], told: BinaryIO) -> subprocess.Popen[bytes]:
    """Start a program in an end's namespace, or on the bridge; what it says goes to *told*."""
    where = ["nsenter", f"--net={_NAMES / key}", "--"] if key else []
    return subprocess.Popen([*where, *command], stdout=subprocess.DEVNULL, stderr=told)
