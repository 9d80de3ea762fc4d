//! `split`: weighted variants, sticky by a hash of salt and customer.
//!
//! Each variant owns a weighted share of the customers by rendezvous hashing: every variant draws a score
//! from its name, the salt and the customer, divided into its weight's share; the highest wins. So a
//! customer always gets the same variant, and when a weight changes, only customers who move towards the
//! variant that grew change theirs (Thaler & Ravishankar, "A name-based mapping scheme for rendezvous").

use super::winner::{self, FIELDS, Rule, Written};
use super::{Below, Flow, NEXT, Step, StepCx, StepKind};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Value;
use crate::money::Dec;
use sha2::{Digest, Sha256};

/// Largest weight of a variant.
pub const WEIGHT_MAX: i64 = 10_000;
/// Most variants of one split.
pub const VARIANTS_MAX: usize = 20;

/// `split`.
pub static KIND: StepKind = StepKind {
    name: "split",
    doc: "divide customers among variants by weight; a customer always gets the same one",
    example: "split:\n    letter: { weight: 50, steps: [{ email: welcome }] }\n    nothing: { weight: 50, steps: [] }",
    fields: &[
        Field::required("split", Shape::MapOf(&Shape::Object(VARIANT)), "the variants by name"),
        Field::optional(
            "winner",
            Shape::Either(&[Shape::Name("variant"), Shape::Object(FIELDS)]),
            "a name: the test is decided, and everybody who comes to the split gets this variant; \
             `{ by: goal, at_least: 500 }`: the engine chooses, once, and says so",
        ),
        Field::optional(
            "salt",
            Shape::Name("salt"),
            "two splits with the same salt and names divide customers the same way; the funnel's name and the step's id if not given",
        ),
    ],
    compile,
};

const VARIANT: &[Field] = &[
    Field::required("weight", Shape::Int(0, WEIGHT_MAX), "its share, relative to the other variants' weights"),
    Field::required("steps", Shape::Ref("steps"), "what this variant does; may be empty"),
];

#[derive(Debug)]
struct Variant {
    name: String,
    weight: i64,
    to: Option<u32>,
}

#[derive(Debug)]
struct SplitStep {
    salt: String,
    variants: Vec<Variant>,
    winner: Option<Written>,
}

fn compile(object: &Object<'_>, id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let node = object.node("split")?;
    let Some(entries) = node.map() else {
        faults.error("split-form", &node.place, "`split` takes a map of variants").hint(KIND.example);
        return None;
    };
    below.announce(id, &[("variant".to_owned(), Type::Text)]);
    let mut variants = Vec::new();
    for (key, node) in entries {
        let Some(variant) = Object::read(node, &[VARIANT], &format!("the variant `{}`", key.text), faults) else { continue };
        let weight = variant.int("weight", 0, WEIGHT_MAX, faults);
        let to = variant.node("steps").and_then(|steps| below.arm(&key.text, steps, faults));
        if let Some(weight) = weight {
            variants.push(Variant { name: key.text.clone(), weight, to });
        }
    }
    if entries.len() > VARIANTS_MAX {
        faults.error("too-many-variants", &node.place, format!("a split has at most {VARIANTS_MAX} variants"));
    }
    if variants.len() == entries.len() && variants.iter().map(|v| v.weight).sum::<i64>() == 0 {
        faults.error("no-weight", &node.place, "no variant has a weight above 0");
    }
    let salt = object.text("salt", faults).map(|t| t.text).unwrap_or_else(|| format!("{}/{id}", below.names().funnel));
    let names: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    let winner = object.node("winner").and_then(|node| winner::read(node, &names, object.node("id").is_some(), faults));
    Some(Box::new(SplitStep { salt, variants, winner }))
}

