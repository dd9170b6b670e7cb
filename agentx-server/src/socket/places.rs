use crate::{
    failure::Failure,
    quota::Place,
    server::{Caller, Shared},
};

/// What a connection takes the room of.
#[derive(Debug)]
pub(crate) struct Places {
    _one: Place,
    /// Its owner's; until it is known whose it is, one of those that are nobody's.
    of: Place,
}

impl Places {
    pub(crate) async fn new(shared: &Shared, caller: Option<&Caller>) -> Result<Self, Failure> {
        let of = match caller {
            Some(caller) => shared.connect_owner(&caller.owner).await?,
            None => shared.connect_nobody()?,
        };
        Ok(Self { _one: shared.connect()?, of })
    }

    /// It is this caller's from here on.
    pub(super) async fn of(&mut self, shared: &Shared, caller: &Caller) -> Result<(), Failure> {
        self.of = shared.connect_owner(&caller.owner).await?;
        Ok(())
    }
}
