//! Arguments of one item of a script, packed.

/// Byte strings one after the other.
#[derive(Clone, Default, Debug)]
pub struct Args {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Args {
    /// With room for this many bytes.
    pub fn with_room(bytes: usize) -> Args {
        Args { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(24) }
    }

    /// Adds one.
    pub fn push(&mut self, arg: impl AsRef<[u8]>) -> &mut Args {
        self.bytes.extend_from_slice(arg.as_ref());
        self.end()
    }

    /// Adds a number as decimal text.
    pub fn int(&mut self, number: impl std::fmt::Display) -> &mut Args {
        self.text(format_args!("{number}"))
    }

    /// Adds a count of what follows.
    pub fn count(&mut self, count: usize) -> &mut Args {
        self.text(format_args!("{count}"))
    }

    fn text(&mut self, text: std::fmt::Arguments<'_>) -> &mut Args {
        use std::io::Write;
        // Writing to memory does not fail.
        let _ = self.bytes.write_fmt(text);
        self.end()
    }

    fn end(&mut self) -> &mut Args {
        // A request is bounded far below 4 GiB by the bounds of documents and batches.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self
    }

    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
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
        args.push("a").push("").push(b"bc").int(-7i64).count(3);
        let all: Vec<&[u8]> = args.iter().collect();
        assert_eq!(all, [b"a".as_slice(), b"", b"bc", b"-7", b"3"]);
        assert_eq!(args.len(), 5);
    }
}
