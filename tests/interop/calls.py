"""SIPp calls SIPp through two edges started on the example policies, and every RTP packet is accounted for.

It judges by SIPp's own counters, a packet capture on loopback, the edges' call records, and promtool. Usage: calls.py
TOLLGATE, as root.
"""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import rtp

HERE = Path(__file__).resolve().parent
CALLS = 100
CALLS_PER_SECOND = 10
# Less than the caller's pause (caller.xml), so that both streams end before the BYE even on a busy machine.
STREAM_S = 3
PACKET_BYTES, PACKETS_PER_SECOND = 160, 50
STREAM_PACKETS = STREAM_S * PACKETS_PER_SECOND
SHARE_TO_ARRIVE = 0.999
SIPP_TIMEOUT_S = 90
PORTS_TIMEOUT_S = 30
# As /proc/net/tcp has it.
TCP_LISTEN = "0A"


@dataclass(frozen=True)
class Company:
    """One side, where the example policies have it."""

    policy: str
    agent: str
    edge_inside: str
    edge_outside: str
    admin: str
    number: str


ALPHA = Company("trunk.toml", "127.0.10.2", "127.0.10.1", "127.0.11.1", "127.0.0.1:9091", "+14085550123")
BETA = Company("trunk-peer.toml", "127.0.20.2", "127.0.20.1", "127.0.21.1", "127.0.0.1:9092", "+12125550123")


class Failure(Exception):
    """Something is not as it must be, in words."""


def require(holds: bool, words: str) -> None:
    if not holds:
        raise Failure(words)


def main(tollgate: str) -> None:
    for transport in ("tcp", "udp"):
        folder = Path(tempfile.mkdtemp(prefix=f"tollgate-interop-{transport}-"))
        try:
            print(f"sipp {transport}: {CALLS} calls at {CALLS_PER_SECOND} a second, two streams of {STREAM_S} s each",
                  flush=True)
            print(f"sipp {transport}: {run(Path(tollgate).resolve(), transport, folder)}", flush=True)
        except (Failure, OSError, ValueError, subprocess.SubprocessError) as why:
            sys.exit(f"sipp {transport}: FAILED: {why}\nlogs, messages and the capture are in {folder}")
        shutil.rmtree(folder)


def run(tollgate: Path, transport: str, folder: Path) -> str:
    """One run over a transport; returns the summary."""
    require_free_addresses()
    write_files(tollgate, transport, folder)
    with ExitStack() as running:
        edges = [start_edge(tollgate, company, folder, running) for company in (ALPHA, BETA)]
        capture = start_capture(folder, running)
        statistics = place_calls(transport, folder, running)
        wait_until_ports_are_free(tollgate)
        check_metrics()
        stop_capture(capture, folder)
        for company, edge in zip((ALPHA, BETA), edges):
            edge.send_signal(signal.SIGTERM)
            require(edge.wait(timeout=20) == 0, f"the edge of {company.policy} ended with {edge.returncode}")
    check_statistics(statistics)
    return judge_media(list(rtp.read(str(folder / "lo.pcap"))), calls_in_records(folder), folder)


def require_free_addresses() -> None:
    """Nobody else answers in the place of our edges and agents."""
    for company in (ALPHA, BETA):
        admin, admin_port = company.admin.split(":")
        for address, port in (
            (company.agent, 5060),
            (company.edge_inside, 5060),
            (company.edge_outside, 5061),
            (admin, int(admin_port)),
        ):
            for transport in ("tcp", "udp"):
                require(not is_bound(address, port, transport), f"{address}:{port}/{transport} is in use already")


def write_files(tollgate: Path, transport: str, folder: Path) -> None:
    """The example policies with their files, the agents on this transport; and what the agents say."""
    subprocess.run([tollgate, "demo", "--write", folder], check=True, stdout=subprocess.DEVNULL)
    for seed, (company, name) in enumerate(((ALPHA, "caller"), (BETA, "callee"))):
        policy = folder / company.policy
        text = policy.read_text()
        agent = f'[inside.agent]\naddress = "{company.agent}:5060"\ntransport = "tcp"\n'
        require(text.count(agent) == 1, f"{company.policy} does not have the agent at {company.agent} over TCP")
        policy.write_text(text.replace(agent, agent.replace('"tcp"', f'"{transport}"')))
        speech = random.Random(seed).randbytes(PACKET_BYTES * STREAM_PACKETS)
        (folder / f"{name}.ulaw").write_bytes(speech)
        shutil.copy(HERE / f"{name}.xml", folder)


def start_edge(tollgate: Path, company: Company, folder: Path, running: ExitStack) -> subprocess.Popen:
    """A running edge that says it is ready; its records go to POLICY.out."""
    out = running.enter_context(open(folder / f"{company.policy}.out", "wb"))
    log = running.enter_context(open(folder / f"{company.policy}.log", "wb"))
    edge = start([tollgate, "run", "--policy", folder / company.policy], folder, running, stdout=out, stderr=log)
    until = time.monotonic() + 15
    while True:
        require(edge.poll() is None, f"the edge of {company.policy} ended at once:\n{tail(Path(log.name))}")
        try:
            fetch(company, "/readyz")
            return edge
        except OSError:
            require(time.monotonic() < until, f"the edge of {company.policy} is not ready after 15 s")
            time.sleep(0.05)


