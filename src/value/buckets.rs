//! Sizes that batches are padded to: a GPU compiles and tunes its kernels for each size that it sees.

use std::fmt;
use std::sync::Arc;

/// The numbers of rows that batches of a method are padded to.
///
/// What a batch is padded with are copies of its last row: no call sees them, and a row that the method takes once it takes
/// twice, which zeros do not promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Rising; the last is the most rows in a batch. None: batches run as they are.
    sizes: Arc<[usize]>,
}

impl Buckets {
    /// These, which rise, and then `most`, which is at least the last of them.
    pub(crate) fn new(sizes: impl IntoIterator<Item = usize>, most: usize) -> Self {
        let mut sizes: Vec<usize> = sizes.into_iter().filter(|size| *size < most).collect();
        sizes.push(most);
        Self { sizes: sizes.into() }
    }

    /// 1, 2, 4 … and then `most`.
    pub(crate) fn powers_of_two(most: usize) -> Self {
        Self::new(
            std::iter::successors(Some(1_usize), |size| size.checked_mul(2)).take_while(|size| *size < most),
            most,
        )
    }

    /// How many rows a batch of so many runs with.
    pub fn padded(&self, rows: usize) -> usize {
        let fits = self.sizes.iter().find(|size| **size >= rows);
        // A batch of nothing has no row to copy.
        if rows == 0 { 0 } else { fits.copied().unwrap_or(rows) }
    }

    /// All of them, rising; none where batches run as they are.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }
}

impl fmt::Display for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
        f.write_str(&sizes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_padded_to_the_next_size() {
        let buckets = Buckets::new([2, 8], 20);
        assert_eq!([0, 1, 2, 3, 8, 9, 20, 21].map(|rows| buckets.padded(rows)), [0, 2, 2, 8, 8, 20, 20, 21]);
        assert_eq!([0, 1, 7].map(|rows| Buckets::default().padded(rows)), [0, 1, 7], "without any");
    }

    #[test]
    fn powers_of_two_end_with_the_most_rows() {
        assert_eq!(Buckets::powers_of_two(100).to_string(), "1, 2, 4, 8, 16, 32, 64, 100");
        assert_eq!(Buckets::powers_of_two(64).to_string(), "1, 2, 4, 8, 16, 32, 64");
        assert_eq!(Buckets::powers_of_two(1).to_string(), "1");
    }
}
