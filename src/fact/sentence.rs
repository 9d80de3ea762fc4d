//! Facts as sentences, for the timeline of the page, for `explain` and for `demo`: one wording for all.

use super::{Fact, What};
use crate::event::words::money_sign;
use crate::money::Currency;

/// The fact as a sentence without a full stop: `Held “renewal-week”: quiet hours 21:00–08:00`. Amounts of
/// money are shown in `currency`.
pub fn sentence(fact: &Fact, currency: Currency) -> String {
    let mut text = what_happened(fact, currency);
    if !fact.why.is_empty() {
        text.push_str(": ");
        text.push_str(&fact.why);
    }
    text
}

fn what_happened(fact: &Fact, currency: Currency) -> String {
    let about = quoted(&fact.about);
    let step = fact.run.as_ref().map_or("", |run| run.step.as_str());
    let step = if step.is_empty() { String::new() } else { format!(" at step {step}") };
    match fact.what {
        What::Event => format!("Event{about}{}", money(fact, currency)),
        What::HistoryOnly => format!("Event{about} went into history only{}", money(fact, currency)),
        What::Refused => format!("Refused{about}"),
        What::Profile => format!("Profile changed{about}"),
        What::ConsentGiven => format!("Consent given{about}"),
        What::ConsentWithdrawn => format!("Consent withdrawn{about}"),
        What::Suppressed => format!("No more messages{}", after(" by", &fact.about)),
        What::Complained => format!("A message was reported as unwanted{}", after(" by", &fact.about)),
        What::Unsuppressed => format!("Messages again{}", after(" by", &fact.about)),
        What::SegmentEntered => format!("Entered the segment{about}"),
        What::SegmentLeft => format!("Left the segment{about}"),
        What::Entered => format!("Entered{}{}", funnel(fact), after(" by", &fact.about)),
        What::HeldOut => format!("Held out of{}", funnel(fact)),
        What::Settling => format!("May still enter{}", funnel(fact)),
        What::NotEntered => format!("Did not enter{}{}", funnel(fact), after(" by", &fact.about)),
        What::Waiting => format!("Waits{step} until {}", fact.about),
        What::Restarted => format!("Waits anew{step}"),
        What::Resumed => format!("Goes on{step}{about}"),
        What::Skipped => format!("Skipped{}", about_or_step(fact)),
        What::Held => format!("Held{}", about_or_step(fact)),
        What::Review => format!("Waits for review{}", about_or_step(fact)),
        What::Released => format!("Released{}", about_or_step(fact)),
        What::Shadowed => format!("Would have done{}{}", about_or_step(fact), channel(fact)),
        What::Capped => format!("Not sent because of a cap{}", about_or_step(fact)),
        What::Branched => format!("Took the branch{about}{step}"),
        What::Variant => format!("Drew the variant{about}{step}"),
        What::Planned => format!("Planned{}{}", about_or_step(fact), channel(fact)),
        What::Redecided => format!("Decided anew{}", about_or_step(fact)),
        What::Sent => format!("Sent{}{}", about_or_step(fact), channel(fact)),
        What::Granted => format!("Granted{}", points(fact)),
        What::Undone => format!("Took back{}", points(fact)),
        What::Parked => format!("Parked{}", points(fact)),
        What::LookedUp => format!("Asked the loyalty store{step}"),
        What::Offered => format!("Offered{about}"),
        What::Told => format!("Told another customer{about}"),
        What::Promised => format!("Holds back{}", points(fact)),
        What::Called => format!("Called{about}{step}"),
        What::Failed => format!("Failed{}{}", about_or_step(fact), channel(fact)),
        What::Withdrawn => format!("Taken back{}{}", about_or_step(fact), channel(fact)),
        What::Set => format!("Set{about}"),
        What::Emitted => format!("Emitted{about}"),
        What::PassedOn => format!("Passed on{}", after(" to", &fact.about)),
        What::Goal => format!(
            "Reached the goal{about}{}",
            fact.amount.map_or(String::new(), |minor| format!(" ({})", currency.show(minor)))
        ),
        What::Exited => format!("Left{}{}", funnel(fact), after(" by", &fact.about)),
        What::Stopped => format!("Stopped{}{about}", funnel(fact)),
        What::Finished => format!("Came to the end of{}", funnel(fact)),
        What::Moved => format!("Goes on in another version of{}{step}", funnel(fact)),
        What::BonusActivated => format!("Points became spendable ({})", fact.about),
        What::BonusExpired => format!("Points ran out ({})", fact.about),
        What::OfferExpired => format!("Offer{about} ran out"),
        What::OfferUsed => format!("Used the offer{about}"),
        What::TierChanged => format!("Tier is now{about}"),
        What::MembershipExpired => format!("Membership{about} ran out"),
        What::Alert => format!("Needs a look{about}"),
    }
}