def start_capture(folder: Path, running: ExitStack) -> subprocess.Popen:
    """tcpdump, listening for all UDP of the two companies but SIP."""
    hosts = [host for company in (ALPHA, BETA) for host in (company.agent, company.edge_outside)]
    wanted = f"udp and not port 5060 and ({' or '.join(f'host {host}' for host in hosts)})"
    log = folder / "tcpdump.log"
    command = ["tcpdump", "-i", "lo", "-n", "-s", "2048", "-B", "65536", "-Z", "root", "-w", folder / "lo.pcap", wanted]
    capture = start(command, folder, running, stderr=running.enter_context(open(log, "wb")))
    wait_for(lambda: "listening on" in log.read_text(), 10, "tcpdump does not listen")
    return capture


def stop_capture(capture: subprocess.Popen, folder: Path) -> None:
    capture.send_signal(signal.SIGINT)
    require(capture.wait(timeout=20) == 0, f"tcpdump failed:\n{tail(folder / 'tcpdump.log')}")
    log = (folder / "tcpdump.log").read_text()
    require("\n0 packets dropped by kernel" in log, f"the capture is not whole, so nothing can be told:\n{log}")


def place_calls(transport: str, folder: Path, running: ExitStack) -> list[tuple[str, dict[str, str]]]:
    """SIPp behind either edge; returns both ends' statistics once both have ended well."""
    callee = start_sipp("callee", BETA, transport, [], folder, running)
    wait_for(lambda: is_bound(BETA.agent, 5060, transport), 10, "the called SIPp does not listen")
    target = [f"{ALPHA.edge_inside}:5060", "-s", BETA.number, "-r", str(CALLS_PER_SECOND)]
    caller = start_sipp("caller", ALPHA, transport, target, folder, running)
    for name, sipp in (("caller", caller), ("callee", callee)):
        code = sipp.wait(timeout=SIPP_TIMEOUT_S + 10)
        log = folder / f"{name}.errors"
        require(code == 0, f"the SIPp {name} ended with {code}:\n{tail(log) if log.exists() else ''}")
    return [(name, last_row(folder / f"{name}.csv")) for name in ("caller", "callee")]


def start_sipp(
    name: str, company: Company, transport: str, more: list[str], folder: Path, running: ExitStack
) -> subprocess.Popen:
    command = ["sipp", *more, "-sf", f"{name}.xml", "-t", f"{transport[0]}1", "-m", str(CALLS)]
    command += ["-i", company.agent, "-p", "5060", "-bind_local", "-mi", company.agent]
    command += ["-nostdin", "-timeout", str(SIPP_TIMEOUT_S), "-timeout_error"]
    command += ["-trace_err", "-error_file", f"{name}.errors", "-trace_msg", "-message_file", f"{name}.messages"]
    command += ["-trace_stat", "-stf", f"{name}.csv", "-fd", "1"]
    out = running.enter_context(open(folder / f"{name}.screen", "wb"))
    return start(command, folder, running, stdout=out, stderr=out)


def check_statistics(statistics: list[tuple[str, dict[str, str]]]) -> None:
    for name, row in statistics:
        counts = row["SuccessfulCall(C)"], row["FailedCall(C)"]
        require(counts == (str(CALLS), "0"), f"the SIPp {name} counts {counts[0]} good calls and {counts[1]} failed")


def wait_until_ports_are_free(tollgate: Path) -> None:
    """After the last call and its quarantine no media port is in use."""

    def at_rest() -> bool:
        for company in (ALPHA, BETA):
            command = [tollgate, "show", "ports", "--json", "--admin", company.admin]
            pools = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            if any(pool["used"] or pool["quarantined"] or not pool["free"] for pool in pools.values()):
                return False
        return True

    wait_for(at_rest, PORTS_TIMEOUT_S, f"media ports are still in use {PORTS_TIMEOUT_S} s after the last call")


def check_metrics() -> None:
    """promtool has nothing to say about the metrics, and they have counted the calls."""
    for company, way in ((ALPHA, "outbound"), (BETA, "inbound")):
        page = fetch(company, "/metrics")
        verdict = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
        complaints = (verdict.stdout + verdict.stderr).decode()
        require(verdict.returncode == 0 and not complaints, f"promtool on {company.policy}'s metrics: {complaints}")
        sample = f'tollgate_calls_total{{direction="{way}",result="completed"}} {CALLS}\n'
        require(sample in page.decode(), f"{company.policy}'s metrics lack {sample}")
        drops = json.loads(fetch(company, "/v1/drops"))
        refused = {kind: drops[kind] for kind in ("messages", "tickets")}
        require(not any(refused.values()), f"the edge of {company.policy} refused something: {refused}")


