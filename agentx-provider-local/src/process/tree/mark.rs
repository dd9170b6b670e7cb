use std::{fmt::Write as _, io};

use rustix::rand::{GetRandomFlags, getrandom};

/// The variable that carries the mark.
pub(crate) const VARIABLE: &str = "AGENTX_EXEC";

/// The longest chain of marks that is taken over from outside, in bytes: 64 levels.
const MAX_OUTER: usize = 64 * 33;

/// A random word in a command's environment, by which what the command started is found again.
///
/// Marks nest. A host that is itself a marked command hands its own marks on, `outer:inner`, so that ending the outer
/// command also finds what its inner commands started.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    value: String,
    /// Where this mark's own word begins in `value`.
    own: usize,
}

impl Mark {
    /// A new mark below `outer`, the value of [`VARIABLE`] in the host's own environment.
    pub(crate) fn new(outer: Option<&str>) -> io::Result<Self> {
        let mut random = [0; 16];
        // So few bytes always come whole.
        getrandom(&mut random, GetRandomFlags::empty())?;
        let mut value = String::with_capacity(66);
        if let Some(outer) = outer.filter(|outer| is_chain(outer)) {
            value.push_str(outer);
            value.push(':');
        }
        let own = value.len();
        // Writing to a string can't fail.
        let _ = write!(value, "{:032x}", u128::from_be_bytes(random));
        Ok(Self { value, own })
    }

    /// This mark's own word.
    pub(crate) fn id(&self) -> &str {
        self.value.get(self.own..).unwrap_or_default()
    }

    /// What [`VARIABLE`] is set to.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Whether this NUL-separated environment carries the mark.
    pub(crate) fn is_in(&self, environ: &[u8]) -> bool {
        environ
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))
            .any(|value| value.split(|byte| *byte == b':').any(|word| word == self.id().as_bytes()))
    }
}

fn is_chain(outer: &str) -> bool {
    !outer.is_empty() && outer.len() <= MAX_OUTER && outer.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_as_a_whole_word_of_its_own_variable() {
        let mark = Mark::new(None).unwrap();
        let id = mark.id();
        assert_eq!(id.len(), 32);
        assert!(mark.is_in(format!("A=1\0AGENTX_EXEC={id}\0B=2\0").as_bytes()));
        assert!(!mark.is_in(format!("OTHER={id}\0").as_bytes()));
        assert!(!mark.is_in(format!("XAGENTX_EXEC={id}\0AGENTX_EXEC=x{id}\0AGENTX_EXEC\0").as_bytes()));
        assert!(!mark.is_in(b""));
        assert!(!Mark::new(None).unwrap().is_in(format!("AGENTX_EXEC={id}").as_bytes()));
    }

    #[test]
    fn marks_nest() {
        let outer = Mark::new(None).unwrap();
        let inner = Mark::new(Some(outer.value())).unwrap();
        let environ = format!("AGENTX_EXEC={}\0", inner.value());
        assert!(outer.is_in(environ.as_bytes()) && inner.is_in(environ.as_bytes()));
        assert!(!inner.is_in(format!("AGENTX_EXEC={}\0", outer.value()).as_bytes()));
        assert_eq!(Mark::new(Some("not a mark")).unwrap().value().len(), 32);
    }
}
