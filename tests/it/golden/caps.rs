//! Caps, tags, the cool-down between offers, and who comes first.

use super::stage::Stage;
use insta::assert_snapshot;

const ROLLING: &str = r#"
--- autofunnel.yaml
caps:
  - { channel: sms, at_most: 2, within: 7 days }
--- news.yaml
funnel: News
trigger: { event: news }
re_entry: always
steps:
  - sms: { text: News }
"#;

#[test]
fn a_rolling_cap_counts_from_each_message_on() {
    let stage = Stage::new(ROLLING);
    let mut her = stage.customer("2027-03-01 08:00");
    for at in ["2027-03-01 10:00", "2027-03-03 10:00", "2027-03-08 09:59:59.999", "2027-03-08 10:00", "2027-03-08 10:01"] {
        her.at(at, "news");
    }
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered news#1 | news
    2027-03-01 10:00 sent news#1 sms inline:sms_1
    2027-03-01 10:00 finished news#1
    2027-03-03 10:00 entered news#2 | news
    2027-03-03 10:00 sent news#2 sms inline:sms_1
    2027-03-03 10:00 finished news#2
    2027-03-08 09:59:59.999 entered news#3 | news
    2027-03-08 09:59:59.999 capped news#3 sms inline:sms_1 | cap: at most 2 sms within 7 days
    2027-03-08 09:59:59.999 finished news#3
    2027-03-08 10:00 entered news#4 | news
    2027-03-08 10:00 sent news#4 sms inline:sms_1
    2027-03-08 10:00 finished news#4
    2027-03-08 10:01 entered news#5 | news
    2027-03-08 10:01 capped news#5 sms inline:sms_1 | cap: at most 2 sms within 7 days
    2027-03-08 10:01 finished news#5
    ");
}

