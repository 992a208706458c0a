//! A program under measurement: started on the relay's core, watched through /proc, ended when dropped.
//!
//! It speaks no protocol. Sources: proc(5), sched-stats.rst of the kernel.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::machine::Cores;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program on the relay's core; what it writes goes to `log`.
    ///
    /// # Errors
    /// In words, when it does not start.
    pub(crate) fn start(command: &mut Command, log: &Path, cores: Cores) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let cannot = |why: io::Error| format!("cannot start {name}: {why}");
        let output = File::create(log).map_err(cannot)?;
        let errors = output.try_clone().map_err(cannot)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = cores.on_relay(|| command.spawn()).map_err(cannot)?;
        Ok(Self {
            child,
            name,
            log: log.to_owned(),
        })
    }

    /// Waits until `is_ready` says so.
    ///
    /// # Errors
    /// In words with the end of its log, when it ends before or takes too long.
    pub(crate) fn wait_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once ({status}):\n{}", self.name, self.log_end()));
            }
            if is_ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{} does not become ready:\n{}", self.name, self.log_end()))
    }

    /// CPU time of all its threads so far, nanoseconds. A running thread's time is as of its last tick.
    ///
    /// # Errors
    /// In words, when the process is gone.
    pub(crate) fn cpu_ns(&self) -> Result<u64, String> {
        let tasks = fs::read_dir(self.proc("task")).map_err(|why| self.gone(&why))?;
        let mut total = 0;
        for task in tasks.flatten() {
            // A thread may end between the listing and the reading.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            total += first.unwrap_or(0);
        }
        Ok(total)
    }

    /// Its memory, shared pages divided by their users (PSS), bytes. Memory of the kernel is not in it.
    ///
    /// # Errors
    /// In words, when the process is gone.
    pub(crate) fn pss_bytes(&self) -> Result<u64, String> {
        let text = fs::read_to_string(self.proc("smaps_rollup")).map_err(|why| self.gone(&why))?;
        pss_of(&text).ok_or_else(|| format!("{}: smaps_rollup tells no Pss", self.name))
    }

    /// How many descriptors it has open.
    ///
    /// # Errors
    /// In words, when the process is gone.
    pub(crate) fn descriptors(&self) -> Result<u64, String> {
        let open = fs::read_dir(self.proc("fd")).map_err(|why| self.gone(&why))?;
        Ok(open.count() as u64)
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    fn gone(&self, why: &io::Error) -> String {
        format!("{} is gone ({why}):\n{}", self.name, self.log_end())
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(LOG_LINES);
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pss_of(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// How long a program may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// Lines of a log shown with a failure.
const LOG_LINES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_is_read_in_bytes() {
        let text = "5f-7f ---p 00 00:00 0 [rollup]\nRss:  9 kB\nPss:                1234 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(pss_of(text), Some(1234 * 1024));
        assert_eq!(pss_of("Rss: 1 kB"), None);
    }

    #[test]
    fn program_that_ends_at_once_is_told_with_its_output() {
        let log = std::env::temp_dir().join(format!("tollgate-bench-process-{}", std::process::id()));
        let cores = Cores { generator: 0, relay: 0 };
        let mut command = Command::new("sh");
        command.args(["-c", "echo it broke; exit 3"]);
        let mut process = Process::start(&mut command, &log, cores).unwrap();
        let why = process.wait_ready(|| false).unwrap_err();
        fs::remove_file(log).unwrap();
        assert!(why.contains("it broke") && why.contains('3'), "{why}");
    }
}
