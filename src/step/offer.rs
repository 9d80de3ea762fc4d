//! `offer`: a bundle or upgrade from the catalog, valid for a time.

use super::compile::expires;
use super::{Below, EXPIRES, Flow, IF_EXPIRED, OfferPlan, Step, StepCx, StepKind, main_text};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};

/// `offer`.
pub static KIND: StepKind = StepKind {
    name: "offer",
    doc: "offer a bundle from the catalog; templates show it as `offer`",
    example: "offer: pour-over-starter",
    fields: &[
        Field::required("offer", Shape::Name("bundle"), "the bundle in catalog.yaml"),
        Field::optional("valid_for", Shape::Duration, "how long it holds; as the catalog says if not given"),
        EXPIRES,
        IF_EXPIRED,
    ],
    compile,
};

#[derive(Debug)]
struct OfferStep {
    plan: OfferPlan,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let bundle = main_text(object, "offer", faults)?;
    let valid_for = object.span("valid_for", faults);
    let expires = expires(object, faults);
    let bundles = &below.names().bundles;
    match bundles.get(&bundle.text) {
        Some(usual) => {
            let plan = OfferPlan { bundle: bundle.text, valid_for: valid_for.unwrap_or(*usual), expires };
            Some(Box::new(OfferStep { plan }))
        }
        None => {
            faults
                .error("unknown-bundle", &bundle.place, format!("there is no bundle `{}` in catalog.yaml", bundle.text))
                .did_you_mean(&bundle.text, bundles.keys().map(String::as_str))
                .hint_if_none("describe it there, below `bundles:`");
            None
        }
    }
}

impl Step for OfferStep {
    fn advance(&self, _cx: &StepCx<'_>) -> Flow {
        Flow::Offer(self.plan.clone())
    }

    fn results(&self) -> Vec<(String, Type)> {
        vec![
            ("bundle".to_owned(), Type::Text),
            ("code".to_owned(), Type::Text),
            ("ends".to_owned(), Type::Time),
            ("reason".to_owned(), Type::Text),
        ]
    }

    fn offers(&self) -> Option<&str> {
        Some(&self.plan.bundle)
    }

    fn sentence(&self) -> String {
        format!("offer “{}” for {}", self.plan.bundle, self.plan.valid_for)
    }
}
