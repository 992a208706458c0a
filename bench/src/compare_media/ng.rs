//! rtpengine's control protocol "ng": a cookie and a bencoded dictionary in one datagram each way.
//!
//! It asks one thing at a time and repeats nothing. Source: rtpengine's `docs/ng_control_protocol.md`, BEP 3 (bencode).

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A bencoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// An integer.
    Integer(i64),
    /// A string of bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A dictionary.
    Dictionary(BTreeMap<Vec<u8>, Self>),
}

impl Value {
    /// A string.
    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// A dictionary of these.
    pub(crate) fn dictionary<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Dictionary(entries.map(|(key, value)| (key.as_bytes().to_vec(), value)).into())
    }

    /// The bytes under a key of a dictionary.
    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        match self {
            Self::Dictionary(entries) => match entries.get(key.as_bytes())? {
                Self::Bytes(bytes) => Some(bytes),
                Self::Integer(_) | Self::List(_) | Self::Dictionary(_) => None,
            },
            Self::Integer(_) | Self::Bytes(_) | Self::List(_) => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Self::Dictionary(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    write_bytes(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Reads one value; what follows it is returned beside it.
    fn read(input: &[u8], depth: usize) -> Option<(Self, &[u8])> {
        if depth > MAX_DEPTH {
            return None;
        }
        match input.first()? {
            b'i' => {
                let end = input.iter().position(|byte| *byte == b'e')?;
                let number = std::str::from_utf8(input.get(1..end)?).ok()?.parse().ok()?;
                Some((Self::Integer(number), input.get(end + 1..)?))
            }
            b'l' => {
                let (mut values, mut rest) = (Vec::new(), input.get(1..)?);
                while *rest.first()? != b'e' {
                    let (value, after) = Self::read(rest, depth + 1)?;
                    values.push(value);
                    rest = after;
                }
                Some((Self::List(values), rest.get(1..)?))
            }
            b'd' => {
                let (mut entries, mut rest) = (BTreeMap::new(), input.get(1..)?);
                while *rest.first()? != b'e' {
                    let (key, after) = read_bytes(rest)?;
                    let (value, after) = Self::read(after, depth + 1)?;
                    entries.insert(key, value);
                    rest = after;
                }
                Some((Self::Dictionary(entries), rest.get(1..)?))
            }
            _ => read_bytes(input).map(|(bytes, rest)| (Self::Bytes(bytes), rest)),
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

fn read_bytes(input: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let colon = input.iter().position(|byte| *byte == b':')?;
    let len: usize = std::str::from_utf8(input.get(..colon)?).ok()?.parse().ok()?;
    let start = colon + 1;
    let end = start.checked_add(len)?;
    Some((input.get(start..end)?.to_vec(), input.get(end..)?))
}

/// A client of the control port.
#[derive(Debug)]
pub(crate) struct Client {
    socket: UdpSocket,
    asked: u64,
}

impl Client {
    /// A client of the control port at this address.
    ///
    /// # Errors
    /// When no socket can be had.
    pub(crate) fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((server.ip(), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, asked: 0 })
    }

    /// Sends a command and awaits its answer.
    ///
    /// # Errors
    /// In words, when no answer comes, or an error does.
    pub(crate) fn ask(&mut self, command: &Value) -> Result<Value, String> {
        self.asked += 1;
        let cookie = format!("{} ", self.asked);
        let mut datagram = cookie.clone().into_bytes();
        command.write(&mut datagram);
        self.socket.send(&datagram).map_err(|why| format!("ng: {why}"))?;
        let mut buffer = vec![0; 65_536];
        loop {
            let len = self.socket.recv(&mut buffer).map_err(|why| format!("ng: {why}"))?;
            // An answer to what was given up before is passed over.
            let Some(body) = buffer[..len].strip_prefix(cookie.as_bytes()) else {
                continue;
            };
            let (answer, _) = Value::read(body, 0).ok_or("ng: the answer is no bencode")?;
            return match answer.bytes("result") {
                Some(b"ok" | b"pong") => Ok(answer),
                _ => {
                    let reason = answer.bytes("error-reason").unwrap_or(b"no reason given");
                    Err(format!("ng: refused: {}", String::from_utf8_lossy(reason)))
                }
            };
        }
    }
}

/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers nest less deep.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionary_is_written_sorted_and_reads_back() {
        let value = Value::dictionary([
            ("sdp", Value::text("v=0\r\n")),
            ("command", Value::text("offer")),
            ("replace", Value::List(vec![Value::text("origin"), Value::Integer(-3)])),
        ]);
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        assert_eq!(bytes, b"d7:command5:offer7:replacel6:origini-3ee3:sdp5:v=0\r\ne");
        assert_eq!(Value::read(&bytes, 0), Some((value, &b""[..])));
    }

    #[test]
    fn damaged_input_is_none() {
        for input in [
            &b"d3:a"[..],
            b"i12",
            b"9:abc",
            b"l",
            b"",
            b"99999999999999999999:a",
            &[b'l'; 100],
        ] {
            assert_eq!(Value::read(input, 0), None);
        }
    }
}
