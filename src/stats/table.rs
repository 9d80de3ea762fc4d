//! Tables of statistics as data: the API writes them as JSON, the command line as text or CSV.

use serde_json::{Map, Value as Json, json};

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Words.
    Text,
    /// A count, or points.
    Count,
    /// Money in major units, as decimal text.
    Money,
    /// A share from 0 to 1, or a difference of two.
    Share,
}

impl Kind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Count => "count",
            Kind::Money => "money",
            Kind::Share => "share",
        }
    }
}

/// One value.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(i64),
    /// Money as decimal text.
    Money(String),
    /// A share.
    Share(f64),
    /// Nothing can be said.
    Nothing,
}

impl Cell {
    /// A share if there is one.
    pub fn share(share: Option<f64>) -> Cell {
        share.map_or(Cell::Nothing, Cell::Share)
    }

    fn json(&self) -> Json {
        match self {
            Cell::Text(text) | Cell::Money(text) => json!(text),
            Cell::Count(count) => json!(count),
            // More digits than a sample of a million has would say nothing.
            Cell::Share(share) => json!((share * 1e6).round() / 1e6),
            Cell::Nothing => Json::Null,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<i64> for Cell {
    fn from(count: i64) -> Cell {
        Cell::Count(count)
    }
}

/// A table.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Its name for machines.
    pub name: &'static str,
    /// Its title for people.
    pub title: String,
    /// Names and kinds of its columns.
    pub columns: Vec<(String, Kind)>,
    /// Its rows, each as long as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub fn new(name: &'static str, title: impl Into<String>, columns: &[(&str, Kind)]) -> Table {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Table { name, title: title.into(), columns, rows: Vec::new() }
    }

    /// As JSON: rows are objects by column.
    pub fn json(&self) -> Json {
        let columns: Vec<Json> = self.columns.iter().map(|(name, kind)| json!({ "name": name, "kind": kind.name() })).collect();
        let row = |cells: &Vec<Cell>| -> Json {
            let named = self.columns.iter().zip(cells).map(|((name, _), cell)| (name.clone(), cell.json()));
            Json::Object(named.collect::<Map<String, Json>>())
        };
        let rows: Vec<Json> = self.rows.iter().map(row).collect();
        json!({ "name": self.name, "title": self.title, "columns": columns, "rows": rows })
    }
}
