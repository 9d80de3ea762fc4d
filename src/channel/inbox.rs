//! The development inbox: messages are kept in the store and shown in the dashboard, and nobody gets mail.

use super::{COMMON_FIELDS, Channel, Idempotency, Prepared, SendResult, Setup, Tools};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Object};
use crate::lang::time::Time;
use crate::lang::value::Fields;
use crate::store::read::KeptMessage;
use crate::template::Rendered;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(super) const FIELDS: &[Field] = &[];

struct Inbox;

pub(super) fn new() -> Arc<dyn Channel> {
    Arc::new(Inbox)
}

pub(super) fn compile(name: &str, node: &Node, _setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    let errors = faults.error_count();
    Object::read(node, &[COMMON_FIELDS, FIELDS], &format!("the provider `{name}`"), faults)?;
    (faults.error_count() == errors).then(new)
}

impl Channel for Inbox {
    fn kind(&self) -> &'static str {
        "inbox"
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::Key
    }

    fn on_uncertain(&self) -> OnUncertain {
        // The store keeps one message per effect, so sending again is always right.
        OnUncertain::Resend
    }

    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String> {
        let (EffectKind::Message(message), Some(rendered)) = (&effect.kind, rendered) else {
            return Err("the inbox keeps messages only; name another provider for grants".to_owned());
        };
        let kept = KeptMessage {
            id: effect.id.clone(),
            customer: effect.customer.clone(),
            channel: message.channel.clone(),
            to: message.to.clone(),
            funnel: effect.funnel.clone(),
            template: message.template.clone(),
            subject: rendered.subject.clone(),
            text: rendered.text.clone(),
            html: rendered.html.clone(),
            at: Time::default(),
        };
        let mut digest = Sha256::new();
        for part in [&kept.channel, &kept.to, &kept.subject, &kept.text, &kept.html] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Ok(Prepared { digest: digest.finalize().to_vec(), payload: Box::new(kept) })
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        Box::pin(async move {
            let Some(kept) = prepared.payload.downcast_ref::<KeptMessage>() else {
                return SendResult::Refused { why: "the message was prepared by another provider".to_owned() };
            };
            let message = KeptMessage { at: tools.store.now(), ..kept.clone() };
            match tools.store.keep_message(message).await {
                Ok(()) => SendResult::Accepted { reference: Some(kept.id.clone()), data: Fields::new() },
                // Keeping the same message again changes nothing, so nothing here is ambiguous.
                Err(why) => SendResult::Retry { after: None, why: why.to_string(), ambiguous: false },
            }
        })
    }
}
