faults! {
    /// What is wrong with a [`FaultyProcess`](super::super::FaultyProcess).
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
    /// What is wrong with a pair of [`faulty_pair`](super::super::faulty_pair).
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
