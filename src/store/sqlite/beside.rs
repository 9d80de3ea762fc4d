//! A file that is only read: a store's own or a read side's, beside the process that writes it or after its end.

use super::super::{StoreError, StoreResult};
use super::figure::terms;
use super::lists::FileBacked;
use super::reader::Readers;
use super::schema;
use crate::fact::count::Terms;
use std::path::Path;

/// The read side of a file, whosever it is.
pub struct Beside(Readers);

impl Beside {
    /// Opens a file.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when there is none, when it is something else, or of another engine.
    pub fn open(path: &Path) -> StoreResult<Beside> {
        let real = path.canonicalize().map_err(|_| {
            StoreError::Fatal(format!(
                "there is no store at {}; name its file with --store, or the engine with --url",
                path.display()
            ))
        })?;
        match (schema::open_store_beside(&real), schema::open_beside(&real)) {
            (Ok(db), _) => schema::refuse_old(&db, &real)?,
            (_, Ok(_)) => {}
            (Err(why), Err(_)) => return Err(why),
        }
        Ok(Beside(Readers::new(real)))
    }

    /// In which terms it counts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub async fn terms(&self) -> StoreResult<Terms> {
        self.0.ask(terms).await
    }
}

impl FileBacked for Beside {
    fn readers(&self) -> StoreResult<&Readers> {
        Ok(&self.0)
    }
}
