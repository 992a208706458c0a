//! `tollgate-bench`: measures what the edge costs, one subcommand a question.
//!
//! It asserts nothing: figures depend on the machine, and the ratios that must hold are tests of the crates themselves.
#![forbid(unsafe_code)]

mod compare_media;
mod relay_floor;
mod routes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tollgate_testkit::alloc::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Measures what the edge costs. Build it with --release; figures of a debug build mean nothing.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    question: Question,
    /// One JSON object as the last line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// The media path beside Debian's rtpengine: CPU a packet, latency, maximum, overload, memory. 15 minutes.
    ///
    /// Example: tollgate-bench compare-media --quick
    CompareMedia(compare_media::Options),
    /// An empty relay, as compare-media starts it: the least that a socket a port costs.
    #[command(hide = true)]
    RelayFloor(relay_floor::Options),
    /// Route tables: load, memory, publishing one change, warm and cold look-ups, by size.
    ///
    /// Example: tollgate-bench routes --sizes 1000,1000000
    Routes(routes::Options),
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn main() -> ExitCode {
    let args = Args::parse();
    let figures: Result<Value, String> = match &args.question {
        Question::CompareMedia(options) => compare_media::run(options),
        Question::RelayFloor(options) => relay_floor::run(options),
        Question::Routes(options) => Ok(routes::run(options)),
    };
    match figures {
        Ok(figures) => {
            if args.json {
                println!("{figures}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("tollgate-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
