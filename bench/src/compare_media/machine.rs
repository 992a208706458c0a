//! What the machine must grant: a core for each side, priority over other programs, descriptors.
//!
//! It changes nothing that outlives the process but the autogroup's priority, which it puts back.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The generator's.
    pub(crate) generator: usize,
    /// The relay's.
    pub(crate) relay: usize,
}

impl Cores {
    /// The first and the last core this process may use.
    ///
    /// # Errors
    /// In words, when there is only one.
    pub(crate) fn find() -> Result<Self, String> {
        let set = sched_getaffinity(None).map_err(|why| format!("cannot see the cores: {why}"))?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
        let generator = usable.next().ok_or("there is no core")?;
        let relay = usable
            .next_back()
            .ok_or("a relay and a generator need a core each; there is only one")?;
        Ok(Self { generator, relay })
    }

    /// Puts this thread on the generator's core.
    pub(crate) fn take_generator(self) -> io::Result<()> {
        pin(self.generator)
    }

    /// Does `spawn` on the relay's core: what it starts inherits that core with all its threads.
    pub(crate) fn on_relay<T>(self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        pin(self.relay)?;
        let spawned = spawn();
        pin(self.generator)?;
        spawned
    }
}

fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raised priority, for this process and what it starts; dropping it lowers the autogroup's again.
#[derive(Debug)]
pub(crate) struct Priority {
    /// Whether both the process and its autogroup have it.
    pub(crate) is_raised: bool,
}

impl Priority {
    /// Asks for the highest ordinary priority. A refusal (no privilege) is no error: figures are noisier then.
    ///
    /// With autogroups a process competes by its session's priority alone, so that one is raised as well.
    pub(crate) fn raise() -> Self {
        let is_own_raised = setpriority_process(None, HIGHEST).is_ok();
        let is_group_raised = !fs::exists(AUTOGROUP).unwrap_or(false) || fs::write(AUTOGROUP, "-20").is_ok();
        Self {
            is_raised: is_own_raised && is_group_raised,
        }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // Without privilege nothing was raised either.
        let _ = fs::write(AUTOGROUP, "0");
    }
}

/// How long a core was busy since the system started, nanoseconds, in steps of 10 ms: with any program, the kernel, or
/// another guest of the host.
///
/// # Errors
/// In words, when the system does not tell.
pub(crate) fn busy_ns(core: usize) -> Result<u64, String> {
    let text = fs::read_to_string("/proc/stat").map_err(|why| format!("/proc/stat: {why}"))?;
    busy_ticks(&text, core)
        .map(|ticks| ticks * NS_PER_TICK)
        .ok_or_else(|| format!("/proc/stat has no line of CPU {core}"))
}

/// user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
fn busy_ticks(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .take(8)
        .collect();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Some(ticks.iter().sum::<u64>() - idle)
}

/// Raises the soft limit of open files to the hard one and returns it.
///
/// # Errors
/// In words, when fewer than `needed` can be open.
pub(crate) fn reserve_descriptors(needed: u64) -> Result<u64, String> {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if hard < needed {
        return Err(format!(
            "{needed} open files are needed and the hard limit (ulimit -Hn) is {hard}"
        ));
    }
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, wanted).map_err(|why| format!("cannot raise the limit of open files: {why}"))?;
    Ok(hard)
}

/// The highest priority below real time.
const HIGHEST: i32 = -20;

/// The priority of this session among all sessions, where the kernel groups by session.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// USER_HZ is 100 wherever Linux runs.
const NS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_idle_and_waiting_out() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 1 2 3 1000 2000 4 5 6 7 8\nintr 1\n";
        assert_eq!(busy_ticks(stat, 1), Some(1 + 2 + 3 + 4 + 5 + 6));
        assert_eq!(busy_ticks(stat, 2), None);
    }
}
