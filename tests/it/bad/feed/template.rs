//! Templates: the sample's own, with tags put in, taken out and changed; compiled, checked and rendered with
//! odd variables.

use super::chance::Chance;
use super::odd::odd_value;
use super::workspace::verdict;
use super::{Case, Kind, Verdict, laws, mutate, sample};
use autofunnel::funnel::Files;
use autofunnel::funnel::names::{Base, Names};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::render::Sources;
use autofunnel::lang::value::{Fields, Value};
use autofunnel::template::{OUTPUT_BYTES_MAX, Rendered, Template, TemplateOptions};

/// What can stand in double braces.
const EXPRESSIONS: &[&str] = &[
    "customer.name",
    "customer.name | default(\"friend\")",
    "customer.balance | points",
    "event.amount | money",
    "customer.birthday | date",
    "customer.membership.ends | date(\"%d.%m.%Y\")",
    "customer.membership.ends | date(\"%Q %\")",
    "customer.name | upper | truncate(3)",
    "customer.name | replace(\"a\", \"b\")",
    "event.items | length",
    "event.items | first",
    "event.items | map(attribute=\"sku\") | join(\", \")",
    "range(10) | join",
    "range(100000) | join",
    "[1, 2, 3] | sum",
    "1 / 0",
    "9223372036854775807 + 1",
    "2 ** 999",
    "\"a\" * 1000000",
    "\"a\" ~ 1",
    "customer",
    "offer.name",
    "offer.price | money",
    "workspace.name",
    "nope.x",
    "customer.name[0:2]",
    "customer['na' ~ 'me']",
    "steps.gift.code",
    "customer.zone",
    "event.amount | round(2)",
    "event.amount | int",
    "event | json",
    "customer.name | urlencode",
    "customer.name | url",
    "{'a': 1}.a",
    "not customer.vip",
    "a if b else c",
    "1 if customer.name is defined",
    "customer.a.b.c | d(1)",
    "event.items | batch(0)",
    "event.items | sort(attribute=\"nope\")",
    "dict(a=1)",
    "-9223372036854775808",
    "1e400",
    "\"\\u0000\"",
    "loop.index",
    "event.items | slice(0)",
    "[[[[[[[[[[1]]]]]]]]]]",
    "event.items | groupby(\"sku\")",
    "customer.name | safe",
    "x.y()",
    "event.amount | nope",
    "super()",
    "1..2",
    "",
];

/// Whole tags.
const TAGS: &[&str] = &[
    "{% if customer.name is defined %}x{% endif %}",
    "{% for item in event.items %}{{ item.sku }} {% endfor %}",
    "{% set a = 1 %}{{ a }}",
    "{% with a = customer.name %}{{ a }}{% endwith %}",
    "{% raw %}{{ no }}{% endraw %}",
    "{# remark #}",
    "{% if a %}1{% elif b %}2{% else %}3{% endif %}",
    "{% for i in range(1000) %}{% for j in range(1000) %}x{% endfor %}{% endfor %}",
    "{% for k, v in customer | items %}{{ k }}{% endfor %}",
    "{% for x in event.items recursive %}{{ loop(event.items) }}{% endfor %}",
    "{% set ns.a = 1 %}",
    "{% if %}",
    "{% endif %}",
    "{% for %}",
    "{% macro m() %}{{ m() }}{% endmacro %}",
    "{% include \"x\" %}",
    "{% extends \"x\" %}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "{%- if true -%} x {%- endif -%}",
    "{% set a = \"x\" * 100000 %}{% set b = a * 100 %}{{ b }}",
    "<a href=\"{{ offer.link }}\">",
    "<a href={{ customer.name }}>",
    "---\nsubject: x\n---\n",
    "{% set l = [] %}{% for i in range(50) %}{% set l = l + [l] %}{% endfor %}{{ l | length }}",
];

/// See the module.
pub struct Templates {
    names: Vec<String>,
    files: Files,
    base: Base,
    options: TemplateOptions,
}

impl Templates {
    /// Reads the samples.
    pub fn new() -> Templates {
        let checked = sample::checked();
        let workspace = checked.workspace.as_ref().expect("it is sound");
        let options = TemplateOptions { currency: workspace.settings.currency, zone: workspace.settings.zone };
        let mut files: Files = sample::files();
        files.retain(|path, _| path.starts_with("templates/"));
        let names = files.keys().cloned().collect();
        Templates { names, files, base: sample::base(workspace), options }
    }
}

/// The pieces of a template: tags and what is between them.
fn pieces(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let close = if rest[at..].starts_with("{{") { "}}" } else { "%}" };
        let Some(length) = rest[at..].find(close) else { break };
        out.push(rest[..at].to_owned());
        out.push(rest[at..at + length + 2].to_owned());
        rest = &rest[at + length + 2..];
    }
    out.push(rest.to_owned());
    out
}

