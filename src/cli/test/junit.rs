//! The outcome of tests as JUnit XML, which build servers read.

use super::Played;
use crate::funnel::diagram::escape;
use std::fmt::Write as _;
use std::time::Duration;

/// One test suite per funnel, in the order in which they were played.
pub(super) fn report(played: &[Played], took: Duration) -> String {
    let failed = |all: &mut dyn Iterator<Item = &Played>| all.filter(|one| !one.passed()).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"autofunnel\" tests=\"{}\" failures=\"{}\" time=\"{:.3}\">\n",
        played.len(),
        failed(&mut played.iter()),
        took.as_secs_f64()
    );
    let mut funnels: Vec<&str> = Vec::new();
    for one in played {
        if !funnels.contains(&one.funnel.as_str()) {
            funnels.push(&one.funnel);
        }
    }
    for funnel in funnels {
        let own: Vec<&Played> = played.iter().filter(|one| one.funnel == funnel).collect();
        let time: f64 = own.iter().map(|one| one.took.as_secs_f64()).sum();
        let failures = failed(&mut own.iter().copied());
        let name = escape(funnel);
        let _ = writeln!(out, "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" time=\"{time:.3}\">", own.len());
        own.iter().for_each(|one| case(&mut out, one));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(out: &mut String, one: &Played) {
    let place = one
        .outcome
        .as_ref()
        .map_or(String::new(), |outcome| format!(" file=\"{}\" line=\"{}\"", escape(&outcome.place.file), outcome.place.line));
    let (funnel, name, time) = (escape(&one.funnel), escape(&one.name), one.took.as_secs_f64());
    let _ = write!(out, "    <testcase classname=\"{funnel}\" name=\"{name}\" time=\"{time:.3}\"{place}");
    if one.passed() {
        out.push_str("/>\n");
        return;
    }
    let why = match &one.outcome {
        None => "the test itself has faults; `autofunnel check` shows them".to_owned(),
        Some(outcome) => outcome.report(|_, text| text),
    };
    let _ = writeln!(out, ">\n      <failure message=\"not as expected\">{}</failure>\n    </testcase>", escape(&why));
}
