//! What holds for every sequence of commands and ticks.

use super::*;
use proptest::prelude::*;

/// One thing that happens to an account, after some time has passed.
#[derive(Clone, Debug)]
struct Move {
    pause_ms: i64,
    command: Option<Command>,
}

/// Few keys, so that they meet often.
fn key() -> impl Strategy<Value = String> {
    (0..12u8).prop_map(|n| format!("k{n}"))
}

fn span(hours_max: i64) -> impl Strategy<Value = Span> {
    prop_oneof![Just(Span::default()), (1..hours_max).prop_map(|h| Span::ms(h * HOUR_MS)), (1..3u32).prop_map(Span::days)]
}

fn command() -> impl Strategy<Value = Command> {
    let points = prop_oneof![8 => 1..120i64, 1 => Just(0), 1 => Just(POINTS_MAX)];
    let bundle = prop_oneof![Just("red"), Just("blue")];
    let order = prop_oneof![Just("A-1"), Just("A-2"), Just("A-3")];
    prop_oneof![
        4 => (key(), points.clone(), span(60), proptest::option::of(span(90)))
            .prop_map(|(key, points, active, expires)| grant(&key, points, active, expires)),
        3 => (key(), points).prop_map(|(key, points)| spend(&key, points)),
        2 => (key(), key()).prop_map(|(key, of)| give_back(&key, &of)),
        1 => (key(), bundle.clone(), 0..3u32).prop_map(|(key, bundle, days)| offer(&key, bundle, days)),
        1 => (bundle, order, 0..200i64).prop_map(|(bundle, order, hours)| use_offer(bundle, order, after(hours * HOUR_MS))),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..12i64, proptest::option::weighted(0.8, command()));
    // Whole hours, so that dues and commands often fall on the same instant.
    let one = one.prop_map(|(hours, command)| Move { pause_ms: hours * HOUR_MS, command });
    proptest::collection::vec(one, 1..40)
}

fn sound(account: &Account) -> Result<(), TestCaseError> {
    let mut sum = 0i64;
    for entry in account.entries() {
        sum += entry.change;
        prop_assert!(sum >= 0, "the balance was negative at {:?}", entry);
    }
    prop_assert_eq!(sum, account.balance());
    for lot in account.lots() {
        prop_assert!((0..=lot.points).contains(&lot.left), "{:?}", lot);
    }
    Ok(())
}

/// What came of a sequence: account, told changes, replies, the last instant.
fn play(moves: &[Move], tick_first: bool) -> (Account, Vec<Change>, Vec<(Command, Reply)>, Time) {
    let (mut account, mut told, mut replies, mut now) = (Account::default(), Vec::new(), Vec::new(), T0);
    for step in moves {
        now = now.plus_ms(step.pause_ms);
        if tick_first || step.command.is_none() {
            let (next, changes) = tick(&account, now);
            account = next;
            told.extend(changes);
        }
        if let Some(command) = &step.command {
            let reply = tell(&mut account, command.clone(), now);
            replies.push((command.clone(), reply));
        }
    }
    let (account, rest) = tick(&account, now);
    told.extend(rest);
    (account, told, replies, now)
}

proptest! {
    #[test]
    fn the_sum_of_the_ledger_is_the_balance_and_never_negative(moves in moves()) {
        for end in 1..=moves.len() {
            sound(&play(&moves[..end], false).0)?;
        }
    }

    #[test]
    fn replaying_any_commands_changes_nothing_and_replies_the_same(moves in moves(), pause in 0..300i64) {
        let (account, _, replies, now) = play(&moves, false);
        let mut first: std::collections::BTreeMap<String, Reply> = Default::default();
        for (command, reply) in replies {
            let (same, again) = apply(&account, &command, now.plus_ms(pause * HOUR_MS), UTC);
            prop_assert_eq!(&same, &account);
            prop_assert_eq!(&again, &reply, "{:?}", &command);
            // However often it was told in between, there is one reply per command.
            let told = first.entry(format!("{command:?}")).or_insert_with(|| reply.clone());
            prop_assert_eq!(&*told, &reply);
        }
    }

    #[test]
    fn one_tick_is_many_ticks(moves in moves(), hours in 0..400i64, cuts in proptest::collection::vec(0..400i64, 0..12)) {
        let (account, _, _, now) = play(&moves, true);
        let end = now.plus_ms(hours * HOUR_MS);
        let at_once = tick(&account, end);
        let mut cuts: Vec<Time> = cuts.into_iter().map(|cut| now.plus_ms(cut.min(hours) * HOUR_MS)).collect();
        cuts.sort_unstable();
        cuts.push(end);
        let (mut stepwise, mut told) = (account, Vec::new());
        for cut in cuts {
            let (next, changes) = tick(&stepwise, cut);
            stepwise = next;
            told.extend(changes);
        }
        prop_assert!(told.is_sorted_by_key(|change| change.at));
        prop_assert_eq!(&at_once, &(stepwise, told));
        sound(&at_once.0)?;
        prop_assert!(next_due(&at_once.0).is_none_or(|due| due > end));
    }

    #[test]
    fn a_command_before_the_tick_finds_what_it_finds_after_it(moves in moves()) {
        let (lazy, lazily_told, lazy_replies, _) = play(&moves, false);
        let (eager, eagerly_told, eager_replies, _) = play(&moves, true);
        prop_assert_eq!(lazy, eager);
        prop_assert_eq!(lazily_told, eagerly_told);
        prop_assert_eq!(lazy_replies, eager_replies);
    }

    #[test]
    fn the_stored_form_loses_nothing(moves in moves()) {
        let (account, ..) = play(&moves, false);
        prop_assert_eq!(Account::from_stored(&account.to_stored()).unwrap(), account);
    }
}
