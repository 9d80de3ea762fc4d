//! Templates against bad files, bad data and each other.

use super::*;
use crate::lang::cel::Type;
use crate::lang::value::Value;

fn options() -> TemplateOptions {
    TemplateOptions { currency: Currency::parse("EUR").unwrap(), zone: chrono_tz::UTC }
}

fn fields(json: &str) -> Fields {
    match Value::from_json(&serde_json::from_str(json).unwrap()).unwrap() {
        Value::Map(fields) => fields,
        other => panic!("{other}"),
    }
}

fn text_only(text: &str) -> Template {
    let mut faults = Faults::default();
    let template = Template::compile("t", None, Some(("templates/t.txt", text)), options(), &mut faults);
    template.unwrap_or_else(|| panic!("{text}: {:?}", faults.list()))
}

fn say(text: &str, vars: &str) -> Result<String, RenderError> {
    text_only(text).render(&fields(vars)).map(|message| message.text)
}

fn faults_of(html: Option<&str>, txt: Option<&str>) -> Vec<(u32, u32, String)> {
    let mut faults = Faults::default();
    let html = html.map(|text| ("templates/t.html", text));
    let txt = txt.map(|text| ("templates/t.txt", text));
    assert!(Template::compile("t", html, txt, options(), &mut faults).is_none(), "accepted");
    faults.list().iter().map(|f| (f.place.line, f.place.column, f.message.clone())).collect()
}

