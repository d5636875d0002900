"""Ports on 127.0.0.1 for the servers that tests start.

They come from below the range from which the kernel takes ports for clients and for servers that ask for any: between the
choice and the start of the server nobody is given the same one by chance, as happens with a port that was bound and let go.
"""
import pathlib
import random
import socket

_LOWEST = 10000
_given = set()
_held = []


def _bound(port):
    """A socket bound to the port, or None where somebody has it."""
    one = socket.socket()
    try:
        one.bind(("127.0.0.1", port))
        return one
    except OSError:
        one.close()
        return None


def _take():
    first_of_kernel = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.randrange(_LOWEST, max(first_of_kernel, _LOWEST + 1000))
        if port not in _given and (one := _bound(port)):
            _given.add(port)
            return one
    raise OSError("no free port was found on 127.0.0.1")


def free_port():
    """A port for a server; this process gives it to nobody else."""
    with _take() as one:
        return one.getsockname()[1]


def closed_port():
    """A port that refuses connections until this process ends: it is bound, and nobody listens."""
    one = _take()
    _held.append(one)
    return one.getsockname()[1]
