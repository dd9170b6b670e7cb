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

faults! {
    /// What is wrong with a [`FaultyFileSystem`](super::FaultyFileSystem).
    FileSystemFault {
        /// A bounded range holds one byte more.
        RangeOffByOne => "read-range",
        /// A range that begins at the end is an error, as HTTP's 416.
        RefusesRangeBehindEnd => "read-range-behind-end",
        /// Of a large file only a part comes, and the range says so as if that were all.
        ShortReads => "read-large",
        /// A read does not look at the version that is asked for.
        IgnoresReadCondition => "read-if-match-other",
        /// The content is fetched when the body is polled, not when the file is opened.
        LazyBody => "read-while-replaced",
        /// Nothing is there, and the content is empty.
        MissingIsEmpty => "read-missing",
        /// A file that is missing does not have the version that is asked for.
        MissingIsChanged => "read-if-match-missing",
        /// The last n of fewer bytes are an error, as HTTP's 416.
        RefusesLongLast => "read-range-last-longer",
        /// A range that ends before it starts is an empty one.
        ForgivesInverted => "read-range-inverted",
        /// A file has one reader at a time.
        BusyReader => "read-by-many",
        /// A body that is dropped before its end stays open.
        LeaksBodies => "read-dropped",

        /// The version is the length.
        WeakVersion => "write-changes-version",
        /// A write answers with the version that was there before.
        AnswersOldVersion => "if-match-chain",
        /// A file is written in two halves.
        TearsWrites => "write-seen-whole",
        /// A write over a longer file leaves the end of that one.
        LeavesTail => "write-shorter",
        /// CR LF is written as LF.
        TranslatesNewlines => "read-binary",
        /// A write of no bytes makes no file.
        ForgetsEmptyWrites => "write-empty",
        /// A parent that is a file is told as missing.
        ConfusesParents => "write-below-file",
        /// `create_parents` is not heeded.
        ForgetsParents => "write-create-parents",
        /// Parents are always created, as on an object store.
        AlwaysCreatesParents => "write-missing-parent",
        /// `CreateNew` replaces what is there.
        IgnoresCreateNew => "create-new-existing",
        /// `CreateNew` looks first and writes then.
        RacyCreateNew => "create-new-race",
        /// `IfMatch` writes in any case.
        IgnoresIfMatch => "if-match-stale",
        /// `IfMatch` compares first and writes then.
        RacyIfMatch => "if-match-race",
        /// So does every fiftieth.
        RarelyRacyIfMatch => "if-match-race",
        /// An append to an existing file says that it worked, and does not happen.
        LosesAppends => "append-existing",
        /// An append works and is not declared.
        HidesAppend => "append-existing",
        /// An append answers the length of what it added.
        AnswersAppendedLength => "append-answers-metadata",
        /// An append reads the file and writes it anew, so that one of two at a time is lost.
        RacyAppend => "append-race",

        /// A writer's pieces are visible as they come.
        PublishesEarly => "writer-invisible",
        /// Dropping a writer publishes what it holds.
        PublishesOnDrop => "writer-dropped",
        /// A writer collects its pieces in a file beside the target, which stays when the writer is dropped.
        LeavesTemporary => "writer-dropped",
        /// A writer that was given nothing makes no file.
        LosesEmptyWriter => "writer-empty",
        /// A writer checks its mode when it is opened, and no more at `close`.
        ForgetsModeAtClose => "writer-create-new-late",
        /// `close` publishes one half after the other.
        TearsClose => "cancel-writer",

        /// A directory is not found by `stat`, as on an object store.
        NoDirectories => "stat-directory",
        /// A directory has a length, as the platform tells it.
        SizesDirectories => "stat-directory",
        /// The root is not there before something is in it, as on an object store.
        HidesEmptyRoot => "list-empty-root",
        /// A path with which another begins is a directory, as on an object store.
        FindsByPrefix => "exists-no",
        /// What is looked for below a file is the file.
        FindsBelowFiles => "stat-below-file",
        /// Errors name no path.
        AnonymousErrors => "error-subject",

        /// A list is one of all paths that begin with the same text.
        ListsByPrefix => "list-similar-names",
        /// A list ends after its first page of 1000.
        ListsOnePage => "list-many",
        /// A recursive list has the directory itself among its entries.
        ListsItself => "list-recursive",
        /// A list knows names and kinds only.
        ListsNoMetadata => "list-metadata",
        /// A list goes on after an error.
        ListsOnAfterError => "list-error-ends",
        /// A list that is dropped before its end stays open.
        LeaksLists => "list-dropped",

        /// `mkdir` makes parents, asked to or not.
        MakesParents => "mkdir-missing-parent",
        /// A recursive `mkdir` of what is there makes it anew.
        EmptiesDirectories => "mkdir-existing-recursive",
        /// A recursive `mkdir` looks first and makes then.
        RacyMkdir => "mkdir-race",

        /// A directory ends with its last entry, as on an object store.
        VanishingDirectories => "rm-keeps-parent",
        /// `rm` of nothing is content, as on an object store.
        RemovesNothing => "rm-missing",
        /// `rm` removes a directory with its entries, asked to or not.
        RemovesFullDirectories => "rm-full-directory",
        /// A recursive `rm` removes all that begins with the same text.
        RemovesByPrefix => "rm-similar-names",
        /// `rm` of the root removes everything.
        RemovesRoot => "rm-root-recursive",
        /// `force` forgives every error.
        ForgivesAll => "rm-full-directory-force",
        /// A recursive `rm` removes the files of a directory.
        RemovesOnlyFiles => "rm-recursive",

        /// `rename` removes the destination before it looks for the source.
        DestroysDestination => "rename-missing",
        /// `rename` leaves the source where it was.
        RenamesByCopy => "rename-file",
        /// `rename` is a copy and a removal, and is declared as atomic.
        RacyRename => "rename-race",
        /// A rename of a directory moves all that begins with the same text.
        RenamesByPrefix => "rename-similar-names",
        /// A directory is never moved onto another, be that one empty.
        RefusesEmptyTarget => "rename-directory-onto-empty",

        /// `copy` of a directory leaves out those that are empty.
        CopiesNoEmptyDirectories => "copy-directory",
        /// `copy` onto itself opens the file for writing first.
        TruncatesOnCopy => "copy-itself",
        /// `copy` to a directory copies into it, as `cp` does.
        CopiesInto => "copy-directory-onto-directory",
        /// A copy is a link: what is written to the source shows in it.
        SharesCopies => "copy-independent",
        /// A copy of an empty file is no file.
        CopiesNothingEmpty => "copy-empty",
        /// A copy never replaces a file.
        CopyNeverReplaces => "copy-replaces",

        /// Names differ only where more than their case does.
        FoldsCase => "names-case",
        /// A name ends after 200 bytes.
        CutsNames => "names-long",
        /// `%XX` in a name is decoded.
        DecodesNames => "names-unusual",
        /// A letter and its accent become one character.
        ComposesNames => "names-composed",

        /// A write that is dropped keeps its lock.
        StaysLocked => "cancel-write",
        /// `rename` takes the source away before it puts it at the destination.
        LosesOnCancel => "cancel-rename",
        /// A read that is dropped keeps its lock.
        LocksRead => "cancel-read",
        /// A file is emptied before it is removed.
        RemovesInSteps => "cancel-rm",
        /// A copy is written at its destination, one half after the other.
        CopiesInPlace => "cancel-copy",
    }
}

