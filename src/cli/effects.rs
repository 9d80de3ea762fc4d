//! `effects`: what is on its way out, and a person's word on what nobody knows.

use super::remote::{Api, Remote, encode, text};
use super::term::{self, Term, Tone, plain};
use super::{Done, Status};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// Held effects that are looked through at once.
const LISTED_MAX: u32 = 500;

const EXAMPLES: &str = "\
Examples:
  autofunnel effects list
  autofunnel effects show C-17 C-17/1/email_1/1
  autofunnel effects retry C-17 C-17/1/email_1/1       now, instead of at its next attempt
  autofunnel effects drop C-17 C-17/1/email_1/1 --why 'wrong address'
  autofunnel effects resolve C-17 C-17/1/gift/3 --accepted --points 100   the points are in the other system
  autofunnel effects resolve C-17 C-17/1/gift/3 --refused                 they are not, and the run is not to go on as if
  autofunnel effects resolve C-17 C-17/1/gift/3 --retry                   they are not, and are to be

A grant whose call broke off, at a store that takes no key, is held: nobody knows whether the points were booked. So is
one that the store would not take for days. Look it up there, then say what you found; the run goes on at once.

A message whose call broke off, at a provider with `on_uncertain: hold`, is listed, too; its run has gone on. Say that it
arrived, that it did not and is to be left at that (--refused), or that it is to be sent again (--retry): then its step is
decided anew, with consent, quiet hours, caps and its deadline as they are now.";

/// Show effects on their way, retry or drop them, and resolve those that are held
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Effects {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List effects that wait, next due first, those that are held for your word, and grants that are parked
    List(List),
    /// Show all that is known of an effect that is on its way, parked or held
    Show(Show),
    /// Try an effect that waits at once, or ask for a parked grant again
    Retry(One),
    /// Drop an effect that waits; its run goes on as after a refusal
    Drop(Drop),
    /// Say what became of an effect that is held
    Resolve(Resolve),
}

