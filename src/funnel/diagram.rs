//! A funnel as a diagram: its steps, the ways between them, as Mermaid and as SVG.

use super::Funnel;
use crate::step::{END, NEXT};
use std::fmt::Write as _;

/// Longest label in a picture, in characters; the whole of it is its title.
const LABEL_CHARS_MAX: usize = 68;
/// Height of a row, of a box, and further measures of the picture, in its own units.
const ROW: usize = 66;
const BOX: usize = 44;
const LEFT: usize = 20;
const INDENT: usize = 36;
const WIDTH: usize = 560;
/// Distance of two ways that run beside each other.
const LANE: usize = 14;

/// A box of the diagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The step's id; empty for the trigger and the end.
    pub id: String,
    /// What it does, in words.
    pub label: String,
    /// How deep it stands below other steps.
    pub depth: usize,
}

/// A way from one box to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// From which box.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// The arm that it is; empty where there is but one way.
    pub label: String,
}

/// Boxes and ways: the trigger is the first box, the end the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagram {
    /// For people.
    pub title: String,
    /// The boxes, from top to bottom.
    pub nodes: Vec<Node>,
    /// The ways.
    pub edges: Vec<Edge>,
}

impl Diagram {
    /// The diagram of a funnel.
    pub fn new(funnel: &Funnel) -> Diagram {
        let steps = &funnel.steps.list;
        let end = steps.len() + 1;
        let place = |to: u32| usize::try_from(to).ok().filter(|_| to != END && to != NEXT).map_or(end, |to| (to + 1).min(end));
        let mut nodes = vec![Node { id: String::new(), label: funnel.trigger.sentence(), depth: 0 }];
        let mut edges = vec![Edge { from: 0, to: 1.min(end), label: String::new() }];
        for (i, step) in steps.iter().enumerate() {
            let condition = step.only_if.as_ref().map(|only_if| format!(" — if {}", only_if.text.text)).unwrap_or_default();
            let label = format!("{}{condition}", step.step.sentence());
            nodes.push(Node { id: step.id.clone(), label, depth: step.depth as usize });
            let arms = step.step.arms();
            let rest = match (step.kind, arms.iter().any(|(name, _)| name == "then")) {
                _ if arms.is_empty() => "",
                ("wait_for", false) => "then",
                _ => "otherwise",
            };
            for (name, to) in &arms {
                edges.push(Edge { from: i + 1, to: place(*to), label: name.clone() });
            }
            if step.step.goes_on() {
                edges.push(Edge { from: i + 1, to: place(step.next), label: rest.to_owned() });
            } else if arms.is_empty() {
                edges.push(Edge { from: i + 1, to: end, label: String::new() });
            }
        }
        nodes.push(Node { id: String::new(), label: "end".to_owned(), depth: 0 });
        Diagram { title: funnel.title.clone(), nodes, edges }
    }

