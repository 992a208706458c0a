//! The live line on a terminal; in a pipe there is none.
//!
//! It writes to standard error only, and leaves no trace when it ends.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::interval;

/// The line. Dropping it clears it.
#[derive(Debug)]
pub(super) struct Progress {
    line: Arc<Mutex<String>>,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to draw, if standard error is a terminal.
    pub(super) fn start() -> Arc<Self> {
        let line = Arc::new(Mutex::new(String::new()));
        let drawing = io::stderr()
            .is_terminal()
            .then(|| tokio::spawn(draw(Arc::clone(&line))));
        Arc::new(Self { line, drawing })
    }

    /// Says what goes on.
    pub(super) fn say(&self, what: impl Into<String>) {
        *lock(&self.line) = what.into();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawing) = &self.drawing {
            drawing.abort();
            // Held so that a stroke under way ends first.
            let _line = lock(&self.line);
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

async fn draw(line: Arc<Mutex<String>>) {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    for frame in FRAMES.iter().cycle() {
        ticks.tick().await;
        let line = lock(&line);
        let shown: String = line.chars().take(MAX_LINE).collect();
        let text = format!("\r\x1b[K{frame} {:>2} s  {shown}", started.elapsed().as_secs());
        // A terminal that has gone needs no progress.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn lock(line: &Mutex<String>) -> MutexGuard<'_, String> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

const FRAMES: [&str; 4] = ["|", "/", "-", "\\"];

/// Characters that stay on one line of a narrow terminal.
const MAX_LINE: usize = 70;
