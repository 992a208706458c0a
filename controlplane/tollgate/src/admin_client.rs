//! Asking a running edge over its admin address: one HTTP/1.1 request, answered and closed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Sends a request and reads the JSON it is answered with.
pub(crate) fn ask(admin: SocketAddr, method: &str, path: &str) -> Result<Value, String> {
    let unreachable = |why: std::io::Error| format!("no edge answers at {admin}: {why} (is it running? see --admin)");
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT).map_err(unreachable)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(unreachable)?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(unreachable)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(unreachable)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{admin} does not speak HTTP"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(format!("{admin} answers {status}: {}", body.trim()));
    }
    let start = body.find(['{', '[']).unwrap_or(0);
    let end = body.rfind(['}', ']']).map_or(body.len(), |at| at + 1);
    serde_json::from_str(&body[start..end]).map_err(|why| format!("{admin} answers no JSON: {why}"))
}
