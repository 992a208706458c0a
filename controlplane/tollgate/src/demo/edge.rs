//! An edge: this same program as a child process.
//!
//! It is stopped by force and at once; a graceful end is not what the demo shows.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::company::Company;

/// A running edge. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Edge {
    name: &'static str,
    admin: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Edge {
    /// Starts the edge of a company whose policy lies in `folder`; its output goes to a log there.
    ///
    /// # Errors
    /// In words, if there is no program to start or no log to write.
    pub(super) fn start(company: &Company, folder: &Path) -> Result<Self, String> {
        let name = company.name;
        let wrong = |why: std::io::Error| format!("{name}'s edge cannot be started: {why}");
        let log = company.log_path(folder);
        let output = File::create(&log).map_err(wrong)?;
        let child = Command::new(std::env::current_exe().map_err(wrong)?)
            .arg("run")
            .arg("--policy")
            .arg(company.policy_path(folder))
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(wrong)?)
            .stderr(output)
            .spawn()
            .map_err(wrong)?;
        Ok(Self {
            name,
            admin: company.admin,
            log,
            child,
        })
    }

    /// Waits until the edge says it is ready.
    ///
    /// # Errors
    /// In words, with the last lines of its log, if it ends or stays unready.
    pub(super) async fn ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while !is_ready(self.admin).await {
            if let Some(why) = self.death() {
                return Err(format!("{why}:\n{}", self.log_end()));
            }
            if started.elapsed() > START_PATIENCE {
                return Err(format!(
                    "{}'s edge is not ready after {START_PATIENCE:?}:\n{}",
                    self.name,
                    self.log_end()
                ));
            }
            sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    /// How the process has ended, in words; `None` while it runs.
    pub(super) fn death(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("{}'s edge has ended ({status})", self.name)),
            Err(why) => Some(format!("{}'s edge cannot be watched: {why}", self.name)),
        }
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let asked = timeout(Duration::from_secs(1), async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4_096).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    asked
        .await
        .is_ok_and(|answer| answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200")))
}

/// How long an edge may take to start.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// Lines of a log repeated in an error.
const LOG_LINES: usize = 8;
