//! `tollgate show` and `tollgate drain`: the live state as tables, or as JSON for machines.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::admin_client::ask;
use crate::args::{AdminAt, ShowOptions, What};
use crate::exit::{self, fail};

/// Shows a part of the live state.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn show(options: &ShowOptions) -> ExitCode {
    let state = match ask(&options.at, "GET", options.what.path(), None) {
        Ok(state) => state,
        Err(why) => return fail(exit::UNAVAILABLE, why),
    };
    if options.json {
        println!("{state}");
        return ExitCode::SUCCESS;
    }
    let (head, rows) = match options.what {
        What::Calls => calls(&state),
        What::Media => media(&state),
        What::Peers => peers(&state),
        What::Routes => routes(&state),
        What::Mappings => mappings(&state),
        What::Tickets => tickets(&state),
        What::Ports => ports(&state),
        What::Drops => drops(&state),
    };
    print!("{}", table(&head, &rows));
    if let Some(next) = state["next"].as_str() {
        println!("more of them follow {next}; there are {} in all", text(&state["total"]));
    }
    ExitCode::SUCCESS
}

/// Asks an edge to drain.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn drain(at: &AdminAt) -> ExitCode {
    match ask(at, "POST", "/v1/drain", None) {
        Ok(_) => {
            println!("draining: new calls get 503, calls in progress go on");
            ExitCode::SUCCESS
        }
        Err(why) => fail(exit::UNAVAILABLE, why),
    }
}

