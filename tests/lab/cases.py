"""What the lab plays: one function a case, each returning its summary."""

import json
from dataclasses import replace

import network
from bed import Call, place_calls
from calls import require

# What the call agent knows of a peer: a route learned from its validator.
LEARNED_URI = "sip:cluster1@{domain}:5061;maddr={address};transport=tcp;lr"
TICKET_HEADER = "X-Cisco-UC-IME-Ticket"


def trunk(setting):
    """The edge finds the peer by the number, and adds the ticket."""
    lab = setting.lab("trunk.toml")
    target = f"{lab.a.inside}:5060"
    outbound = Call(lab.a, lab.b, lab.a.pbx, lab.b.pbx, target, f"sip:{lab.b.number}@{target}")
    return both_ways(lab, outbound)


def off_path(setting):
    """The agent asks for an inside address that stands for the peer's, and calls there."""
    lab = setting.lab("off-path.toml")
    mapped = map_peer(lab, network.EDGE_B)
    summary = both_ways(lab, mapped_call(lab, mapped))
    shown = lab.show("a", "mappings")["mappings"]
    require([one["mapped"] for one in shown] == [mapped], f"the mappings shown are {shown}")
    return summary


def off_path_to_ipv6(setting):
    """The agent speaks IPv4, the peer is reached by IPv6: the mapped address is of the agent's family."""
    lab = setting.lab("off-path.toml")
    mapped = map_peer(lab, f"[{network.EDGE_B6}]")
    return both_ways(lab, mapped_call(lab, mapped))


def inline(setting):
    """The agent connects to the peer's public address, and the edge takes that connection on its way."""
    lab = setting.lab("inline.toml")
    return both_ways(lab, taken_call(lab, network.EDGE_B, lab.a.pbx))


def inline_by_ipv6(setting):
    """The same by IPv6 from agent to peer edge, where the agent opposite has IPv4 alone."""
    lab = setting.lab("inline.toml")
    # SIPp does not listen where its replayed media comes from, and the kernel would say so to the edge.
    lab.net.run("pbx-a", "nft", "add table inet quiet; add chain inet quiet out { type filter hook output priority 0; }; "
                "add rule inet quiet out icmpv6 type destination-unreachable drop")
    call = taken_call(lab, f"[{network.EDGE_B6}]", lab.a.pbx6)
    media = place_calls(lab, "outbound", replace(call, plays_capture=True), count=1)
    return f"1 call, 0 failed, rtp sent {media.sent} received {media.received}, payload equal, nothing outside in clear"


def map_peer(lab, host):
    """Asks the mapping service as the agent does; returns the mapped address."""
    command = ["map", f"{host}:5061", "--domain", lab.b.domain, "--service", f"{lab.a.inside}:8060", "--json"]
    return json.loads(lab.net.run("pbx-a", lab.tollgate, *command))["mapped"]


def mapped_call(lab, mapped):
    """A call to the mapped address, which stands in Request-URI, To and Route (edge.md 1)."""
    headers = (f"Route: <sip:cluster1@{mapped};transport=tcp;lr>", f"{TICKET_HEADER}: {lab.ticket(lab.b)}")
    return Call(lab.a, lab.b, lab.a.pbx, lab.b.pbx, mapped, f"sip:{lab.b.number}@{mapped}", headers)


def taken_call(lab, host, from_ip):
    """A call to the peer's own address, with the learned URI as topmost Route (edge.md 1)."""
    # SIPp takes square brackets for a keyword; this one is the address it connects to, with brackets for IPv6.
    learned = LEARNED_URI.format(domain=lab.b.domain, address="[remote_ip]")
    headers = (f"Route: <{learned}>", f"{TICKET_HEADER}: {lab.ticket(lab.b)}")
    request_uri = f"sip:{lab.b.number}@{lab.b.domain}"
    return Call(lab.a, lab.b, from_ip, lab.b.pbx, f"{host}:5061", request_uri, headers)


def both_ways(lab, outbound):
    """Calls from A as given, and calls from B, which has a trunk in every case."""
    media = [place_calls(lab, "outbound", outbound), place_calls(lab, "inbound", inbound(lab))]
    sent, received = (sum(getattr(one, what) for one in media) for what in ("sent", "received"))
    return f"10 calls, 0 failed, rtp sent {sent} received {received}, payload equal, nothing outside in clear"


def inbound(lab):
    a, b = lab.a, lab.b
    target = f"{b.inside}:5060"
    return Call(b, a, b.pbx, a.pbx, target, f"sip:{a.number}@{target}")


CASES = [trunk, off_path, off_path_to_ipv6, inline, inline_by_ipv6]
