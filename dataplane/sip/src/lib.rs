//! Signalling text: framing, index, lossless edits, SDP, transactions
