"""Calls with media between SIPp agents of two companies, over an Internet that can be made bad, watched from between.

It judges by SIPp's counters and captures in three places; what is played is in `cases.py`.
"""

import json
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INTEROP = HERE.parent / "interop"
sys.path[:0] = [str(HERE), str(INTEROP)]

import company as companies  # noqa: E402
import network  # noqa: E402
import rtp  # noqa: E402
from calls import PACKET_BYTES, SHARE_TO_ARRIVE, STREAM_PACKETS, Failure, require, start, tail, wait_for  # noqa: E402

# Where tcpdump listens: both call agents, and the Internet.
PLACES = {"pbx-a": "lan", "pbx-b": "lan", "inet": "to-a"}
INSIDE_ADDRESSES = [network.PBX_A, network.EDGE_A_INSIDE, network.PBX_B, network.EDGE_B_INSIDE]
INSIDE_ADDRESSES += [network.PBX_A6, network.EDGE_A_INSIDE6, network.PBX_B6, network.EDGE_B_INSIDE6]


@dataclass
class Speech:
    """What the calling and the called agent say, one stream a call."""

    caller: bytes
    callee: bytes


class Lab:
    """A network with both companies' edges running, ready for calls."""

    def __init__(self, tollgate, policy, folder, running, more_a="", more_b=""):
        self.tollgate, self.folder, self.running = tollgate, folder, running
        self.net = running.enter_context(network.Network())
        self._start_router()
        credentials = folder / "credentials"
        subprocess.run([tollgate, "demo", "--write", credentials], check=True, stdout=subprocess.DEVNULL)
        self.a, self.b = companies.alpha(policy), companies.beta()
        companies.write(self.a, tollgate, credentials, folder / "a", more_a)
        companies.write(self.b, tollgate, credentials, folder / "b", more_b)
        if policy == "inline.toml":
            self._put_inline()
        self._close_the_inside_firewall(policy)
        for one in (self.a, self.b):
            companies.start_edge(one, self.net, tollgate, running)
        seeded = random.Random(1)
        self.speech = Speech(*(seeded.randbytes(PACKET_BYTES * STREAM_PACKETS) for _ in range(2)))

    def ticket(self, company):
        """The ticket with which others call a company."""
        name = {"a": "to-alpha", "b": "to-beta"}[company.letter]
        return (company.folder / "tickets" / f"{name}.ticket").read_text().strip()

    def show(self, letter, what):
        """What `tollgate show` says of a running edge."""
        return companies.show(getattr(self, letter), self.net, self.tollgate, what)

    def page(self, letter, path):
        """A page of an edge's admin address."""
        one = getattr(self, letter)
        script = f"import urllib.request as r; print(r.urlopen('http://{one.admin}{path}', timeout=5).read().decode())"
        return self.net.run(one.edge_name, sys.executable, "-c", script)

    def metric(self, letter, name):
        """The value of a metric without labels."""
        lines = self.page(letter, "/metrics").splitlines()
        return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"{name} "))

    def impair(self, **rules):
        """Makes the Internet bad, or good again if no rule is named; returns the router's counts so far."""
        self.router.stdin.write((json.dumps(rules) + "\n").encode())
        self.router.stdin.flush()
        return json.loads(self.router.stdout.readline())

    def capture(self, name):
        """Starts captures in all three places; `end` them before they are read."""
        return Capture(self, name)

    def _start_router(self):
        command = self.net.inside("inet", sys.executable, "-B", HERE / "router.py", "1")
        log = self.running.enter_context(open(self.folder / "router.log", "wb"))
        self.router = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.running.callback(self._stop_router)
        self.impair()

    def _stop_router(self):
        self.router.stdin.close()
        self.router.wait(timeout=10)
        self.router.stdout.close()

    def _put_inline(self):
        """What the documentation of the inline deployment asks for besides the policy."""
        policy = self.a.folder / self.a.policy
        self.net.run("edge-a", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.net.run("edge-a", self.tollgate, "netfilter", "--policy", policy, "--apply")

    def _close_the_inside_firewall(self, policy):
        """Between agent and edge A only what the documentation names may pass; the rest is counted and dropped."""
        media, mapped, sip = {
            "trunk.toml": ("20000-20399", "", "5060"),
            "off-path.toml": ("30000-30399", ", 8060, 20000-20099", "5060"),
            "inline.toml": ("30000-30399", "", "5060-5061"),
        }[policy]
        rules = f"""table inet firewall {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != "inside" accept
        ct state established,related accept
        meta l4proto ipv6-icmp accept
        tcp dport {{ {sip}{mapped} }} accept
        udp dport {{ {sip}, {media} }} accept
        counter name refused drop
    }}
    counter refused {{ }}
}}
"""
        path = self.folder / "firewall.nft"
        path.write_text(rules)
        self.net.run("edge-a", "nft", "-f", path)

    def firewall_refusals(self):
        """Packets between agent and edge A that were not among the ports named."""
        listed = json.loads(self.net.run("edge-a", "nft", "-j", "list", "counter", "inet", "firewall", "refused"))
        return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)


