"""One company of the lab: its policy, its edge, and SIPp as its call agent, each in the namespace where it belongs.

It starts and stops them and knows their addresses; what must come of it is judged in `lab.py`.
"""

import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import network
import rtp
from calls import PACKET_BYTES, PACKETS_PER_SECOND, end, last_row, require, start, tail, wait_for

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "policies" / "examples"

# The trunk examples are for one host; in the lab each of their addresses has a host of its own.
ON_ONE_HOST = {
    "127.0.10.1": network.EDGE_A_INSIDE,
    "127.0.10.2": network.PBX_A,
    "127.0.11.1": network.EDGE_A,
    "127.0.20.1": network.EDGE_B_INSIDE,
    "127.0.20.2": network.PBX_B,
    "127.0.21.1": network.EDGE_B,
}


@dataclass
class Company:
    """A company. `policy` is the example it runs; the edge listens outside at `edge` and `edge6`, port 5061."""

    letter: str
    domain: str
    number: str
    policy: str
    admin: str
    pbx: str
    pbx6: str
    inside: str
    inside6: str
    edge: str
    edge6: str
    folder: Path = field(default_factory=Path)
    process: subprocess.Popen | None = None

    @property
    def pbx_name(self):
        return f"pbx-{self.letter}"

    @property
    def edge_name(self):
        return f"edge-{self.letter}"


def alpha(policy):
    """The company that runs the deployment under test."""
    return Company(
        "a", "alpha.example", "+14085550123", policy, "127.0.0.1:9091", network.PBX_A, network.PBX_A6,
        network.EDGE_A_INSIDE, network.EDGE_A_INSIDE6, network.EDGE_A, network.EDGE_A6,
    )


def beta():
    """The company opposite, which has a trunk."""
    return Company(
        "b", "beta.example", "+12125550123", "trunk-peer.toml", "127.0.0.1:9092", network.PBX_B, network.PBX_B6,
        network.EDGE_B_INSIDE, network.EDGE_B_INSIDE6, network.EDGE_B, network.EDGE_B6,
    )


def write(company, tollgate, credentials, folder, more=""):
    """A folder with the company's policy and everything it names. `more` is appended to the policy."""
    company.folder = folder
    shutil.copytree(credentials, folder)
    text = (EXAMPLES / company.policy).read_text()
    for loopback, address in ON_ONE_HOST.items():
        text = text.replace(f'"{loopback}:', f'"{address}:').replace(f'"{loopback}"', f'"{address}"')
    if company.policy.startswith("trunk"):
        text += both_families(company)
    policy = folder / company.policy
    policy.write_text(text + more)
    subprocess.run([tollgate, "check", "--policy", policy], check=True, stdout=subprocess.DEVNULL)


def both_families(company):
    """The trunk examples speak IPv4; in the lab their edges have IPv6 on both sides too."""
    return f"""
[[inside.listeners]]
transport = "tcp"
bind = "[{company.inside6}]:5060"

[[outside.listeners]]
bind = "[{company.edge6}]:5061"

[[media.inside]]
bind = "{company.inside6}"
ports = "20000-20399"

[[media.outside]]
bind = "{company.edge6}"
ports = "20000-20399"
"""


def start_edge(company, net, tollgate, running):
    """Starts the edge and waits until it is ready; returns the seconds that took."""
    began = time.monotonic()
    out = running.enter_context(open(company.folder / "edge.out", "ab"))
    log = running.enter_context(open(company.folder / "edge.log", "ab"))
    command = net.inside(company.edge_name, tollgate, "run", "--policy", company.policy)
    company.process = start(command, company.folder, running, stdout=out, stderr=log)
    while not is_ready(company, net, tollgate):
        require(company.process.poll() is None, f"edge {company.letter} ended:\n{tail(Path(log.name))}")
        require(time.monotonic() < began + 15, f"edge {company.letter} is not ready:\n{tail(Path(log.name))}")
        time.sleep(0.05)
    return time.monotonic() - began


def is_ready(company, net, tollgate):
    command = net.inside(company.edge_name, tollgate, "show", "ports", "--json", "--admin", company.admin)
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def show(company, net, tollgate, what):
    """What `tollgate show` says of the running edge."""
    return json.loads(net.run(company.edge_name, tollgate, "show", what, "--json", "--admin", company.admin))


def stop_edge(company):
    """Ends the edge as systemd would, and wants it to end well."""
    company.process.send_signal(signal.SIGTERM)
    code = company.process.wait(timeout=20)
    require(code == 0, f"edge {company.letter} ended with {code}:\n{tail(company.folder / 'edge.log')}")


def kill_edge(company):
    """Ends the edge as a power cut would."""
    end(company.process)


def records(company):
    """The call records so far."""
    return [json.loads(line) for line in (company.folder / "edge.out").read_text().splitlines()]


class Sipp:
    """SIPp as a company's call agent, from one address."""

    def __init__(self, company, net, role, name, scenario, speech, address, calls, more, running):
        self.name, self.calls, self.folder = f"{role} of {name}", calls, company.folder / f"{role}-{name}"
        self.folder.mkdir()
        (self.folder / "scenario.xml").write_text(scenario)
        (self.folder / f"{role}.ulaw").write_bytes(speech)
        (self.folder / f"{role}.pcap").write_bytes(rtp.capture_of(speech, PACKET_BYTES, 1 / PACKETS_PER_SECOND))
        command = ["sipp", *more, "-sf", "scenario.xml", "-t", "t1", "-m", str(calls), "-i", address, "-p", "5060"]
        command += ["-bind_local", "-mi", address, "-nostdin", "-timeout", "90", "-timeout_error"]
        command += ["-trace_err", "-error_file", "errors", "-trace_msg", "-message_file", "messages"]
        command += ["-trace_stat", "-stf", "statistics", "-fd", "1"]
        screen = running.enter_context(open(self.folder / "screen", "wb"))
        self.process = start(net.inside(company.pbx_name, *command), self.folder, running, stdout=screen, stderr=screen)
        if role == "callee":
            wait_for(lambda: self._listens(net, company, address), 10, f"the {name} does not listen")

    def _listens(self, net, company, address):
        require(self.process.poll() is None, f"the {self.name} ended:\n{tail(self.folder / 'screen')}")
        return f"{address}:5060" in net.run(company.pbx_name, "ss", "-tlnH").replace("[", "").replace("]", "")

    def wait_for_message(self, text, timeout_s):
        """Waits until the agent has sent or received a message with this text."""
        messages = self.folder / "messages"
        said = lambda: messages.exists() and text in messages.read_text(errors="replace")
        wait_for(said, timeout_s, f"the {self.name} saw no {text} in {timeout_s} s")

    def finish(self):
        """Waits for the end; every call must have gone as the scenario says."""
        code = self.process.wait(timeout=100)
        errors = self.folder / "errors"
        require(code == 0, f"the {self.name} ended with {code}:\n{tail(errors) if errors.exists() else ''}")
        row = last_row(self.folder / "statistics")
        counts = row["SuccessfulCall(C)"], row["FailedCall(C)"]
        require(counts == (str(self.calls), "0"), f"the {self.name} counts {counts[0]} good calls, {counts[1]} failed")
