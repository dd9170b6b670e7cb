//! `cargo xtask test`: chooses suites, runs them and tells the result.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::{
    cargo::Report,
    suite::{SUITES, Suite},
    tally::Tally,
};

/// How many tests of a run may pass only at their second try: each is a fault, and one must not stop all other work.
const FLAKY: u64 = 3;

/// What the user asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    suites: Vec<String>,
    quick: bool,
    strict: bool,
    list: bool,
}

/// What became of one suite.
enum Outcome {
    Ran(Report, Duration),
    LeftOut(String),
}

/// Runs what `args` ask for. `Ok(false)` when a suite failed, or was left out and must not be.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let request = Request::parse(args)?;
    if request.list {
        for suite in SUITES {
            println!("{:<14}{}", suite.name, suite.about);
        }
        return Ok(true);
    }
    let mut results = Vec::new();
    for suite in SUITES.iter().filter(|suite| request.chooses(suite)) {
        let outcome = run(suite);
        let stop = request.quick && suite.first && outcome.failed(request.strict);
        results.push((suite, outcome));
        if stop {
            break;
        }
    }
    Ok(tell(&results, request.strict))
}

impl Request {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut request = Self::default();
        for arg in args {
            match arg.as_str() {
                "--quick" => request.quick = true,
                "--strict" => request.strict = true,
                "--list" => request.list = true,
                name if SUITES.iter().any(|suite| suite.name == name) => request.suites.push(name.to_owned()),
                other => {
                    let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
                    return Err(format!("no suite {other:?}; there are: {}", names.join(", ")));
                }
            }
        }
        Ok(request)
    }

    fn chooses(&self, suite: &Suite) -> bool {
        let named = self.suites.iter().any(|name| name == suite.name);
        let by_default = self.suites.is_empty() && suite.within.is_none() && (suite.quick || !self.quick);
        named || by_default
    }
}

impl Outcome {
    fn failed(&self, strict: bool) -> bool {
        match self {
            Self::Ran(report, _) => !report.failures.is_empty(),
            Self::LeftOut(_) => strict,
        }
    }
}

fn run(suite: &Suite) -> Outcome {
    if let Err(why) = (suite.ready)() {
        return Outcome::LeftOut(why);
    }
    let start = Instant::now();
    let report = (suite.run)();
    Outcome::Ran(report, start.elapsed())
}

/// Prints the table, what to type after a failure, what was left out, and the sum. Whether all is well.
fn tell(results: &[(&Suite, Outcome)], strict: bool) -> bool {
    let mut sum = Tally::default();
    println!(
        "\n{:<14}{:>8}{:>9}{:>9}{:>9}{:>9}  result",
        "suite", "seconds", "passed", "failed", "skipped", "flaky"
    );
    for (suite, outcome) in results {
        let (seconds, tally, result) = match outcome {
            Outcome::Ran(report, time) => {
                let result = if report.failures.is_empty() { "ok" } else { "FAILED" };
                (format!("{:.1}", time.as_secs_f64()), report.tally, result)
            }
            Outcome::LeftOut(_) => (
                "-".to_owned(),
                Tally { skipped: 1, ..Tally::default() },
                if strict { "FAILED" } else { "left out" },
            ),
        };
        println!(
            "{:<14}{seconds:>8}{:>9}{:>9}{:>9}{:>9}  {result}",
            suite.name, tally.passed, tally.failed, tally.skipped, tally.flaky
        );
        sum += tally;
    }
    println!();
    let mut told = HashSet::new();
    for (suite, outcome) in results {
        if let Outcome::Ran(report, _) = outcome {
            for failure in report.failures.iter().filter(|failure| told.insert(*failure)) {
                println!("FAILED: {}: {failure}", suite.name);
            }
            if !report.failures.is_empty() {
                println!("  again: cargo xtask test {}", suite.name);
            }
        }
    }
    for (suite, outcome) in results {
        if let Outcome::LeftOut(why) = outcome {
            println!("LEFT OUT: {} ({why})", suite.name);
        }
    }
    if sum.flaky > FLAKY {
        println!("FAILED: {} tests passed only at their second try; {FLAKY} may", sum.flaky);
    }
    println!("{} passed ({} flaky), {} failed, {} skipped", sum.passed, sum.flaky, sum.failed, sum.skipped);
    sum.flaky <= FLAKY && !results.iter().any(|(_, outcome)| outcome.failed(strict))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(args: &[&str]) -> Vec<&'static str> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let request = Request::parse(&args).unwrap();
        SUITES.iter().filter(|suite| request.chooses(suite)).map(|suite| suite.name).collect()
    }

    #[test]
    fn all_run_by_default_and_none_twice() {
        let all = chosen(&[]);
        assert!(all.contains(&"package"));
        assert!(all.contains(&"rust"));
        assert!(!all.contains(&"architecture"), "its cases are part of `rust`");
    }

    #[test]
    fn quick_is_rust_alone_and_a_name_is_that_suite() {
        assert_eq!(chosen(&["--quick"]), ["format", "lint", "rust"]);
        assert_eq!(chosen(&["architecture", "--strict"]), ["architecture"]);
    }

    #[test]
    fn an_unknown_suite_is_an_error_that_names_them() {
        let error = Request::parse(&["rustt".to_owned()]).unwrap_err();
        assert!(error.contains("rustt") && error.contains("doctest"), "{error}");
    }

    #[test]
    fn leaving_out_fails_when_strict() {
        let outcome = Outcome::LeftOut("no node".to_owned());
        assert!(outcome.failed(true));
        assert!(!outcome.failed(false));
    }

    #[test]
    fn too_many_second_tries_are_a_failure() {
        let told = |flaky| {
            let tally = Tally { passed: 10, flaky, ..Tally::default() };
            let report = Report { tally, failures: Vec::new() };
            tell(&[(&SUITES[0], Outcome::Ran(report, Duration::ZERO))], true)
        };
        assert!(told(FLAKY));
        assert!(!told(FLAKY + 1));
    }

    #[test]
    fn a_failed_suite_is_a_failure() {
        let ran = |report| Outcome::Ran(report, Duration::ZERO);
        assert!(ran(Report::failed("cargo fmt")).failed(false));
        assert!(!ran(Report::default()).failed(true));
    }
}
