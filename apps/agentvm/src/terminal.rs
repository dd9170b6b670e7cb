//! What others say, as a terminal may show it.

/// A text whose characters can't move the cursor, set the clipboard, or show what comes in another order than it is: those
/// that could are written as what they are.
pub(crate) fn plain(text: &str) -> String {
    let is_harmless = |character: char| match character {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        other => !other.is_control(),
    };
    text.chars().fold(String::with_capacity(text.len()), |mut plain, character| {
        if is_harmless(character) {
            plain.push(character);
        } else {
            plain.extend(character.escape_unicode());
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(plain("Grüße,\n\tⅧ 👋"), "Grüße,\n\tⅧ 👋");
        assert_eq!(plain("\u{1b}]52;c;aGk=\u{7}\r"), r"\u{1b}]52;c;aGk=\u{7}\u{d}");
        assert_eq!(plain("\u{9b}2J rm \u{202e}x"), r"\u{9b}2J rm \u{202e}x");
    }
}
