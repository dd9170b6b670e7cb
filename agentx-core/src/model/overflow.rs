use std::{error, fmt};

use crate::Error;

/// The conversation is longer than the model takes it. A [`Model`](super::Model) puts this among the sources of its
/// error; a loop then compacts the conversation and asks again, where nothing of an answer had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextOverflow;

impl ContextOverflow {
    /// Whether this is what the error comes from.
    pub fn caused(error: &Error) -> bool {
        let mut source = error::Error::source(error);
        while let Some(cause) = source {
            if cause.is::<Self>() {
                return true;
            }
            source = cause.source();
        }
        false
    }
}

impl fmt::Display for ContextOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the conversation is longer than the model takes it")
    }
}

impl error::Error for ContextOverflow {}
