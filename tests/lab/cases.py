"""What the lab plays: one function a case, each returning its summary."""

import json
import time
from dataclasses import replace

import company as companies
import network
from bed import HERE, Call, callee_scenario, caller_scenario, place_calls, refused_call, start_agents
from calls import end, require, start, wait_for

# What the call agent knows of a peer: a route learned from its validator.
LEARNED_URI = "sip:cluster1@{domain}:5061;maddr={address};transport=tcp;lr"
TICKET_HEADER = "X-Cisco-UC-IME-Ticket"


def trunk(setting):
    """The edge finds the peer by the number, and adds the ticket."""
    lab = setting.lab("trunk.toml")
    return both_ways(lab, trunk_call(lab))


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


def fallback(setting):
    """30 % loss on the Internet, and the calling edge has its agent move the call to the PSTN."""
    lab = setting.lab("trunk.toml", more_a="\n[fallback]\nhold_down_s = 10\n")
    call = trunk_call(lab)
    forever = callee_scenario(call).replace("callee.ulaw,1,0", "callee.ulaw,-1,0")
    caller = caller_scenario(call, HERE / "caller-refer.xml")
    called, calling = start_agents(lab, "moved", call, 1, caller, forever)
    wait_for(lambda: lab.show("a", "calls")["calls"], 10, "the call does not come up")
    time.sleep(3)
    began = time.monotonic()
    lab.impair(loss=0.3)
    calling.wait_for_message("REFER sip:", 45)
    seconds = time.monotonic() - began
    lab.impair()
    calling.finish()
    called.finish()
    wait_for(lambda: companies.records(lab.a), 10, "there is no call record")
    [record] = companies.records(lab.a)
    require(record["fallback"] is not None, f"the record tells of no fallback: {record}")
    require(seconds >= 10, f"the REFER came after {seconds:.1f} s, before the hold-down's end")
    return f"REFER {seconds:.1f} s after 30 % loss began (hold-down 10 s), the call moved and ended well"


def validator(setting):
    """Routes come from a validator that is killed and comes back, and the edge is killed and comes back without it."""
    lab = setting.lab("trunk.toml", more_a='\n[state]\ndir = "state"\n\n[validator]\naddress = "unix:validator.sock"\n'
                                           "reconnect_s = 1\n")
    first, second = "+12125550198", "+12125550199"
    stand_in = Validator(setting, lab)
    stand_in.tell([learned_route(lab, first)])
    stand_in.start()
    wait_for(lambda: lab.show("a", "routes")["routes"], 10, "the learned route does not arrive")
    refused_call(lab, "unknown", trunk_call(lab, second), 503)
    place_calls(lab, "learned", trunk_call(lab, first), count=1)
    stand_in.kill()
    wait_for(lambda: lab.metric("a", "tollgate_validator_up") == 0, 10, "the edge does not see that the validator is lost")
    require("validator: lost" in lab.page("a", "/readyz"), "/readyz does not tell that the validator is lost")
    place_calls(lab, "validator-lost", trunk_call(lab, first), count=1)
    companies.kill_edge(lab.a)
    seconds = companies.start_edge(lab.a, lab.net, lab.tollgate, lab.running)
    require(seconds < 2, f"the edge took {seconds:.1f} s to come back")
    place_calls(lab, "edge-killed", trunk_call(lab, first), count=1)
    stand_in.tell([learned_route(lab, first), learned_route(lab, second)])
    stand_in.start()
    wait_for(lambda: len(lab.show("a", "routes")["routes"]) == 2, 15, "the validator that came back is not heard")
    place_calls(lab, "validator-back", trunk_call(lab, second), count=1)
    return f"4 calls over learned routes; edge back in {seconds:.1f} s after kill -9 with its routes, without the validator"


def mapping_survives_kill(setting):
    """An edge off-path is killed, and the next call goes over the mapping it had handed out."""
    lab = setting.lab("off-path.toml")
    mapped = map_peer(lab, network.EDGE_B)
    place_calls(lab, "before", mapped_call(lab, mapped), count=1)
    # Mappings are written within a second or two.
    time.sleep(3)
    companies.kill_edge(lab.a)
    seconds = companies.start_edge(lab.a, lab.net, lab.tollgate, lab.running)
    require(seconds < 2, f"the edge took {seconds:.1f} s to come back")
    place_calls(lab, "after", mapped_call(lab, mapped), count=1)
    require(map_peer(lab, network.EDGE_B) == mapped, "the same question has another answer after the restart")
    return f"edge back in {seconds:.1f} s after kill -9, the next call goes over the mapping it had handed out"


class Validator:
    """The stand-in validator of company A."""

    def __init__(self, setting, lab):
        self.lab, self.program = lab, setting.tollgate.parent / "validator"
        self.facts, self.process = lab.a.folder / "facts.json", None

    def tell(self, routes):
        next_facts = self.facts.with_suffix(".next")
        next_facts.write_text(json.dumps({"routes": routes}))
        next_facts.rename(self.facts)

    def start(self):
        socket = self.lab.a.folder / "validator.sock"
        socket.unlink(missing_ok=True)
        log = self.lab.running.enter_context(open(self.lab.folder / "validator.log", "ab"))
        command = [self.program, "--socket", socket, "--facts", self.facts]
        self.process = start(command, self.lab.folder, self.lab.running, stderr=log)

    def kill(self):
        end(self.process)


def learned_route(lab, number):
    """A route to company B for a number, with a ticket that B granted."""
    mint = ["ticket", "mint", "--policy", lab.b.folder / lab.b.policy, "--number", number, "--granted-to", lab.a.domain]
    ticket = network.run(lab.tollgate, *mint).strip()
    return {
        "number": number, "domain": lab.b.domain, "targets": [f"{network.EDGE_B}:5061"], "ticket": ticket,
        "expires_at_ms": int((time.time() + 3600) * 1000),
    }


def trunk_call(lab, number=None):
    target = f"{lab.a.inside}:5060"
    callee = replace(lab.b, number=number) if number else lab.b
    return Call(lab.a, callee, lab.a.pbx, lab.b.pbx, target, f"sip:{callee.number}@{target}")


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


CASES = [
    trunk, off_path, off_path_to_ipv6, inline, inline_by_ipv6, fallback, validator, mapping_survives_kill,
]
