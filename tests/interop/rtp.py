"""RTP as a packet capture on loopback saw it: who sent what to whom, and whether it arrived whole.

It knows addresses and RTP (RFC 3550 §5.1) and nothing of SIP. Captures are classic pcap files with Ethernet frames.
"""

import socket
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Iterator

PCAP_MAGIC = 0xA1B2C3D4
ETHERNET, IPV4, IPV6, UDP = 1, 0x0800, 0x86DD, 17
HEADER_BYTES = 12


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram; addresses are pairs of IP address and port."""

    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


@dataclass
class Stream:
    """The RTP packets of one SSRC between one pair of hosts, in the order of the capture."""

    ports: set[tuple[int, int]] = field(default_factory=set)
    packets: list[bytes] = field(default_factory=list)

    def payload(self) -> bytes:
        return b"".join(packet[HEADER_BYTES:] for packet in self.packets)


@dataclass
class Comparison:
    """What was sent on one leg against what was received on another; both counts are packets."""

    sent: int = 0
    received: int = 0
    faults: list[str] = field(default_factory=list)


def read(path: str) -> Iterator[Datagram]:
    """The UDP datagrams of a capture."""
    return (datagram for frame in frames(path) if (datagram := udp_of(frame)) is not None)


def frames(path: str) -> Iterator[bytes]:
    """The frames of a capture."""
    with open(path, "rb") as capture:
        magic, *_, link = struct.unpack("=IHHiIII", capture.read(24))
        if (magic, link) != (PCAP_MAGIC, ETHERNET):
            raise ValueError(f"{path} is no pcap file of Ethernet frames")
        while header := capture.read(16):
            _, _, captured, length = struct.unpack("=IIII", header)
            frame = capture.read(captured)
            if captured != length or len(frame) != captured:
                raise ValueError(f"{path} holds a packet cut short")
            yield frame


def capture_of(speech: bytes, packet_bytes: int, interval_s: float) -> bytes:
    """A capture of one G.711 stream with this payload, for SIPp to replay over IPv6; it puts its own addresses in."""
    capture = [struct.pack("=IHHiIII", PCAP_MAGIC, 2, 4, 0, 0, 65_535, ETHERNET)]
    for number, start in enumerate(range(0, len(speech), packet_bytes)):
        payload = speech[start : start + packet_bytes]
        packet = struct.pack("!BBHII", 0x80, 0, number, number * packet_bytes, 0x0C0FFEE0) + payload
        udp = struct.pack("!HHHH", 6000, 6000, 8 + len(packet), 0) + packet
        ip = struct.pack("!IHBB", 6 << 28, len(udp), UDP, 64) + bytes(32)
        frame = bytes(12) + struct.pack("!H", IPV6) + ip + udp
        seconds, part = divmod(number * interval_s, 1)
        capture.append(struct.pack("=IIII", int(seconds), round(part * 1e6), len(frame), len(frame)) + frame)
    return b"".join(capture)


def hosts_of(frame: bytes) -> tuple[str, str] | None:
    """Source and target of the IP packet in a frame."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == IPV4:
        return socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
    if kind == IPV6:
        return socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
    return None


def udp_of(frame: bytes) -> Datagram | None:
    """The datagram in a frame; none in anything but unfragmented UDP over IP without extension headers."""
    hosts = hosts_of(frame)
    if hosts is None:
        return None
    ip = frame[14:]
    if ip[0] >> 4 == 4:
        start, protocol, is_fragment = (ip[0] & 0x0F) * 4, ip[9], struct.unpack_from("!H", ip, 6)[0] & 0x3FFF
    else:
        start, protocol, is_fragment = 40, ip[6], 0
    if protocol != UDP or is_fragment:
        return None
    source_port, target_port, length = struct.unpack_from("!HHH", ip, start)
    return Datagram((hosts[0], source_port), (hosts[1], target_port), ip[start + 8 : start + length])


def streams(datagrams: list[Datagram], source: str, target: str) -> dict[int, Stream]:
    """The RTP streams from one host to another, by SSRC."""
    return by_ssrc([one for one in datagrams if (one.source[0], one.target[0]) == (source, target)])


def by_ssrc(datagrams: list[Datagram]) -> dict[int, Stream]:
    """The RTP streams among datagrams that must all be RTP."""
    found: dict[int, Stream] = defaultdict(Stream)
    for datagram in datagrams:
        if len(datagram.data) < HEADER_BYTES or datagram.data[0] >> 6 != 2:
            raise ValueError(f"from {datagram.source} to {datagram.target}: not RTP: {datagram.data[:16].hex()}")
        (ssrc,) = struct.unpack_from("!I", datagram.data, 8)
        found[ssrc].ports.add((datagram.source[1], datagram.target[1]))
        found[ssrc].packets.append(datagram.data)
    return dict(found)


def compare(sent: dict[int, Stream], received: dict[int, Stream]) -> Comparison:
    """Holds each stream received against the one sent with its SSRC: header and payload, each packet once, in order."""
    result = Comparison()
    for ssrc in sorted(sent.keys() | received.keys()):
        before, after = sent.get(ssrc, Stream()), received.get(ssrc, Stream())
        result.sent += len(before.packets)
        result.received += len(after.packets)
        rest = iter(before.packets)
        for packet in after.packets:
            # Consumes what was sent up to this packet, so that neither order nor number can differ unseen.
            if packet not in rest:
                result.faults.append(f"SSRC {ssrc:08x}: {describe(packet)} changed, repeated or out of order")
                break
    return result


def describe(packet: bytes) -> str:
    """A packet's header in words."""
    _, kind, sequence, timestamp = struct.unpack_from("!BBHI", packet)
    return f"packet with type {kind & 0x7F}, sequence {sequence}, timestamp {timestamp}"
