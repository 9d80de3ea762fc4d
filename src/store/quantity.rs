//! Quantities that all processes share: so many points a day, so many of an offer. Processes take them in chunks and
//! use them up by themselves, so that the one place that counts is asked seldom.

use crate::lang::time::{DAY_MS, Time};

/// How long a quantity is remembered after its time is over, in milliseconds.
pub const KEPT_MS: i64 = 2 * DAY_MS;

/// A quantity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quantity {
    /// Its name; the same name is the same quantity, whatever is known of its size.
    pub name: String,
    /// Most that may ever be taken of it.
    pub most: i64,
    /// When it is over; `None`: never.
    pub until: Option<Time>,
}

/// What was taken of a quantity, as a store keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The quantity's name.
    pub name: String,
    /// How many.
    pub taken: i64,
    /// Until when that is remembered, in milliseconds; `None`: for ever.
    pub until: Option<i64>,
}

/// How many are given to one who wants so many and at least so many, when so many are taken already. Of what is
/// running out nobody gets much more than he needs: what he does not use would be missing elsewhere.
pub fn given(taken: i64, most: i64, least: i64, want: i64) -> i64 {
    let left = most.saturating_sub(taken);
    if left < least || least < 0 { 0 } else { least.max(want.min(left / 4)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_is_given_than_there_is() {
        for (taken, most, least, want, expected) in [
            (0, 100, 1, 10, 10),
            (0, 100, 1, 50, 25),
            (98, 100, 1, 10, 1),
            (98, 100, 2, 10, 2),
            (98, 100, 3, 10, 0),
            (100, 100, 1, 1, 0),
            (150, 100, 1, 1, 0),
            (0, 7, 7, 7, 7),
        ] {
            assert_eq!(given(taken, most, least, want), expected, "{taken} {most} {least} {want}");
        }
    }
}
