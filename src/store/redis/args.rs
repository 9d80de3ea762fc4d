//! Keys and arguments of one item of a script, packed.

/// Byte strings one after the other.
#[derive(Clone, Default, Debug)]
pub struct Args {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Args {
    /// Adds one.
    pub fn push(&mut self, arg: impl AsRef<[u8]>) -> &mut Args {
        self.bytes.extend_from_slice(arg.as_ref());
        self.end()
    }

    /// Adds one that is made of parts.
    pub fn join(&mut self, parts: &[&[u8]]) -> &mut Args {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.end()
    }

    /// Adds a number as decimal text.
    pub fn int(&mut self, number: impl Into<i128>) -> &mut Args {
        self.push(number.into().to_string())
    }

    /// Adds a count of what follows.
    pub fn count(&mut self, count: usize) -> &mut Args {
        self.push(count.to_string())
    }

    fn end(&mut self) -> &mut Args {
        // A request is bounded far below 4 GiB by the bounds of documents and batches.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start as usize..*end as usize).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out() {
        let mut args = Args::default();
        args.push("a").push("").join(&[b"b", b"c"]).int(-7i64).count(3);
        let all: Vec<&[u8]> = args.iter().collect();
        assert_eq!(all, [b"a".as_slice(), b"", b"bc", b"-7", b"3"]);
        assert_eq!(args.len(), 5);
    }
}