#[test]
fn calendar_caps_follow_her_own_days_weeks_and_months() {
    let stage = Stage::new(&ROLLING.replace("at_most: 2, within: 7 days", "at_most: 1, per: week"));
    let mut her = stage.customer("2027-03-01 08:00");
    // 2027-03-07 is a Sunday. In New York the week is six hours longer.
    her.at("2027-03-01 10:00", "news").at("2027-03-07 23:59", "news").at("2027-03-08 00:00", "news");
    her.at("2027-03-14 22:00", "set zone=America/New_York").at("2027-03-15 03:00", "news").at("2027-03-15 06:00", "news");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered news#1 | news
    2027-03-01 10:00 sent news#1 sms inline:sms_1
    2027-03-01 10:00 finished news#1
    2027-03-07 23:59 entered news#2 | news
    2027-03-07 23:59 capped news#2 sms inline:sms_1 | cap: at most 1 sms per week
    2027-03-07 23:59 finished news#2
    2027-03-08 00:00 entered news#3 | news
    2027-03-08 00:00 sent news#3 sms inline:sms_1
    2027-03-08 00:00 finished news#3
    2027-03-15 03:00 entered news#4 | news
    2027-03-15 03:00 sent news#4 sms inline:sms_1
    2027-03-15 03:00 finished news#4
    2027-03-15 06:00 entered news#5 | news
    2027-03-15 06:00 sent news#5 sms inline:sms_1
    2027-03-15 06:00 finished news#5
    ");
    let stage = Stage::new(&ROLLING.replace("at_most: 2, within: 7 days", "at_most: 1, per: month"));
    let mut her = stage.customer("2027-01-30 08:00");
    her.at("2027-01-31 23:59", "news")
        .at("2027-02-01 00:00", "news")
        .at("2027-02-28 12:00", "news")
        .at("2027-03-01 00:00", "news");
    assert_snapshot!(her.story(), @"
    2027-01-31 23:59 entered news#1 | news
    2027-01-31 23:59 sent news#1 sms inline:sms_1
    2027-01-31 23:59 finished news#1
    2027-02-01 00:00 entered news#2 | news
    2027-02-01 00:00 sent news#2 sms inline:sms_1
    2027-02-01 00:00 finished news#2
    2027-02-28 12:00 entered news#3 | news
    2027-02-28 12:00 capped news#3 sms inline:sms_1 | cap: at most 1 sms per month
    2027-02-28 12:00 finished news#3
    2027-03-01 00:00 entered news#4 | news
    2027-03-01 00:00 sent news#4 sms inline:sms_1
    2027-03-01 00:00 finished news#4
    ");
    let stage = Stage::new(&ROLLING.replace("at_most: 2, within: 7 days", "at_most: 1, per: day"));
    let mut her = stage.customer("2027-03-27 08:00");
    // A day of 23 hours.
    her.at("2027-03-28 00:00", "news").at("2027-03-28 23:59", "news").at("2027-03-29 00:00", "news");
    assert_snapshot!(her.story(), @"
    2027-03-28 00:00 entered news#1 | news
    2027-03-28 00:00 sent news#1 sms inline:sms_1
    2027-03-28 00:00 finished news#1
    2027-03-28 23:59 entered news#2 | news
    2027-03-28 23:59 capped news#2 sms inline:sms_1 | cap: at most 1 sms per day
    2027-03-28 23:59 finished news#2
    2027-03-29 00:00 entered news#3 | news
    2027-03-29 00:00 sent news#3 sms inline:sms_1
    2027-03-29 00:00 finished news#3
    ");
}

#[test]
fn a_message_that_was_not_accepted_gives_its_place_back_and_one_of_unknown_fate_keeps_it() {
    let stage = Stage::new(&ROLLING.replace("at_most: 2", "at_most: 1"));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "fail sms_1 refused").at("2027-03-01 10:00", "news");
    her.at("2027-03-01 11:00", "fail sms_1 dead").at("2027-03-01 12:00", "news");
    her.at("2027-03-01 13:00", "fail sms_1 unknown").at("2027-03-01 14:00", "news").at("2027-03-01 15:00", "news");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered news#1 | news
    2027-03-01 10:00 failed news#1 sms inline:sms_1 | refused: asked for by the test
    2027-03-01 10:00 finished news#1
    2027-03-01 12:00 entered news#2 | news
    2027-03-01 12:00 failed news#2 sms inline:sms_1 | dead after 1 attempts: asked for by the test
    2027-03-01 12:00 finished news#2
    2027-03-01 14:00 entered news#3 | news
    2027-03-01 14:00 failed news#3 sms inline:sms_1 | unknown: asked for by the test
    2027-03-01 14:00 finished news#3
    2027-03-01 15:00 entered news#4 | news
    2027-03-01 15:00 capped news#4 sms inline:sms_1 | cap: at most 1 sms within 7 days
    2027-03-01 15:00 finished news#4
    ");
}

#[test]
fn caps_by_tag_and_over_all_channels_hold_together_and_transactional_messages_are_exempt() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
caps:
  - { tag: promo, at_most: 1, within: 3 days }
  - { at_most: 3, within: 7 days }
--- news.yaml
funnel: News
tag: promo
trigger: { event: news }
re_entry: always
steps:
  - email: { subject: Promo, text: Promo }
  - sms: { text: Own }
    tag: own
  - chat: { text: Owed }
    transactional: true
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "news").at("2027-03-02 10:00", "news").at("2027-03-05 10:00", "news");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered news#1 | news
    2027-03-01 10:00 sent news#1 email inline:email_1
    2027-03-01 10:00 sent news#1 sms inline:sms_1
    2027-03-01 10:00 sent news#1 chat inline:chat_1
    2027-03-01 10:00 finished news#1
    2027-03-02 10:00 entered news#2 | news
    2027-03-02 10:00 capped news#2 email inline:email_1 | cap: at most 1 messages tagged promo within 3 days
    2027-03-02 10:00 sent news#2 sms inline:sms_1
    2027-03-02 10:00 sent news#2 chat inline:chat_1
    2027-03-02 10:00 finished news#2
    2027-03-05 10:00 entered news#3 | news
    2027-03-05 10:00 capped news#3 email inline:email_1 | cap: at most 3 messages within 7 days
    2027-03-05 10:00 capped news#3 sms inline:sms_1 | cap: at most 3 messages within 7 days
    2027-03-05 10:00 sent news#3 chat inline:chat_1
    2027-03-05 10:00 finished news#3
    ");
}

