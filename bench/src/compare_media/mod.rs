//! The media path beside Debian's rtpengine: the same calls, packets and cores for both, in turn, over several rounds.
//!
//! Plain RTP inside, SRTP outside, G.711, 50 packets a second each way. It judges nothing but whether packets came as
//! they were sent; how the figures are to be read stands in `docs/performance.md`.

mod call;
mod edge;
mod figures;
mod floor;
mod generator;
mod machine;
mod measure;
mod ng;
mod peer;
mod plot;
mod process;
mod relay;
mod report;
mod rounds;
mod sip;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use figures::{Figures, Lines, RowKey};
use machine::{Cores, Priority};
use relay::{Place, What};
use rounds::Plan;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For development: two rounds of 3 s, 10 and 100 calls, without the maximum and the overload.
    #[arg(long)]
    quick: bool,
    /// Every suite as well, at 500 calls.
    #[arg(long)]
    all: bool,
    /// Rounds; medians are taken over them. 5, with --quick 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: Option<u32>,
    /// Numbers of calls. 10, 100, 500 and 1000, with --quick 10 and 100.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=2_000))]
    calls: Option<Vec<u16>>,
    /// The maximum and the overload alone.
    #[arg(long, conflicts_with = "quick")]
    limits_only: bool,
    /// The peer in our place: how far two figures of the same program differ.
    #[arg(long)]
    peer_against_itself: bool,
    /// Does not raise the priority above other programs: noisier, but they get their share.
    #[arg(long)]
    polite: bool,
    /// A tollgate to measure instead of the one built from this source.
    #[arg(long, value_name = "PROGRAM")]
    tollgate: Option<PathBuf>,
    /// Writes the plot of CPU a packet against packets a second.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The folder of a run. Removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Measures, prints tables, and returns the rows.
///
/// # Errors
/// In words: what is missing, what a relay could not do, or that packets were spoilt.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn run(options: &Options) -> Result<Value, String> {
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build; its generator is the bound of everything");
    }
    let lines = lines(options);
    let plan = Plan::of(options);
    let version = peer::install()?;
    let tollgate = options.tollgate.clone().map_or_else(build_tollgate, Ok)?;
    let folder = make_folder()?;
    let place = Place {
        folder: folder.0.clone(),
        network: call::Network::of_this_process(),
        cores: Cores::find()?,
        tollgate,
    };
    machine::reserve_descriptors(plan.descriptors())?;
    let priority = (!options.polite).then(Priority::raise);
    let is_raised = priority.as_ref().is_some_and(|priority| priority.is_raised);
    place
        .cores
        .take_generator()
        .map_err(|why| format!("cannot pin: {why}"))?;
    println!("peer: rtpengine {version}, userspace; rounds: {}", plan.rounds);
    println!(
        "relay on CPU {}, generator on CPU {}; priority {}",
        place.cores.relay,
        place.cores.generator,
        if is_raised {
            "raised"
        } else {
            "not raised: figures are noisier"
        }
    );
    let figures = rounds::measure(&place, &lines, &plan)?;
    drop(priority);
    print!("{}", report::tables(&figures, &lines));
    println!(
        "\n* of the quieter half of the rounds. Figures are medians over the rounds [least - greatest]. x peer: packets per \
         CPU second over the peer's;\n  others: share of the relay's core that others had; late: the generator itself, 99 of \
         100."
    );
    if let Some(warning) = report::peer_warning(&figures, &lines) {
        println!("warning: {warning}");
    }
    if let Some(file) = &options.plot {
        fs::write(file, plot::svg(&figures, &lines)).map_err(|why| format!("{}: {why}", file.display()))?;
    }
    match figures.spoilt() {
        0 => Ok(json!({ "rows": rows(&figures, &lines) })),
        spoilt => Err(format!(
            "{spoilt} packets were not as they were sent: no figure above counts"
        )),
    }
}

/// The peer, ours with and without draining, and the floor under each.
fn lines(options: &Options) -> Lines {
    if options.peer_against_itself {
        return Lines {
            all: vec![What::Peer, What::Peer],
            peer: 0,
            ours: vec![(1, None)],
        };
    }
    let mut all = vec![What::Peer];
    let mut ours = Vec::new();
    for wait_us in [DRAINING_US, 0] {
        ours.push((all.len(), Some(all.len() + 1)));
        all.extend([What::Edge { wait_us }, What::Floor { wait_us }]);
    }
    Lines { all, peer: 0, ours }
}

fn rows(figures: &Figures, lines: &Lines) -> Vec<Value> {
    let mut loads: Vec<(usize, u16)> = figures
        .samples
        .keys()
        .map(|(suite, calls, _)| (*suite, *calls))
        .collect();
    loads.dedup();
    let keys = loads.into_iter().flat_map(|(suite, calls)| {
        lines.ours.iter().map(move |(line, floor)| RowKey {
            suite,
            calls,
            line: *line,
            floor: *floor,
        })
    });
    keys.filter_map(|key| figures.row(lines, key)).collect()
}

fn make_folder() -> Result<Folder, String> {
    let folder = env::temp_dir().join(format!("tollgate-bench-media-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    Ok(Folder(folder))
}

/// Builds the program from this source, as a user would, and returns where it is.
fn build_tollgate() -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "tollgate"])
        .current_dir(root)
        .status();
    match built {
        Ok(status) if status.success() => {}
        Ok(_) => return Err("tollgate does not build; --tollgate names one that is built".to_owned()),
        Err(why) => return Err(format!("cargo: {why}; --tollgate names a program that is built")),
    }
    let own = env::current_exe().map_err(|why| why.to_string())?;
    let program = own.with_file_name("tollgate");
    if program.exists() {
        Ok(program)
    } else {
        Err(format!(
            "{} is not there; --tollgate names the program",
            program.display()
        ))
    }
}

/// Packets a second of one call: 50 each way.
const PACKETS_PER_CALL: u32 = 100;

/// Draining as it is by default (`media.wait_us`).
const DRAINING_US: u32 = 300;
