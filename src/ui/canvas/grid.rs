//! A spatial index: which of many rectangles touch one, without looking at all of them. Cells of equal size list what
//! touches them; what covers many cells is kept apart and always looked at.

/// A rectangle that touches more cells than this is looked at one by one.
const MAX_CELLS: usize = 16;
/// On average about so many rectangles per cell.
const PER_CELL: usize = 4;

/// See the module doc. Built once per layout.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    rects: Vec<([f32; 2], [f32; 2])>,
    origin: [f32; 2],
    cell: [f32; 2],
    n: [usize; 2],
    /// Entries of cell `c` are `entries[starts[c]..starts[c + 1]]`.
    starts: Vec<u32>,
    entries: Vec<u32>,
    large: Vec<u32>,
}

impl Grid {
    /// Of rectangles given by their least and largest corners.
    pub fn new(rects: Vec<([f32; 2], [f32; 2])>) -> Self {
        let fold = |f: fn(f32, f32) -> f32, start: f32, pick: fn(&([f32; 2], [f32; 2])) -> [f32; 2]| {
            rects.iter().map(pick).fold([start; 2], |a, b| [f(a[0], b[0]), f(a[1], b[1])])
        };
        if rects.is_empty() {
            return Self::default();
        }
        let (low, high) = (fold(f32::min, f32::INFINITY, |r| r.0), fold(f32::max, f32::NEG_INFINITY, |r| r.1));
        let extent = [(high[0] - low[0]).max(1.0), (high[1] - low[1]).max(1.0)];
        let n_cells = (rects.len() / PER_CELL).clamp(1, 1 << 16) as f32;
        let side = (extent[0] * extent[1] / n_cells).sqrt().max(1.0);
        let n = [0, 1].map(|k| ((extent[k] / side).ceil() as usize).clamp(1, 4096));
        let cell = [0, 1].map(|k| extent[k] / n[k] as f32);
        let mut grid = Self { rects, origin: low, cell, n, ..Self::default() };
        grid.fill();
        grid
    }

    fn fill(&mut self) {
        let mut cells: Vec<Vec<u32>> = vec![Vec::new(); self.n[0] * self.n[1]];
        for (i, &(min, max)) in self.rects.iter().enumerate() {
            let (a, b) = (self.cell_of(min), self.cell_of(max));
            if (b[0] - a[0] + 1) * (b[1] - a[1] + 1) > MAX_CELLS {
                self.large.push(i as u32);
                continue;
            }
            for y in a[1]..=b[1] {
                for x in a[0]..=b[0] {
                    cells[y * self.n[0] + x].push(i as u32);
                }
            }
        }
        self.starts = vec![0];
        for c in cells {
            self.entries.extend(c);
            self.starts.push(self.entries.len() as u32);
        }
    }

    fn cell_of(&self, p: [f32; 2]) -> [usize; 2] {
        // A float-to-integer cast saturates, so points outside fall into the border cells.
        [0, 1].map(|k| (((p[k] - self.origin[k]) / self.cell[k]) as usize).min(self.n[k] - 1))
    }

    /// Indices of the rectangles that touch the one from `min` to `max`, ascending.
    pub fn within(&self, min: [f32; 2], max: [f32; 2]) -> Vec<u32> {
        if self.rects.is_empty() {
            return Vec::new();
        }
        let touches = |i: &u32| {
            let r = &self.rects[*i as usize];
            (0..2).all(|k| r.0[k] <= max[k] && r.1[k] >= min[k])
        };
        let (a, b) = (self.cell_of(min), self.cell_of(max));
        let n_covered = (b[0] - a[0] + 1) * (b[1] - a[1] + 1);
        if n_covered * 2 > self.n[0] * self.n[1] {
            return (0..self.rects.len() as u32).filter(touches).collect();
        }
        let mut out: Vec<u32> = self.large.iter().copied().filter(touches).collect();
        for y in a[1]..=b[1] {
            for x in a[0]..=b[0] {
                let c = y * self.n[0] + x;
                let entries = &self.entries[self.starts[c] as usize..self.starts[c + 1] as usize];
                out.extend(entries.iter().copied().filter(touches));
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_full_search_finds() {
        // A spread of sizes and places from a small congruential generator, wide ones among them.
        let mut state = 1u32;
        let mut next = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) % n) as f32
        };
        let rects: Vec<_> = (0..800)
            .map(|i| {
                let min = [next(5000), next(20_000) - 3000.0];
                let size = if i % 40 == 0 { [next(4000), next(9000)] } else { [next(200), next(90)] };
                (min, [min[0] + size[0], min[1] + size[1]])
            })
            .collect();
        let grid = Grid::new(rects.clone());
        for _ in 0..60 {
            let min = [next(6000) - 500.0, next(22_000) - 4000.0];
            let max = [min[0] + next(1500), min[1] + next(1500)];
            let want: Vec<u32> = (0..rects.len())
                .filter(|&i| (0..2).all(|k| rects[i].0[k] <= max[k] && rects[i].1[k] >= min[k]))
                .map(|i| i as u32)
                .collect();
            assert_eq!(grid.within(min, max), want);
        }
        assert!(Grid::new(Vec::new()).within([0.0; 2], [1.0; 2]).is_empty());
    }
}