#[test]
fn a_cap_can_end_the_run() {
    let stage = Stage::new(&ROLLING.replace("at_most: 2", "at_most: 1").replace(
        "  - sms: { text: News }",
        "  - sms: { text: News }\n    id: first\n  - sms: { text: More }\n    id: second\n    on_cap: exit\n  - email: { subject: Never, text: Never }",
    ));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "news");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 event news
    2027-03-01 10:00 entered news#1 | news
    2027-03-01 10:00 planned news#1 first
    2027-03-01 10:00 sent news#1 sms inline:first
    2027-03-01 10:00 capped news#1 sms inline:second | cap: at most 1 sms within 7 days
    2027-03-01 10:00 exited news#1 cap | cap: at most 1 sms within 7 days
    ");
}

#[test]
fn the_funnel_of_higher_priority_takes_the_last_place() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
caps: [ { at_most: 1, per: day } ]
--- a-news.yaml
funnel: News
trigger: { event: news }
steps: [ { email: { subject: News, text: News } } ]
--- b-renewal.yaml
funnel: Renewal
trigger: { event: news }
priority: 10
steps: [ { email: { subject: Renew, text: Renew } } ]
--- c-tips.yaml
funnel: Tips
trigger: { event: news }
steps: [ { email: { subject: Tips, text: Tips } } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "news");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 event news
    2027-03-01 10:00 entered b-renewal#1 | news
    2027-03-01 10:00 entered a-news#2 | news
    2027-03-01 10:00 entered c-tips#3 | news
    2027-03-01 10:00 planned b-renewal#1 email_1
    2027-03-01 10:00 capped a-news#2 email inline:email_1 | cap: at most 1 messages per day
    2027-03-01 10:00 finished a-news#2
    2027-03-01 10:00 capped c-tips#3 email inline:email_1 | cap: at most 1 messages per day
    2027-03-01 10:00 finished c-tips#3
    2027-03-01 10:00 sent b-renewal#1 email inline:email_1
    2027-03-01 10:00 finished b-renewal#1
    ");
}

#[test]
fn after_an_offer_every_funnel_keeps_quiet_about_offers() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
offers: { at_most: 1, within: 7 days }
--- catalog.yaml
bundles:
  set: { title: Set, kind: starter, items: [ { sku: a, quantity: 1 } ], price: 10, worth: 12, valid_for: 14 days }
  box: { title: Box, kind: vip, items: [ { sku: b, quantity: 1 } ], price: 10, worth: 12, valid_for: 3 days, for: customer.tier == "gold" }
--- one.yaml
funnel: One
trigger: { event: one }
re_entry: always
steps:
  - offer: box
    id: not_hers
  - offer: set
    id: gift
  - email: { subject: An offer, text: "{{ offer.title }} for {{ offer.price | money }}" }
    if: steps.gift.result == "accepted"
--- two.yaml
funnel: Two
trigger: { event: two }
re_entry: always
steps:
  - offer: set
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "one").at("2027-03-01 11:00", "two").at("2027-03-08 09:59", "one").at("2027-03-08 10:00", "two");
    her.at("2027-03-09 10:00", "purchase order_id=O-1 amount=10 offer=set").until("2027-04-01");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 10:00 entered one#1 | one
    2027-03-01 10:00 skipped one#1 not_hers | `box` is for customers with customer.tier == "gold": customer.tier is missing
    2027-03-01 10:00 offered one#1 set
    2027-03-01 10:00 sent one#1 email inline:email_1
    2027-03-01 10:00 finished one#1
    2027-03-01 11:00 entered two#2 | two
    2027-03-01 11:00 skipped two#2 offer_1 | cool-down: at most 1 offers within 7 days
    2027-03-01 11:00 finished two#2
    2027-03-08 09:59 entered one#3 | one
    2027-03-08 09:59 skipped one#3 not_hers | `box` is for customers with customer.tier == "gold": customer.tier is missing
    2027-03-08 09:59 skipped one#3 gift | cool-down: at most 1 offers within 7 days
    2027-03-08 09:59 skipped one#3 email_1 | if: steps.gift.result == "accepted"
    2027-03-08 09:59 finished one#3
    2027-03-08 10:00 entered two#4 | two
    2027-03-08 10:00 offered two#4 set
    2027-03-08 10:00 finished two#4
    2027-03-09 10:00 offer_used set
    2027-03-22 10:00 offer_expired set
    "#);
}
