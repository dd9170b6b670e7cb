//! Finds the parameters of a statement.

/// A piece of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// The parameter of this number, from 1 on.
    Param(usize),
}

/// Cuts one statement into its pieces. What stands in quotes, brackets or comments holds no parameter.
///
/// `Err` says what is wrong with it: none or several statements, or a parameter of another kind than `?` and `?1`.
pub(super) fn scan(sql: &str) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let (mut rest, mut text) = (sql, sql);
    let (mut highest, mut any, mut ended) = (0, false, false);
    while let Some(first) = rest.chars().next() {
        let quiet = first.is_ascii_whitespace() || rest.starts_with("--") || rest.starts_with("/*");
        if !quiet && first != ';' {
            if ended {
                return Err("one statement is one text");
            }
            any = true;
        }
        ended |= first == ';';
        let length = match first {
            '\'' | '"' | '`' => quoted(rest, first),
            '[' => through(rest, 1, "]"),
            '-' if rest.starts_with("--") => through(rest, 2, "\n"),
            '/' if rest.starts_with("/*") => through(rest, 2, "*/"),
            ':' | '@' | '$' => return Err("parameters are ?1, ?2, … here"),
            '?' => {
                let digits = rest.chars().skip(1).take_while(char::is_ascii_digit).count();
                let number = match rest.get(1..1 + digits) {
                    None | Some("") => Some(highest + 1),
                    Some(number) => number.parse().ok().filter(|number| *number > 0),
                };
                let number: usize = number.ok_or("a parameter has a number from 1 on")?;
                highest = highest.max(number);
                pieces.extend(
                    text.get(..text.len() - rest.len()).filter(|text| !text.is_empty()).map(Piece::Text),
                );
                pieces.push(Piece::Param(number));
                text = rest.get(1 + digits..).unwrap_or_default();
                1 + digits
            }
            // A name may hold `$`.
            _ if is_name(first) => {
                rest.chars().take_while(|each| is_name(*each) || *each == '$').map(char::len_utf8).sum()
            }
            _ => first.len_utf8(),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    if !any {
        return Err("there is no statement");
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn is_name(each: char) -> bool {
    each.is_alphanumeric() || each == '_'
}

/// The length of a quoted piece, or of all where it does not end. A doubled quote begins another piece at once, which
/// comes to the same.
fn quoted(text: &str, quote: char) -> usize {
    let end = text.char_indices().skip(1).find(|(_, each)| *each == quote);
    end.map_or(text.len(), |(place, _)| place + quote.len_utf8())
}

/// The length up to and with `end`, which is looked for behind the `begin` bytes that the piece begins with.
fn through(text: &str, begin: usize, end: &str) -> usize {
    let place = text.get(begin..).and_then(|inner| inner.find(end));
    place.map_or(text.len(), |place| begin + place + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(sql: &str) -> Vec<usize> {
        let number = |piece: &Piece<'_>| match piece {
            Piece::Param(number) => Some(*number),
            Piece::Text(_) => None,
        };
        scan(sql).unwrap().iter().filter_map(number).collect()
    }

    #[test]
    fn a_parameter_stands_outside_of_quotes_and_comments() {
        assert_eq!(params("SELECT ?1, ?12, ?"), [1, 12, 13]);
        assert_eq!(params("SELECT '?1', 'it''s ?2', \"?3\", `?4`, [?5], ?6 -- ?7\n/* ?8 */, ?9"), [6, 9]);
        assert_eq!(params("SELECT 'ü?1', ?2 -- '"), [2]);
        assert_eq!(params("SELECT a$b /*/ ?1 */, 'open ?1"), [] as [usize; 0]);
    }

    #[test]
    fn the_pieces_are_the_statement() {
        let sql = "SELECT ?1||'?2' /* ; */ , ?3;\n-- end";
        let join = |pieces: Vec<Piece<'_>>| -> String {
            let text = |piece: &Piece<'_>| match piece {
                Piece::Text(text) => (*text).to_owned(),
                Piece::Param(number) => format!("?{number}"),
            };
            pieces.iter().map(text).collect()
        };
        assert_eq!(join(scan(sql).unwrap()), sql);
    }

    #[test]
    fn none_and_several_statements_are_refused() {
        for sql in
            ["", " ;", "-- nothing", "SELECT 1; SELECT 2", "SELECT 1;;x", ":a", "SELECT @a", "SELECT ?0"]
        {
            assert!(scan(sql).is_err(), "{sql}");
        }
        for sql in ["SELECT 1;", "SELECT ';'", "SELECT 1; -- more\n"] {
            assert!(scan(sql).is_ok(), "{sql}");
        }
    }
}