/// ` “text”`, or nothing.
fn quoted(text: &str) -> String {
    after("", text)
}

/// A word and the text in quotes, or nothing.
fn after(word: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{word} “{text}”") }
}

fn about_or_step(fact: &Fact) -> String {
    match (&fact.run, fact.about.is_empty()) {
        (Some(run), true) => quoted(&run.step),
        _ => quoted(&fact.about),
    }
}

fn funnel(fact: &Fact) -> String {
    fact.run.as_ref().map_or_else(|| " the funnel".to_owned(), |run| quoted(&run.funnel))
}

fn channel(fact: &Fact) -> String {
    match &fact.run {
        Some(run) if !run.variant.is_empty() => format!(" by {}", run.variant),
        _ => String::new(),
    }
}

/// The money of a purchase or refund.
fn money(fact: &Fact, currency: Currency) -> String {
    match fact.amount {
        Some(minor) if money_sign(&fact.about).is_some() => format!(" ({})", currency.show(minor)),
        _ => String::new(),
    }
}

fn points(fact: &Fact) -> String {
    match fact.amount {
        Some(1) => " 1 point".to_owned(),
        Some(points) => format!(" {points} points"),
        None => " points".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RunRef;
    use super::*;
    use crate::lang::time::Time;

    fn fact(what: What, about: &str, why: &str, amount: Option<i64>) -> Fact {
        let run = RunRef {
            funnel: "welcome".to_owned(),
            version: "v".to_owned(),
            run: 1,
            step: "email_1".to_owned(),
            variant: "email".to_owned(),
            origin: None,
        };
        Fact { at: Time(0), what, about: about.to_owned(), run: Some(run), why: why.to_owned(), seen: Vec::new(), amount }
    }

    #[test]
    fn facts_read_as_sentences() {
        let eur = Currency::parse("EUR").unwrap();
        for (fact, wanted) in [
            (fact(What::Held, "renewal-week", "quiet hours 21:00–08:00", None), "Held “renewal-week”: quiet hours 21:00–08:00"),
            (fact(What::Event, "purchase", "", Some(4250)), "Event “purchase” (42.50 EUR)"),
            (fact(What::Event, "review", "", Some(3)), "Event “review”"),
            (fact(What::Granted, "1 points", "welcome", Some(1)), "Granted 1 point: welcome"),
            (fact(What::Parked, "5 points", "welcome: blocked", Some(5)), "Parked 5 points: welcome: blocked"),
            (fact(What::Sent, "hello", "", None), "Sent “hello” by email"),
            (fact(What::Skipped, "", "no consent", None), "Skipped “email_1”: no consent"),
            (fact(What::Entered, "purchase", "", None), "Entered “welcome” by “purchase”"),
            (fact(What::Goal, "purchase", "", Some(100)), "Reached the goal “purchase” (1.00 EUR)"),
        ] {
            assert_eq!(sentence(&fact, eur), wanted);
        }
    }

    #[test]
    fn every_kind_has_a_sentence_of_its_own() {
        let eur = Currency::parse("EUR").unwrap();
        let mut all: Vec<String> = What::ALL.iter().map(|what| sentence(&fact(*what, "x", "", Some(5)), eur)).collect();
        assert!(all.iter().all(|text| text.starts_with(char::is_uppercase) && !text.contains("  ") && !text.ends_with('.')));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), What::ALL.len());
    }
}