#[derive(Args)]
struct List {
    /// How many
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct One {
    /// Whose effect
    customer: String,
    /// Its id in the list
    effect: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    one: One,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Drop {
    #[command(flatten)]
    one: One,
    /// Why, for the timeline
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

#[derive(Args)]
#[command(group = ArgGroup::new("word").required(true).args(["accepted", "refused", "retry"]))]
struct Resolve {
    /// Whose effect
    #[arg(required_unless_present = "messages", requires = "effect")]
    customer: Option<String>,
    /// Its id in the list
    #[arg(value_name = "ID")]
    effect: Option<String>,
    /// All messages of which nobody knows whether they arrived, up to 500 at once
    #[arg(long, conflicts_with_all = ["customer", "points"])]
    messages: bool,
    /// With --messages: only those of this funnel
    #[arg(long, value_name = "NAME", conflicts_with = "customer")]
    funnel: Option<String>,
    /// It did happen
    #[arg(long)]
    accepted: bool,
    /// It did not happen, and is not to be tried again
    #[arg(long)]
    refused: bool,
    /// It did not happen, and is to be tried anew
    #[arg(long)]
    retry: bool,
    /// Points that were booked, for the timeline and the figures
    #[arg(long, value_name = "N", conflicts_with_all = ["refused", "retry"], value_parser = clap::value_parser!(u32).range(1..))]
    points: Option<u32>,
    /// Where this is known from, for the timeline
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Effects {
    pub fn run(self, term: &Term) -> Done {
        match self.what {
            What::List(list) => list.run(term),
            What::Show(show) => show.run(term),
            What::Retry(one) => {
                let answer = one.post("retry", &json!({ "effect": one.effect }))?;
                term.say(&tried(&answer));
                Ok(Status::Good)
            }
            What::Drop(Drop { one, why }) => {
                one.post("drop", &json!({ "effect": one.effect, "why": why }))?;
                term.say("dropped; its run goes on as after a refusal, or is held if an earlier attempt may have had its effect: `autofunnel effects list`");
                Ok(Status::Good)
            }
            What::Resolve(resolve) => resolve.run(term),
        }
    }
}

/// What asking for another try has come to.
fn tried(answer: &Json) -> String {
    let pauses = pauses(answer, "pauses");
    if text(answer, "status") == "resting" {
        let (provider, until, why) = (text(answer, "provider"), text(answer, "until"), text(answer, "why"));
        return plain(&format!("it goes when `{provider}` is tried again, which rests until {until}: {why}"));
    }
    if pauses.is_empty() {
        return "it is due now".to_owned();
    }
    let pauses: Vec<String> = pauses.iter().map(holding).collect();
    format!("it goes as soon as nothing holds it up: {}", pauses.join("; "))
}

/// A pause that holds something up, and how it is ended.
pub(super) fn holding(pause: &Json) -> String {
    let (of, by, why) = (plain(text(pause, "paused")), plain(text(pause, "by")), plain(text(pause, "why")));
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let since = match text(pause, "since") {
        "" => String::new(),
        since => format!(" since {}", plain(since)),
    };
    format!("the {of} is paused{since} by {by}{why}; `autofunnel resume {of}` ends that")
}

/// The pauses that stand in a row of an answer.
pub(super) fn pauses<'a>(row: &'a Json, name: &str) -> &'a [Json] {
    row.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl One {
    fn post(&self, deed: &str, body: &Json) -> anyhow::Result<Json> {
        let path = format!("/v1/customers/{}/effects/{deed}", encode(&self.customer));
        let body = Bytes::from(body.to_string());
        self.remote.run(|api: Api| async move { api.post(&path, "application/json", body).await?.good() })
    }
}

impl Show {
    fn run(self, term: &Term) -> Done {
        let One { customer, effect, remote } = self.one;
        let path = format!("/v1/customers/{}/effects", encode(&customer));
        let answer = remote.run(|api| async move { api.get(&path, &[("effect", effect)]).await })?;
        match self.json {
            true => term.line(&format!("{answer:#}"))?,
            false => term.print(&all_of(&answer, term))?,
        }
        Ok(Status::Good)
    }
}

/// One line for each field that says something.
fn all_of(answer: &Json, term: &Term) -> String {
    let mut out = format!("{}\n", term.tone(Tone::Strong, &plain(text(answer, "effect"))));
    for pause in pauses(answer, "pauses") {
        // Writing to a text in memory cannot fail.
        let _ = writeln!(out, "  {}", term.tone(Tone::Bad, &holding(pause)));
    }
    for (name, value) in
        answer.as_object().into_iter().flatten().filter(|(name, _)| !["effect", "pauses"].contains(&name.as_str()))
    {
        let shown = match value {
            Json::Null => continue,
            Json::String(text) if text.is_empty() => continue,
            Json::String(text) => plain(text),
            other => plain(&other.to_string()),
        };
        // Writing to a text in memory cannot fail.
        let _ = writeln!(out, "  {:<16}{shown}", name.replace('_', " "));
    }
    out
}

impl List {
    fn run(self, term: &Term) -> Done {
        let answer = self.remote.run(|api| async move { api.get("/v1/effects", &[("limit", self.limit.to_string())]).await })?;
        if self.json {
            term.line(&format!("{answer:#}"))?;
            return Ok(Status::Good);
        }
        term.print(&told(&answer, term)?)?;
        Ok(Status::Good)
    }
}

fn rows<'a>(answer: &'a Json, name: &str) -> anyhow::Result<&'a Vec<Json>> {
    let rows = answer.get(name).and_then(Json::as_array);
    rows.ok_or_else(|| anyhow!("the engine's list cannot be understood; is it of the same version as this command?"))
}

fn told(answer: &Json, term: &Term) -> anyhow::Result<String> {
    let (held, waiting) = (rows(answer, "held")?, rows(answer, "waiting")?);
    let mut out = String::new();
    for row in held {
        let id = term.tone(Tone::Bad, &plain(text(row, "effect")));
        // Writing to a text in memory cannot fail.
        let funnel = plain(text(row, "funnel"));
        let _ = match text(row, "from") {
            "" if text(row, "kind") == "message" => {
                let (channel, to, template) = (text(row, "channel"), text(row, "to"), text(row, "template"));
                let which = plain(&format!("{template} by {channel} to {to}"));
                writeln!(out, "{id}  nobody knows whether it arrived: {which}; its run of {funnel} has gone on")
            }
            "" => writeln!(out, "{id}  held: its run of {funnel} waits for your word"),
            from => writeln!(out, "{id}  held: the run of {funnel} of {} waits for your word", plain(from)),
        };
        let _ = writeln!(out, "  {}", plain(text(row, "why")));
    }
    for row in waiting {
        let attempts = row.get("attempts").and_then(Json::as_u64).unwrap_or(0);
        let id = term.tone(Tone::Strong, &plain(text(row, "effect")));
        let _ = writeln!(out, "{id}  due {}, {attempts} attempts", plain(text(row, "due")));
        let why = plain(text(row, "why"));
        if !why.is_empty() {
            let _ = writeln!(out, "  {}", term.tone(Tone::Dim, &why));
        }
        for pause in pauses(row, "pauses") {
            let _ = writeln!(out, "  {}", term.tone(Tone::Dim, &holding(pause)));
        }
    }
    for row in answer.get("parked").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default() {
        let id = term.tone(Tone::Strong, &plain(text(row, "effect")));
        let next = row.get("next").and_then(Json::as_str).map_or("on its way again".to_owned(), |next| format!("again {next}"));
        let _ = writeln!(out, "{id}  parked since {}, {}", plain(text(row, "since")), plain(&next));
        let _ = writeln!(out, "  {}", term.tone(Tone::Dim, &plain(text(row, "why"))));
    }
    if out.is_empty() {
        out.push_str("nothing is on its way, and nothing is held\n");
    }
    Ok(out)
}

impl Resolve {
    fn run(self, term: &Term) -> Done {
        let outcome = match (self.accepted, self.retry) {
            (true, _) => "accepted",
            (_, true) => "retry",
            (false, false) => "refused",
        };
        let named = self.customer.zip(self.effect);
        let one = named.is_some();
        let count = self.remote.run(|api: Api| async move {
            let chosen = match named {
                Some(one) => vec![one],
                None => messages(&api, self.funnel.as_deref()).await?,
            };
            for (customer, effect) in &chosen {
                let body = json!({ "effect": effect, "outcome": outcome, "points": self.points, "why": self.why });
                let path = format!("/v1/customers/{}/effects/resolve", encode(customer));
                let answer = api.post(&path, "application/json", Bytes::from(body.to_string())).await?;
                answer.good().with_context(|| effect.clone())?;
            }
            anyhow::Ok(chosen.len())
        })?;
        term.say(&match (one, self.retry) {
            (true, true) => "it is tried anew".to_owned(),
            (true, false) => "resolved; a run that waits for it goes on".to_owned(),
            (false, true) => format!("{} tried anew", term::count(count, "message")),
            (false, false) => format!("{} resolved", term::count(count, "message")),
        });
        Ok(Status::Good)
    }
}

/// Messages of which nobody knows whether they arrived: whose, and their ids.
async fn messages(api: &Api, funnel: Option<&str>) -> anyhow::Result<Vec<(String, String)>> {
    let answer = api.get("/v1/effects", &[("limit", LISTED_MAX.to_string())]).await?;
    let meant = |row: &&Json| text(row, "kind") == "message" && funnel.is_none_or(|funnel| text(row, "funnel") == funnel);
    let rows = rows(&answer, "held")?.iter().filter(meant);
    Ok(rows.map(|row| (text(row, "customer").to_owned(), text(row, "effect").to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        effects: Effects,
    }

    #[test]
    fn one_word_is_given_on_one_effect() {
        let fits = |line: &str| Line::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "x list",
            "x resolve C C/1/g/1 --accepted",
            "x resolve C C/1/g/1 --refused --why lost",
            "x resolve C e --accepted --points 5",
            "x resolve C e --retry",
            "x resolve --messages --refused",
            "x resolve --messages --retry --funnel welcome",
            "x show C e --json",
            "x retry C e",
            "x drop C e --why no",
        ] {
            assert!(fits(good), "{good}");
        }
        for wrong in [
            "x resolve C e",
            "x resolve C e --messages --refused",
            "x resolve C e --funnel f --refused",
            "x resolve --messages --accepted --points 5",
            "x resolve C --accepted",
            "x resolve C e --accepted --refused",
            "x resolve C e --refused --points 5",
            "x resolve C e --retry --points 5",
            "x drop C",
            "x",
        ] {
            assert!(!fits(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_paused_is_not_said_to_be_due() {
        assert_eq!(tried(&json!({ "status": "due" })), "it is due now");
        let rests = json!({ "status": "resting", "provider": "mail", "until": "2027-03-01T10:00:00Z", "why": "503" });
        assert_eq!(tried(&rests), "it goes when `mail` is tried again, which rests until 2027-03-01T10:00:00Z: 503");
        let pause = json!({ "paused": "provider mail", "since": "2027-03-01T09:00:00Z", "by": "ops", "why": "wrong price" });
        let said = tried(&json!({ "status": "paused", "pauses": [pause] }));
        assert_eq!(
            said,
            "it goes as soon as nothing holds it up: the provider mail is paused since 2027-03-01T09:00:00Z by ops (wrong price); `autofunnel resume provider mail` ends that"
        );
    }

    #[test]
    fn what_is_held_stands_first() {
        let term = Term::new(ColorChoice::Never);
        let answer = json!({
            "waiting": [{ "effect": "a/1/m/1", "customer": "a", "due": "2027-03-01T09:00:00Z", "attempts": 2, "why": "503" }],
            "held": [{ "effect": "b/1/g/1", "customer": "b", "funnel": "welcome", "why": "no answer" }],
        });
        let text = told(&answer, &term).unwrap();
        assert!(
            text.starts_with("b/1/g/1  held") && text.contains("a/1/m/1  due 2027-03-01T09:00:00Z, 2 attempts\n  503"),
            "{text}"
        );
        let parked = json!([{ "effect": "c/1/g/1", "since": "2027-03-01T09:00:00Z", "next": null, "why": "blocked" }]);
        let text = told(&json!({ "waiting": [], "held": [], "parked": parked }), &term).unwrap();
        assert_eq!(text, "c/1/g/1  parked since 2027-03-01T09:00:00Z, on its way again\n  blocked\n");
        let message = json!({
            "effect": "d/1/m/1", "customer": "d", "funnel": "news", "kind": "message", "channel": "sms", "to": "+491", "template": "hi",
            "why": "no answer",
        });
        let text = told(&json!({ "waiting": [], "held": [message] }), &term).unwrap();
        let wanted = "d/1/m/1  nobody knows whether it arrived: hi by sms to +491; its run of news has gone on\n  no answer\n";
        assert_eq!(text, wanted);
        assert!(told(&json!({ "waiting": [], "held": [] }), &term).unwrap().contains("nothing"));
        assert!(told(&json!({}), &term).is_err());
    }
}
