//! Warnings.
use super::Funnel;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::template::Template;
use std::collections::BTreeMap;
use std::sync::Arc;

/// l
pub fn lint(_funnels: &BTreeMap<String, Arc<Funnel>>, _templates: &BTreeMap<String, Arc<Template>>, _nodes: &[(&str, &str, Option<Node>)], _faults: &mut Faults) {
}
