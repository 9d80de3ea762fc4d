//! Who is found in a segment by a new definition or an import: nobody is started, unless the segment asks for it.

use super::stage::Stage;
use insta::assert_snapshot;

fn stage(segments: &str) -> Stage {
    let funnel = |name: &str| {
        format!(
            "--- {name}.yaml\nfunnel: F\ntrigger: {{ segment_entered: {name} }}\nre_entry: always\nsteps: [ {{ stop: hello }} ]\n"
        )
    };
    Stage::new(&format!("--- segments.yaml\n{segments}{}{}", funnel("asking"), funnel("silent")))
}

#[test]
fn only_a_segment_that_asks_for_it_starts_funnels_when_it_is_defined_anew_or_by_an_import() {
    let before = stage("asking: { when: purchases() >= 9, backfill: enter }\nsilent: { when: purchases() >= 9 }\n");
    let after = stage("asking: { when: purchases() >= 1, backfill: enter }\nsilent: { when: purchases() >= 1 }\n");
    let mut her = before.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase amount=5").under(&after).at("2027-03-02 10:00", "set name=Ida");
    // The same definitions again change nothing, and who is in it already is not found in it.
    her.at("2027-03-03 10:00", "set name=Eve").at("2027-03-04 10:00", "import purchase@2027-02-01T10:00 amount=5");
    assert_snapshot!(her.story(), @"
    2027-03-02 10:00 segment_entered asking | backfill: found by a new definition
    2027-03-02 10:00 entered asking#1 | enters the segment asking
    2027-03-02 10:00 stopped asking#1 hello
    2027-03-04 10:00 history_only purchase | imported
    ");
    let mut her = before.customer("2027-03-01 08:00");
    her.under(&after).at("2027-03-02 10:00", "import purchase@2027-02-01T10:00 amount=5").at("2027-03-03 10:00", "set name=Eve");
    assert_snapshot!(her.story(), @"
    2027-03-02 10:00 history_only purchase | imported
    2027-03-02 10:00 segment_entered asking | backfill: found by an import
    2027-03-02 10:00 segment_entered silent | found by an import; nothing starts
    2027-03-02 10:00 entered asking#1 | enters the segment asking
    2027-03-02 10:00 stopped asking#1 hello
    ");
}
