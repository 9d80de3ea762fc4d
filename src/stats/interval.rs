//! How sure a share or a difference of shares is: Wilson's interval, and Newcombe's of two of them (R. G. Newcombe,
//! "Interval estimation for the difference between independent proportions", 1998, method 10). Both hold for small
//! samples and for shares near 0 and 1, where the usual formula gives intervals of no width.

/// The standard normal quantile of 95 % between two sides.
const Z: f64 = 1.959_963_984_540_054;

/// A share with the interval that holds it in 95 of 100 cases.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    /// The share itself, from 0 to 1.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The share of `hits` in `of`; `None` when there is nobody to have one.
pub fn share(hits: i64, of: i64) -> Option<Share> {
    if of <= 0 {
        return None;
    }
    let (n, z2) = (of as f64, Z * Z);
    // A run may convert that entered on another day than is asked for only if sums are damaged.
    let p = (hits as f64 / n).clamp(0.0, 1.0);
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some(Share { value: p, low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
}

/// By how much the first share is above the second.
pub fn difference(a: Share, b: Share) -> Share {
    let value = a.value - b.value;
    let low = value - ((a.value - a.low).powi(2) + (b.high - b.value).powi(2)).sqrt();
    let high = value + ((a.high - a.value).powi(2) + (b.value - b.low).powi(2)).sqrt();
    Share { value, low: low.max(-1.0), high: high.min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 0.000_06, "{found} is not {wanted}");
    }

    #[test]
    fn intervals_are_those_of_newcombes_tables() {
        // Newcombe 1998, part one, table I, method 3: 81/263, 15/148, 0/20, 1/29.
        for (hits, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = share(hits, of).unwrap();
            near(found.low, low);
            near(found.high, high);
        }
        // Part two, table II, method 10: 56/70 − 48/80, 9/10 − 3/10, 10/10 − 0/20.
        for (a, b, low, high) in
            [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 20), 0.6791, 1.0)]
        {
            let found = difference(share(a.0, a.1).unwrap(), share(b.0, b.1).unwrap());
            near(found.low, low);
            near(found.high, high);
        }
    }

    #[test]
    fn of_nobody_there_is_no_share() {
        assert_eq!(share(0, 0), None);
        let all = share(3, 3).unwrap();
        assert!(all.high == 1.0 && all.low > 0.4);
    }
}