/// A number from 0 (exclusive) to 1 that belongs to salt, variant and customer.
fn draw(salt: &str, variant: &str, customer: &str) -> f64 {
    let mut hash = Sha256::new();
    for part in [salt, variant, customer] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bits = [0u8; 8];
    bits.copy_from_slice(&digest[..8]);
    // 53 bits fit a double exactly; half a step keeps it above 0.
    ((u64::from_be_bytes(bits) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

impl SplitStep {
    /// The way into a variant. An empty one goes on after the split; it is a variant all the same.
    fn take(variant: &Variant, seen: Vec<(String, Value)>, why: String) -> Flow {
        Flow::Goto { to: variant.to.unwrap_or(NEXT), name: variant.name.clone(), seen, variant: true, why }
    }

    fn choose(&self, customer: &str) -> Option<&Variant> {
        if let Some(Written::Name(winner)) = self.winner.as_ref() {
            return self.variants.iter().find(|variant| variant.name == *winner);
        }
        // The highest of weight / −ln(u) is won in proportion to the weights.
        let score = |variant: &Variant| variant.weight as f64 / -draw(&self.salt, &variant.name, customer).ln();
        self.variants.iter().filter(|v| v.weight > 0).max_by(|a, b| score(a).total_cmp(&score(b)))
    }
}

impl Step for SplitStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        if let Some(winner) = cx.winner.filter(|winner| winner.by.is_none() || matches!(self.winner, Some(Written::Rule(_))))
            && let Some(variant) = self.variants.iter().find(|variant| variant.name == winner.variant)
        {
            return Self::take(variant, Vec::new(), winner.why());
        }
        let Some(variant) = self.choose(&cx.customer.id) else { return Flow::Next };
        let mut seen = vec![("variant".to_owned(), Value::Text(variant.name.clone()))];
        // The number that each variant drew for her, from 0 to 1: the highest of weight / −ln(number) wins.
        seen.extend(self.variants.iter().map(|variant| {
            let drawn = draw(&self.salt, &variant.name, &cx.customer.id);
            (format!("drawn for {}", variant.name), Value::Dec(Dec((drawn * 1e6) as i64)))
        }));
        Self::take(variant, seen, String::new())
    }

    fn arms(&self) -> Vec<(String, u32)> {
        self.variants.iter().filter_map(|v| v.to.map(|to| (v.name.clone(), to))).collect()
    }

    fn results(&self) -> Vec<(String, Type)> {
        vec![("variant".to_owned(), Type::Text)]
    }

    fn test(&self) -> Option<(&Rule, Vec<&str>)> {
        let Some(Written::Rule(rule)) = &self.winner else { return None };
        Some((rule, self.variants.iter().filter(|variant| variant.weight > 0).map(|variant| variant.name.as_str()).collect()))
    }

    fn variants(&self) -> Vec<&str> {
        self.variants.iter().map(|variant| variant.name.as_str()).collect()
    }

    fn goes_on(&self) -> bool {
        self.variants.iter().any(|variant| variant.to.is_none())
    }

    fn sentence(&self) -> String {
        let total: i64 = self.variants.iter().map(|v| v.weight).sum();
        if let Some(Written::Name(winner)) = &self.winner {
            return format!("split: {winner} has won");
        }
        let shares: Vec<String> =
            self.variants.iter().map(|v| format!("{} {} %", v.name, (v.weight * 100 + total / 2) / total.max(1))).collect();
        let chosen = match &self.winner {
            Some(Written::Rule(rule)) => format!(", winner by {}", rule.by.name()),
            _ => String::new(),
        };
        format!("split: {}{chosen}", shares.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[(&str, i64)]) -> SplitStep {
        let variants =
            weights.iter().map(|(name, weight)| Variant { name: (*name).to_owned(), weight: *weight, to: None }).collect();
        SplitStep { salt: "test".to_owned(), variants, winner: None }
    }

    #[test]
    fn shares_follow_the_weights() {
        let step = split(&[("a", 75), ("b", 25)]);
        let a = (0..10_000).filter(|i| step.choose(&format!("c{i}")).unwrap().name == "a").count();
        // Three standard deviations of a binomial with p = 0.75 are 130.
        assert!((7_370..=7_630).contains(&a), "{a}");
    }

    #[test]
    fn changing_a_weight_moves_customers_only_towards_what_grew() {
        let (before, after) = (split(&[("a", 50), ("b", 50)]), split(&[("a", 80), ("b", 50)]));
        for i in 0..5_000 {
            let id = format!("c{i}");
            let (was, is) = (&before.choose(&id).unwrap().name, &after.choose(&id).unwrap().name);
            assert!(was == is || is == "a", "{id} moved from {was} to {is}");
        }
    }

    #[test]
    fn who_comes_after_the_decision_gets_the_winner() {
        let decided = SplitStep { winner: Some(Written::Name("b".to_owned())), ..split(&[("a", 99), ("b", 0)]) };
        assert!((0..1_000).all(|i| decided.choose(&format!("c{i}")).unwrap().name == "b"));
        assert_eq!(decided.sentence(), "split: b has won");
    }

    #[test]
    fn what_was_drawn_can_be_told() {
        let all: Vec<f64> = ["a", "b"].map(|variant| draw("test", variant, "c1")).to_vec();
        assert!(all.iter().all(|number| (0.0..1.0).contains(number)) && all[0] != all[1]);
        assert_eq!(draw("test", "a", "c1"), all[0], "the same for ever");
    }

    #[test]
    fn a_weight_of_zero_is_never_drawn() {
        let step = split(&[("a", 0), ("b", 1)]);
        assert!((0..1_000).all(|i| step.choose(&format!("c{i}")).unwrap().name == "b"));
    }
}
