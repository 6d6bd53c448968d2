//! Columns aligned as Docker's tables are: Go's tabwriter with its cells at least 10 wide and 3 apart.

/// Least width of a column, its padding included.
const MIN_WIDTH: usize = 10;
/// Spaces between the widest cell of a column and the next column.
const PADDING: usize = 3;

/// Text whose cells end in tabs, with the tabs replaced by spaces so that columns line up. As in Go, a column is
/// a run of consecutive lines that have a cell there; the last cell of a line belongs to no column.
pub fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text
        .split_inclusive('\n')
        .map(|line| line.strip_suffix('\n').unwrap_or(line).split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> =
        lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut line = 0;
        while line < lines.len() {
            let run = widths[line..].iter().take_while(|cells| cells.len() > column).count();
            let widest = lines[line..line + run]
                .iter()
                .map(|cells| cells[column].chars().count() + PADDING)
                .fold(MIN_WIDTH, usize::max);
            for cells in &mut widths[line..line + run] {
                cells[column] = widest;
            }
            line += run.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(column) {
                let missing = width.saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            align("REPOSITORY\tTAG\tSIZE\nabc\tv1\t1.98MB\nlonger-than-ten\tx\t\n"),
            "REPOSITORY        TAG       SIZE\nabc               v1        1.98MB\nlonger-than-ten   x         \n"
        );
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(
            align("a-long-first-cell\tb\nplain\nc\td\n"),
            "a-long-first-cell   b\nplain\nc         d\n"
        );
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(align(""), "");
        assert_eq!(align("x"), "x");
        assert_eq!(align("\n"), "\n");
    }
}
