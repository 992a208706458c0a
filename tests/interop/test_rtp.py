"""The judge of the media must see what is wrong with it."""

import struct
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rtp  # noqa: E402

SSRC = 0xCA110000


def packet(sequence: int, payload: bytes = b"\x55" * 160) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, SSRC) + payload


def stream(*packets: bytes) -> dict[int, rtp.Stream]:
    return {SSRC: rtp.Stream({(6000, 20000)}, list(packets))}


def frame(data: bytes) -> bytes:
    udp = struct.pack("!HHHH", 6000, 20000, 8 + len(data), 0) + data
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + ip + bytes([127, 0, 10, 2, 127, 0, 10, 1]) + udp


def capture(*frames: bytes) -> bytes:
    head = struct.pack("=IHHiIII", rtp.PCAP_MAGIC, 2, 4, 0, 0, 2048, rtp.ETHERNET)
    return head + b"".join(struct.pack("=IIII", 0, 0, len(one), len(one)) + one for one in frames)


class Media(unittest.TestCase):
    def setUp(self) -> None:
        self.sent = stream(*map(packet, range(5)))

    def test_whole_stream_has_no_fault_and_a_gap_is_counted_only(self) -> None:
        for kept in (range(5), (0, 1, 3, 4)):
            found = rtp.compare(self.sent, stream(*map(packet, kept)))
            self.assertEqual((found.sent, found.received, found.faults), (5, len(kept), []))

    def test_changed_repeated_and_reordered_packets_are_faults(self) -> None:
        changed = packet(2, b"\x55" * 159 + b"\x54")
        for order in ([packet(0), changed], [packet(1), packet(1)], [packet(1), packet(0)]):
            self.assertEqual(len(rtp.compare(self.sent, stream(*order)).faults), 1)

    def test_stream_nobody_sent_is_a_fault(self) -> None:
        self.assertEqual(len(rtp.compare({}, self.sent).faults), 1)

    def test_capture_gives_back_addresses_and_bytes_and_must_be_whole(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(capture(frame(packet(7)), frame(packet(8))))
            datagrams = list(rtp.read(file.name))
            self.assertEqual(datagrams[0], rtp.Datagram(("127.0.10.2", 6000), ("127.0.10.1", 20000), packet(7)))
            found = rtp.streams(datagrams, "127.0.10.2", "127.0.10.1")
            self.assertEqual(found, {SSRC: rtp.Stream({(6000, 20000)}, [packet(7), packet(8)])})
            self.assertEqual(rtp.streams(datagrams, "127.0.10.1", "127.0.10.2"), {})
            Path(file.name).write_bytes(capture(frame(packet(7)))[:-1])
            self.assertRaises(ValueError, lambda: list(rtp.read(file.name)))


if __name__ == "__main__":
    unittest.main()