def calls_in_records(folder: Path) -> list[tuple[int, int]]:
    """Each call's media ports inside, at alpha and at beta, from the edges' call records."""
    ports = []
    for company in (ALPHA, BETA):
        lines = (folder / f"{company.policy}.out").read_text().splitlines()
        records = {record["call_id_outside"]: record for record in map(json.loads, lines)}
        require(len(lines) == len(records) == CALLS, f"{company.policy}: {len(lines)} call records, not {CALLS}")
        for record in records.values():
            ended = record["event"], record["result"], record["reason"], record["status"]
            require(ended == ("call_end", "completed", "bye", 200), f"{company.policy}: a call ended with {ended}")
        ports.append({name: record["media"][0]["local_ports"]["inside"] for name, record in records.items()})
    alphas, betas = ports
    require(alphas.keys() == betas.keys(), "the two edges' call records are not of the same calls")
    return sorted((alphas[name], betas[name]) for name in alphas)


def judge_media(datagrams: list[rtp.Datagram], calls: list[tuple[int, int]], folder: Path) -> str:
    """Each stream arrived whole, at the other end of its own call, and in clear nowhere between."""
    clear: set[bytes] = set()
    counts = []
    for sender, receiver, name in ((ALPHA, BETA, "caller"), (BETA, ALPHA, "callee")):
        sent = rtp.streams(datagrams, sender.agent, sender.edge_inside)
        received = rtp.streams(datagrams, receiver.edge_inside, receiver.agent)
        check_sent((folder / f"{name}.ulaw").read_bytes(), sent, name)
        check_ways(sent, received, calls if sender is ALPHA else [(beta, alpha) for alpha, beta in calls], name)
        found = rtp.compare(sent, received)
        require(not found.faults, f"from the {name}: " + "; ".join(found.faults[:5]))
        share = found.received / found.sent
        require(share >= SHARE_TO_ARRIVE, f"from the {name} {found.received} of {found.sent} packets arrived")
        counts.append(found)
        clear.update(packet[rtp.HEADER_BYTES :] for stream in sent.values() for packet in stream.packets)
    between = {ALPHA.edge_outside, BETA.edge_outside}
    outside = [datagram.data for datagram in datagrams if {datagram.source[0], datagram.target[0]} == between]
    in_clear = sum(data[rtp.HEADER_BYTES :][:PACKET_BYTES] in clear for data in outside)
    sent_both, received_both = (sum(getattr(count, which) for count in counts) for which in ("sent", "received"))
    require(len(outside) >= received_both and not in_clear, f"outside: {len(outside)} packets, {in_clear} in clear")
    return (
        f"{CALLS} calls, 0 failed, rtp sent {sent_both} received {received_both} (both ways), payload equal, "
        f"0 of {len(outside)} packets outside in clear, no port left in use, metrics pass promtool"
    )


def check_sent(speech: bytes, sent: dict[int, rtp.Stream], name: str) -> None:
    """SIPp did its part: a stream for each call, and all of the speech in each."""
    require(len(sent) == CALLS, f"the {name} sent {len(sent)} streams, not {CALLS}")
    short = [ssrc for ssrc, stream in sent.items() if stream.payload() != speech]
    require(not short, f"the {name} did not send its whole speech in {len(short)} calls")


def check_ways(
    sent: dict[int, rtp.Stream], received: dict[int, rtp.Stream], calls: list[tuple[int, int]], name: str
) -> None:
    """Each stream entered and left at the ports of one and the same call."""
    ways = []
    for ssrc, stream in sent.items():
        into, out_of = stream.ports, received.get(ssrc, rtp.Stream()).ports
        require(len(into) == len(out_of) == 1, f"the {name}'s stream {ssrc:08x} went from {into} to {out_of}")
        ways.append((next(iter(into))[1], next(iter(out_of))[0]))
    require(sorted(ways) == sorted(calls), f"a stream of the {name} reached another call than its own")


def start(command: list, folder: Path, running: ExitStack, **streams) -> subprocess.Popen:
    """A child in `folder`, ended with `running` at the latest."""
    streams.setdefault("stdout", subprocess.DEVNULL)
    child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, **streams)
    running.callback(end, child)
    return child


def end(child: subprocess.Popen) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()


def wait_for(holds, timeout_s: float, otherwise: str) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        require(time.monotonic() < until, otherwise)
        time.sleep(0.1)


def is_bound(address: str, port: int, transport: str) -> bool:
    """Whether somebody listens there, told by the kernel: a probe of our own could be in the way."""
    number = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    wanted = f"{number:08X}:{port:04X}"
    sockets = [line.split() for line in Path("/proc/net", transport).read_text().splitlines()[1:]]
    return any(fields[1] == wanted and (transport == "udp" or fields[3] == TCP_LISTEN) for fields in sockets)


def fetch(company: Company, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{company.admin}{path}", timeout=5) as answer:
        return answer.read()


def last_row(path: Path) -> dict[str, str]:
    """The last row of a SIPp statistics file, by column."""
    lines = path.read_text().splitlines()
    return dict(zip(lines[0].split(";"), lines[-1].split(";")))


def tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-10:])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: calls.py TOLLGATE")
    main(sys.argv[1])
