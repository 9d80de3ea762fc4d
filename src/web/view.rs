//! What a funnel looks like to the pages and to `GET /v1/funnels`. Filled in from the workspace in force.

/// A funnel, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FunnelView {
    /// Its name: the file's stem.
    pub name: String,
    /// Its title.
    pub title: String,
    /// The events that its trigger listens to.
    pub events: Vec<String>,
    /// Its trigger as a sentence: `a purchase of 20 EUR or more`.
    pub trigger: String,
    /// Its steps, in the order of the file.
    pub steps: Vec<StepView>,
}

/// A step, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StepView {
    /// Its id; facts and figures name it.
    pub id: String,
    /// Its kind: `email`, `wait`, `branch` …
    pub kind: String,
    /// What it does, in a few words.
    pub label: String,
    /// How deep it lies in branches; 0 at the top.
    pub depth: usize,
}
