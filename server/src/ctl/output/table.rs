//! The `table` format.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// Borders of `+`, `-` and `|`, with a line under the head and none between rows.
const BORDERS: &str = "||--+-++|    ++++++";

/// Prints a table: centred heads, cells to the right.
pub(crate) fn print(heads: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(BORDERS).set_content_arrangement(ContentArrangement::Disabled);
    let heads = heads.iter().enumerate().map(|(column, head)| centred(head, column, &rows));
    table.set_header(heads.map(|head| Cell::new(head).set_alignment(CellAlignment::Center)));
    for row in rows {
        let cells = row.into_iter();
        table.add_row(cells.map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right)));
    }
    println!("{table}");
}

/// The head with a blank behind it where it cannot stand in the very middle: left of it, then.
fn centred(head: &str, column: usize, rows: &[Vec<String>]) -> String {
    let cells = rows.iter().filter_map(|row| row.get(column));
    let width = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
    let blanks = width.saturating_sub(head.len());
    if blanks % 2 == 1 { format!("{head} ") } else { head.to_owned() }
}
