//! Orders that are pure functions of a seed: the same on every machine and after every resume.

/// splitmix64 (Steele, Lea & Flood 2014): small, and good enough to shuffle.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut n = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31));
        n.next();
        n
    }

    #[allow(clippy::should_implement_trait)] // not an iterator: it never ends
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, with a bias far below what a shuffle could show.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Rows for training and for validation, each in the order of the file. Every class gives the same share (rounded so that the
/// total fits best), and keeps at least one row for training. Without classes, pass the same number for all.
pub fn stratified_split(classes: &[u32], share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let n_classes = classes.iter().max().map_or(0, |m| *m as usize + 1);
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); n_classes];
    for (row, &c) in classes.iter().enumerate() {
        by_class[c as usize].push(row);
    }
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    // What rounding took from one class goes to the next, so that the sum is right.
    let mut owed = 0.0;
    for (c, mut rows) in by_class.into_iter().enumerate() {
        Numbers::new(seed, c as u64 + 1).shuffle(&mut rows);
        let wanted = rows.len() as f64 * share.clamp(0.0, 1.0) + owed;
        let n = (wanted.round().max(0.0) as usize).min(rows.len().saturating_sub(1));
        owed = wanted - n as f64;
        validation.extend_from_slice(&rows[..n]);
        train.extend_from_slice(&rows[n..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    (train, validation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_depend_on_seed_and_stream() {
        let order = |seed, stream| {
            let mut v: Vec<usize> = (0..100).collect();
            Numbers::new(seed, stream).shuffle(&mut v);
            v
        };
        assert_eq!(order(1, 2), order(1, 2));
        assert_ne!(order(1, 2), order(1, 3));
        assert_ne!(order(1, 2), order(2, 2));
        let mut sorted = order(7, 0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn splits_keep_shares() {
        let classes: Vec<u32> = (0..100).map(|i| u32::from(i % 10 == 0)).collect();
        let (train, validation) = stratified_split(&classes, 0.2, 3);
        assert_eq!((train.len(), validation.len()), (80, 20));
        assert_eq!(validation.iter().filter(|&&r| classes[r] == 1).count(), 2);
        assert!(train.iter().all(|r| !validation.contains(r)));
        let (train, validation) = stratified_split(&[0, 1, 2], 0.5, 0);
        assert_eq!((train.len(), validation.len()), (3, 0), "no class vanishes from training");
    }
}
