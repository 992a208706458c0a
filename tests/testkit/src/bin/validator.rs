//! `validator --socket PATH --facts FILE [--vap USER PASSWORD_FILE VSERVICE] [--mischief NAME]`: a stand-in for a
//! validator, until it is killed.
//!
//! The facts are a document as the admin address takes it, read again whenever the file changes. All logic is in
//! `tollgate_testkit::validator`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tollgate_contract::Secret;
use tollgate_testkit::validator::{Face, Mischief, Settings, StandIn};
use tollgate_validator::vap::session::ServerConfig;

const USAGE: &str = "usage: validator --socket PATH --facts FILE [--vap USER PASSWORD_FILE VSERVICE] [--mischief NAME]";

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let (settings, facts) = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("validator: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let socket = settings.socket.clone();
    let stand_in = match StandIn::start(settings) {
        Ok(stand_in) => stand_in,
        Err(why) => {
            eprintln!("validator: {}: {why}", socket.display());
            return ExitCode::FAILURE;
        }
    };
    eprintln!("validator: listening on {}", socket.display());
    let mut seen = None;
    loop {
        follow(&stand_in, &facts, &mut seen);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Publishes the file if it is another one than was seen last.
fn follow(stand_in: &StandIn, facts: &Path, seen: &mut Option<Vec<u8>>) {
    let Ok(bytes) = std::fs::read(facts) else {
        return;
    };
    if seen.as_ref() == Some(&bytes) {
        return;
    }
    let document = serde_json::from_slice(&bytes).map_err(|why| why.to_string());
    match document.and_then(|document| stand_in.publish(document)) {
        Ok(()) => eprintln!("validator: revision {}", stand_in.revision()),
        Err(why) => eprintln!("validator: {}: {why}", facts.display()),
    }
    *seen = Some(bytes);
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<(Settings, PathBuf), String> {
    let (mut socket, mut facts, mut face, mut mischief) = (None, None, Face::Feed, Mischief::None);
    while let Some(option) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{option} wants a value"));
        match option.as_str() {
            "--socket" => socket = Some(PathBuf::from(value()?)),
            "--facts" => facts = Some(PathBuf::from(value()?)),
            "--vap" => {
                let (user, password_file, vservice) = (value()?, value()?, value()?);
                let password =
                    std::fs::read_to_string(&password_file).map_err(|why| format!("{password_file}: {why}"))?;
                let vservice = vservice.parse().map_err(|why| format!("--vap: {why}"))?;
                face = Face::Vap(ServerConfig {
                    vservices: vec![vservice],
                    ..ServerConfig::new(&user, Secret::new(password.trim_end().as_bytes().to_vec()))
                });
            }
            "--mischief" => {
                let name = value()?;
                let found = Mischief::NAMED.into_iter().find(|(known, _)| *known == name);
                mischief = found.ok_or_else(|| format!("no mischief is named {name}"))?.1;
            }
            other => return Err(format!("{other} is not known")),
        }
    }
    let socket = socket.ok_or("--socket is missing")?;
    let settings = Settings {
        face,
        mischief,
        ..Settings::feed(&socket)
    };
    Ok((settings, facts.ok_or("--facts is missing")?))
}