faults! {
    /// What is wrong with what [`faulty_planted`](super::faulty_planted) gives.
    PlantedFault {
        /// A root is a prefix of names, and links lead out of it.
        FollowsOut => "out-read",
        /// What may not be looked at is not there.
        RefusedIsMissing => "mode-sealed-directory",
        /// What a link that leads out leads to is not there.
        EscapeIsMissing => "out-exists",
        /// An absolute link leads out, also one to the root.
        RefusesAbsolute => "link-absolute",
        /// A link that leads to itself leads nowhere.
        LoopIsMissing => "loop-kind",

        /// A `stat` always follows.
        AlwaysFollows => "link-stat-no-follow",
        /// Where a link leads is not told.
        HidesTarget => "link-stat-no-follow",
        /// A link that leads nowhere is told in place of what it leads to.
        DanglingExists => "dangling-read",
        /// A write removes the link and puts the file in its place.
        ReplacesLinks => "link-write",
        /// `CreateNew` follows a link to where nothing is.
        CreatesThroughDangling => "dangling-create-new",
        /// A write to a link that leads nowhere is refused.
        RefusesDangling => "dangling-write",
        /// A recursive list enters links.
        EntersLinks => "link-listed",
        /// A recursive `rm` removes what links lead to.
        RemovesThroughLinks => "link-rm-tree",
        /// A rename of a link moves what it leads to.
        RenamesTarget => "link-rename",
        /// A rename onto a link replaces what it leads to.
        RenamesThroughLinks => "link-rename-onto",
        /// A copy of a directory has files where there were links.
        CopiesThroughLinks => "link-copy-tree",

        /// A file that is replaced gets the bits of a new one.
        ReplaceLosesMode => "mode-replaced",
        /// A file that is moved gets the bits of a new one.
        RenameLosesMode => "mode-renamed",
        /// A copy gets the bits of a new file.
        CopyLosesMode => "mode-copied",
        /// A file that is copied onto another takes its bits along.
        CopyTakesMode => "mode-copied-onto",

        /// What is written to one name of a file shows under the other.
        SharesHardLinks => "hard-replaced",
        /// A rename of one name of a file onto the other does nothing, as rename(2).
        LeavesBothNames => "hard-renamed-onto",
        /// A FIFO is an empty file.
        ReadsSpecial => "special-refused",
        /// A name that is not UTF-8 is left out.
        DropsOddNames => "odd-listed",
        /// A name that is not UTF-8 is not copied.
        CopiesNoOddNames => "odd-copied",
    }
}

