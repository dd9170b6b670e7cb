use super::{Billed, Consumption};

/// What an agent does in one turn, as far as it costs something.
///
/// What each costs was measured on workerd with this library's own repositories, tools and file system; a test measures it
/// again and fails when this is wrong. A larger message costs the same; a write of more than 8 MiB, a list of more than
/// 1000 entries and a new file deeper than in a directory of the root cost more.
///
/// ```
/// use agentx_provider_cloudflare::cost::{Prices, TurnShape};
///
/// let turn = TurnShape { calls: 4, reads: 2, edits: 1, lists: 1, ..TurnShape::default() };
/// let dollars = Prices::published().bill(&turn.consumption()).total();
/// assert!(dollars.nanos() < 100_000, "a hundredth of a cent: {dollars}");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnShape {
    /// Tool calls, whatever they do, each in a step of its own.
    pub calls: u64,
    /// Files that are read.
    pub reads: u64,
    /// Files that are made.
    pub creates: u64,
    /// Files that are replaced.
    pub overwrites: u64,
    /// Files that are edited.
    pub edits: u64,
    /// Directories that are listed.
    pub lists: u64,
}

/// Rows that D1 reads and writes for a turn without a tool call, and for each call.
const TURN_ROWS: (u64, u64) = (34, 18);
const CALL_ROWS: (u64, u64) = (28, 16);

/// Operations of R2, of class A and of class B.
const READ: (u64, u64) = (0, 1);
const CREATE: (u64, u64) = (2, 2);
const OVERWRITE: (u64, u64) = (1, 1);
const EDIT: (u64, u64) = (1, 2);
const LIST: (u64, u64) = (1, 0);

impl TurnShape {
    /// What it uses of D1 and R2.
    pub fn consumption(&self) -> Consumption {
        let rows = sum([(1, TURN_ROWS), (self.calls, CALL_ROWS)]);
        let operations = sum([
            (self.reads, READ),
            (self.creates, CREATE),
            (self.overwrites, OVERWRITE),
            (self.edits, EDIT),
            (self.lists, LIST),
        ]);
        Consumption::default()
            .with(Billed::D1RowRead, rows.0)
            .with(Billed::D1RowWritten, rows.1)
            .with(Billed::R2ClassA, operations.0)
            .with(Billed::R2ClassB, operations.1)
    }
}

fn sum<const N: usize>(parts: [(u64, (u64, u64)); N]) -> (u64, u64) {
    parts.into_iter().fold((0, 0), |sum: (u64, u64), (count, each)| {
        let part = (count.saturating_mul(each.0), count.saturating_mul(each.1));
        (sum.0.saturating_add(part.0), sum.1.saturating_add(part.1))
    })
}
