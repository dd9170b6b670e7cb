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
}