faults! {
    /// What is wrong with what [`faulty_limited`](super::faulty_limited) gives.
    LimitsFault {
        /// The longest name and path that are stated are one too long.
        LosesOne => "most-path",
        /// A name's length is counted in letters of three bytes.
        CountsLetters => "most-name",
        /// Directories lie in one another half as deep as is stated.
        Shallow => "most-depth",
        /// A name that is too long is taken.
        TakesAnyName => "over-name",
        /// A path that is too long is a fault of the provider.
        TooLongIsInternal => "over-path",
        /// The error does not say which path is too long.
        TooLongIsNameless => "over-path",
        /// A file that is too large is cut off.
        CutsFiles => "over-file",
        /// A file that is too large is taken.
        TakesAnySize => "over-file-writer",
    }
}

faults! {
    /// What is wrong with a [`FaultyProcess`](super::FaultyProcess).
    ProcessFault {
        /// The newline at the end of output is cut off.
        TrimsOutput => "exec-output",
        /// A command that fails is an error.
        FailureIsError => "exec-code",
        /// Standard error is thrown away.
        DropsStderr => "exec-shell",
        /// Standard error comes as standard output.
        MergesStreams => "exec-shell",
        /// The arguments are put into one line, and taken apart at its spaces.
        SplitsArguments => "exec-arguments",
        /// No program at all is one that is not there.
        EmptyIsMissing => "exec-empty-program",
        /// What follows a NUL is cut off, as by C.
        CutsAtNul => "exec-nul",
        /// A variable that can't be set is left out.
        DropsBadVariables => "exec-bad-variable",
        /// One command runs at a time.
        OneAtATime => "exec-many",
        /// Commands see their root elsewhere than is declared.
        MisstatesRoot => "exec-cwd-root",
        /// Output is taken for UTF-8.
        DecodesOutput => "exec-binary",
        /// Commands start at the root, wherever they are to start.
        IgnoresCwd => "exec-cwd",
        /// A variable that is empty is left out.
        LosesEmptyVariables => "exec-env",
        /// The host's variables are handed down.
        InheritsEnv => "exec-env-clean",

        /// A command that gets no input is left waiting for it.
        LeavesInputOpen => "stdin-null",
        /// A newline is added to the input.
        AddsNewline => "stdin-bytes",
        /// A command that does not read its input is told as lost.
        UnreadIsLost => "stdin-unread",
        /// A write to a command that has ended is thrown away.
        SwallowsLateInput => "stdin-live-ended",
        /// A write to a command without live input is thrown away.
        SwallowsUnaskedInput => "stdin-not-live",
        /// Closing live input does nothing.
        IgnoresInputClose => "stdin-live",
        /// A write to an input that is closed is thrown away.
        SwallowsInput => "stdin-live-closed",

        /// Of output that comes in several pieces, the last is not read.
        LosesLastPiece => "stdin-large",
        /// As much output as the limit is one byte too much.
        LimitOffByOne => "limit-below",
        /// What is cut off is not told.
        TruncatesSilently => "limit-truncates",
        /// A command that writes too much is told as killed on request.
        MistakesLimit => "limit-kills",
        /// The end of the output is thrown away with the middle.
        DropsTail => "limit-tail",
        /// The cut is told behind the tail.
        TellsCutLast => "limit-tail-order",
        /// The idle timeout is not heeded.
        IgnoresIdleTimeout => "idle-ends",
        /// The idle timeout is taken for one of the whole command.
        IdleFromStart => "idle-spares",
        /// An undeclared limit is accepted, and not kept.
        AcceptsLimits => "limit-open-files",
        /// An undeclared signal is accepted, and not sent.
        SwallowsSignals => "signal-told",
        /// An undeclared terminal is accepted, and is three pipes.
        FakesTerminal => "terminal-is-one",
        /// A resize without a terminal is accepted.
        SwallowsResize => "terminal-resize",
        /// A command that may take so long takes so long.
        TimedIsTimedOut => "timeout-unneeded",
        /// The timeout is not heeded.
        IgnoresTimeout => "timeout-ends",
        /// A command that takes too long is told as killed on request.
        MistakesTimeout => "timeout-ends",
        /// The output of a command that takes too long is thrown away.
        ForgetsOutputAtTimeout => "timeout-keeps-output",

        /// A command whose end is not known is told as a success.
        FabricatesSuccess => "kill-ends",
        /// `kill` ends the telling, and leaves the command be.
        LeavesOnKill => "kill-tree",
        /// A dropped child goes on.
        LeavesOnDrop => "drop-ends",
        /// A dropped child keeps its slot, and there are three.
        LeaksSlots => "drop-exec",
        /// A signal to what has ended is an error.
        RefusesLateSignals => "signal-ended",
        /// A signal is told as the exit code 0.
        SignalAsSuccess => "exit-signal",
        /// The exit is told twice.
        ExitsTwice => "events-end",
        /// An event is taken from its queue before the caller is ready for it.
        LosesEvents => "events-dropped-call",
        /// All children have one id.
        SharesIds => "child-ids",
        /// `Debug` shows the variables of the last command.
        ShowsVariables => "child-debug",
    }
}

