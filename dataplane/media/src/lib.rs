//! Packets: RTP, SRTP, latching, flows, quality
