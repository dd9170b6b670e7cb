faults! {
    /// What is wrong with a [`FaultyRepositories`](super::super::FaultyRepositories).
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
        /// A lease is begun by whoever says so.
        BeginsAlways => "lease-begun",
        /// A lease is given back though messages are queued.
        ReleasesQueued => "lease-released",
        /// Whether a lease is free is looked up first.
        RacyLease => "lease-race",
        /// The last message that was queued comes first.
        LastInFirstOut => "queue-order",
        /// What was sent with a queued message is not stored.
        ForgetsOptions => "queue-order",
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
        /// Lists what waits in every container, whichever is asked for.
        ListsEveryContainer => "approval-pending",
        /// A fork has the image of its own, and no messages.
        ForksNothing => "fork-copied",
        /// A fork has all messages, wherever it is cut.
        ForksAll => "fork-cut",
        /// A fork of nothing is an empty image.
        ForksMissing => "fork-refused",
    }
}
