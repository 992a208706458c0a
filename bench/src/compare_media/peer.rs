//! The peer: Debian's rtpengine, installed when missing, started with the configuration beside this program.
//!
//! It uses userspace forwarding alone; the kernel module is not loaded.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::call::{Ends, Relayed};
use super::machine::Cores;
use super::ng::{Client, Value};
use super::process::Process;
use super::relay::Relay;

/// A running rtpengine.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Process,
    control: Client,
    calls: u32,
}

impl Peer {
    /// Starts it.
    ///
    /// # Errors
    /// In words, when it does not start.
    pub(crate) fn start(folder: &Path, cores: Cores) -> Result<Self, String> {
        let config = folder.join("rtpengine.conf");
        fs::write(&config, CONFIG).map_err(|why| format!("{}: {why}", config.display()))?;
        let mut control = Client::new(([127, 0, 0, 1], CONTROL_PORT).into()).map_err(|why| why.to_string())?;
        let ping = Value::dictionary([("command", Value::text("ping"))]);
        if control.ask(&ping).is_ok() {
            return Err(format!(
                "an rtpengine runs already on 127.0.0.1:{CONTROL_PORT}: end it first"
            ));
        }
        let mut command = Command::new(PROGRAM);
        command.arg("--config-file").arg(&config);
        let mut process = Process::start(&mut command, &folder.join("rtpengine.log"), cores)?;
        process.wait_ready(|| control.ask(&ping).is_ok())?;
        Ok(Self {
            process,
            control,
            calls: 0,
        })
    }
}

impl Relay for Peer {
    fn process(&self) -> &Process {
        &self.process
    }

    /// Offer from the outside, answer from the inside.
    fn set_up(&mut self, ends: &Ends) -> Result<Relayed, String> {
        self.calls += 1;
        let call_id = format!("call-{}", self.calls);
        let ask = |command: &str, sdp: &str, profile: &str| {
            Value::dictionary([
                ("command", Value::text(command)),
                ("call-id", Value::text(&call_id)),
                ("from-tag", Value::text("outside")),
                ("to-tag", Value::text("inside")),
                ("sdp", Value::text(sdp)),
                ("transport-protocol", Value::text(profile)),
                ("replace", Value::List(vec![Value::text("origin")])),
                ("ICE", Value::text("remove")),
                ("DTLS", Value::text("off")),
            ])
        };
        let offered = self.control.ask(&ask("offer", &ends.outside_sdp(), "RTP/AVP"))?;
        let answered = self.control.ask(&ask("answer", &ends.inside_sdp(), "RTP/SAVP"))?;
        let sdp = |answer: &Value| {
            answer
                .bytes("sdp")
                .map(<[u8]>::to_vec)
                .ok_or("ng: no session in the answer")
        };
        ends.relayed(&sdp(&offered)?, &sdp(&answered)?)
    }
}

/// Makes sure that rtpengine is there, and returns its version.
///
/// # Errors
/// In words, when it is missing and cannot be installed.
pub(crate) fn install() -> Result<String, String> {
    if let Some(version) = version() {
        return Ok(version);
    }
    eprintln!("rtpengine is missing: installing Debian's rtpengine-daemon");
    let installed = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends", "rtpengine-daemon"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output();
    let how = "install the package rtpengine-daemon (as root: apt-get install rtpengine-daemon), end the service it starts, and try again";
    match installed {
        Ok(output) if output.status.success() => version().ok_or_else(|| format!("rtpengine does not run: {how}")),
        Ok(output) => Err(format!("{}\n{how}", String::from_utf8_lossy(&output.stderr))),
        Err(why) => Err(format!("apt-get: {why}; {how}")),
    }
}

fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    Some(line.trim_start_matches("Version: ").to_owned())
}

/// The program as Debian names it.
const PROGRAM: &str = "rtpengine";

/// As it was measured when the aims were set.
const CONFIG: &str = include_str!("../../peers/rtpengine.conf");

/// `listen-ng` in that file.
const CONTROL_PORT: u16 = 2223;