type Table = (Vec<&'static str>, Vec<Vec<String>>);

fn calls(state: &Value) -> Table {
    let head = vec![
        "call-id",
        "way",
        "state",
        "peer",
        "called",
        "age",
        "suite",
        "loss in/out",
        "mos in/out",
    ];
    let rows = list(state, "calls").iter().map(|call| {
        let both = |field: &str, scale: f64, digits: usize| {
            let one = |side: &str| number(&call[side][field], scale, digits);
            format!("{} / {}", one("from_inside"), one("from_outside"))
        };
        vec![
            cut(&text(&call["call_id"]), 28),
            text(&call["direction"]),
            text(&call["state"]),
            text(&call["peer"]),
            text(&call["called"]),
            format!("{} s", number(&call["age_s"], 1.0, 0)),
            text(&call["suite"]),
            format!("{} %", both("loss_ratio", 100.0, 1)),
            both("mos", 1.0, 2),
        ]
    });
    (head, rows.collect())
}

fn media(state: &Value) -> Table {
    let head = vec![
        "call-id",
        "m=",
        "kind",
        "side",
        "our port",
        "their address",
        "learned",
        "packets",
        "lost",
        "jitter",
        "mos",
    ];
    let mut rows = Vec::new();
    for call in list(state, "calls") {
        for media in list(call, "media") {
            for side in ["inside", "outside"] {
                let heard = &media[format!("from_{side}").as_str()];
                rows.push(vec![
                    cut(&text(&call["call_id"]), 28),
                    text(&media["index"]),
                    text(&media["kind"]),
                    side.to_owned(),
                    text(&media["local_ports"][side]),
                    text(&media["remote"][side]),
                    text(&media["latched"][side]),
                    text(&heard["packets"]),
                    text(&heard["lost"]),
                    format!("{} ms", number(&heard["jitter_s"], 1e3, 1)),
                    number(&heard["mos"], 1.0, 2),
                ]);
            }
        }
    }
    (head, rows)
}

fn peers(state: &Value) -> Table {
    let head = vec!["peer", "calls now", "ended", "talk", "mos mean", "fallbacks"];
    let rows = list(state, "peers").iter().map(|peer| {
        let ended = peer["calls_ended"].as_object().map(|ended| {
            ended
                .iter()
                .map(|(result, count)| format!("{result} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        });
        vec![
            text(&peer["peer"]),
            text(&peer["calls_now"]),
            ended.unwrap_or_default(),
            format!("{} s", number(&peer["talk_s"], 1.0, 0)),
            number(&peer["mos_mean"], 1.0, 2),
            text(&peer["fallbacks"]),
        ]
    });
    (head, rows.collect())
}

fn ports(state: &Value) -> Table {
    let rows = ["inside", "outside"].map(|side| {
        let pool = &state[side];
        vec![
            side.to_owned(),
            text(&pool["used"]),
            text(&pool["free"]),
            text(&pool["quarantined"]),
        ]
    });
    (vec!["pool", "used", "free", "quarantined"], rows.to_vec())
}

fn drops(state: &Value) -> Table {
    let mut rows = Vec::new();
    for kind in ["packets", "messages", "violations", "tickets"] {
        for (reason, count) in state[kind].as_object().into_iter().flatten() {
            rows.push(vec![kind.to_owned(), reason.clone(), count.to_string()]);
        }
    }
    (vec!["what", "reason", "count"], rows)
}

fn routes(state: &Value) -> Table {
    let head = vec!["number", "domain", "targets", "source", "ends", "state"];
    let rows = list(state, "routes").iter().map(|route| {
        let targets = list(route, "targets").iter().map(text).collect::<Vec<_>>().join(" ");
        let yields_to = match text(&route["yields_to"]).as_str() {
            "-" => "in use".to_owned(),
            "domain_denied" => "domain denied".to_owned(),
            winner => format!("yields to {winner}"),
        };
        vec![
            text(&route["number"]),
            text(&route["domain"]),
            cut(&targets, 48),
            text(&route["source"]),
            ends(&route["expires_at_ms"]),
            yields_to,
        ]
    });
    (head, rows.collect())
}

fn mappings(state: &Value) -> Table {
    let head = vec![
        "inside",
        "stands for",
        "host",
        "transport",
        "domain",
        "wanted by",
        "idle",
        "ends",
        "state",
    ];
    let seconds = |value: &Value| {
        value
            .as_u64()
            .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s"))
    };
    let rows = list(state, "mappings").iter().map(|mapping| {
        let state = match (mapping["in_force"] == true, mapping["orphan"] == true) {
            (false, _) => "not yet",
            (true, true) => "orphan",
            (true, false) => "in force",
        };
        let wanted_by = list(mapping, "sources").iter().filter_map(Value::as_object);
        let wanted_by = wanted_by.flatten().map(|(who, name)| format!("{who} {}", text(name)));
        vec![
            text(&mapping["mapped"]),
            text(&mapping["peer"]),
            text(&mapping["host"]),
            text(&mapping["transport"]),
            text(&mapping["domain"]),
            wanted_by.collect::<Vec<_>>().join(", "),
            seconds(&mapping["idle_s"]),
            seconds(&mapping["remaining_s"]),
            state.to_owned(),
        ]
    });
    (head, rows.collect())
}

fn tickets(state: &Value) -> Table {
    let mut rows: Vec<Vec<String>> = list(state, "keys")
        .iter()
        .map(|key| {
            let what = format!("key of epoch {}, {}", text(&key["epoch"]), text(&key["alg"]));
            let how = format!("{}, from {}", text(&key["state"]), text(&key["source"]));
            vec![what, how, ends(&key["accept_until_ms"])]
        })
        .collect();
    let counts = [
        ("revocations", "taken back"),
        ("denied_domains", "denied domains"),
        ("allowed_domains", "allowed domains"),
    ];
    for (field, what) in counts {
        if !state[field].is_null() {
            rows.push(vec![what.to_owned(), text(&state[field]), "-".to_owned()]);
        }
    }
    (vec!["what", "state", "ends"], rows)
}

/// How long until a time in milliseconds since 1970.
fn ends(at_ms: &Value) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let Some(end) = at_ms.as_u64().map(Duration::from_millis) else {
        return "-".to_owned();
    };
    let left = end.saturating_sub(now).as_secs();
    match left {
        0 => "ended".to_owned(),
        1..7_200 => format!("in {} min", left.div_ceil(60)),
        7_200..172_800 => format!("in {} h", left / 3_600),
        _ => format!("in {} d", left / 86_400),
    }
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn number(value: &Value, scale: f64, digits: usize) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |value| format!("{:.digits$}", value * scale))
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "nothing to show\n".to_owned();
    }
    let widths: Vec<usize> = (0..head.len())
        .map(|at| {
            rows.iter()
                .map(|row| row[at].chars().count())
                .chain([head[at].len()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut out = line(head.to_vec());
    rows.iter()
        .for_each(|row| out.push_str(&line(row.iter().map(String::as_str).collect())));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_an_empty_table_says_so() {
        let rows = vec![vec!["abc".into(), "1".into()], vec!["d".into(), "22".into()]];
        assert_eq!(table(&["k", "value"], &rows), "k    value\nabc  1\nd    22\n");
        assert_eq!(table(&["k"], &[]), "nothing to show\n");
    }
}
