//! `review`: steps that are held until a person has looked at them.

use super::remote::{Api, Remote, encode, rows, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// Steps that are looked through for those of `--all`; more are found by the next call.
const LISTED_MAX: u32 = 500;
/// Lines of a text that the list shows.
const TEXT_LINES: usize = 12;

/// Begins the name of a reply.
const REPLY: &str = "reply:";

const EXAMPLES: &str = "\
Examples:
  autofunnel review list
  autofunnel review release C-17 C-17/4/email_1/1
  autofunnel review release --all --funnel spring-sale
  autofunnel review reject C-17 C-17/4/email_1/1 --why 'wrong picture'
  autofunnel review reject C-17 reply:sms      her reply does ask for no more messages

Steps of a funnel with `mode: hold_for_review` wait here. Released, a step is decided at that moment: consent, quiet
hours and caps count as they are then. A message that nobody has released before it expires is not sent.

So do replies in free words that seem to ask for no more messages: nothing is sent to that address by that channel until you
have released the reply (it asks for something else) or rejected it (she is not written to any more, as after STOP).";

/// Look at what funnels hold for review, release or reject it
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Review {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List what is held, with its text
    List(List),
    /// Let steps go
    Release(Which),
    /// Say no to steps: they are skipped
    Reject(Which),
}

#[derive(Args)]
struct List {
    /// Only of this funnel
    #[arg(long, value_name = "NAME")]
    funnel: Option<String>,
    /// How many
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LISTED_MAX)))]
    limit: u32,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct Which {
    /// Whose step
    #[arg(required_unless_present = "all", requires = "effect")]
    customer: Option<String>,
    /// Its id in the list
    #[arg(value_name = "ID")]
    effect: Option<String>,
    /// All that are held
    #[arg(long, conflicts_with = "customer")]
    all: bool,
    /// With --all: only those of this funnel
    #[arg(long, value_name = "NAME", conflicts_with = "customer")]
    funnel: Option<String>,
    /// Why, for the timeline
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Review {
    pub fn run(self, term: &Term) -> Done {
        match self.what {
            What::List(list) => list.run(term),
            What::Release(which) => which.run("release", "released", term),
            What::Reject(which) => which.run("reject", "rejected", term),
        }
    }
}

impl List {
    fn run(self, term: &Term) -> Done {
        let rows = self.remote.run(|api| async move { listed(&api, self.limit, self.funnel).await })?;
        if self.json {
            term.line(&format!("{:#}", Json::Array(rows)))?;
        } else if rows.is_empty() {
            term.say("nothing is held for review");
        } else {
            let lines: String = rows.iter().map(|row| shown(row, term)).collect();
            term.print(&lines)?;
        }
        Ok(Status::Good)
    }
}

impl Which {
    fn run(self, deed: &'static str, done: &str, term: &Term) -> Done {
        let named = self.customer.zip(self.effect);
        let (count, before) = self.remote.run(|api| async move {
            let chosen = match named {
                Some(one) => vec![one],
                None => {
                    // Replies are looked at one by one.
                    let rows = listed(&api, LISTED_MAX, self.funnel).await?;
                    let rows = rows.iter().filter(|row| !text(row, "effect").starts_with(REPLY));
                    rows.map(|row| (text(row, "customer").to_owned(), text(row, "effect").to_owned())).collect()
                }
            };
            let mut before = 0;
            for (customer, effect) in &chosen {
                let path = format!("/v1/customers/{}/review/{deed}", encode(customer));
                let body = Bytes::from(json!({ "effect": effect, "why": self.why }).to_string());
                let answer = api.post(&path, "application/json", body).await?;
                let said = answer.good().with_context(|| effect.clone())?;
                before += usize::from(text(&said, "status") == "duplicate");
            }
            anyhow::Ok((chosen.len() - before, before))
        })?;
        term.say(&said(count, before, done));
        Ok(Status::Good)
    }
}

/// What a word on so many steps has come to, and on so many others that had it before.
fn said(count: usize, before: usize, done: &str) -> String {
    let steps = |count: usize| if count == 1 { "1 step was".to_owned() } else { format!("{count} steps were") };
    match (count, before) {
        (0, 0) => "nothing is held for review".to_owned(),
        (count, 0) => format!("{} {done}", steps(count)),
        (0, before) => format!("{} {done} before already, and nothing more was done", steps(before)),
        (count, before) => format!("{} {done}, {} already before", steps(count), steps(before)),
    }
}

async fn listed(api: &Api, max: u32, funnel: Option<String>) -> anyhow::Result<Vec<Json>> {
    let query = [("limit", max.to_string()), ("funnel", funnel.unwrap_or_default())];
    let mut answer = api.get("/v1/review", &query).await?;
    let mut rows = rows(&mut answer, "held")?;
    // Engines of before have no such list.
    rows.extend(answer.get_mut("replies").and_then(Json::as_array_mut).map(std::mem::take).unwrap_or_default());
    Ok(rows)
}

fn shown(row: &Json, term: &Term) -> String {
    let reply = text(row, "effect").starts_with(REPLY);
    let whose = if reply { text(row, "customer") } else { text(row, "funnel") };
    let mut out = format!("{}  {}\n", term.tone(Tone::Strong, &plain(text(row, "effect"))), plain(whose));
    if reply {
        let told = "seems to ask for no more messages; none is sent until you release it (it does not) or reject it (it does)";
        // Writing to a text in memory cannot fail.
        let _ = writeln!(out, "  {}", term.tone(Tone::Dim, told));
    }
    let until = text(row, "until");
    // Writing to a text in memory cannot fail.
    if !until.is_empty() {
        let _ = writeln!(out, "  {}", term.tone(Tone::Dim, &format!("until {}", plain(until))));
    }
    for name in ["channel", "to", "subject", "reason", "bundle", "service", "request"] {
        if !text(row, name).is_empty() {
            let _ = writeln!(out, "  {name:<8} {}", plain(text(row, name)));
        }
    }
    if let Some(points) = row.get("points").and_then(Json::as_i64) {
        let _ = writeln!(out, "  points   {points}");
    }
    for line in text(row, "text").lines().take(TEXT_LINES) {
        let _ = writeln!(out, "  | {}", plain(line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        review: Review,
    }

    #[test]
    fn a_step_is_named_or_all_are_meant() {
        let fits = |line: &str| Line::try_parse_from(line.split(' ')).is_ok();
        for good in ["x list", "x list --funnel f", "x release C e", "x reject C e --why no", "x release --all --funnel f"] {
            assert!(fits(good), "{good}");
        }
        for wrong in ["x release", "x release C", "x reject C e --all", "x release C e --funnel f", "x list --limit 0"] {
            assert!(!fits(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_said_twice_was_done_once() {
        assert_eq!(said(0, 0, "released"), "nothing is held for review");
        assert_eq!(said(1, 0, "released"), "1 step was released");
        assert_eq!(said(0, 1, "released"), "1 step was released before already, and nothing more was done");
        assert_eq!(said(2, 1, "rejected"), "2 steps were rejected, 1 step was already before");
    }

    #[test]
    fn a_step_is_shown_as_it_would_arrive() {
        let term = Term::new(ColorChoice::Never);
        let row = json!({
            "effect": "C/1/email_1/1", "funnel": "sale", "until": "2027-03-02T09:00:00Z", "channel": "email",
            "to": "ada@example.com", "subject": "Sale", "text": "Hello\nAda",
        });
        let wanted = "C/1/email_1/1  sale\n  until 2027-03-02T09:00:00Z\n  channel  email\n  to       ada@example.com\n  \
            subject  Sale\n  | Hello\n  | Ada\n";
        assert_eq!(shown(&row, &term), wanted);
        let reply = json!({ "effect": "reply:sms", "customer": "C", "channel": "sms", "text": "please stop" });
        let text = shown(&reply, &term);
        assert!(text.starts_with("reply:sms  C\n  seems to ask") && text.ends_with("  | please stop\n"), "{text}");
    }
}
