//! The doors for machines and the pages for people.
//!
//! ```text
//! socket ─ serve (times, caps) ─ gate (host, path) ─ router ─ dispatch (who, how much) ─ handler
//! ```
//! Every route stands in one table ([`route::ROUTES`]) with the scope that it needs, its documentation
//! and its examples; the router, `/openapi.json` and the test of every route against every scope are made
//! from it. Nothing is decided here: what comes in goes to [`crate::engine::intake`], and a 2xx is sent
//! only after the store has it.

use crate::engine::intake::{Intake, Shared, World};
use crate::engine::link::Signer;
use crate::store::{Store, StoreResult};
use auth::Auth;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use socket::Times;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use view::FunnelView;
use workspace::Workspaces;

mod answer;
mod api;
pub mod auth;
mod call;
mod dispatch;
mod gate;
mod metrics;
mod openapi;
mod pages;
pub mod route;
mod serve;
mod socket;
pub mod view;
pub mod workspace;

#[cfg(test)]
mod tests;

pub use serve::serve;

/// How the doors stand.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Pages may be looked at without logging in. Only for a demonstration on loopback.
    pub open_pages: bool,
    /// `/metrics` needs no token.
    pub open_metrics: bool,
    /// Names (with port, if not the usual one) by which browsers reach this server, beside the loopback
    /// names when it listens there. Empty and not on loopback: any.
    pub hosts: Vec<String>,
    /// Browsers reach this server by https: cookies are `Secure`.
    pub https: bool,
}

/// Everything that handlers need.
pub struct WebState {
    store: Arc<dyn Store>,
    intake: Intake,
    /// Reads the links of messages.
    signer: Signer,
    views: Arc<Shared<Vec<FunnelView>>>,
    auth: Auth,
    options: Options,
    metrics: Metrics,
    registry: Registry,
    closing: AtomicBool,
    /// Whether the server listens on this machine alone.
    loopback: AtomicBool,
    times: Times,
    workspaces: Option<Arc<dyn Workspaces>>,
}

impl WebState {
    /// The state of a server over that store, which follows that workspace. `registry` holds what other
    /// parts measure; the doors add their own and publish all of it at `/metrics`.
    ///
    /// # Errors
    /// When the store's tokens cannot be read.
    pub async fn new(
        store: Arc<dyn Store>,
        world: Arc<Shared<World>>,
        views: Arc<Shared<Vec<FunnelView>>>,
        options: Options,
        mut registry: Registry,
    ) -> StoreResult<WebState> {
        let auth = Auth::load(&*store).await?;
        let metrics = Metrics::register(&mut registry);
        let intake = Intake::new(store.clone(), world);
        let signer = Signer::new(store.link_key().await?);
        Ok(WebState {
            store,
            intake,
            signer,
            views,
            auth,
            options,
            metrics,
            registry,
            closing: AtomicBool::new(false),
            loopback: AtomicBool::new(false),
            times: Times::default(),
            workspaces: None,
        })
    }

    /// The same where the workspace can be exchanged.
    #[must_use]
    pub fn exchanging(mut self, workspaces: Arc<dyn Workspaces>) -> WebState {
        self.workspaces = Some(workspaces);
        self
    }

    /// Whether new work is welcome: not once the server is being shut down.
    fn is_open(&self) -> bool {
        !self.closing.load(Ordering::Relaxed)
    }
}
