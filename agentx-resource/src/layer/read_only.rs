/// Refuses every change.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOnly;
