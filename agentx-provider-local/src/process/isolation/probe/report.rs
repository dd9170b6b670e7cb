use std::fmt;

/// What an isolation holds back, guarantee by guarantee, as it was tried.
///
/// Its `Display` is a table for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// All attempts that were made, also those that prove nothing.
    pub attempts: Vec<Attempt>,
    /// Why nothing could be tried.
    why: Option<String>,
}

/// One way out that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// What it is against.
    pub guarantee: Guarantee,
    /// Its name, unique within its guarantee.
    pub name: String,
    /// What it came to without isolation.
    pub outside: Outcome,
    /// What it came to inside.
    pub inside: Outcome,
}

/// What is guaranteed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Guarantee {
    /// No file outside is read, changed, executed or seen.
    Files,
    /// Protected paths stay as they are.
    Protected,
    /// Other processes are not seen, read, signalled or changed.
    Processes,
    /// Nothing is reached through a network or a socket of the host, and few kinds of sockets can be made.
    Network,
    /// Those parts of the kernel are closed that a command has no use for.
    Kernel,
    /// There are no privileges, and none can be had.
    Privileges,
    /// All commands together use no more than the [limits](crate::Isolation::with_tree_limits) of the tree. Tried only
    /// where there are some.
    Tree,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It got this.
    Got(String),
    /// It got nothing, for this reason.
    Denied(String),
}

/// Whether a guarantee holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many attempts got nothing that get something outside.
    Holds {
        /// How many.
        attempts: usize,
    },
    /// These attempts got something.
    Broken {
        /// Their names.
        by: Vec<String>,
    },
    /// It could not be tried.
    Unavailable {
        /// Why.
        why: String,
    },
}

impl Guarantee {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Files,
        Self::Protected,
        Self::Processes,
        Self::Network,
        Self::Kernel,
        Self::Privileges,
        Self::Tree,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Protected => "protected",
            Self::Processes => "processes",
            Self::Network => "network",
            Self::Kernel => "kernel",
            Self::Privileges => "privileges",
            Self::Tree => "tree",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Outcome {
    /// Whether it got something.
    pub fn got(&self) -> bool {
        matches!(self, Self::Got(_))
    }
}

impl Attempt {
    /// Whether it proves something: it gets something outside.
    pub fn counts(&self) -> bool {
        self.outside.got()
    }
}

impl Probe {
    pub(super) fn new(inside: &[Line], outside: &[Line]) -> Self {
        let outside_of = |line: &Line| {
            let same = outside.iter().find(|it| it.guarantee == line.guarantee && it.name == line.name);
            same.map_or_else(|| Outcome::Denied("not tried".to_owned()), |it| it.outcome.clone())
        };
        let attempts = inside.iter().map(|line| Attempt {
            guarantee: line.guarantee,
            name: line.name.clone(),
            outside: outside_of(line),
            inside: line.outcome.clone(),
        });
        Self { attempts: attempts.collect(), why: None }
    }

    pub(super) fn unavailable(why: &str) -> Self {
        Self { attempts: Vec::new(), why: Some(why.to_owned()) }
    }

    /// Whether a guarantee holds.
    pub fn verdict(&self, guarantee: Guarantee) -> Verdict {
        if let Some(why) = &self.why {
            return Verdict::Unavailable { why: why.clone() };
        }
        let attempts = || self.attempts.iter().filter(|attempt| attempt.guarantee == guarantee);
        let by: Vec<_> =
            attempts().filter(|attempt| attempt.inside.got()).map(|it| it.name.clone()).collect();
        if !by.is_empty() {
            return Verdict::Broken { by };
        }
        match attempts().filter(|attempt| attempt.counts()).count() {
            0 if guarantee == Guarantee::Tree && attempts().next().is_none() => {
                Verdict::Unavailable { why: "no limits were asked for".to_owned() }
            }
            0 => Verdict::Unavailable { why: "no attempt gets anything outside either".to_owned() },
            attempts => Verdict::Holds { attempts },
        }
    }

    /// Whether all guarantees hold; that of the tree, where it was tried.
    pub fn holds(&self) -> bool {
        let has_tree = self.attempts.iter().any(|attempt| attempt.guarantee == Guarantee::Tree);
        let mut all = Guarantee::ALL.iter().filter(|guarantee| has_tree || **guarantee != Guarantee::Tree);
        all.all(|guarantee| matches!(self.verdict(*guarantee), Verdict::Holds { .. }))
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for guarantee in Guarantee::ALL {
            write!(f, "{:<11}", guarantee.name())?;
            match self.verdict(guarantee) {
                Verdict::Holds { attempts } => writeln!(f, "holds: {attempts} attempts got nothing")?,
                Verdict::Broken { by } => writeln!(f, "broken by {}", by.join(", "))?,
                Verdict::Unavailable { why } => writeln!(f, "unavailable: {why}")?,
            }
        }
        Ok(())
    }
}

/// What the program of the attempts told about one.
#[derive(Debug)]
pub(super) struct Line {
    guarantee: Guarantee,
    name: String,
    outcome: Outcome,
}

impl Line {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_of(&self, guarantee: Guarantee) -> bool {
        self.guarantee == guarantee
    }
}

/// Reads what the program told. None when it did not come to its end.
pub(super) fn parse(text: &str) -> Option<Vec<Line>> {
    let text = text.strip_suffix("end\n")?;
    text.lines()
        .map(|line| {
            let mut words = line.splitn(4, '\t');
            let group = words.next()?;
            let guarantee = Guarantee::ALL.into_iter().find(|guarantee| guarantee.name() == group)?;
            let (name, outcome, what) = (words.next()?.to_owned(), words.next()?, words.next()?.to_owned());
            let outcome = match outcome {
                "got" => Outcome::Got(what),
                "denied" => Outcome::Denied(what),
                _ => return None,
            };
            Some(Line { guarantee, name, outcome })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarantee_holds_by_attempts_that_would_have_worked() {
        let inside =
            parse("files\tread\tdenied\tno\nfiles\tlist\tdenied\tno\nkernel\tbpf\tgot\tdone\nend\n").unwrap();
        let outside = parse("files\tread\tgot\tsecret\nfiles\tlist\tdenied\tno\nend\n").unwrap();
        let probe = Probe::new(&inside, &outside);
        assert_eq!(probe.verdict(Guarantee::Files), Verdict::Holds { attempts: 1 });
        // What gets something inside counts, whatever it came to outside.
        assert_eq!(probe.verdict(Guarantee::Kernel), Verdict::Broken { by: vec!["bpf".to_owned()] });
        assert!(matches!(probe.verdict(Guarantee::Network), Verdict::Unavailable { .. }));
        assert!(!probe.holds());
    }

    #[test]
    fn a_report_without_its_end_is_none() {
        assert!(parse("files\tread\tdenied\tno\n").is_none());
        assert!(parse("files\tread\tdenied\nend\n").is_none());
        assert!(parse("nonsense\tread\tdenied\tno\nend\n").is_none());
        assert!(parse("").is_none());
    }
}
