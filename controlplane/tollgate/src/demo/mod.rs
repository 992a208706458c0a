//! `tollgate demo`: two enterprises on loopback, with a hostile network between their edges.
//!
//! It drives real processes over real sockets and judges them only by what call agents and the network see. It is no
//! benchmark: it shares the machine with everything it measures.

mod calls;
mod company;
mod credentials;
mod edge;
mod examples;
mod fallback;
mod folder;
mod hold;
mod json;
mod policy;
mod progress;
mod quality;
mod refusals;
mod report;
mod stage;
mod table;
mod tickets;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;
use folder::Folder;
use progress::Progress;
use report::Report;
use stage::Stage;
use table::Paint;

/// How the demo is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DemoOptions {
    /// One JSON object as the last line of standard output, everything for people to standard error.
    pub(crate) json: bool,
    /// Keep the temporary folder, whatever happened.
    pub(crate) keep: bool,
}

/// How a run ended.
#[derive(Debug)]
enum Outcome {
    /// It came to its end; the report says whether all was right.
    Judged(Box<Report>),
    /// It could not go on, in words.
    Broken(String),
    /// A signal ended it.
    Interrupted,
}

/// Runs the demo and says how it went.
pub(crate) fn run(options: &DemoOptions) -> ExitCode {
    let mut folder = match Folder::create() {
        Ok(folder) => folder,
        Err(why) => return conclude(options, &Outcome::Broken(why), None),
    };
    let outcome = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => run_until_interrupted(&runtime, &folder),
        Err(why) => Outcome::Broken(format!("no threads to run on: {why}")),
    };
    let is_of_interest = match &outcome {
        Outcome::Judged(report) => !report.is_right(),
        Outcome::Broken(_) => true,
        Outcome::Interrupted => false,
    };
    if options.keep || is_of_interest {
        folder.keep();
    }
    conclude(options, &outcome, folder.kept())
}

/// Writes the two example policies with certificates, keys and tickets, ready to be run by hand.
///
/// # Errors
/// In words: the folder holds such files already, or something could not be written.
pub(crate) fn write(folder: &Path) -> Result<(), String> {
    let words = examples::write(folder)?;
    // A closed standard output changes nothing about the files.
    let _ = io::stdout().write_all(words.as_bytes());
    Ok(())
}

fn run_until_interrupted(runtime: &Runtime, folder: &Folder) -> Outcome {
    runtime.block_on(async {
        let progress = Progress::start();
        // Whatever is dropped here ends its processes and sockets.
        tokio::select! {
            outcome = perform(folder.path(), &progress) => {
                outcome.map(Box::new).map_or_else(Outcome::Broken, Outcome::Judged)
            }
            () = interrupted() => Outcome::Interrupted,
        }
    })
}

/// Returns at the first SIGINT or SIGTERM.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process as ever.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The whole play, in order.
async fn perform(folder: &Path, progress: &Arc<Progress>) -> Result<Report, String> {
    let started = Instant::now();
    progress.say("making certificates, tickets and policies; starting two edges");
    let mut stage = Stage::set_up(folder).await?;
    let mut report = Report::default();
    report.on_self_test(stage.relay.self_test());
    if !report.is_right() {
        return Ok(report);
    }
    report.on_baseline(&calls::without_edges(&stage, progress).await?);
    let good = calls::through_edges(&stage, progress).await;
    report.on_good_calls(&good);
    progress.say("hold and resume, and calls that must be refused");
    let waiting = fallback::place(&stage).await;
    let (refused, held) = tokio::join!(refusals::try_all(&stage), hold::try_it(&stage));
    report.on_refusals(&refused);
    report.on_hold(&held);
    let moved = match waiting {
        Ok(call) => fallback::spoil_until_referred(&stage, call, progress).await,
        Err(why) => Err(why),
    };
    report.on_fallback(&moved);
    progress.say("reading the call records");
    report.on_records(quality::read(folder, &stage.companies, &good, moved.as_ref().ok()).await);
    report.on_network(&stage.relay.counters());
    report.on_strangers(&refusals::strangers_at(&stage));
    report.on_edges(&stage.dead_edges());
    report.duration = started.elapsed();
    Ok(report)
}

/// The last words: the table for people, and the JSON after everything else.
fn conclude(options: &DemoOptions, outcome: &Outcome, kept: Option<&Path>) -> ExitCode {
    let mut text = match outcome {
        Outcome::Judged(report) => {
            let is_terminal = if options.json {
                io::stderr().is_terminal()
            } else {
                io::stdout().is_terminal()
            };
            table::render(report, Paint::new(is_terminal))
        }
        Outcome::Broken(why) => format!("tollgate demo: {why}\n"),
        Outcome::Interrupted => "tollgate demo: interrupted\n".to_owned(),
    };
    if let Some(kept) = kept {
        text.push_str(&format!(
            "Policies, certificates, logs and call records are in {}\n",
            kept.display()
        ));
    }
    let is_for_stderr = options.json || !matches!(outcome, Outcome::Judged(_));
    // Who closed the streams does not want to know.
    let _ = if is_for_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
    if options.json {
        let _ = io::stdout().write_all(format!("{}\n", json::object(outcome)).as_bytes());
    }
    ExitCode::from(match outcome {
        Outcome::Judged(report) => u8::from(!report.is_right()),
        Outcome::Broken(_) => exit::UNAVAILABLE,
        Outcome::Interrupted => INTERRUPTED,
    })
}

/// How long one answer is awaited before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;
