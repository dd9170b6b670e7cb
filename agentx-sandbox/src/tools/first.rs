/// The first so many of many items, in their order, without holding them all.
pub(super) struct First<T> {
    limit: usize,
    kept: Vec<T>,
    total: usize,
}

impl<T: Ord> First<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), total: 0 }
    }

    pub(super) fn push(&mut self, item: T) {
        self.total += 1;
        self.kept.push(item);
        if self.kept.len() >= 2 * self.limit {
            self.shrink();
        }
    }

    /// The first items, and how many there are besides.
    pub(super) fn finish(mut self) -> (Vec<T>, usize) {
        self.shrink();
        let more = self.total - self.kept.len();
        (self.kept, more)
    }

    fn shrink(&mut self) {
        self.kept.sort_unstable();
        self.kept.truncate(self.limit);
    }
}

/// The longest list that is told, in bytes: names may be long.
const MAX_LIST_BYTES: usize = 128 << 10;

/// Drops what is too much of a list from its end; gives how many that are.
pub(super) fn fit(lines: &mut Vec<String>) -> usize {
    let mut bytes = 0;
    let fitting = lines.iter().take_while(|line| {
        bytes += line.len() + 1;
        bytes <= MAX_LIST_BYTES
    });
    let count = fitting.count();
    let dropped = lines.len() - count;
    lines.truncate(count);
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many() {
        let mut first = First::new(3);
        (0..100).rev().for_each(|item| first.push(item));
        assert_eq!(first.finish(), (vec![0, 1, 2], 97));
        assert_eq!(First::<u8>::new(3).finish(), (vec![], 0));
    }

    #[test]
    fn a_list_of_long_names_is_cut() {
        let mut lines = vec!["x".repeat(1023); 200];
        assert_eq!(fit(&mut lines), 72);
        assert_eq!(lines.len(), 128);
        assert_eq!(fit(&mut lines), 0);
    }
}
