//! Asking a running edge over its admin address: one HTTP/1.1 request, answered and closed.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::args::AdminAt;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Sends a request and reads the JSON it is answered with.
pub(crate) fn ask(at: &AdminAt, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let (status, answer) = exchange(at, method, path, body)?;
    if !status.starts_with('2') {
        return Err(format!("{} answers {status}: {}", at.admin, answer.trim()));
    }
    json_in(&answer).map_err(|why| format!("{} answers no JSON: {why}", at.admin))
}

/// Sends a request and reads status and body of its answer.
pub(crate) fn exchange(
    at: &AdminAt,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<(String, String), String> {
    let admin = at.admin;
    let unreachable = |why: std::io::Error| format!("no edge answers at {admin}: {why} (is it running? see --admin)");
    let request = request(at, method, path, body)?;
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT).map_err(unreachable)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(unreachable)?;
    stream.write_all(request.as_bytes()).map_err(unreachable)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(unreachable)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{admin} does not speak HTTP"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "401" {
        return Err(format!("{admin} asks for a token: see --token-file"));
    }
    Ok((status.to_owned(), body.to_owned()))
}

/// The JSON value of a body, which may come in chunks.
pub(crate) fn json_in(body: &str) -> Result<Value, serde_json::Error> {
    let start = body.find(['{', '[']).unwrap_or(0);
    let end = body.rfind(['}', ']']).map_or(body.len(), |at| at + 1);
    serde_json::from_str(body.get(start..end).unwrap_or_default())
}

fn request(at: &AdminAt, method: &str, path: &str, body: Option<&Value>) -> Result<String, String> {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        at.admin
    );
    if let Some(file) = &at.token_file {
        let _ = write!(request, "Authorization: Bearer {}\r\n", token(file)?);
    }
    let _ = write!(
        request,
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Ok(request)
}

/// The token of a file, as the policy reads it: without the end of the line.
fn token(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|why| format!("--token-file {}: {why}", file.display()))?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "--token-file {}: not a token of printable characters",
            file.display()
        ));
    }
    Ok(token.to_owned())
}
