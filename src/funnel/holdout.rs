//! Holdouts: a fixed share of the customers who would enter is left alone and measured all the same.
//!
//! Who is held out is drawn by hash of funnel and customer into 10,000 buckets; the lowest are held out. So it
//! is sticky, and a larger share keeps everybody who was in the smaller one.

use super::settings::Settings;
use super::{Funnel, draft};
use crate::lang::cel::Text;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Shape};
use crate::money::Dec;
use sha2::{Digest, Sha256};

/// How many buckets there are: a share is exact to a hundredth of a percent.
const BUCKETS: u64 = 10_000;
/// What the draw of the whole workspace is salted with; no funnel can be called so.
const EVERYWHERE: &str = "$workspace";
/// How a share is written.
pub const SHAPE: Shape = Shape::Phrase("a share such as 10% or 2.5%");

/// A share of the customers, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Share(u16);

impl Share {
    /// Reads `10%`.
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Share> {
        // A bare number is a share without its unit, and not a text that lacks quotes.
        let text = match node.scalar() {
            Some(text) => Text { text: text.to_owned(), place: node.place.clone() },
            None => shape::text(node, faults)?,
        };
        let number = text.text.trim().strip_suffix('%').map(str::trim_end).and_then(|number| Dec::parse(number).ok());
        // A decimal counts in millionths, a hundredth of a percent is 10,000 of them.
        let share = number.filter(|number| number.0 % 10_000 == 0).and_then(|number| u16::try_from(number.0 / 10_000).ok());
        let share = share.filter(|share| u64::from(*share) <= BUCKETS);
        if share.is_none() {
            let shown: String = text.text.chars().take(20).collect();
            let bare = Dec::parse(shown.trim()).is_ok_and(|number| (0..=100_000_000).contains(&number.0));
            let meant = if bare { format!("`{}%`", shown.trim()) } else { "for example `10%`".to_owned() };
            faults
                .error("bad-share", &text.place, format!("`{shown}` is no share of the customers"))
                .hint(format!("write {meant}: a percentage from 0% to 100% with at most two decimals"));
        }
        share.map(Share)
    }

    fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", Dec(i64::from(self.0) * 10_000))
    }
}

/// Why a customer is held out of a funnel: a sentence with the share and her bucket. A funnel that says
/// `holdout: 0%` itself, and one whose messages she has asked for, are not held back by the workspace's.
pub fn held_out(settings: &Settings, funnel: &Funnel, customer: &str) -> Option<String> {
    let own = funnel.holdout.map(|share| (share, funnel.name.as_str(), "holdout"));
    let exempt = funnel.transactional || funnel.holdout.is_some_and(Share::is_none);
    let all = settings.holdout.filter(|_| !exempt).map(|share| (share, EVERYWHERE, "holdout of the workspace"));
    [all, own].into_iter().flatten().find_map(|(share, salt, whose)| {
        let bucket = bucket(salt, customer);
        (bucket < u64::from(share.0)).then(|| format!("{whose} {share}: bucket {} of {BUCKETS}", bucket + 1))
    })
}

fn bucket(salt: &str, customer: &str) -> u64 {
    let digest = draft::digest(["holdout", salt, customer].into_iter());
    let hash = Sha256::digest(digest.as_bytes());
    let mut bits = [0u8; 8];
    bits.copy_from_slice(&hash[..8]);
    // 2^64 is so much larger than the number of buckets that the remainder favours none of them noticeably.
    u64::from_be_bytes(bits) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::node;

    fn read(text: &str) -> (Option<Share>, usize) {
        let mut faults = Faults::default();
        let node = node::parse("f", &format!("share: \"{text}\"\n"), &mut faults).unwrap();
        let share = Share::read(node.get("share").unwrap(), &mut faults);
        (share, faults.error_count())
    }

    #[test]
    fn shares_are_percentages() {
        for (text, hundredths) in [("10%", 1_000), ("2.5 %", 250), ("0%", 0), ("100%", 10_000), ("0.01%", 1)] {
            assert_eq!(read(text), (Some(Share(hundredths)), 0), "{text}");
        }
        for text in ["10", "101%", "-1%", "0.001%", "ten%", "%"] {
            assert_eq!(read(text), (None, 1), "{text}");
        }
        assert_eq!(Share(250).to_string(), "2.5%");
    }

    #[test]
    fn buckets_are_even_and_of_each_funnel_its_own() {
        let held = |salt: &str| (0..10_000).filter(|i| bucket(salt, &format!("c{i}")) < 1_000).collect::<Vec<_>>();
        let (a, b) = (held("a"), held("b"));
        // Three standard deviations of a binomial with n = 10,000 and p = 0.1 are 90.
        assert!((910..=1_090).contains(&a.len()) && (910..=1_090).contains(&b.len()), "{} {}", a.len(), b.len());
        let both = a.iter().filter(|i| b.contains(i)).count();
        assert!((60..=140).contains(&both), "{both} are held out of both: the draws are not independent");
    }
}
