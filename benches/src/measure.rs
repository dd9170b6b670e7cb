//! Runs the variants of a row side by side.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    Result,
    statistics::{Spread, order, paired_ratios},
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often each variant runs.
    pub rounds: usize,
    /// How long it runs each time, about; it does its work once at least.
    pub slot: Duration,
}

impl Settings {
    /// Fewer rounds say too little.
    pub const LEAST_ROUNDS: usize = 15;

    /// One look at everything, which proves nothing but that it works.
    pub fn smoke() -> Self {
        Self { rounds: 2, slot: Duration::ZERO }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { rounds: 31, slot: Duration::from_millis(30) }
    }
}

/// One question: the ways to do one piece of work, the limit first.
#[derive(Debug)]
pub struct Row {
    /// What it is called on the command line and in files.
    pub name: &'static str,
    /// What is asked.
    pub question: &'static str,
    /// How many of what one piece of work holds; times are told for one of them.
    pub per: (u64, &'static str),
    /// Variants that this machine can't run, each with the reason.
    pub left_out: Vec<String>,
    limit: Variant,
    variants: Vec<Variant>,
}

/// One way to do the work.
pub struct Variant {
    name: String,
    run: Box<dyn FnMut(u64) -> Result<Cost>>,
}

/// What some work took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// By the clock.
    pub wall: Duration,
    /// Of the processors, all threads of this process together.
    pub cpu: Duration,
}

/// What a variant took, round by round, in nanoseconds for one unit.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The variant.
    pub name: String,
    /// By the clock.
    pub wall: Vec<f64>,
    /// Of the processors.
    pub cpu: Vec<f64>,
    /// How often the work was done in each round.
    pub iterations: u64,
}

/// A row that was run: the limit, the limit once more, and the variants.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The series, that of the limit first.
    pub series: Vec<Series>,
}

impl Row {
    /// A question, with the least that the work can cost.
    pub fn new(name: &'static str, question: &'static str, limit: Variant) -> Self {
        Self { name, question, per: (1, "operation"), left_out: Vec::new(), limit, variants: Vec::new() }
    }

    /// With one piece of work holding `count` of `unit`.
    pub fn per(mut self, count: u64, unit: &'static str) -> Self {
        self.per = (count, unit);
        self
    }

    /// With this way to do it.
    pub fn with(mut self, variant: Variant) -> Self {
        self.variants.push(variant);
        self
    }

    /// Without this variant, which is told with the reason.
    pub fn without(mut self, name: &str, why: impl fmt::Display) -> Self {
        self.left_out.push(format!("{name} ({why})"));
        self
    }

    /// Only with those variants whose name has this in it, beside the limit.
    pub fn only(mut self, name: &str) -> Self {
        self.variants.retain(|variant| variant.name.contains(name));
        self
    }

    /// Runs everything.
    ///
    /// # Errors
    /// The first that a variant reports.
    pub fn measure(mut self, settings: Settings) -> Result<Measured> {
        let counts = (std::iter::once(&mut self.limit).chain(&mut self.variants))
            .map(|variant| variant.calibrate(settings.slot))
            .collect::<Result<Vec<_>>>()?;
        let limit_count = counts.first().copied().unwrap_or(1);
        let mut series = vec![
            Series { name: self.limit.name.clone(), iterations: limit_count, ..Series::default() },
            Series { name: "A/A: the limit again".to_owned(), iterations: limit_count, ..Series::default() },
        ];
        for (variant, count) in self.variants.iter().zip(counts.into_iter().skip(1)) {
            series.push(Series { name: variant.name.clone(), iterations: count, ..Series::default() });
        }
        for round in 0..settings.rounds {
            for place in order(series.len(), round) {
                let Some(series) = series.get_mut(place) else { continue };
                let variant = match place {
                    0 | 1 => &mut self.limit,
                    _ => match self.variants.get_mut(place - 2) {
                        Some(variant) => variant,
                        None => continue,
                    },
                };
                let cost = variant.cost(series.iterations)?;
                let units = series.iterations.saturating_mul(self.per.0);
                series.wall.push(nanoseconds(cost.wall, units));
                series.cpu.push(nanoseconds(cost.cpu, units));
            }
        }
        Ok(Measured { series })
    }
}

impl Variant {
    /// Work that is done as often as it is told to. It must use the result, so that it can't be left out.
    pub fn new(name: impl Into<String>, mut run: impl FnMut(u64) -> Result<()> + 'static) -> Self {
        Self { name: name.into(), run: Box::new(move |count| Cost::of(|| run(count))) }
    }

    /// Work that needs something made ready, which is not measured, and neither is its end.
    pub fn prepared<T>(
        name: impl Into<String>,
        mut prepare: impl FnMut(u64) -> Result<T> + 'static,
        mut run: impl FnMut(&mut T) -> Result<()> + 'static,
    ) -> Self {
        let run = move |count| {
            let mut ready = prepare(count)?;
            Cost::of(|| run(&mut ready))
        };
        Self { name: name.into(), run: Box::new(run) }
    }