faults! {
    /// What is wrong with a pair of [`faulty_pair`](super::faulty_pair).
    PairFault {
        /// Commands see another tree.
        SplitsTrees => "pair-command-reads",
        /// The file system keeps what it read for an hour.
        Caches => "pair-command-replaces",
        /// Commands see their root elsewhere than is declared.
        MisstatesRoot => "pair-root",
        /// The file system's root lies below that of the commands.
        ShiftsRoot => "pair-path-given",
    }
}

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

faults! {
    /// What is wrong with a [`FaultyRepositories`](super::FaultyRepositories).
    RepositoryFault {
        /// A list of containers is sorted by their ids.
        SortsContainers => "container-order",
        /// A second save of a container changes nothing.
        KeepsFirstContainer => "container-replaced",
        /// Removing a container that is not there is an error.
        RemoveNeedsContainer => "container-missing",
        /// A configuration that is the JSON null is stored as none.
        NullIsAbsent => "container-saved",
        /// A list of containers ends after its first page of 100.
        ListsOnePage => "container-many",
        /// A session is not found until it has a message.
        HidesEmptySessions => "image-created",
        /// An empty text is stored as none.
        EmptyIsAbsent => "image-full",
        /// An image is told as created though its session belongs to another.
        SharesSessions => "image-session-taken",
        /// An update keeps what it should make absent, as `COALESCE` does.
        KeepsAbsent => "image-updated",
        /// A list of images is sorted by their ids.
        SortsImages => "image-order",
        /// Creating an image looks first and stores then.
        RacyCreate => "image-race",
        /// An update of an image that is not there makes it.
        UpdateCreates => "image-update-missing",
        /// Removing an image empties the sessions of all others in its container.
        DeletesSiblings => "image-deleted",
        /// A session that is not there has no messages.
        MissingIsEmpty => "session-missing",
        /// Messages are sorted by their time.
        SortsByTime => "message-moments",
        /// A batch of no messages is refused.
        RefusesNothing => "message-none",
        /// A message's id is given once in the whole store.
        SharesMessageIds => "message-in-two-sessions",
        /// A message whose id is taken is passed over.
        IgnoresDuplicates => "message-taken",
        /// A batch is stored message by message, up to the one that is refused.
        TearsBatches => "message-taken",
        /// The last message of a batch of two or more is not stored.
        LosesLast => "message-kinds",
        /// A page begins with the message that the last one ended with.
        PageOverlaps => "message-pages",
        /// A page leaves out the message that it should begin with.
        PageSkips => "message-pages",
        /// Large integers pass through a float.
        RoundsNumbers => "message-fidelity",
        /// A message is found in whatever session it is.
        FindsAnywhere => "message-found",
        /// Only summaries are found as marks.
        ForgetsRewinds => "message-marks",
        /// A key may be given twice.
        SharesKeys => "image-key",
        /// Whether a key is taken is looked up first.
        RacyKey => "image-key-race",
        /// The queue of a session outlives it.
        LeavesQueue => "image-leaves-nothing",
        /// Events are numbered from 0 on.
        NumbersFromZero => "event-numbers",
        /// An event that is not known is not stored.
        DropsUnknownEvents => "event-kinds",
        /// What a tool answered is told by its message, whatever the event says.
        TrustsMessages => "event-kinds",
        /// Events are stored before the messages are looked at.
        StoresEventsFirst => "event-message",
        /// The last events are given in the wrong order.
        LastEventsReversed => "event-pages",
        /// A batch of events is stored one by one.
        TearsEvents => "event-race",
        /// Whoever asks has the lease.
        SharesLeases => "lease-taken",
        /// A lease has no end.
        EndlessLease => "lease-ended",
        /// The last holder has to wait for the end as all others.
        ForgetsLastHolder => "lease-last",
        /// An append looks at no lease.
        IgnoresFence => "lease-fence",
        /// An append leaves the end of its lease where it is.
        KeepsLeaseEnd => "lease-held",
        /// A lease can be retaken by whoever had it once.
        RetakesAlways => "lease-retaken",
        /// A lease is given back though messages are queued.
        ReleasesQueued => "lease-released",
        /// Whether a lease is free is looked up first.
        RacyLease => "lease-race",
        /// The last message that was queued comes first.
        LastInFirstOut => "queue-order",
        /// A queue takes whatever comes.
        EndlessQueue => "queue-full",
        /// A message that waits already is told as queued.
        IgnoresQueued => "queue-taken",
        /// Whether there is room is looked up first.
        RacyQueue => "queue-race",
        /// Approvals are listed by their ids.
        SortsApprovals => "approval-stored",
        /// The last answer counts.
        LastAnswerCounts => "approval-answered",
        /// An approval stays open when its turn is over.
        NeverCloses => "approval-closed",
        /// Whether an approval was answered is looked up first.
        RacyAnswer => "approval-race",
        /// A fork has the image of its own, and no messages.
        ForksNothing => "fork-copied",
        /// A fork has all messages, wherever it is cut.
        ForksAll => "fork-cut",
        /// A fork of nothing is an empty image.
        ForksMissing => "fork-refused",
    }
}
