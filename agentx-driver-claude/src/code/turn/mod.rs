//! One turn of the CLI's, as the stream of a driver.

mod answers;
mod desk;
mod outcome;
mod results;
mod run;
mod tally;

pub(super) use self::run::start;