class Capture:
    """tcpdump at both agents and on the Internet."""

    def __init__(self, lab, name):
        self.lab, self.folder = lab, lab.folder / f"capture-{name}"
        self.folder.mkdir()
        self.children = {place: self._start(place, device) for place, device in PLACES.items()}

    def _start(self, place, device):
        log = self.folder / f"{place}.log"
        command = ["tcpdump", "-i", device, "-n", "-s", "2048", "-B", "32768", "-Z", "root"]
        command += ["-w", self.folder / f"{place}.pcap"]
        stream = self.lab.running.enter_context(open(log, "wb"))
        child = start(self.lab.net.inside(place, *command), self.folder, self.lab.running, stderr=stream)
        wait_for(lambda: "listening on" in log.read_text(), 10, f"tcpdump does not listen at {place}")
        return child

    def end(self):
        for place, child in self.children.items():
            child.send_signal(signal.SIGINT)
            log = self.folder / f"{place}.log"
            require(child.wait(timeout=20) == 0, f"tcpdump at {place} failed:\n{tail(log)}")
            require("\n0 packets dropped by kernel" in log.read_text(), f"the capture at {place} is not whole")

    def datagrams(self, place):
        return list(rtp.read(str(self.folder / f"{place}.pcap")))


@dataclass
class Call:
    """Who calls whom from where, and with what in the INVITE."""

    caller: companies.Company
    callee: companies.Company
    caller_ip: str
    callee_ip: str
    target: str
    request_uri: str
    headers: tuple[str, ...] = ()
    # SIPp's rtp_stream knows IPv4 alone; a replayed capture has one SSRC, so it serves one call at a time.
    plays_capture: bool = False


@dataclass
class Media:
    """What became of the calls' RTP: packets sent, received, and seen outside."""

    sent: int
    received: int
    outside: int


def place_calls(lab, name, call, count=5):
    """Plays calls between the two agents and judges all that was seen of them."""
    capture = lab.capture(name)
    refused_before = lab.firewall_refusals()
    called, calling = start_agents(lab, name, call, count, caller_scenario(call), callee_scenario(call))
    calling.finish()
    called.finish()
    capture.end()
    refused = lab.firewall_refusals() - refused_before
    require(refused == 0, f"{refused} packets between agent and edge A were of ports that the documentation does not name")
    check_outside(capture)
    return judge_media(lab, capture, call, count)


def start_agents(lab, name, call, count, caller, callee):
    """SIPp at both ends, with these scenarios."""
    called = companies.Sipp(
        call.callee, lab.net, "callee", name, callee, lab.speech.callee, call.callee_ip, count, [], lab.running
    )
    more = [call.target, "-s", call.callee.number, "-r", "5"]
    calling = companies.Sipp(
        call.caller, lab.net, "caller", name, caller, lab.speech.caller, call.caller_ip, count, more, lab.running
    )
    return called, calling


def refused_call(lab, name, call, status):
    """One call that the edge must answer with this status at once."""
    scenario = (HERE / "caller-refused.xml").read_text().replace("[status]", str(status))
    more = [call.target, "-s", call.callee.number]
    companies.Sipp(
        call.caller, lab.net, "caller", name, scenario, b"", call.caller_ip, 1, more, lab.running
    ).finish()


