//! What a meta graph says about its graph, after the graph was changed: signatures name the values that took the place of
//! others, and collections forget nodes that are gone (TensorFlow looks each of them up and refuses the file otherwise).

use std::ops::Range;

use crate::formats::wire::{self, Content, Field, Scanner, WireError};
use crate::graph::{GraphPatch, NodeKey, ValueKey};

/// Contexts of conditionals inside each other beyond this are hostile.
const MAX_DEPTH: usize = 32;

/// The new bytes of a field of a MetaGraphDef; `None` where it stays.
pub fn changed(s: &mut Scanner<'_>, field: &Field, patch: &GraphPatch) -> Result<Option<Vec<u8>>, WireError> {
    let Content::Bytes(range) = &field.content else { return Ok(None) };
    let is_touched = !patch.removed.is_empty() || !patch.redirects.is_empty();
    let new = match field.number {
        4 if is_touched => entry(s, range.clone(), &mut |s, value| collection(s, value, patch))?,
        5 if is_touched => entry(s, range.clone(), &mut |s, value| signature(s, value, patch))?,
        _ => return Ok(None),
    };
    let mut out = Vec::with_capacity(new.len() + 8);
    wire::put_bytes(&mut out, field.number, &new);
    Ok(Some(out))
}

/// A map entry with another value (field 2).
fn entry(
    s: &mut Scanner<'_>,
    range: Range<u64>,
    change: &mut dyn FnMut(&mut Scanner<'_>, Range<u64>) -> Result<Vec<u8>, WireError>,
) -> Result<Vec<u8>, WireError> {
    replaced(s, range, &mut |s, f| match (f.number, &f.content) {
        (2, Content::Bytes(value)) => Ok(Some(Some(change(s, value.clone())?))),
        _ => Ok(None),
    })
}

/// What becomes of a field: it stays, goes, or gets other content.
type Change = Option<Option<Vec<u8>>>;

/// A message whose fields `change` may drop or give other content.
fn replaced(
    s: &mut Scanner<'_>,
    range: Range<u64>,
    change: &mut dyn FnMut(&mut Scanner<'_>, &Field) -> Result<Change, WireError>,
) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity((range.end - range.start) as usize);
    let mut at = range.start;
    while let Some(field) = s.field(&mut at, range.end)? {
        match change(s, &field)? {
            None => out.extend(s.read(&field.span)?),
            Some(None) => {}
            Some(Some(new)) => wire::put_bytes(&mut out, field.number, &new),
        }
    }
    Ok(out)
}

fn is_gone(text: &str, patch: &GraphPatch) -> bool {
    let name = text.strip_prefix('^').unwrap_or(text);
    let node = name.rsplit_once(':').filter(|(_, p)| p.bytes().all(|b| b.is_ascii_digit())).map_or(name, |(n, _)| n);
    patch.removed.contains(&NodeKey::new(node))
}

/// CollectionDef: 1 a list of node names, 2 a list of messages (1 value in both).
fn collection(s: &mut Scanner<'_>, range: Range<u64>, patch: &GraphPatch) -> Result<Vec<u8>, WireError> {
    replaced(s, range, &mut |s, list| {
        let (kind, Content::Bytes(values)) = (list.number, &list.content) else { return Ok(None) };
        if !matches!(kind, 1 | 2) {
            return Ok(None);
        }
        let new = replaced(s, values.clone(), &mut |s, value| {
            let Content::Bytes(range) = &value.content else { return Ok(None) };
            let gone = match kind {
                1 => is_gone(&s.text(range)?, patch),
                // Only contexts of conditionals and loops list the nodes inside them.
                _ => mentions_gone(s, range.clone(), patch, 0),
            };
            Ok(gone.then_some(None))
        })?;
        Ok(Some(Some(new)))
    })
}

/// Whether a message holds the name of a node that is gone, at any depth. What only looks like a message is none.
fn mentions_gone(s: &mut Scanner<'_>, range: Range<u64>, patch: &GraphPatch, depth: usize) -> bool {
    let mut at = range.start;
    while let Ok(Some(field)) = s.field(&mut at, range.end) {
        let Content::Bytes(inner) = field.content else { continue };
        let is_name = s.text(&inner).is_ok_and(|t| is_gone(&t, patch));
        if is_name || (depth < MAX_DEPTH && mentions_gone(s, inner, patch, depth + 1)) {
            return true;
        }
    }
    false
}

/// SignatureDef: 1 inputs, 2 outputs, maps to TensorInfo (1 name).
fn signature(s: &mut Scanner<'_>, range: Range<u64>, patch: &GraphPatch) -> Result<Vec<u8>, WireError> {
    replaced(s, range, &mut |s, field| {
        let (1 | 2, Content::Bytes(range)) = (field.number, &field.content) else { return Ok(None) };
        let new = entry(s, range.clone(), &mut |s, info| {
            replaced(s, info, &mut |s, f| {
                let (1, Content::Bytes(range)) = (f.number, &f.content) else { return Ok(None) };
                let key = ValueKey::new(s.text(range)?);
                let target = patch.target(&key);
                Ok((*target != key).then(|| Some(target.as_str().as_bytes().to_vec())))
            })
        })?;
        Ok(Some(Some(new)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::source::Bytes;

    fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        fields.iter().for_each(|(n, b)| wire::put_bytes(&mut out, *n, b));
        out
    }

    fn run(number: u32, content: &[u8], patch: &GraphPatch) -> Option<Vec<u8>> {
        let bytes = Bytes::from_memory(message(&[(number, content)]));
        let mut s = Scanner::new(&bytes);
        let (mut at, end) = (0, bytes.len());
        let field = s.field(&mut at, end).unwrap().unwrap();
        changed(&mut s, &field, patch).unwrap()
    }

    #[test]
    fn contexts_of_nodes_that_are_gone_go_and_signatures_follow() {
        let mut patch = GraphPatch::default();
        patch.removed.insert(NodeKey::new("cond/pred_id"));
        patch.redirects.insert(ValueKey::new("drop:0"), ValueKey::new("x:1"));
        let context = |pred: &[u8]| message(&[(1, b"cond/cond_text"), (2, pred)]);
        let list = |all: &[&[u8]]| {
            let values: Vec<(u32, &[u8])> = all.iter().map(|v| (1, *v)).collect();
            message(&[(1, b"cond_context"), (2, &message(&[(2, &message(&values))]))])
        };
        let (gone, kept) = (context(b"cond/pred_id:0"), context(b"other/pred_id:0"));
        assert_eq!(run(4, &list(&[&gone, &kept]), &patch), Some(message(&[(4, &list(&[&kept]))])));
        let signature = |name: &[u8]| {
            let info = message(&[(1, name), (9, b"later")]);
            message(&[(1, b"serve"), (2, &message(&[(2, &message(&[(1, b"y"), (2, &info)])), (3, b"method")]))])
        };
        assert_eq!(run(5, &signature(b"drop:0"), &patch), Some(message(&[(5, &signature(b"x:1"))])));
        assert_eq!(run(5, &signature(b"drop:0"), &GraphPatch::default()), None);
    }
}
