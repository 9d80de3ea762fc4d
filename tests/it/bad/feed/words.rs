//! Words that have troubled readers.

/// Texts that have troubled somebody's reader: sizes, units, signs, scripts, escapes.
#[rustfmt::skip]
pub const TROUBLE: &[&str] = &[
    "", " ", "0", "-0", "-1", "1", "00", "012", "1e3", "1e999999", "1e-9223372036854775808", "0x10", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "99999999999999999999999999", "0.1", "0.0000001", "1.000000", "1_000",
    "NaN", "inf", "-inf", "~", "null", "NO", "yes", "True", "on", "2027-02-30", "2028-02-29", "9999-12-31", "0000-00-00",
    "1899-12-31", "2999-12-31T23:59:59Z", "2027-03-28T02:30:00+01:00", "2027-01-01T24:00:60Z", "24:00", "25:61", "09:00",
    "30 days", "0 days", "1 month 3 days", "100 years", "36600 days", "99999999999999999999 days", "1h30m", "7", "days",
    "-3 days", "1.5 days", "30 days before", "on the day", "on renewal", "400 days after birthday", "Europe/Berlin",
    "Pacific/Apia", "Etc/GMT+12", "Mars/Olympus", "EUR", "JPY", "BHD", "XXX", "10%", "200 points", "-5 points", "0 points",
    "9999999999999 points", "a.b.c", "..", "../x", "/etc/passwd", "${env:AUTOFUNNEL_X}", "${env:PATH}", "${", "${file:../x}",
    "{{ customer.name }}", "{{", "{% for i in range(1000000) %}x{% endfor %}", "{{ x | nope }}", "{% if %}", "{# ",
    "customer.tier == \"gold\"", "count(\"purchase\", \"90 days\") >= 3", "spent(\"365 days\") / 0", "!", "a ? b : c",
    "((((((((((1))))))))))", "[1,2,[3]]", "e.items.exists(i, i.amount > 3)", "\"", "'", "`", "\\", "\\u0000", "0 9 * * MON",
    "* * * * *", "0 0 29 2 1", "0 0 31 2 *", "*/0 * * * *", "\u{0}", "\u{7}", "\u{1b}[31m", "\u{85}", "\u{a0}", "\u{2028}",
    "\u{202e}abc", "\u{feff}", "\u{fffd}", "\u{10ffff}", "é", "e\u{301}", "日本", "🙂🙂", "ﷺ", "İ", "ß", "ǅ", "\t", "a\tb", "a\nb",
    "\r\n", "a: b", "- a", "#", "# x", "? x", "<<", "---", "...", "%YAML 1.2", "@", "|", ">", "&a x", "*a",
    "!!python/object:os.system x", "!x", "=cmd()", "<script>alert(1)</script>", "sk_live_0123456789abcdef",
    "javascript:alert(1)", "http://127.0.0.1/", "a@b", "a b@c", "+49176", "c-1001", "purchase", "email", "any",
];

/// Words of YAML that this language does not have; they are written without quotes.
#[rustfmt::skip]
pub const YAML_RAW: &[&str] = &[
    "*a", "&a x", "&a", "!x y", "!!str 1", "\t", "\tx", "|", ">-\n  x", "? x", "- x", "[", "{", "]", "\"x", "'x", "a: b: c",
    "@x", "%x", "`x`", "{{ x }}", "[a, [b, {c: d}]]", "{a: {b: [c, d]}}", "# x", "x #y", "---", "...", "<<", "~", "a,b",
    "\u{85}x", "x\n\ny",
];

/// Words that are no JSON, or JSON that cannot be held.
#[rustfmt::skip]
pub const JSON_RAW: &[&str] = &[
    "1e999999", "-0", "-0.0", "0.10", "1.0000000", "1E2", "99999999999999999999", "9223372036854775807",
    "-9223372036854775808", "NaN", "Infinity", "01", "+1", ".5", "1.", "tru", "nul", "'x'", "\"\\ud800\"", "\"\\ude00x\"",
    "\"\\u0000\"", "\"\\x\"", "\"a\nb\"", "\"", "[", "{", "]", "}", ",", "//x", "{\"$serde_json::private::Number\":\"1\"}",
    "{\"$serde_json::private::Number\":\"x\",\"a\":1}", "\"\u{2028}\"", "1234567.891234", "0.000001", "0.0000009", "1e-6",
    "1e-7", "1e18", "1e19",
];