def caller_scenario(call, path=INTEROP / "caller.xml"):
    """A caller in any address family, with the INVITE of the deployment."""
    text = any_family(path.read_text())
    text = text.replace("+14085550123", call.caller.number)
    if call.plays_capture:
        text = text.replace('rtp_stream="caller.ulaw,1,0"', 'play_pcap_audio="caller.pcap"')
        text = text.replace("[rtpstream_audio_port]", "[media_port]")
    text = text.replace("INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0", f"INVITE {call.request_uri} SIP/2.0")
    text = text.replace("To: <sip:[service]@[remote_ip]:[remote_port]>", f"To: <{call.request_uri}>")
    more = "".join(f"{header}\n" for header in call.headers)
    return text.replace("Content-Type: application/sdp\n", f"{more}Content-Type: application/sdp\n", 1)


def callee_scenario(call):
    return any_family((INTEROP / "callee.xml").read_text()).replace("+12125550123", call.callee.number)


def any_family(scenario):
    """SIPp writes addresses with brackets but in `media_ip`, and names the family on request."""
    return scenario.replace("IN IP4 [local_ip]", "IN IP[media_ip_type] [media_ip]").replace(
        "IN IP4 [media_ip]", "IN IP[media_ip_type] [media_ip]"
    )


def judge_media(lab, capture, call, count):
    """Each stream came whole to the other end, and what crossed the Internet was not what was said."""
    at = {letter: capture.datagrams(f"pbx-{letter}") for letter in "ab"}
    ways = [
        (call.caller, call.caller_ip, call.callee, call.callee_ip, "caller"),
        (call.callee, call.callee_ip, call.caller, call.caller_ip, "callee"),
    ]
    result, clear = Media(0, 0, 0), set()
    for sender, sender_ip, receiver, receiver_ip, role in ways:
        sent = streams_of(at[sender.letter], lambda datagram: datagram.source[0] == sender_ip)
        received = streams_of(at[receiver.letter], lambda datagram: datagram.target[0] == receiver_ip)
        require(len(sent) == count, f"the {role} sent {len(sent)} streams, not {count}")
        speech = getattr(lab.speech, role)
        short = sum(stream.payload() != speech for stream in sent.values())
        require(not short, f"the {role} did not send its whole speech in {short} calls")
        found = rtp.compare(sent, received)
        require(not found.faults, f"from the {role}: " + "; ".join(found.faults[:5]))
        share = found.received / found.sent
        require(share >= SHARE_TO_ARRIVE, f"from the {role} {found.received} of {found.sent} packets arrived")
        result.sent += found.sent
        result.received += found.received
        clear.update(packet[rtp.HEADER_BYTES :] for stream in sent.values() for packet in stream.packets)
    outside = capture.datagrams("inet")
    in_clear = sum(datagram.data[rtp.HEADER_BYTES :][:PACKET_BYTES] in clear for datagram in outside)
    result.outside = len(outside)
    require(result.outside >= result.received, f"only {result.outside} packets of media crossed the Internet")
    require(not in_clear, f"{in_clear} packets of media crossed the Internet in clear")
    return result


def streams_of(datagrams, is_wanted):
    """RTP streams by SSRC among the datagrams wanted; RTCP (RFC 5761 §4) and SIP are left out."""
    media = [one for one in datagrams if is_wanted(one) and 5060 not in (one.source[1], one.target[1])]
    media = [one for one in media if len(one.data) > 1 and not 192 <= one.data[1] <= 223]
    return rtp.by_ssrc(media)


def check_outside(capture):
    """No SIP in clear and nothing of either inside on the Internet."""
    for frame in rtp.frames(str(capture.folder / "inet.pcap")):
        require(b"SIP/2.0" not in frame, "SIP crossed the Internet in clear")
        strays = set(rtp.hosts_of(frame) or ()) & set(INSIDE_ADDRESSES)
        require(not strays, f"a packet of {strays} was on the Internet")
        written = [address for address in INSIDE_ADDRESSES if address.encode() in frame]
        require(not written, f"{written} was written in clear on the Internet")
