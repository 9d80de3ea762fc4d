//! The sample workspace: it compiles, and each of its funnels can be played from its trigger to an end.

use super::stage::{Stage, compile};
use autofunnel::effect::EffectKind;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::lang::value::Value;
use std::fs;
use std::path::Path;

fn sample() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels");
    let mut files = Files::new();
    for (folder, prefix) in [(root.clone(), ""), (root.join("templates"), "templates/"), (root.join("tests"), "tests/")] {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_file() && !name.starts_with('.') {
                files.insert(format!("{prefix}{name}"), fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    files
}

#[test]
fn every_sample_funnel_can_be_entered_and_left() {
    let stage = Stage { definitions: compile(&sample()) };
    let funnels = stage.definitions.current.funnels.keys().cloned().collect::<Vec<_>>();
    assert!(funnels.len() >= 6, "{funnels:?}");
    for funnel in &funnels {
        let mut her = stage.customer("2027-01-01 08:00");
        her.at("2027-01-01 10:00", "member roastery-club 2026-06-15 2027-06-15");
        her.at("2027-01-02 10:00", "purchase order_id=A amount=120");
        her.at("2027-01-03 10:00", &format!("enrol {funnel} r1 order_id=A amount=20")).until("2028-06-01");
        let facts: Vec<_> = her.player.facts_of(funnel).collect();
        let began = facts.iter().any(|fact| fact.what == What::Entered);
        let refused = facts.iter().any(|fact| fact.what == What::NotEntered);
        assert!(began || refused, "{funnel}: {}", her.story());
        assert_eq!(her.player.count(What::Alert), 0, "{funnel}: {}", her.story());
        assert!(
            her.document().runs.iter().all(|run| !run.is_live() || run.entered > super::stage::time("2027-12-01")),
            "{funnel}"
        );
    }
}

/// What is hers by tier and by membership stands in messages as the catalog says it.
#[test]
fn messages_name_the_benefits_of_the_catalog() {
    let stage = Stage { definitions: compile(&sample()) };
    let mut her = stage.customer("2027-01-01 08:00");
    her.at("2027-01-02 10:00", "purchase order_id=A amount=210");
    her.at("2027-01-04 10:00", "membership_started membership=tasting-club").until("2027-01-05");
    let listed = |template: &str| {
        let sent = her.player.effects.iter().find_map(|effect| match &effect.kind {
            EffectKind::Message(message) if message.template == template => Some(Value::Map(message.variables.clone())),
            _ => None,
        });
        sent.unwrap_or_else(|| panic!("{template}: {}", her.story())).to_json()
    };
    let (tier, club) = (listed("new-tier"), listed("club-welcome"));
    assert_eq!(tier["customer"]["benefits"][0], "Everything in bronze", "{tier}");
    assert_eq!(club["customer"]["membership"]["benefits"][1], "Tasting notes by the roaster", "{club}");
}