#[test]
fn an_email_has_subject_preheader_text_and_html() {
    let html = "---\nsubject: Hi {{ customer.name }}\npreheader: {{ customer.name }} & you\n---\n<html><body class=x><p>{{ customer.name }}</p></body>";
    let mut faults = Faults::default();
    let template =
        Template::compile("t", Some(("t.html", html)), Some(("t.txt", "Hello {{ customer.name }}")), options(), &mut faults)
            .unwrap();
    let message = template.render(&fields(r#"{"customer": {"name": "A<b>"}}"#)).unwrap();
    assert_eq!(message.subject, "Hi A<b>");
    assert_eq!(message.text, "Hello A<b>");
    assert!(message.html.contains("<p>A&lt;b&gt;</p>"), "{}", message.html);
    assert!(message.html.contains("<body class=x><div style=\"display:none"), "{}", message.html);
    assert!(message.html.contains("A&lt;b&gt; & you</div>"), "{}", message.html);
    assert_eq!(template.variables(), [["customer", "name"]]);
    assert!(template.has_subject());
}

#[test]
fn the_hash_follows_every_source_and_nothing_else() {
    let hash = |html: Option<&str>, txt: Option<&str>| {
        let mut faults = Faults::default();
        let pair = |t: &'static str| move |text| (t, text);
        Template::compile("t", html.map(pair("a")), txt.map(pair("b")), options(), &mut faults).unwrap().hash()
    };
    assert_eq!(hash(None, Some("a")), hash(None, Some("a")));
    assert_ne!(hash(None, Some("a")), hash(None, Some("b")));
    assert_eq!(hash(None, Some("a")).len(), 64);
}

#[test]
fn missing_values_fail_unless_a_default_is_given() {
    let error = say("Hello\n{{ customer.name }},", r#"{"customer": {}}"#).unwrap_err();
    assert_eq!((error.line, error.missing.as_deref()), (2, Some("customer.name")));
    let nulls = say("Hello {{ customer.name }}", r#"{"customer": {"name": null}}"#).unwrap_err();
    assert_eq!(nulls.missing.as_deref(), Some("customer.name"));
    for vars in
        ["{}", r#"{"customer": {}}"#, r#"{"customer": null}"#, r#"{"customer": {"a": {}}}"#, r#"{"customer": {"a": null}}"#]
    {
        assert_eq!(say("{{ customer.a.b | default(\"friend\") }}", vars).unwrap(), "friend", "{vars}");
        assert_eq!(say("{% if customer.a %}x{% endif %}{{ customer.a.b | d(1) }}", vars).unwrap(), "1", "{vars}");
        assert_eq!(say("{% if customer.a is defined %}x{% endif %}{{ customer.a.b | d(1) }}", vars).unwrap(), "1", "{vars}");
        assert!(say("{{ customer.a.b }}", vars).is_err(), "{vars}");
        assert!(say("{{ customer.a.b | upper }}", vars).is_err(), "{vars}");
    }
    assert!(say("{% for x in list %}{{ x }}{% endfor %}", r#"{"list": [null]}"#).is_err());
    assert_eq!(say("{% for x in list %}{{ x | d('-') }}{% endfor %}", r#"{"list": [null, 1]}"#).unwrap(), "-1");
    assert_eq!(say("{{ a | default('x') }}", r#"{"a": "y"}"#).unwrap(), "y");
}

#[test]
fn the_ends_of_what_a_decimal_holds_print_digit_by_digit() {
    for (millionths, shown) in [(i64::MIN, "-9223372036854.775808"), (i64::MAX, "9223372036854.775807"), (-1, "-0.000001")] {
        let vars = Fields::from([("n".to_owned(), Value::Dec(crate::money::Dec(millionths)))]);
        assert_eq!(text_only("{{ n }}").render(&vars).unwrap().text, shown);
    }
}

#[test]
fn values_print_as_people_read_them() {
    let vars = r#"{"n": 12.50, "m": 3, "big": 9223372036853.123456, "list": [1, 2], "customer": {"zone": "Asia/Tokyo"},
                   "t": "2027-02-14T20:00:00Z", "d": "1990-02-28", "ok": true}"#;
    for (text, shown) in [
        ("{{ n }} {{ m }} {{ big }} {{ ok }}", "12.5 3 9223372036853.123456 true"),
        ("{{ n | money }} {{ big | money }}", "12.50 EUR 9223372036853.12 EUR"),
        ("{{ 1250 | points }}", "1,250"),
        ("{{ t | date }}", "15 February 2027"),
        ("{{ t | date('%H:%M') }}", "05:00"),
        ("{{ d | date('%-d/%-m') }}", "28/2"),
        ("{{ list | join(', ') }}{% for x in list %};{{ x + 1 }}{% endfor %}", "1, 2;2;3"),
        ("{% if n > 12.4 and m == 3 %}yes{% endif %}", "yes"),
        ("{{ big | json }} {{ n | json }} {{ ok | json }}", "9223372036853.123456 12.5 true"),
    ] {
        assert_eq!(say(text, vars).unwrap(), shown, "{text}");
    }
    for text in [
        "{{ list }}",
        "{{ customer }}",
        "{{ t | date('%Q') }}",
        "{{ d | date('%H:%M') }}",
        "{{ ok | date }}",
        "{{ ok | points }}",
    ] {
        assert!(say(text, vars).is_err(), "{text}");
    }
    let template = text_only("{{ t | date }}");
    assert_eq!(template.variables(), [vec!["t".to_owned()], vec!["customer".to_owned(), "zone".to_owned()]]);
}

#[test]
fn instants_are_written_in_utc_or_the_given_zone() {
    let mut vars = fields(r#"{"_zone": "America/New_York"}"#);
    vars.insert("at".to_owned(), Value::Time(crate::lang::time::Time::parse("2027-01-01T02:00:00Z").unwrap()));
    assert_eq!(text_only("{{ at }} {{ at | date }}").render(&vars).unwrap().text, "2027-01-01T02:00:00Z 31 December 2026");
}

#[test]
fn data_is_never_compiled_and_control_characters_are_dropped() {
    assert_eq!(say("{{ a }}", r#"{"a": "{{ 7 * 7 }}{% x %}"}"#).unwrap(), "{{ 7 * 7 }}{% x %}");
    assert_eq!(say("{{ a }}", "{\"a\": \"x\\u0000y\\u001b[0m\\r\\nz\\u2028\"}").unwrap(), "xy[0m\nz");
}

#[test]
fn a_subject_with_a_line_break_is_refused() {
    let mut faults = Faults::default();
    let template =
        Template::compile("t", None, Some(("t.txt", "---\nsubject: Hi {{ a }}\n---\nx")), options(), &mut faults).unwrap();
    for bad in [r"x\r\nBcc: y", r"x\u0000", r"x\u2028y", r"x\u0085y"] {
        assert!(template.render(&fields(&format!("{{\"a\": \"{bad}\"}}"))).is_err(), "{bad}");
    }
    assert_eq!(template.render(&fields(r#"{"a": "you"}"#)).unwrap().subject, "Hi you");
}

#[test]
fn work_and_size_are_bounded() {
    for text in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{% set a = s ~ s %}{% set a = a ~ a %}{% set a = a ~ a %}{% set a = a ~ a %}{% set a = a ~ a %}{% set a = a ~ a %}{% set a = a ~ a %}{{ a }}",
        "{% for a in range(1000000000) %}x{% endfor %}",
    ] {
        let vars = format!("{{\"s\": \"{}\"}}", "a".repeat(8_000));
        assert!(say(text, &vars).is_err(), "{text}");
    }
    assert!(say("{{ s }}{{ s }}", &format!("{{\"s\": \"{}\"}}", "a".repeat(300_000))).unwrap_err().message.contains("512 KiB"));
    let deep = format!("{}x{}", "{% if 1 %}".repeat(2_000), "{% endif %}".repeat(2_000));
    assert!(!faults_of(None, Some(&deep)).is_empty());
}

#[test]
fn links_made_of_data_lead_only_to_pages() {
    let mut faults = Faults::default();
    let html = "---\nsubject: x\n---\n<a href=\"{{ link }}\">{{ link }}</a>";
    let template = Template::compile("t", Some(("t.html", html)), None, options(), &mut faults).unwrap();
    let ok = template.render(&fields(r#"{"link": "https://x.example/?a=1&b=\"2"}"#)).unwrap();
    assert!(ok.html.contains("href=\"https:&#x2f;&#x2f;x.example&#x2f;?a=1&amp;b=&quot;2\""), "{}", ok.html);
    assert!(template.render(&fields(r#"{"link": "javascript:alert(1)"}"#)).is_err());
}

#[test]
fn what_templates_may_not_do_is_found_with_its_place() {
    let subject = "---\nsubject: x\n---\n";
    for (text, line, column) in [
        ("a\n  {{ a | safe }}", 5, 10),
        ("{{ a | uper }}", 4, 8),
        ("{{ a | default: 'x' }}", 4, 8),
        ("{% autoescape false %}x{% endautoescape %}", 4, 4),
        ("{% macro x() %}{% endmacro %}", 4, 4),
        ("{% include 'x' %}", 4, 4),
        ("{{ a.upper() }}", 4, 6),
        ("{{ a is defned }}", 4, 9),
        ("{{ now() }}", 4, 4),
    ] {
        let found = faults_of(Some(&format!("{subject}{text}")), None);
        assert_eq!((found[0].0, found[0].1), (line, column), "{text}: {found:?}");
    }
    assert_eq!(faults_of(None, Some("ok\n{{ a")).len(), 1);
    assert_eq!(faults_of(None, Some("ok\n{% if a %}"))[0].0, 2);
    assert_eq!(faults_of(None, Some("---\nsubjet: x\n---\nbody"))[0].0, 2);
    assert_eq!(faults_of(None, Some("---\nsubject: x\nbody")).len(), 2);
    assert_eq!(faults_of(Some("<p>x</p>"), None)[0].2, "the e-mail template `t` has no subject");
    assert_eq!(faults_of(None, None).len(), 1);
    assert_eq!(faults_of(None, Some("  \n")).len(), 1);
}

#[test]
fn every_listed_filter_and_test_exists() {
    for filter in scan::FILTERS {
        let why = say(&format!("{{{{ 'x' | {filter} }}}}"), "{}").err().map(|e| e.message).unwrap_or_default();
        assert!(!why.contains("unknown") && !why.contains(&format!("filter {filter} is")), "{filter}: {why}");
    }
    for test in scan::TESTS {
        let why = say(&format!("{{% if 'x' is {test} %}}{{% endif %}}"), "{}").err().map(|e| e.message).unwrap_or_default();
        assert!(!why.contains("unknown") && !why.contains(&format!("test {test} is")), "{test}: {why}");
    }
    let mut environment = engine::environment(&options());
    environment.add_template("x", "{{ 'x' | nosuch }}").unwrap();
    let why = environment.get_template("x").unwrap().render(()).unwrap_err();
    assert!(why.to_string().contains("unknown"), "the wording that this test relies on changed: {why}");
}

struct Names;

impl Schema for Names {
    fn root(&self, name: &str) -> Option<Type> {
        let customer = Type::Object(vec![("name".to_owned(), Type::Text), ("tier".to_owned(), Type::Text)]);
        match name {
            "customer" => Some(customer),
            "event" => Some(Type::Any),
            _ => None,
        }
    }
    fn roots(&self) -> Vec<String> {
        vec!["customer".to_owned(), "event".to_owned()]
    }
    fn segments(&self) -> Vec<String> {
        Vec::new()
    }
    fn event(&self, _name: &str) -> Option<Type> {
        None
    }
    fn events(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn names_are_checked_where_they_are_read() {
    let template = text_only(
        "Hi {{ customer.name }},\n{{ customer.nmae }} {{ custmer.name }} {{ event.x.y }} {{ customer.name.first }}\n{% for i in event.items %}{{ i.sku }}{{ loop.index }}{% endfor %}",
    );
    let mut faults = Faults::default();
    template.check(&Names, &mut faults);
    let mut found: Vec<_> = faults
        .list()
        .iter()
        .map(|f| (f.place.line, f.place.column, f.place.length, f.hint.clone().unwrap_or_default()))
        .collect();
    found.sort();
    let expected = [(2, 13, 4, "did you mean `name`?"), (2, 24, 7, "did you mean `customer`?"), (2, 73, 5, "")];
    assert_eq!(found, expected.map(|(line, column, length, hint)| (line, column, length, hint.to_owned())));
}

#[test]
fn lines_write_data_as_their_kind_asks() {
    let vars = fields(r#"{"a": "x/y z\"", "n": 12.5, "l": [1, "b"]}"#);
    let render = |text: &str, kind| {
        let place = Place { file: "autofunnel.yaml".into(), line: 3, column: 5, length: 1 };
        let mut faults = Faults::default();
        let line = Line::compile(&Text { text: text.to_owned(), place }, kind, options(), &mut faults).unwrap();
        let raw = [("s0".to_owned(), "to/ken".to_owned())];
        line.render(&Context::with_secrets(&vars, &line.variables(), &raw))
    };
    assert_eq!(
        render("https://h/{{ secrets.s0 }}/{{ a }}?n={{ n }}", LineKind::Url).unwrap(),
        "https://h/to/ken/x%2Fy%20z%22?n=12.5"
    );
    assert_eq!(render("{{ a | urlencode }}", LineKind::Url).unwrap(), "x%2Fy%20z%22");
    assert_eq!(render(" {{ n }} ", LineKind::Json).unwrap(), "12.5");
    assert_eq!(render("{{ n }} EUR", LineKind::Json).unwrap(), "\"12.5 EUR\"");
    assert_eq!(render("{{ a }}", LineKind::Json).unwrap(), "\"x/y z\\\"\"");
    assert_eq!(render("{{ l }}", LineKind::Json).unwrap(), "[1,\"b\"]");
    assert_eq!(render("{{ nix | default(none) }}", LineKind::Json).unwrap(), "null");
    assert_eq!(render("plain", LineKind::Json).unwrap(), "\"plain\"");
    assert_eq!(render("{\"t\": {{ a | json }}}", LineKind::Plain).unwrap(), "{\"t\": \"x/y z\\\"\"}");
    assert!(render("x{{ \"\\n\" }}", LineKind::Header).is_err());
    assert!(render("{{ nix }}", LineKind::Json).is_err());
}

#[test]
fn an_inline_message_reports_at_its_own_place() {
    let place = Place { file: "funnels/a.yaml".into(), line: 7, column: 9, length: 4 };
    let text = |text: &str| Text { text: text.to_owned(), place: place.clone() };
    let mut faults = Faults::default();
    let good = Template::inline("a/1", Some(&text("Hi")), &text("Hello {{ customer.name }}"), options(), &mut faults).unwrap();
    assert_eq!(good.render(&fields(r#"{"customer": {"name": "Ann"}}"#)).unwrap().text, "Hello Ann");
    assert!(Template::inline("a/1", None, &text("a\n{{ x | nope }}"), options(), &mut faults).is_none());
    assert_eq!(faults.list()[0].place, place);
}

const MJML: &str = "---
subject: Hello {{ customer.name }}
---
<mjml>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text>Dear {{ customer.name }}, {% if customer.points > 5 and customer.points < 99 %}you have {{ customer.points | points }}{% endif %}</mj-text>
        <mj-button href=\"{{ customer.link }}\" background-color=\"#414141\">Go</mj-button>
        <mj-image src=\"https://example.com/{{ customer.name }}.png\" alt=\"A cup for {{ customer.name }}\" />
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>
";

fn mjml(text: &str) -> Result<Template, Vec<(u32, String)>> {
    let mut faults = Faults::default();
    let template = Template::compile("t", Some(("templates/t.mjml", text)), None, options(), &mut faults);
    template.ok_or_else(|| faults.list().iter().map(|fault| (fault.place.line, fault.message.clone())).collect())
}

#[test]
fn mjml_becomes_html_with_data_escaped_and_a_text() {
    let template = mjml(MJML).unwrap();
    let vars = fields(r#"{"customer": {"name": "<Ann>", "points": 12, "link": "https://example.com/x?a=1"}}"#);
    let rendered = template.render(&vars).unwrap();
    assert_eq!(rendered, mjml(MJML).unwrap().render(&vars).unwrap(), "the same source gives the same bytes");
    assert_eq!(rendered.subject, "Hello <Ann>");
    for part in [
        "Dear &lt;Ann&gt;, you have 12",
        "href=\"https:&#x2f;&#x2f;example.com&#x2f;x?a=1\"",
        "@media",
        "alt=\"A cup for &lt;Ann&gt;\"",
    ] {
        assert!(rendered.html.contains(part), "{part} in {}", rendered.html);
    }
    assert!(
        !rendered.html.contains("<mj-") && !rendered.html.contains("data0mark") && !rendered.html.contains("googleapis"),
        "{}",
        rendered.html
    );
    assert_eq!(rendered.text, "Dear <Ann>, you have 12\n\nGo (https://example.com/x?a=1)\n\nA cup for <Ann>");
    assert!(!template.has_text(), "it is no template of a text message");
    let bad = fields(r#"{"customer": {"name": "Ann", "points": 12, "link": "javascript:alert(1)"}}"#);
    assert!(template.render(&bad).is_err());
    let why = template.render(&fields(r#"{"customer": {"name": "Ann", "points": 12}}"#)).unwrap_err();
    assert_eq!((why.line, why.missing.as_deref()), (9, Some("customer.link")));
    let expected = ["link", "name", "points"].map(|name| vec!["customer".to_owned(), name.to_owned()]);
    assert_eq!(template.variables(), expected);
}

#[test]
fn whole_elements_of_mjml_can_depend_on_data() {
    let text = MJML
        .replace("<mj-button", "<mj-raw>{% if customer.link %}</mj-raw><mj-button")
        .replace("</mj-button>", "</mj-button><mj-raw>{% endif %}</mj-raw>");
    let template = mjml(&text).unwrap();
    let without = template.render(&fields(r#"{"customer": {"name": "Ann", "points": 12}}"#)).unwrap();
    assert_eq!(without.text, "Dear Ann, you have 12\n\nA cup for Ann");
    let with = template.render(&fields(r#"{"customer": {"name": "Ann", "points": 12, "link": "https://a.example"}}"#)).unwrap();
    assert!(with.html.contains("https:&#x2f;&#x2f;a.example") && !without.html.contains("a.example"));
}

#[test]
fn faults_in_mjml_are_told_at_their_lines() {
    for (from, to, line, said) in [
        ("<mj-button", "<mj-buton", 9, "no element `mj-buton`"),
        ("<mj-button", "<mj-include path=\"a\" /><mj-button", 9, "mj-include"),
        ("background-color", "backgrond-color", 9, "no attribute `backgrond-color`"),
        ("</mj-section>", "</mj-sectoin>", 12, ""),
        ("customer.points | points", "customer.points | pionts", 8, "no filter `pionts`"),
        ("<mj-body>", "<mj-head><mj-attributes>{{ customer.name }}</mj-attributes></mj-head><mj-body>", 5, ""),
        ("<mj-button", "<mj-spacer {{ customer.name }} /><mj-button", 9, ""),
        ("<mj-column>", "<mj-column", 7, ""),
    ] {
        let text = MJML.replacen(from, to, 1);
        let Err(faults) = mjml(&text) else { panic!("accepted: {to}") };
        assert!(faults.iter().any(|(at, message)| *at == line && message.contains(said)), "{to}: {faults:?}");
    }
}

#[test]
fn an_html_message_without_a_text_gets_one() {
    let html =
        "---\nsubject: Hi\npreheader: unseen\n---\n<body><p>Hello {{ name }}</p><a href=\"https://example.com/\">Look</a></body>";
    let mut faults = Faults::default();
    let template = Template::compile("t", Some(("t.html", html)), None, options(), &mut faults).unwrap();
    let rendered = template.render(&fields(r#"{"name": "A & B"}"#)).unwrap();
    assert_eq!(rendered.text, "Hello A & B\n\nLook (https://example.com/)");
    let with = Template::compile("t", Some(("t.html", html)), Some(("t.txt", "own")), options(), &mut faults).unwrap();
    assert_eq!(with.render(&fields(r#"{"name": "A"}"#)).unwrap().text, "own");
}

#[test]
fn no_mjml_makes_the_compiler_panic() {
    let deep = format!(
        "<mjml><mj-body><mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section></mj-body></mjml>",
        "<b>".repeat(50_000)
    );
    assert!(mjml(&format!("---\nsubject: x\n---\n{deep}")).is_err());
    let pieces: Vec<&str> = MJML.split_inclusive(['<', '>', '"', ' ', '=']).collect();
    let (mut sound, mut faulty) = (0, 0);
    for cut in 6..pieces.len() {
        for other in [0, 7, 23, 41] {
            let moved = pieces.get(other).copied().unwrap_or_default();
            for kept in [[&pieces[..cut], &pieces[cut + 1..]].concat(), [&pieces[..cut], &[moved], &pieces[cut..]].concat()] {
                match mjml(&kept.concat()) {
                    Ok(_) => sound += 1,
                    Err(faults) => faulty += usize::from(!faults.is_empty()),
                }
            }
        }
    }
    assert!(sound > 50 && faulty > 50, "{sound} {faulty}");
}

#[test]
fn what_the_engine_cannot_read_is_told_at_its_line_and_column() {
    let cases = [
        ("Hi {{ a }}\n\n  line {{ customer.name }", 3, 8, "unexpected `}`"),
        ("Hi {{ a }} {{ a b }}", 1, 12, "expected `}}`"),
        ("a\nb {{ customer.name | }} c", 2, 3, "expected a name"),
        ("{% if a %}{% elif a | %}{% endif %}", 1, 11, "expected a name"),
        ("a\n  x {% if customer.name %} y", 2, 8, "`{% if … %}` is not closed"),
        ("{% for x in y %}{% if x %}{% endif %}\nend", 1, 4, "`{% for … %}` is not closed"),
        ("a {% endif %}", 1, 6, "`{% endif %}` closes nothing"),
        ("a\n{% else %}", 2, 4, "`{% else %}` closes nothing"),
        ("é {% for x in %}a{% endfor %}", 1, 3, "cannot be read"),
    ];
    for (text, line, column, part) in cases {
        let txt = faults_of(None, Some(text));
        assert!(txt.len() == 1 && (txt[0].0, txt[0].1) == (line, column) && txt[0].2.contains(part), "{text}: {txt:?}");
        let html = faults_of(Some(text), None);
        assert_eq!(html, txt, "{text}");
    }
    let header = faults_of(None, Some("---\nsubject: Hi {{ a b }}\n---\ntext"));
    assert_eq!((header[0].0, header[0].1), (2, 13), "{header:?}");
    // The link of HTML is guarded by a filter, which must not be what is told about.
    let link = faults_of(Some("<p>\n<a href=\"{{ a | }}\">x</a>"), None);
    assert_eq!((link[0].0, link[0].1), (2, 10), "{link:?}");
}
