//! Pieces of tensors: how their keys are spelled in an index, how a saver names them, and copying between them.
//!
//! Keys: tensorflow/core/util/saved_tensor_slice_util.cc and tensorflow/core/lib/strings/ordered_code.cc. Spec:
//! `"10 4 0,5:-"` is rows 0 to 4 of a 10 × 4 tensor.

use super::proto;
use crate::tensor::Tensor;

/// Start and length of each dimension within the whole tensor.
pub type Region = Vec<(usize, usize)>;

/// The region that covers a whole tensor.
pub fn whole(dims: &[usize]) -> Region {
    dims.iter().map(|&d| (0, d)).collect()
}

/// What a stored slice covers; `None` where it does not fit the tensor.
pub fn region(slice: &proto::Slice, dims: &[usize]) -> Option<Region> {
    if slice.extent.len() != dims.len() {
        return None;
    }
    let of = |(e, &dim): (&proto::Extent, &usize)| {
        let start = usize::try_from(e.start).ok()?;
        let length = match e.length {
            None | Some(-1) => dim.checked_sub(start)?,
            Some(l) => usize::try_from(l).ok()?,
        };
        start.checked_add(length).is_some_and(|end| end <= dim).then_some((start, length))
    };
    slice.extent.iter().zip(dims).map(of).collect()
}

/// The key under which a slice's own entry stands.
pub fn key(name: &str, slice: &proto::Slice) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 0);
    for &b in name.as_bytes() {
        match b {
            0 => out.extend([0, 0xff]),
            0xff => out.extend([0xff, 0]),
            b => out.push(b),
        }
    }
    out.extend([0, 1]);
    put_number(&mut out, slice.extent.len() as u64);
    for e in &slice.extent {
        put_signed(&mut out, e.start);
        put_signed(&mut out, e.length.unwrap_or(-1));
    }
    out
}

/// A length byte, then the number without leading zeros, most significant byte first.
fn put_number(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = value.leading_zeros() as usize / 8;
    out.push((8 - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

/// Seven bits a byte; the number of leading ones of the first byte says how many bytes follow.
fn put_signed(out: &mut Vec<u8>, value: i64) {
    let magnitude = if value < 0 { !value } else { value } as u64;
    let len = (64 - magnitude.leading_zeros() as usize + 1).div_ceil(7).max(1);
    let mut bytes = [if value < 0 { 0xff } else { 0 }; 10];
    bytes[2..].copy_from_slice(&value.to_be_bytes());
    let begin = &mut bytes[10 - len..];
    let header = if len < 16 { !(0xffff_u32 >> len) as u16 } else { 0xffff };
    begin[0] ^= (header >> 8) as u8;
    if len > 1 {
        begin[1] ^= header as u8;
    }
    out.extend_from_slice(begin);
}

/// A saver's `shape_and_slices` entry: the whole tensor's shape and the region; `None` for an empty one (the whole
/// tensor) and for text that makes no sense.
pub fn parse_spec(spec: &str) -> Option<(Vec<usize>, Region)> {
    let (dims, slice) = spec.trim().rsplit_once(' ')?;
    let dims: Vec<usize> = dims.split_whitespace().map(|d| d.parse().ok()).collect::<Option<_>>()?;
    let parts: Vec<&str> = slice.split(':').collect();
    if parts.len() != dims.len() {
        return None;
    }
    let of = |(part, &dim): (&&str, &usize)| {
        if *part == "-" {
            return Some((0, dim));
        }
        let (start, length) = part.split_once(',')?;
        let (start, length): (usize, usize) = (start.parse().ok()?, length.parse().ok()?);
        start.checked_add(length).is_some_and(|end| end <= dim).then_some((start, length))
    };
    let region = parts.iter().zip(&dims).map(of).collect::<Option<_>>()?;
    Some((dims, region))
}

/// Copies what two regions of one tensor share from `from` (which holds `from_region`) into `to`. Both have elements of
/// one fixed size. Gives the number of elements copied.
pub fn copy_shared(from: &Tensor, from_region: &Region, to: &mut Tensor, to_region: &Region) -> usize {
    let size = from.dtype().size();
    let shared: Option<Region> = from_region
        .iter()
        .zip(to_region)
        .map(|(&(a, n), &(b, m))| {
            let (start, end) = (a.max(b), (a + n).min(b + m));
            (end > start).then(|| (start, end - start))
        })
        .collect();
    let Some(shared) = shared else { return 0 };
    let count: usize = shared.iter().map(|s| s.1).product();
    let row = shared.last().map_or(1, |s| s.1);
    let place = |region: &Region, index: &[usize]| {
        index.iter().zip(region).fold(0, |at, (i, (start, length))| at * length + (i - start))
    };
    let mut index: Vec<usize> = shared.iter().map(|s| s.0).collect();
    let source = from.bytes();
    for _ in 0..count / row.max(1) {
        let (a, b) = (place(from_region, &index) * size, place(to_region, &index) * size);
        to.bytes_mut()[b..b + row * size].copy_from_slice(&source[a..a + row * size]);
        // The next row: count up from the dimension before the last.
        for d in (0..index.len().saturating_sub(1)).rev() {
            index[d] += 1;
            if index[d] < shared[d].0 + shared[d].1 {
                break;
            }
            index[d] = shared[d].0;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that TensorFlow's OrderedCode gives.
    #[test]
    fn keys_are_ordered_codes() {
        let mut out = Vec::new();
        for v in [0, 1, -1, 63, 64, -64, -65, 8191, 8192] {
            put_signed(&mut out, v);
        }
        let want: &[u8] = &[0x80, 0x81, 0x7f, 0xbf, 0xc0, 0x40, 0x40, 0x3f, 0xbf, 0xdf, 0xff, 0xe0, 0x20, 0x00];
        assert_eq!(out, want);
        let slice = proto::Slice { extent: vec![proto::Extent { start: 2, length: Some(3) }, Default::default()] };
        assert_eq!(key("ab", &slice), b"\x00ab\x00\x01\x01\x02\x82\x83\x80\x7f");
    }

    #[test]
    fn specs_and_copies() {
        assert_eq!(parse_spec("10 4 2,5:-"), Some((vec![10, 4], vec![(2, 5), (0, 4)])));
        for bad in ["", "10 4", "10 11,1", "a 0,1", "3 -:-"] {
            assert_eq!(parse_spec(bad), None, "{bad}");
        }
        let whole_tensor = Tensor::from_slice(&[4, 3], &(0..12).collect::<Vec<i32>>());
        let mut piece = Tensor::zeros(crate::tensor::DType::I32, &[2, 2]);
        assert_eq!(copy_shared(&whole_tensor, &whole(&[4, 3]), &mut piece, &vec![(1, 2), (1, 2)]), 4);
        assert_eq!(piece.to_i64s().unwrap(), [4, 5, 7, 8]);
    }
}
