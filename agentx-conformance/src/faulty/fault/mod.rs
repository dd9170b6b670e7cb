/// Makes an enum of faults, each with the case that is there to catch it.
macro_rules! faults {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $fault:ident => $case:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$what])* $fault,)* }

        impl $name {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$fault),*];

            /// The id of the case that is there to catch it.
            pub fn caught_by(self) -> &'static str {
                match self { $(Self::$fault => $case,)* }
            }
        }
    };
}

mod file_system;
mod process;
mod repository;

pub use self::{
    file_system::{FileSystemFault, LimitsFault, PlantedFault},
    process::{PairFault, ProcessFault},
    repository::RepositoryFault,
};

faults! {
    /// What is wrong with a [`FaultyEnv`](super::FaultyEnv).
    EnvFault {
        /// A value ends with its line.
        CutsAtNewline => "env-set",
        /// An empty value is taken for none.
        ForgetsEmpty => "env-empty",
        /// A missing key is an empty value.
        InventsEmpty => "env-missing",
        /// A failure is told as `None`.
        FailureIsNone => "env-bad-key",
        /// All are those that have a value.
        LeavesOutEmpty => "env-all",
        /// `get_all` shows another value than `get`.
        AllIsStale => "env-all-agrees",
        /// `Debug` shows the values.
        ShowsValues => "env-debug",
    }
}

faults! {
    /// What is wrong with a [`FaultyDisk`](super::FaultyDisk).
    DiskFault {
        /// It has no name.
        Nameless => "disk-name",
        /// A second mount is given back with the first.
        DoesNotCount => "disk-counts",
        /// Each mount is at another place.
        MountsElsewhere => "disk-counts",
        /// An unmount of what is not mounted is content.
        ForgivesUnmount => "disk-unmount-unmounted",
        /// A disk can be mounted once, and never again.
        MountsOnce => "disk-mount-again",
        /// `release` does nothing.
        IgnoresRelease => "disk-release",
        /// A release of what is not mounted is owed by the next mount.
        OwesRelease => "disk-release-unmounted",
        /// An unmount counts at its end, and a dropped one not at all.
        CountsLate => "disk-unmount-dropped",
    }
}

faults! {
    /// What is wrong with a [`FaultyLlmProvider`](super::FaultyLlmProvider).
    LlmProviderFault {
        /// It has no name.
        Nameless => "llm-name",
        /// The key is read with its newline, as from a file.
        KeepsNewline => "llm-provide",
        /// The key is handed out once.
        HandsOutOnce => "llm-provide-again",
        /// Who comes while the supply is fetched gets an empty one.
        HandsOutUnready => "llm-provide-by-many",
        /// `Debug` shows the key.
        ShowsKey => "llm-debug",
    }
}
