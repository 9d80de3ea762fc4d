//! Versions of funnels that this process does not know.
//!
//! While one worker after the other is started under an edited workspace, those of before and those of after
//! work side by side, and hand customers to each other. A run that the other kind has begun is pinned to a
//! version that was not there when this process started. It is looked for in the store before anything is
//! decided about the run, or rendered for it; what is not there either is as if it were gone for good.

use super::link::Signer;
use super::{Engine, Live};
use crate::channel::Channel;
use crate::customer::Customer;
use crate::funnel::{self, Definitions, Files};
use crate::lang::diag::Faults;
use crate::step::winner::Winner;
use crate::store::StoreError;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Live {
    /// Definitions with the providers that their settings name, and who signs the links of their messages.
    pub fn new(definitions: Definitions, channels: HashMap<String, Arc<dyn Channel>>, signer: Signer) -> Live {
        Live { definitions, channels, signer, referenced: HashSet::new(), sought: HashSet::new() }
    }

    /// The same where these providers report of messages by their own ids.
    #[must_use]
    pub fn hearing_of(mut self, referenced: HashSet<String>) -> Live {
        self.referenced = referenced;
        self
    }

    /// The same with these winners of splits.
    pub(super) fn with_winners(&self, winners: Vec<Winner>) -> Live {
        Live {
            definitions: self.definitions.clone().with_winners(winners),
            channels: self.channels.clone(),
            signer: self.signer.clone(),
            referenced: self.referenced.clone(),
            sought: self.sought.clone(),
        }
    }

    /// Whether a version is to be looked for.
    pub(super) fn lacks(&self, version: &str) -> bool {
        self.definitions.funnel(version).is_none() && !self.sought.contains(version)
    }

    /// A version that is to be looked for before her runs can be moved.
    pub(super) fn lacks_for(&self, customer: Option<&Customer>) -> Option<String> {
        let live = customer?.runs.iter().filter(|run| run.is_live());
        live.map(|run| &run.version).find(|version| self.lacks(version)).cloned()
    }
}

impl Engine {
    /// Takes in the versions that the store keeps.
    pub(super) async fn learn(&self, version: &str) -> Result<(), StoreError> {
        let kept = self.patiently(|| self.store.definitions()).await?;
        let live = self.live.get();
        let mut definitions = live.definitions.clone();
        for (hash, bundle) in kept.iter().filter(|(hash, _)| *hash != live.definitions.current.hash) {
            let files: Option<Files> = serde_json::from_slice(bundle).ok();
            let mut faults = Faults::default();
            match files.and_then(|files| funnel::compile(&files, &mut faults)) {
                Some(workspace) => definitions.pin(&workspace),
                None => {
                    tracing::warn!(workspace = %hash, "a kept workspace version does not compile; its runs will stop with a fact")
                }
            }
        }
        match definitions.funnel(version) {
            Some(funnel) => tracing::info!(funnel = %funnel.name, %version, "a worker beside uses another version of a funnel"),
            None => tracing::warn!(%version, "a version that a run is pinned to is not kept any more"),
        }
        let mut sought = live.sought.clone();
        sought.insert(version.to_owned());
        let (channels, signer, referenced) = (live.channels.clone(), live.signer.clone(), live.referenced.clone());
        self.live.swap(Live { definitions, channels, signer, referenced, sought });
        Ok(())
    }
}
