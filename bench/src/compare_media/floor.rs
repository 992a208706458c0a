//! The floor: this same program as an empty relay (`relay-floor`), one pair of sockets a call.

use std::env;
use std::net::SocketAddr;
use std::process::Command;

use super::call::{Ends, FIRST_PORT, Relayed};
use super::process::Process;
use super::relay::{Place, Relay, Terms};

/// The running floor.
#[derive(Debug)]
pub(crate) struct Floor {
    process: Process,
    inside: SocketAddr,
    outside: SocketAddr,
    calls: u16,
}

impl Floor {
    /// Starts it with all pairs bound.
    ///
    /// # Errors
    /// In words, when it does not start.
    pub(crate) fn start(place: &Place, terms: Terms, wait_us: u32) -> Result<Self, String> {
        let inside = SocketAddr::new(place.network.inside(1), FIRST_PORT);
        let outside = SocketAddr::new(place.network.outside(1), FIRST_PORT);
        let own = env::current_exe().map_err(|why| why.to_string())?;
        let mut command = Command::new(own);
        command.arg("relay-floor");
        for (name, value) in [
            ("--inside", inside.to_string()),
            ("--outside", outside.to_string()),
            ("--calls", terms.calls.to_string()),
            ("--wait-us", wait_us.to_string()),
        ] {
            command.args([name, &value]);
        }
        let log = place.folder.join("floor.log");
        let mut process = Process::start(&mut command, &log, place.cores)?;
        process.wait_ready(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready")))?;
        Ok(Self {
            process,
            inside,
            outside,
            calls: 0,
        })
    }
}

impl Relay for Floor {
    fn process(&self) -> &Process {
        &self.process
    }

    fn set_up(&mut self, _: &Ends) -> Result<Relayed, String> {
        let port = FIRST_PORT + self.calls;
        self.calls += 1;
        Ok(Relayed {
            inside: SocketAddr::new(self.inside.ip(), port),
            outside: SocketAddr::new(self.outside.ip(), port),
            key: None,
        })
    }
}
