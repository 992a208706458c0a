"""Two companies and the Internet between them, in network namespaces that this module makes and removes.

    pbx-a ── edge-a ── inet ── edge-b ── pbx-b

Every packet that crosses `inet` passes the impairing router (`router.py`). It configures addresses and routes alone; what
the edges need for their own deployment (`tollgate netfilter`) they install themselves.
"""

import os
import subprocess

# Inside networks are private (RFC 1918, RFC 4193); what the Internet sees is of the documentation ranges
# (RFC 5737, RFC 3849).
PBX_A, EDGE_A_INSIDE = "10.1.0.10", "10.1.0.1"
PBX_B, EDGE_B_INSIDE = "10.2.0.10", "10.2.0.1"
EDGE_A, INET_A = "192.0.2.2", "192.0.2.1"
EDGE_B, INET_B = "198.51.100.2", "198.51.100.1"
PBX_A6, EDGE_A_INSIDE6 = "fd00:a::10", "fd00:a::1"
PBX_B6, EDGE_B_INSIDE6 = "fd00:b::10", "fd00:b::1"
EDGE_A6, INET_A6 = "2001:db8:a::2", "2001:db8:a::1"
EDGE_B6, INET_B6 = "2001:db8:b::2", "2001:db8:b::1"

# One link a line: namespace, interface, addresses; the other end's likewise.
LINKS = [
    (("pbx-a", "lan", [f"{PBX_A}/24", f"{PBX_A6}/64"]), ("edge-a", "inside", [f"{EDGE_A_INSIDE}/24", f"{EDGE_A_INSIDE6}/64"])),
    (("edge-a", "outside", [f"{EDGE_A}/24", f"{EDGE_A6}/64"]), ("inet", "to-a", [f"{INET_A}/24", f"{INET_A6}/64"])),
    (("inet", "to-b", [f"{INET_B}/24", f"{INET_B6}/64"]), ("edge-b", "outside", [f"{EDGE_B}/24", f"{EDGE_B6}/64"])),
    (("edge-b", "inside", [f"{EDGE_B_INSIDE}/24", f"{EDGE_B_INSIDE6}/64"]), ("pbx-b", "lan", [f"{PBX_B}/24", f"{PBX_B6}/64"])),
]
ROUTES = {
    "pbx-a": [EDGE_A_INSIDE, EDGE_A_INSIDE6],
    "edge-a": [INET_A, INET_A6],
    "edge-b": [INET_B, INET_B6],
    "pbx-b": [EDGE_B_INSIDE, EDGE_B_INSIDE6],
}
TUN = "impair"
TUN_TABLE = "100"


class Network:
    """The namespaces of one run; their names carry the process id, so that runs do not meet."""

    def __init__(self):
        self.prefix = f"tg{os.getpid()}-"
        self.names = ["pbx-a", "edge-a", "inet", "edge-b", "pbx-b"]

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_):
        self._remove()

    def inside(self, name, *command):
        """The command that runs `command` in a namespace."""
        return ["ip", "netns", "exec", self.prefix + name, *command]

    def run(self, name, *command):
        """Runs a command in a namespace and returns what it printed; fails with what it complained of."""
        return run(*self.inside(name, *command))

    def _make(self):
        for name in self.names:
            run("ip", "netns", "add", self.prefix + name)
            # A namespace copies some settings of the host; the ones that matter are set.
            self.run(name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.accept_dad=0")
            self.run(name, "ip", "link", "set", "lo", "up")
        for near, far in LINKS:
            self._link(near, far)
        for name, gateways in ROUTES.items():
            for gateway in gateways:
                self.run(name, "ip", "route", "add", "default", "via", gateway)
        self._prepare_impairment()

    def _link(self, near, far):
        near_name, near_dev, near_addresses = near
        far_name, far_dev, far_addresses = far
        run(
            "ip", "link", "add", near_dev, "netns", self.prefix + near_name,
            "type", "veth", "peer", "name", far_dev, "netns", self.prefix + far_name,
        )
        for name, dev, addresses in [(near_name, near_dev, near_addresses), (far_name, far_dev, far_addresses)]:
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                self.run(name, "ip", "address", "add", address, "dev", dev, *nodad)
            self.run(name, "ip", "link", "set", dev, "up")

    def _prepare_impairment(self):
        """What comes from either company goes to the router's device first; what comes from there, on to the other."""
        self.run("inet", "ip", "tuntap", "add", "dev", TUN, "mode", "tun")
        self.run("inet", "ip", "link", "set", TUN, "up")
        self.run(
            "inet", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.rp_filter=0", f"net.ipv4.conf.{TUN}.rp_filter=0",
        )
        for family in ["-4", "-6"]:
            self.run("inet", "ip", family, "route", "add", "default", "dev", TUN, "table", TUN_TABLE)
            for dev in ["to-a", "to-b"]:
                # The Internet's own addresses stay its own: the local table is asked first.
                self.run("inet", "ip", family, "rule", "add", "iif", dev, "table", TUN_TABLE)

    def _remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", self.prefix + name], stderr=subprocess.DEVNULL, check=False)


def run(*command):
    """Runs a command and returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout
