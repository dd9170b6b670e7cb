faults! {
    /// What is wrong with a [`FaultyFileSystem`](super::super::FaultyFileSystem).
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
    /// What is wrong with what [`faulty_planted`](super::super::faulty_planted) gives.
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
    /// What is wrong with what [`faulty_limited`](super::super::faulty_limited) gives.
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