    /// As a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n");
        let last = self.nodes.len() - 1;
        for (i, node) in self.nodes.iter().enumerate() {
            let label = mermaid_text(&node.label);
            let _ = match i {
                0 => writeln!(out, "  n0([\"{label}\"])"),
                i if i == last => writeln!(out, "  n{i}((\"{label}\"))"),
                i => writeln!(out, "  n{i}[\"{label}<br/>{}\"]", mermaid_text(&node.id)),
            };
        }
        for edge in &self.edges {
            let _ = match edge.label.is_empty() {
                true => writeln!(out, "  n{} --> n{}", edge.from, edge.to),
                false => writeln!(out, "  n{} -->|\"{}\"| n{}", edge.from, mermaid_text(&edge.label), edge.to),
            };
        }
        out
    }

    /// As a picture that needs nothing else.
    pub fn svg(&self) -> String {
        let long = self.edges.iter().filter(|edge| edge.to != edge.from + 1).count();
        let (width, height) = (LEFT * 2 + WIDTH + LANE * (long + 2), LEFT * 2 + ROW * self.nodes.len());
        let title = escape(&self.title);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#555\"/></marker></defs>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        let mut lane = 0;
        for edge in &self.edges {
            if edge.to != edge.from + 1 {
                lane += 1;
            }
            self.way(&mut out, edge, lane);
        }
        for (i, node) in self.nodes.iter().enumerate() {
            self.shape(&mut out, i, node);
        }
        out.push_str("</svg>\n");
        out
    }

    /// Where a box begins and ends, and its upper edge.
    fn at(&self, i: usize) -> (usize, usize, usize) {
        let from = LEFT + self.nodes[i].depth.min(6) * INDENT;
        (from, LEFT + WIDTH, LEFT + i * ROW)
    }

    fn way(&self, out: &mut String, edge: &Edge, lane: usize) {
        let ((from, right, top), (to, _, below)) = (self.at(edge.from), self.at(edge.to));
        let label = escape(&edge.label);
        let line = "fill=\"none\" stroke=\"#555\" marker-end=\"url(#tip)\"";
        if edge.to == edge.from + 1 {
            let x = from.max(to) + INDENT / 2;
            let _ = writeln!(out, "<path d=\"M{x} {}V{below}\" {line}/>", top + BOX);
            let _ = writeln!(out, "<text x=\"{}\" y=\"{}\" fill=\"#555\">{label}</text>", x + 8, top + BOX + 15);
            return;
        }
        // Ways over several boxes run beside them, each in a lane of its own.
        let (x, y, into) = (right + LANE * lane, top + BOX / 2, below + BOX / 2);
        let _ = writeln!(out, "<path d=\"M{right} {y}H{x}V{into}H{}\" {line}/>", right + 2);
        let _ =
            writeln!(out, "<text x=\"{}\" y=\"{}\" fill=\"#555\" text-anchor=\"end\">{label}</text>", right - 6, top + BOX + 15);
    }

    fn shape(&self, out: &mut String, i: usize, node: &Node) {
        let (left, right, top) = self.at(i);
        let edge = i == 0 || i + 1 == self.nodes.len();
        let (round, fill) = if edge { (BOX / 2, "#e8f1f8") } else { (6, "#f7f7f5") };
        let short: String = node.label.chars().take(LABEL_CHARS_MAX).collect();
        let dots = if short.len() < node.label.len() { "…" } else { "" };
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{BOX}\" rx=\"{round}\" fill=\"{fill}\" \
             stroke=\"#777\"/><text x=\"{}\" y=\"{}\">{}{dots}</text><text x=\"{}\" y=\"{}\" font-size=\"11\" \
             fill=\"#666\">{}</text></g>",
            escape(&node.label),
            right - left,
            left + 12,
            top + if edge { 27 } else { 19 },
            escape(&short),
            left + 12,
            top + 35,
            escape(&node.id),
        );
    }
}

/// A text in quotes of Mermaid, which reads what stands between `#` and `;` as a character.
fn mermaid_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '`' => out.push_str("#96;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A text that stands in HTML, in SVG or in an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML knows no other control characters.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Files;
    use super::*;
    use crate::lang::diag::Faults;

    fn diagram(steps: &str) -> Diagram {
        let settings = "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\n";
        let funnel = format!("funnel: A <b> & \"c\"\ntrigger: signed_up\nsteps:\n{steps}");
        let files: Files =
            [("autofunnel.yaml", settings), ("f.yaml", &funnel)].map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let mut faults = Faults::default();
        let workspace = crate::funnel::compile(&files, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()));
        Diagram::new(&workspace.funnels["f"])
    }

    const WAIT_FOR: &str = "  - grant: 5 points\n    reason: x\n    if: customer.name == \"<Ada>\"\n  - wait_for: purchase\n    up_to: 7 days\n    then:\n      - stop: bought\n    otherwise:\n      - wait: 1 day\n  - wait: 2 days\n";

    #[test]
    fn ways_lead_where_a_run_goes() {
        let diagram = diagram(WAIT_FOR);
        let ids: Vec<&str> = diagram.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["", "grant_1", "wait_for_1", "stop_1", "wait_1", "wait_2", ""]);
        let ways: Vec<(usize, usize, &str)> = diagram.edges.iter().map(|e| (e.from, e.to, e.label.as_str())).collect();
        assert_eq!(ways, [(0, 1, ""), (1, 2, ""), (2, 3, "then"), (2, 4, "otherwise"), (3, 6, ""), (4, 5, ""), (5, 6, "")]);
    }

    #[test]
    fn what_marketers_write_cannot_break_the_picture() {
        let diagram = diagram(WAIT_FOR);
        let mermaid = diagram.mermaid();
        assert!(mermaid.starts_with("flowchart TD\n  n0([\"signed_up\"])\n"), "{mermaid}");
        assert!(mermaid.contains("#quot;#lt;Ada#gt;#quot;") && mermaid.contains("n2 -->|\"then\"| n3"), "{mermaid}");
        let svg = diagram.svg();
        assert!(svg.contains("A &lt;b&gt; &amp; &quot;c&quot;") && !svg.contains("<b>") && !svg.contains("<Ada>"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 1 + diagram.nodes.len());
        assert_eq!(svg.matches("marker-end").count(), diagram.edges.len());
    }
}
