//! `backup`: a copy of a store's file while the engine goes on.

use super::term::Term;
use super::{Done, Status};
use crate::store::redis::is_address;
use crate::store::sqlite::backup::backup;
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  autofunnel backup --to backups/monday.db
  autofunnel backup --store shop.db --to /mnt/backup/shop-2027-03-01.db
  autofunnel backup --store autofunnel-report.db --to backups/report.db   the read side beside a store in Redis

The engine may run meanwhile: the copy is the store as it was at one instant, looked through and on disk.
To go back: stop the engine, move the file with its -wal and -shm away, put the copy in its place, start.";

/// Copy a store's file, or a read side's, while the engine runs
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Backup {
    /// The store's file
    #[arg(long, default_value = "autofunnel.db", value_name = "FILE")]
    store: PathBuf,
    /// The copy; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    pub fn run(self, term: &Term) -> Done {
        if let Some(address) = self.store.to_str().filter(|store| is_address(store)) {
            // It may hold a password.
            let scheme = address.split(':').next().unwrap_or_default();
            bail!(
                "a store in Redis ({scheme}) is copied by Redis: `redis-cli --rdb store.rdb`, or examples/operations/backup.sh. This command \
                 copies a file: the read side beside it, with --store autofunnel-report.db"
            );
        }
        let copied = backup(&self.store, &self.to)?;
        term.line(&format!(
            "{}: {} customers, {:.1} MB, checked",
            self.to.display(),
            copied.customers,
            copied.bytes as f64 / 1_000_000.0
        ))?;
        Ok(Status::Good)
    }
}
