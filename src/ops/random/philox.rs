//! Counter-based random bits: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011). The bits of an element depend on seed, step, site and element index alone, never on threads or order.
//!
//! Elements come in groups of [`GROUP`]: the group holds 16 counter blocks whose four words are laid out word by word, so
//! that a loop over a group vectorises.

use crate::program::Random;

/// Elements of one group.
pub const GROUP: usize = 64;
const LANES: usize = 16;

/// A stream of bits: one site at one step of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    site: [u32; 2],
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): spreads neighbouring numbers over all bits.
fn mix(v: u64) -> u64 {
    let v = v.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ (v >> 31)
}

impl Stream {
    pub fn new(random: Random, site: u64) -> Self {
        let key = mix(random.seed ^ mix(random.step));
        Self { key: halves(key), site: halves(site) }
    }

    /// The stream's block `index`.
    pub fn block(self, index: u64) -> [u32; 4] {
        let [lo, hi] = halves(index);
        rounds::<1>(self.key, [[lo], [hi], [self.site[0]], [self.site[1]]]).map(|[w]| w)
    }

    /// The bits of elements `group * GROUP ..`.
    #[inline(always)]
    pub fn group(self, group: u64) -> [u32; GROUP] {
        let first = group.wrapping_mul(LANES as u64);
        let mut counter = [[0u32; LANES]; 4];
        for lane in 0..LANES {
            let index = first.wrapping_add(lane as u64);
            counter[0][lane] = index as u32;
            counter[1][lane] = (index >> 32) as u32;
            counter[2][lane] = self.site[0];
            counter[3][lane] = self.site[1];
        }
        let words = rounds(self.key, counter);
        let mut out = [0u32; GROUP];
        for (to, from) in out.chunks_exact_mut(LANES).zip(&words) {
            to.copy_from_slice(from);
        }
        out
    }
}

fn halves(v: u64) -> [u32; 2] {
    [v as u32, (v >> 32) as u32]
}

/// Ten rounds on `L` counters at once.
#[inline(always)]
fn rounds<const L: usize>(mut key: [u32; 2], mut c: [[u32; L]; 4]) -> [[u32; L]; 4] {
    for _ in 0..10 {
        let mut next = [[0u32; L]; 4];
        for i in 0..L {
            let p0 = u64::from(c[0][i]).wrapping_mul(0xd251_1f53);
            let p1 = u64::from(c[2][i]).wrapping_mul(0xcd9e_8d57);
            next[0][i] = (p1 >> 32) as u32 ^ c[1][i] ^ key[0];
            next[1][i] = p1 as u32;
            next[2][i] = (p0 >> 32) as u32 ^ c[3][i] ^ key[1];
            next[3][i] = p0 as u32;
        }
        c = next;
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// A number in [0, 1) from the upper 24 bits.
#[inline(always)]
pub fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
}

/// A number in [0, 1) with 53 bits.
#[inline(always)]
pub fn unit_f64(hi: u32, lo: u32) -> f64 {
    let bits = (u64::from(hi) << 32 | u64::from(lo)) >> 11;
    bits as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Two independent standard normal numbers (Box and Muller 1958).
pub fn normal_pair(words: [u32; 2]) -> [f64; 2] {
    let u = (f64::from(words[0]) + 1.0) / 4_294_967_296.0;
    let v = f64::from(words[1]) / 4_294_967_296.0;
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' Random123 library (kat_vectors, philox4x32, 10 rounds).
    #[test]
    fn known_answers() {
        let run = |key, counter: [u32; 4]| rounds::<1>(key, counter.map(|c| [c])).map(|[w]| w);
        assert_eq!(run([0, 0], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(run([u32::MAX; 2], [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            run([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn groups_are_blocks_word_by_word() {
        let s = Stream::new(Random { seed: 1, step: 2 }, 3);
        let g = s.group(5);
        for lane in 0..LANES {
            let block = s.block(5 * LANES as u64 + lane as u64);
            for (word, &w) in block.iter().enumerate() {
                assert_eq!(g[word * LANES + lane], w);
            }
        }
    }
}