fn changed(text: &str, chance: &mut Chance) -> String {
    let mut pieces = pieces(text);
    for _ in 0..chance.few() {
        let at = chance.below(pieces.len());
        let is_tag = pieces[at].starts_with('{');
        match chance.below(14) {
            0..=4 => {
                let tag = format!("{{{{ {} }}}}", chance.pick(EXPRESSIONS));
                pieces.insert(at, tag);
            }
            5 | 6 => pieces.insert(at, chance.pick(TAGS).to_owned()),
            7 if is_tag => drop(pieces.remove(at)),
            8 if pieces[at].starts_with("{{") => pieces[at] = format!("{{{{ {} }}}}", chance.pick(EXPRESSIONS)),
            9 if is_tag => pieces[at] = mutate::tweak(&pieces[at].clone(), chance),
            10 => {
                let piece = pieces[at].clone();
                pieces.insert(at, piece);
            }
            11 if chance.one_in(20) => {
                let many = chance.below(300);
                let piece = chance.pick(TAGS).repeat(many);
                pieces.insert(at, piece);
            }
            _ if !is_tag => pieces[at] = mutate::tweak(&pieces[at].clone(), chance),
            _ => {}
        }
    }
    let text = pieces.concat();
    if chance.one_in(12) { mutate::text_bytes(&text, chance) } else { text }
}

/// Puts a value below a path.
fn put(fields: &mut Fields, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => drop(fields.insert(name.clone(), value)),
        [name, below @ ..] => {
            let inner = fields.entry(name.clone()).or_insert_with(|| Value::Map(Fields::new()));
            if let Value::Map(inner) = inner {
                put(inner, below, value);
            }
        }
    }
}

fn variables(paths: &[Vec<String>], chance: &mut Chance) -> Fields {
    let mut fields = Fields::new();
    for path in paths {
        if !chance.one_in(6) {
            let value = match chance.below(3) {
                0 => Value::from("2027-03-01T09:00:00Z"),
                1 => Value::Int(chance.between(-5, 5_000)),
                _ => odd_value(chance, 0),
            };
            put(&mut fields, path, value);
        }
    }
    fields
}

impl Kind for Templates {
    fn name(&self) -> &'static str {
        "template"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let path = chance.item(&self.names).clone();
        // Half of them are short: what is between the tags of an e-mail tells nothing new.
        let original = if chance.one_in(2) { "Hello {{ customer.name }},\n{% if a %}b{% endif %}\n" } else { &self.files[&path] };
        let text = changed(original, &mut chance);
        let shown = format!("# {path}\n{text}").into_bytes();
        Case { shown, feed: Box::new(move || self.feed(&path, text, chance)) }
    }
}

impl Templates {
    fn feed(&self, path: &str, text: String, mut chance: Chance) -> Verdict {
        let mut faults = Faults::default();
        let file = Some((path, text.as_str()));
        let (html, txt) = if path.ends_with(".html") { (file, None) } else { (None, file) };
        let template = Template::compile("t", html, txt, self.options, &mut faults);
        let mut broken = None;
        if template.is_none() && !faults.has_errors() {
            broken = Some("refused without an error".to_owned());
        }
        let past_parser = !faults.list().iter().any(|fault| fault.code == "bad-template");
        let mut failed = false;
        if let Some(template) = &template {
            template.check(&Names::new(&self.base).seeing(self.base.event("purchase")).template(), &mut faults);
            let variables = variables(&template.variables(), &mut chance);
            let rendered = template.render(&variables);
            failed = rendered.is_err();
            if rendered != template.render(&variables) {
                broken = Some("the same variables give other bytes".to_owned());
            }
            broken = broken.or_else(|| rendering(rendered, path, &text));
        }
        let files: Files = [(path.to_owned(), text)].into();
        let mut sources = Sources::default();
        sources.add(path, &files[path]);
        let (faults, dropped) = faults.into_sorted();
        let verdict = verdict(&files, &faults, dropped, &sources, broken);
        let refused = verdict.refused || failed;
        Verdict { past_parser, refused, placed: refused && verdict.broken.is_none(), ..verdict }
    }
}

/// What is wrong with a rendering, or with what is said of it.
fn rendering(rendered: Result<Rendered, autofunnel::template::RenderError>, path: &str, text: &str) -> Option<String> {
    match rendered {
        Ok(message) => {
            let long =
                [&message.subject, &message.text, &message.html].into_iter().find(|part| part.len() > 2 * OUTPUT_BYTES_MAX);
            let unseen = |c: char| c.is_control() && c != '\n' && c != '\t';
            let unseen =
                message.text.contains(unseen) || message.html.contains(unseen) || message.subject.contains(char::is_control);
            long.map(|part| format!("{} bytes of output", part.len()))
                .or_else(|| unseen.then(|| "a control character in a message".to_owned()))
        }
        Err(why) => {
            let lines = text.lines().count() as u32 + 1;
            let inside = (1..=lines).contains(&why.line) && &*why.file == path;
            let outside = (!inside).then(|| format!("`{why}` is not in {path} with {lines} lines"));
            laws::sentence(&why.message).or(outside)
        }
    }
}
