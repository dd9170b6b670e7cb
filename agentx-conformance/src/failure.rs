use std::{fmt, panic::Location};

use agentx_resource::{Error, ErrorKind};

/// What a case gives: nothing, or how the provider failed it.
pub type Outcome = Result<(), Failure>;

/// How a provider failed a case, and where in the kit that was noticed.
pub struct Failure {
    message: String,
    location: &'static Location<'static>,
}

impl Failure {
    /// A failure that is noticed here.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), location: Location::caller() }
    }

    /// The failure, with the case's id put before it.
    pub(crate) fn of(mut self, case: &str) -> Self {
        self.message = format!("{case}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.message, self.location)
    }
}

/// The same as `Display`: it is what a test runner shows.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("an error that the case does not expect: {error:?}"))
    }
}

/// Fails unless `held`.
#[track_caller]
pub(crate) fn ensure(held: bool, rule: impl fmt::Display) -> Outcome {
    if held { Ok(()) } else { Err(Failure::new(rule.to_string())) }
}

/// Fails unless `found` is `expected`.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "cases read better with plain values")]
pub(crate) fn ensure_eq<A: PartialEq<B> + fmt::Debug, B: fmt::Debug>(
    found: A,
    expected: B,
    what: impl fmt::Display,
) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: expected {}, found {}", shown(&expected), shown(&found))))
}

/// Fails unless `result` is an error of `kind`.
#[track_caller]
pub(crate) fn ensure_kind<T: fmt::Debug>(
    result: agentx_resource::Result<T>,
    kind: ErrorKind,
    what: impl fmt::Display,
) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::new(format!("{what}: expected `{kind}`, found {error:?}"))),
        Ok(value) => Err(Failure::new(format!("{what}: expected `{kind}`, found {}", shown(&value)))),
    }
}

/// Enough of a value to recognise it: some are megabytes.
fn shown(value: &impl fmt::Debug) -> String {
    let mut shown = format!("{value:?}");
    if shown.len() > 300 {
        let length = shown.len();
        let cut = (0..=300).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
        shown.truncate(cut);
        shown = format!("{shown}… ({length} bytes)");
    }
    shown
}
