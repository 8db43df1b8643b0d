//! The load run works and reports every cell; what it reports is not looked at, because that is for a quiet machine.

use std::process::{Command, Output};

use plane_bench::{CELLS, Comparison, NATS_CELLS, Summary};
use plane_testkit::nats::NatsServer;

fn plane_load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plane-load")).args(args).output().unwrap()
}

fn reports_every_cell(transport: &str, file: &str) {
    let json = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let run = plane_load(&["run", "--quick", "--transport", transport, "--json", json.to_str().unwrap()]);
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{err}");
    let summaries: Vec<Summary> = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(summaries.len(), CELLS.len());
    for (summary, cell) in summaries.iter().zip(CELLS) {
        assert_eq!((summary.cell.as_str(), summary.rounds), (cell.name, 1));
        assert!(summary.calls_per_second.median > 0.0 && summary.p50_us.median > 0.0, "{summary:?}");
        assert!(summary.first_p50_us.median <= summary.p50_us.median, "{summary:?}");
        assert!(out.contains(cell.name), "{out}");
    }
}

#[test]
fn two_processes_over_tcp_report_every_cell() {
    reports_every_cell("tcp", "tcp.json");
}

#[test]
fn one_process_reports_every_cell() {
    reports_every_cell("mem", "mem.json");
}

#[test]
fn two_processes_over_nats_report_every_cell_both_ways() {
    let server = NatsServer::start();
    let json = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("nats.json");
    let args = ["run", "--quick", "--transport", "nats", "--nats", &server.url(), "--json", json.to_str().unwrap()];
    let run = plane_load(&args);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let comparisons: Vec<Comparison> = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(comparisons.len(), NATS_CELLS.len());
    for (comparison, cell) in comparisons.iter().zip(NATS_CELLS) {
        for summary in [&comparison.plane, &comparison.bare] {
            assert_eq!((summary.cell.as_str(), summary.rounds), (cell.name, 1));
            assert!(summary.items_per_second.median > 0.0, "{summary:?}");
        }
        assert!(comparison.items_ratio.median > 0.0 && comparison.p50_ratio.median > 0.0, "{comparison:?}");
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for args in [
        &["drive", "--address", "nats://bench"][..],
        &["drive", "--address", "nonsense"],
        &["run", "--rounds", "0"],
        &["run", "--transport", "mem", "--pin", "0"],
        &["run", "--transport", "nats"],
        &["run", "--nats", "nats://127.0.0.1:1"],
        &["run", "--quick", "--transport", "nats", "--nats", "nats://127.0.0.1:1"],
        &["drive", "--quick", "--address", "tcp://127.0.0.1:1", "--nats", "nats://127.0.0.1:1"],
        &["drive", "--quick", "--address", "tcp://127.0.0.1:1"],
    ] {
        let run = plane_load(args);
        assert!(!run.status.success() && !run.stderr.is_empty(), "{args:?}");
    }
}
