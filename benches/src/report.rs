//! A measurement as a table for people and as JSON for programs.

use std::{fmt, fs, path::Path};

use serde::Serialize;

use crate::{
    Result,
    environment::Environment,
    measure::{Row, Settings},
    statistics::Spread,
};

/// All that is to be told of a row.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The row's name.
    pub row: &'static str,
    /// What was asked.
    pub question: &'static str,
    /// What the times are for.
    pub unit: &'static str,
    /// Whether the limit took as long as itself, within a tenth.
    pub conclusive: bool,
    /// How often each variant ran.
    pub rounds: usize,
    /// Where.
    pub environment: Environment,
    /// The variants, the limit first.
    pub variants: Vec<Line>,
    /// Variants that this machine can't run, each with the reason.
    pub left_out: Vec<String>,
}

/// What is told of a variant.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The variant.
    pub name: String,
    /// How often the work was done in each round.
    pub iterations: u64,
    /// The time of one unit by the clock, in nanoseconds.
    pub wall_ns: Spread,
    /// The time by the clock, divided by that of the limit in the same round.
    pub ratio: Spread,
    /// The processor time, divided by that of the limit in the same round.
    pub cpu_ratio: Spread,
    /// All times by the clock, in the order of the rounds, in nanoseconds.
    pub wall_ns_by_round: Vec<f64>,
    /// All processor times.
    pub cpu_ns_by_round: Vec<f64>,
}

impl Report {
    /// Measures a row.
    ///
    /// # Errors
    /// The first that a variant reports.
    pub fn of(row: Row, settings: Settings) -> Result<Self> {
        let (name, question, unit, left_out) = (row.name, row.question, row.per.1, row.left_out.clone());
        let environment = Environment::now();
        let measured = row.measure(settings)?;
        let variants = measured.series.iter().map(|series| {
            let (ratio, cpu_ratio) = measured.ratios(series)?;
            Some(Line {
                name: series.name.clone(),
                iterations: series.iterations,
                wall_ns: Spread::of(series.wall.iter().copied())?,
                ratio,
                cpu_ratio,
                wall_ns_by_round: series.wall.clone(),
                cpu_ns_by_round: series.cpu.clone(),
            })
        });
        let variants = variants.collect::<Option<Vec<_>>>().ok_or("nothing was measured")?;
        Ok(Self {
            row: name,
            question,
            unit,
            conclusive: measured.is_conclusive(),
            rounds: settings.rounds,
            environment,
            variants,
            left_out,
        })
    }

    /// Writes the report to `DIRECTORY/ROW.json`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        fs::write(directory.join(self.row).with_extension("json"), json)?;
        Ok(())
    }
}

/// A table in Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { kernel, processor, cores, file_system, load, optimised } = &self.environment;
        writeln!(f, "## {}: {}\n", self.row, self.question)?;
        writeln!(
            f,
            "Linux {kernel}, {cores} cores of {processor}, {file_system}, load {load}; {} rounds.",
            self.rounds
        )?;
        if !optimised {
            writeln!(f, "**Compiled without optimisations: these figures mean nothing.**")?;
        }
        if !self.conclusive {
            writeln!(
                f,
                "**Inconclusive: the limit did not take as long as itself. Try again on a calmer machine.**"
            )?;
        }
        let width = self.variants.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        writeln!(
            f,
            "\n| {:width$} | {:>10} | {:>10} | {:>7} | {:>15} | {:>7} |",
            format!("per {}", self.unit),
            "median",
            "min",
            "ratio",
            "quartiles",
            "CPU"
        )?;
        writeln!(
            f,
            "|{:-<w$}|{:->12}|{:->12}|{:->9}|{:->17}|{:->9}|",
            "",
            ":",
            ":",
            ":",
            ":",
            ":",
            w = width + 2
        )?;
        for Line { name, wall_ns, ratio, cpu_ratio, .. } in &self.variants {
            writeln!(
                f,
                "| {name:width$} | {:>10} | {:>10} | {:>7.2} | {:>15} | {:>7.2} |",
                time(wall_ns.median),
                time(wall_ns.min),
                ratio.median,
                format!("{:.2} – {:.2}", ratio.lower_quartile, ratio.upper_quartile),
                cpu_ratio.median,
            )?;
        }
        for left_out in &self.left_out {
            writeln!(f, "\nLEFT OUT: {left_out}")?;
        }
        Ok(())
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.1} ns"),
        ..1e6 => format!("{:.2} µs", nanoseconds / 1e3),
        ..1e9 => format!("{:.2} ms", nanoseconds / 1e6),
        _ => format!("{:.2} s", nanoseconds / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Variant;

    fn report() -> Report {
        let work = |name| {
            Variant::new(name, |count| {
                std::hint::black_box((0..count * 1000).sum::<u64>());
                Ok(())
            })
        };
        let row =
            Row::new("test", "What does a test cost?", work("least")).per(2, "thing").with(work("more"));
        Report::of(row, Settings { rounds: 3, slot: Duration::ZERO }).unwrap()
    }

    #[test]
    fn a_table_has_a_line_for_each_variant() {
        let table = report().to_string();
        let lines: Vec<_> = table.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 5, "{table}");
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{table}");
        for (line, beginning) in lines.iter().zip(["| per thing", "|--", "| least", "| A/A", "| more"]) {
            assert!(line.starts_with(beginning), "{table}");
        }
    }

    #[test]
    fn an_unsteady_machine_is_told() {
        let mut report = report();
        report.conclusive = true;
        assert!(!report.to_string().contains("Inconclusive"));
        report.conclusive = false;
        assert!(report.to_string().contains("Inconclusive"));
    }

    #[test]
    fn what_was_left_out_is_told_with_the_reason() {
        let row = Row::new("test", "?", Variant::new("x", |_| Ok(()))).without("node", "it is not there");
        let report = Report::of(row, Settings { rounds: 2, slot: Duration::ZERO }).unwrap();
        assert!(report.to_string().ends_with("LEFT OUT: node (it is not there)\n"), "{report}");
    }

    #[test]
    fn the_json_holds_every_round() {
        let directory = tempfile::tempdir().unwrap();
        report().save(&directory.path().join("new")).unwrap();
        let json = fs::read(directory.path().join("new/test.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["variants"][2]["name"], "more");
        assert_eq!(json["variants"][2]["wall_ns_by_round"].as_array().unwrap().len(), 3);
        assert_eq!(json["variants"][0]["ratio"]["median"], 1.0);
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!([1.25, 1234.0, 5e6, 2e9].map(time), ["1.2 ns", "1.23 µs", "5.00 ms", "2.00 s"]);
    }
}
