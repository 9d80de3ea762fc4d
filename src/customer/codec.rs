//! The stored form of documents: one format byte, then MessagePack with field names.
//!
//! A binary reads the present format and the one before it and writes the present one. Fields are added
//! with a default and left out when they hold it, so a new field needs no new format.

use crate::lang::diag::bounded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Write};

/// The format written; the first byte of every document.
pub const FORMAT: u8 = 1;

/// Why a stored document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// No bytes at all.
    #[error("the stored document is empty")]
    Empty,
    /// Written by a newer engine.
    #[error("the stored document has format {0}, this engine reads up to {FORMAT}; start the newer engine")]
    Newer(u8),
    /// Damaged.
    #[error("the stored document is damaged: {}", bounded(.0.to_string()))]
    Damaged(#[from] rmp_serde::decode::Error),
}

/// Encodes a document.
pub fn encode<T: Serialize>(document: &T) -> Vec<u8> {
    let mut written = Written(Vec::with_capacity(512));
    written.0.push(FORMAT);
    let mut serializer = rmp_serde::Serializer::new(&mut written).with_struct_map();
    // Writing to memory cannot fail, and every type of a document has a MessagePack form.
    document.serialize(&mut serializer).expect("documents have a MessagePack form");
    written.0
}

/// What was written so far. Most of what MessagePack writes at once is a single byte, which is no matter for a copy.
struct Written(Vec<u8>);

impl Write for Written {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match bytes {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decodes a document.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&FORMAT, body)) => Ok(rmp_serde::from_slice(body)?),
        Some((&format, _)) => Err(CodecError::Newer(format)),
    }
}
