//! The command line of a bench program.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Result,
    measure::{Row, Settings},
    replay,
    report::Report,
    rows::{host_killed, isolation},
    server,
};

/// A row by name, and how it is set up.
pub type NamedRow = (&'static str, fn() -> Result<Row>);

static IS_BENCH_PROGRAM: AtomicBool = AtomicBool::new(false);
static STAND_IN: OnceLock<PathBuf> = OnceLock::new();

/// Whether this program, started once more, would be one of these.
pub(crate) fn is_bench_program() -> bool {
    IS_BENCH_PROGRAM.load(Ordering::Relaxed)
}

/// Names the program that rows start where they need one of these, for a program that is none itself.
pub fn stand_in(path: impl Into<PathBuf>) {
    // The first one counts.
    let _ = STAND_IN.set(path.into());
}

/// A program of these, for rows that need one more.
pub(crate) fn this() -> Result<PathBuf> {
    match STAND_IN.get() {
        Some(path) => Ok(path.clone()),
        None if is_bench_program() => Ok(std::env::current_exe()?),
        None => Err("this is no bench program, and none stands in for it".into()),
    }
}

/// What the command line asks for.
#[derive(Debug)]
struct Request {
    rows: Vec<NamedRow>,
    /// Only variants whose name has this in it.
    variant: String,
    settings: Settings,
    directory: PathBuf,
}

/// Runs the rows that `arguments` (without the program's own name) name, all where they name none. Tables go to
/// `output`.
///
/// # Errors
/// An argument that is not understood, with the usage; the first error of a row.
pub fn run(
    rows: &[NamedRow],
    arguments: impl IntoIterator<Item = String>,
    output: &mut dyn Write,
) -> Result<()> {
    let request = parse(rows, arguments)?;
    for (name, row) in request.rows {
        let report = row().and_then(|row| Report::of(row.only(&request.variant), request.settings));
        let report = report.map_err(|error| format!("{name}: {error}"))?;
        report.save(&request.directory)?;
        writeln!(output, "{report}")?;
    }
    output.flush()?;
    Ok(())
}

/// [`run`] with this process's arguments and output. It must be all that the program does: rows that need a server
/// start the program once more.
///
/// # Errors
/// Those of [`run`].
pub fn main(rows: &[NamedRow]) -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some(replay::SERVE) => return replay::serve_in_this_process(),
        Some(server::AGENTS) => return server::serve_agents(),
        Some(server::FRAMES) => {
            let length = std::env::args().nth(2).and_then(|length| length.parse().ok());
            return server::serve_frames(length.ok_or("of which length?")?);
        }
        Some(isolation::REPEAT) => return isolation::repeat_here(std::env::args().skip(2)),
        Some(host_killed::HOLD) => return host_killed::hold(std::env::args().skip(2)),
        _ => {}
    }
    IS_BENCH_PROGRAM.store(true, Ordering::Relaxed);
    run(rows, std::env::args().skip(1), &mut io::stdout().lock())
}

fn parse(rows: &[NamedRow], arguments: impl IntoIterator<Item = String>) -> Result<Request> {
    let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
    let usage = |problem: String| {
        let names = names.join(" | ");
        format!(
            "{problem}\nusage: [{names}] … [--variant TEXT] [--rounds N] [--slot MILLISECONDS] [--out DIRECTORY]"
        )
    };
    let mut request = Request {
        rows: Vec::new(),
        variant: String::new(),
        settings: Settings::default(),
        directory: default_directory(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| usage(format!("{argument} needs a value")));
        match argument.as_str() {
            "--rounds" => {
                request.settings.rounds = value()?.parse()?;
                if request.settings.rounds < Settings::LEAST_ROUNDS {
                    return Err(usage(format!("--rounds is at least {}", Settings::LEAST_ROUNDS)).into());
                }
            }
            "--variant" => request.variant = value()?,
            "--slot" => request.settings.slot = Duration::from_millis(value()?.parse()?),
            "--out" => request.directory = value()?.into(),
            name => match rows.iter().find(|(known, _)| *known == name) {
                Some(row) => request.rows.push(*row),
                None => return Err(usage(format!("no row is named {name}")).into()),
            },
        }
    }
    if request.rows.is_empty() {
        request.rows = rows.to_vec();
    }
    Ok(request)
}

/// `target/bench` of the workspace, wherever the program is started.
pub(crate) fn default_directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))).join("bench")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Variant;

    const ROWS: &[NamedRow] = &[
        ("one", || Ok(Row::new("one", "1?", Variant::new("x", |_| Ok(()))))),
        ("two", || Ok(Row::new("two", "2?", Variant::new("x", |_| Ok(()))))),
    ];

    fn parsed(arguments: &[&str]) -> Result<Request> {
        parse(ROWS, arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn rows_are_chosen_by_name() {
        let names = |arguments: &[&str]| -> Vec<_> {
            parsed(arguments).unwrap().rows.iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(names(&[]), ["one", "two"]);
        assert_eq!(names(&["two"]), ["two"]);
    }

    #[test]
    fn options_are_checked() {
        let request = parsed(&["--rounds", "20", "one", "--slot", "5", "--out", "/x"]).unwrap();
        assert_eq!((request.settings.rounds, request.settings.slot), (20, Duration::from_millis(5)));
        assert_eq!(request.directory, PathBuf::from("/x"));
        for wrong in [&["--rounds", "3"][..], &["--rounds"], &["three"], &["--fast"]] {
            assert!(parsed(wrong).unwrap_err().to_string().contains("usage: [one | two]"), "{wrong:?}");
        }
    }
}
