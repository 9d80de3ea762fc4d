//! `pause` and `resume`: what is to wait until a person says so.

use super::remote::{Api, Remote, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use anyhow::anyhow;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use std::fmt::Write;

const EXAMPLES: &str = "\
Examples:
  autofunnel pause funnel welcome --why 'wrong price in the letter'
  autofunnel pause provider mail            nothing is sent through it
  autofunnel pause marketing mail           nothing is sent through it but what is transactional
  autofunnel pause workspace                nothing is sent, booked or called at all
  autofunnel pause list

Once the command returns, nothing of it leaves. Customers go on entering and waiting; what has outlived its time when
it is resumed is decided anew.";

const RESUME_EXAMPLES: &str = "\
Examples:
  autofunnel resume funnel welcome
  autofunnel resume provider mail
  autofunnel resume marketing mail
  autofunnel resume workspace

What waited leaves at once, within the limits of its provider.";

/// Hold back everything of a funnel, of a provider or of the workspace
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pause {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List what is paused, since when, by whom and why
    List(List),
    /// Pause a funnel, in all its versions
    Funnel(Named),
    /// Pause a provider
    Provider(Named),
    /// Pause the marketing messages of a provider
    Marketing(Named),
    /// Pause everything
    Workspace(Everything),
}

#[derive(Args)]
struct List {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct Named {
    /// Its name
    name: String,
    #[command(flatten)]
    rest: Everything,
}

#[derive(Args)]
struct Everything {
    /// Why, for those who see the list
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// End a pause
#[derive(Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub(super) struct Resume {
    #[command(subcommand)]
    what: Whose,
}

#[derive(Subcommand)]
enum Whose {
    /// Let a funnel go on
    Funnel(One),
    /// Let a provider go on
    Provider(One),
    /// Let the marketing messages of a provider go on
    Marketing(One),
    /// Let everything go on that is not paused by itself
    Workspace {
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
struct One {
    /// Its name
    name: String,
    #[command(flatten)]
    remote: Remote,
}

impl Pause {
    pub fn run(self, term: &Term) -> Done {
        let (mut body, named, everything) = match self.what {
            What::List(list) => return list.run(term),
            What::Funnel(named) => (json!({ "funnel": named.name }), format!("funnel {}", named.name), named.rest),
            What::Provider(named) => (json!({ "provider": named.name }), format!("provider {}", named.name), named.rest),
            What::Marketing(named) => (json!({ "marketing": named.name }), format!("marketing {}", named.name), named.rest),
            What::Workspace(everything) => (json!({ "workspace": true }), "workspace".to_owned(), everything),
        };
        if let Some(why) = everything.why {
            body["why"] = why.into();
        }
        send(&everything.remote, "/v1/pauses", &body)?;
        term.say(&format!("paused: {named}; `autofunnel resume {named}` lets it go on"));
        Ok(Status::Good)
    }
}

impl Resume {
    pub fn run(self, term: &Term) -> Done {
        let (body, named, remote) = match self.what {
            Whose::Funnel(one) => (json!({ "funnel": one.name }), format!("funnel {}", one.name), one.remote),
            Whose::Provider(one) => (json!({ "provider": one.name }), format!("provider {}", one.name), one.remote),
            Whose::Marketing(one) => (json!({ "marketing": one.name }), format!("marketing {}", one.name), one.remote),
            Whose::Workspace { remote } => (json!({ "workspace": true }), "workspace".to_owned(), remote),
        };
        send(&remote, "/v1/pauses/end", &body)?;
        term.say(&format!("resumed: {named}; what waited leaves now"));
        Ok(Status::Good)
    }
}

fn send(remote: &Remote, path: &'static str, body: &Json) -> anyhow::Result<Json> {
    let body = Bytes::from(body.to_string());
    remote.run(|api: Api| async move { api.post(path, "application/json", body).await?.good() })
}

impl List {
    fn run(self, term: &Term) -> Done {
        let answer = self.remote.run(|api| async move { api.get("/v1/pauses", &[]).await })?;
        if self.json {
            term.line(&format!("{answer:#}"))?;
            return Ok(Status::Good);
        }
        term.print(&told(&answer, term)?)?;
        Ok(Status::Good)
    }
}

fn told(answer: &Json, term: &Term) -> anyhow::Result<String> {
    let rows = answer.get("pauses").and_then(Json::as_array);
    let rows =
        rows.ok_or_else(|| anyhow!("the engine's list cannot be understood; is it of the same version as this command?"))?;
    let mut out = String::new();
    for row in rows {
        let named = ["funnel", "provider", "marketing"].into_iter().find(|word| !text(row, word).is_empty());
        let name = named.map_or("workspace".to_owned(), |word| format!("{word} {}", plain(text(row, word))));
        let (since, by) = (plain(text(row, "since")), plain(text(row, "by")));
        // Writing to a text in memory cannot fail.
        let _ = writeln!(out, "{}  since {since}, by {by}", term.tone(Tone::Bad, &name));
        let why = plain(text(row, "why"));
        if !why.is_empty() {
            let _ = writeln!(out, "  {why}");
        }
    }
    if out.is_empty() {
        out.push_str("nothing is paused\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;

    #[test]
    fn the_list_says_who_and_why() {
        let term = Term::new(ColorChoice::Never);
        let answer = json!({ "pauses": [
            { "workspace": true, "since": "2027-03-01T09:00:00Z", "by": "ada", "why": "" },
            { "funnel": "welcome", "since": "2027-03-01T09:00:00Z", "by": "ada", "why": "wrong price" },
            { "marketing": "mail", "since": "2027-03-01T09:00:00Z", "by": "complaints", "why": "" },
        ] });
        let wanted = "workspace  since 2027-03-01T09:00:00Z, by ada\n\
            funnel welcome  since 2027-03-01T09:00:00Z, by ada\n  wrong price\n\
            marketing mail  since 2027-03-01T09:00:00Z, by complaints\n";
        assert_eq!(told(&answer, &term).unwrap(), wanted);
        assert_eq!(told(&json!({ "pauses": [] }), &term).unwrap(), "nothing is paused\n");
        assert!(told(&json!({}), &term).is_err());
    }
}
