//! What the doors measure: requests by route and status, and what became of events.

use super::route::Route;
use crate::engine::intake::{Item, Receipt};
use crate::store::Accepted;
use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    // The pattern, not the path: there are only as many as routes.
    route: &'static str,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct EventLabels {
    result: &'static str,
}

/// The counters of the doors.
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    events: Family<EventLabels, Counter>,
}

impl Metrics {
    /// Makes the counters known.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics { requests: Family::default(), events: Family::default() };
        registry.register("autofunnel_http_requests", "Requests by route and status", metrics.requests.clone());
        registry.register("autofunnel_events", "Events at the door by what became of them", metrics.events.clone());
        metrics
    }

    /// Counts a request.
    pub fn count(&self, route: &'static Route, status: StatusCode) {
        self.requests
            .get_or_create(&RequestLabels { method: route.method.name(), route: route.path, status: status.as_u16() })
            .inc();
    }

    /// Counts what became of events.
    pub fn count_events(&self, receipt: &Receipt) {
        match receipt {
            Receipt::One(accepted) => self.count_event(&Ok(*accepted)),
            Receipt::Many(items) => items.iter().for_each(|(_, item)| self.count_event(item)),
        }
    }

    /// Counts what became of one event.
    pub fn count_event(&self, item: &Item) {
        let result = match item {
            Ok(Accepted::New) => "accepted",
            Ok(Accepted::Duplicate) => "duplicate",
            Ok(Accepted::Conflict) => "conflict",
            Err(_) => "refused",
        };
        self.events.get_or_create(&EventLabels { result }).inc();
    }
}
