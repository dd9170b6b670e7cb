use serde::{Deserialize, Serialize};

macro_rules! wire_words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }
    )*};
}

wire_words! {
    /// A layer of events.
    EventLayer {
        /// As the model speaks.
        Stream,
        /// What the agent does.
        State,
        /// Whole messages.
        Message,
        /// Whole turns.
        Turn,
    }

    /// Who tells of an event.
    EventSource {
        /// The agent.
        Agent,
        /// A user's command.
        Command,
    }

    /// What an event is about.
    EventCategory {
        /// The stream.
        Stream,
        /// The agent's state.
        State,
        /// A message.
        Message,
        /// A turn.
        Turn,
        /// A failure.
        Error,
        /// The beginning or end of a session or an agent.
        Lifecycle,
    }

    /// What an event wants.
    EventIntent {
        /// An answer.
        Request,
        /// To answer.
        Result,
        /// To tell.
        Notification,
    }
}