    /// Work that is not judged by how long it takes, but by a time that it observes: for each of the units that it is
    /// told to do, on the whole.
    pub fn observed(name: impl Into<String>, mut run: impl FnMut(u64) -> Result<Duration> + 'static) -> Self {
        let run = move |count: u64| {
            let mut observed = Duration::ZERO;
            let cost = Cost::of(|| {
                observed = run(count)?;
                Ok(())
            })?;
            Ok(Cost { wall: observed.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)), ..cost })
        };
        Self { name: name.into(), run: Box::new(run) }
    }

    /// Work of another process, which says what it cost.
    pub fn elsewhere(name: impl Into<String>, run: impl FnMut(u64) -> Result<Cost> + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }

    /// How often the work fits into a slot. It is what warms everything up, too.
    fn calibrate(&mut self, slot: Duration) -> Result<u64> {
        const MOST: u64 = 1 << 24;
        let mut count = 1;
        loop {
            let mut wall = self.cost(count)?.wall;
            if wall >= slot && !slot.is_zero() {
                // Something else may have been in the way, and one count too small spoils all rounds.
                wall = wall.min(self.cost(count)?.wall);
            }
            if wall >= slot || count >= MOST {
                return Ok(count);
            }
            let fits = slot.as_nanos() * u128::from(count) / wall.as_nanos().max(1);
            count = u64::try_from(fits).unwrap_or(MOST).clamp(count + 1, (count * 8).min(MOST));
        }
    }

    fn cost(&mut self, count: u64) -> Result<Cost> {
        (self.run)(count).map_err(|error| format!("{}: {error}", self.name).into())
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Cost {
    /// What `work` takes.
    ///
    /// # Errors
    /// That of the work.
    pub fn of(work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (cpu, wall) = (cpu_time(), Instant::now());
        work()?;
        let (wall, cpu) = (wall.elapsed(), cpu_time().saturating_sub(cpu));
        Ok(Self { wall, cpu })
    }
}

impl Measured {
    /// The ratios of a series to the limit in the same round: by the clock, and of the processors.
    pub fn ratios(&self, series: &Series) -> Option<(Spread, Spread)> {
        let limit = self.series.first()?;
        let wall = Spread::of(paired_ratios(&series.wall, &limit.wall))?;
        Some((wall, Spread::of(paired_ratios(&series.cpu, &limit.cpu))?))
    }

    /// Whether the limit took as long as itself.
    pub fn is_conclusive(&self) -> bool {
        let again = self.series.get(1).and_then(|again| self.ratios(again));
        again.is_some_and(|(wall, _)| (0.9..=1.1).contains(&wall.median))
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "a measurement is not that precise")]
fn nanoseconds(time: Duration, units: u64) -> f64 {
    time.as_nanos() as f64 / units.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// A row whose variants write down when they run and how often they do their work.
    fn row(log: &Rc<RefCell<Vec<(char, u64)>>>) -> Row {
        let variant = |name: char| {
            let log = Rc::clone(log);
            Variant::new(name, move |count| {
                log.borrow_mut().push((name, count));
                Ok(())
            })
        };
        Row::new("test", "?", variant('l')).with(variant('a')).with(variant('b'))
    }

    #[test]
    fn all_variants_run_in_each_round_and_the_limit_twice() {
        let log = Rc::default();
        let measured = row(&log).measure(Settings { rounds: 4, slot: Duration::ZERO }).unwrap();
        let names: String = log.borrow().iter().map(|(name, _)| name).collect();
        // Calibration, then the four rounds.
        assert_eq!(names, ["lab", "llab", "labl", "abll", "blla"].concat());
        assert!(measured.series.iter().all(|series| series.wall.len() == 4 && series.cpu.len() == 4));
        assert_eq!(measured.series.len(), 4);
    }

    #[test]
    fn the_work_is_repeated_until_it_fills_the_slot() {
        let slot = Duration::from_millis(8);
        let mut variant = Variant::new("x", |_| Ok(()));
        variant.run = Box::new(|count| {
            Ok(Cost { wall: Duration::from_millis(1) * u32::try_from(count)?, ..Cost::default() })
        });
        assert_eq!(variant.calibrate(slot).unwrap(), 8);
        variant.run = Box::new(|_| Ok(Cost { wall: Duration::from_secs(1), ..Cost::default() }));
        assert_eq!(variant.calibrate(slot).unwrap(), 1);
        variant.run = Box::new(|_| Ok(Cost::default()));
        assert_eq!(variant.calibrate(slot).unwrap(), 1 << 24);
    }

    #[test]
    fn an_error_names_its_variant() {
        let broken = Variant::new("broken", |_| Err("out of order".into()));
        let row = Row::new("test", "?", broken);
        assert_eq!(row.measure(Settings::smoke()).unwrap_err().to_string(), "broken: out of order");
    }

    #[test]
    fn a_row_is_conclusive_if_the_limit_is_as_fast_as_itself() {
        let series = |wall: &[f64]| Series { wall: wall.to_vec(), cpu: wall.to_vec(), ..Series::default() };
        let measured = |again: &[f64]| Measured { series: vec![series(&[10.0, 10.0, 10.0]), series(again)] };
        assert!(measured(&[9.5, 10.0, 99.0]).is_conclusive());
        assert!(!measured(&[11.5, 12.0, 10.0]).is_conclusive());
        assert!(!measured(&[8.0, 8.0, 10.0]).is_conclusive());
        assert!(!Measured { series: Vec::new() }.is_conclusive());
    }

    #[test]
    fn what_is_observed_is_what_counts() {
        let mut variant = Variant::observed("x", |_| Ok(Duration::from_secs(7)));
        assert_eq!(variant.cost(3).unwrap().wall, Duration::from_secs(21));
    }

    #[test]
    fn another_process_is_believed() {
        let cost = Cost { wall: Duration::from_secs(3), cpu: Duration::from_secs(2) };
        let mut variant = Variant::elsewhere("x", move |_| Ok(cost));
        assert_eq!(variant.cost(1).unwrap(), cost);
    }

    #[test]
    fn what_is_prepared_is_what_runs() {
        let mut variant = Variant::prepared(
            "x",
            |count| Ok(vec![(); usize::try_from(count)?]),
            |ready| if ready.len() == 3 { Ok(()) } else { Err("not what was prepared".into()) },
        );
        assert!(variant.cost(3).is_ok());
        assert!(variant.cost(4).is_err());
    }
}
