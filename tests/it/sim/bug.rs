//! Planted bugs: each breaks one promise of a store, or the use of it. A checker that lets one of them pass
//! proves nothing, so a test asserts that each is found.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// What is broken on purpose.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Bug { $($(#[doc = $doc])* $name),* }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name),*];
        }
    };
}

bugs! {
    /// A commit is taken whatever version it was decided on.
    NoVersionCheck,
    /// The answered effect leaves the outbox although the commit that answers it is not taken.
    SettleOutsideCommit,
    /// A commit that answers an effect is taken although somebody else has answered it.
    SettledTwice,
    /// An answer goes into the inbox and its effect stays in the outbox.
    SettleLeavesTheEffect,
    /// The last gate does not compare the customer's gate.
    NoGate,
    /// The last gate does not look for unread inputs.
    NoTurnFirst,
    /// The last gate does not look at the shelf life.
    NoShelfLife,
    /// Wakes are handed out a minute early.
    EarlyTimer,
    /// A wake that is given back is lost.
    LostWake,
    /// A commit that answers an effect does not write the new wake.
    WakeLostByAnswers,
    /// Inputs of a turn with effects stay in the inbox.
    ConsumedTwice,
    /// Inputs that came during the turn leave the inbox with those that it saw.
    ConsumedUnseen,
    /// Second deliveries are not known again.
    NoDeduplication,
    /// Second deliveries are not known again after a worker has died.
    DeduplicationInMemory,
    /// An accept is answered and nothing is kept of one in fifty.
    AcceptLost,
    /// What a turn takes back stays in the outbox.
    WithdrawnStillSent,
    /// What was being sent when its worker died counts as never sent.
    AmbiguityForgottenByCrash,
    /// An attempt that may have had its effect counts as one that had none.
    AmbiguityForgottenByRetry,
    /// The digest of the first body is not kept.
    DigestForgotten,
    /// Effects that are handed out already are handed out again.
    HandedOutTwice,
    /// Who had an effect in an earlier hand-out may begin it and put it back.
    TicketIgnored,
    /// Effects of a worker that died are handed out to nobody.
    HandedOutForEver,
    /// One conflict in a batch drops the commits behind it, which are reported as done.
    BatchCutByConflict,
    /// The last fact of a turn with many facts is not written.
    FactLost,
    /// A customer's inputs come newest first.
    NewestFirst,
    /// A claim does not say that more inputs wait.
    MoreNotTold,
    /// The store's clock goes back with the machine's.
    ClockGoesBack,
    /// A claim shows the account of the turn before.
    OldAccount,
    /// A commit whose answer was lost is applied a second time.
    AppliedTwice,
    /// The document that a turn is given has lost its memory of sent messages.
    DoubleCap,
    /// The document that a turn is given has lost its memory of entries.
    EntriesForgotten,
    /// The last gate does not look whether something is paused.
    NoPauseAtTheGate,
    /// What is booked in a commit may be paused.
    NoPauseInTheCommit,
    /// The document that a turn is given says that a person has released everything.
    AllReleased,
    /// A quantity gives what is asked for, and does not count.
    BudgetWithoutEnd,
    /// The document that a turn is given has lost its memory of gifts to two.
    GiftForgotten,
    /// The document that a turn is given has its runs in the version of before.
    MoveForgotten,
}
