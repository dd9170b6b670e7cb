use crate::Offload;

/// The longest text that a tool answers with, in characters; `read` has a bound of its own.
pub(crate) const MAX_RESULT_CHARS: usize = 30_000;
/// What the model gets of a longer one, in characters.
const HEAD_CHARS: usize = 12_000;
const TAIL_CHARS: usize = 16_000;

/// An answer that may be longer than a model should read.
pub(crate) struct Long<'a> {
    pub(crate) text: String,
    /// How many bytes of its middle are missing already.
    pub(crate) dropped: u64,
    /// What the file is called that it is put into.
    pub(crate) name: &'a str,
    /// What helps where there is no place for such a file.
    pub(crate) otherwise: &'a str,
}

impl Long<'_> {
    /// The beginning and the end of a long text, and where the rest is.
    pub(crate) async fn shorten(self, offload: Option<&Offload>) -> String {
        let Self { text, dropped, name, otherwise } = self;
        let Some((head, tail, left_out)) = ends(&text) else { return text };
        let lost = match dropped {
            0 => String::new(),
            _ => format!(" and {dropped} bytes that were not kept"),
        };
        let rest = match offload {
            None => otherwise.to_owned(),
            Some(offload) => match offload.store(name, text.clone().into()).await {
                Ok(path) if dropped == 0 => {
                    format!("the whole output is in {path}: use read with offset and limit, or grep")
                }
                Ok(path) => format!("what was kept is in {path}: use read with offset and limit, or grep"),
                Err(error) => format!("the output could not be stored: {error}"),
            },
        };
        format!("{head}\n\n[{left_out} characters left out{lost}; {rest}]\n\n{tail}")
    }
}

/// The beginning and the end of a text that is too long, and how many characters lie between.
fn ends(text: &str) -> Option<(&str, &str, usize)> {
    // Bytes are never fewer than characters.
    let chars = if text.len() > MAX_RESULT_CHARS { text.chars().count() } else { 0 };
    if chars <= MAX_RESULT_CHARS {
        return None;
    }
    let (head_end, _) = text.char_indices().nth(HEAD_CHARS)?;
    let (tail_start, _) = text.char_indices().nth_back(TAIL_CHARS - 1)?;
    Some((text.get(..head_end)?, text.get(tail_start..)?, chars - HEAD_CHARS - TAIL_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_long_text() {
        assert_eq!(ends(&"ü".repeat(MAX_RESULT_CHARS)), None);
        let text = format!("{}{}", "a".repeat(HEAD_CHARS + 5000), "ü".repeat(TAIL_CHARS));
        let (head, tail, left_out) = ends(&text).unwrap();
        assert_eq!((head.len(), tail.chars().count(), left_out), (HEAD_CHARS, TAIL_CHARS, 5000));
        assert!(tail.starts_with('ü'));
    }
}
