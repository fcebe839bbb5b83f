//! Files that were changed at random: an answer in words or a model, soon, and never a panic. Deterministic and small here;
//! `REGRAFT_MUTATIONS=5000` makes more of them, `REGRAFT_MUTATED=FOLDER:FOLDER` takes other models.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regraft::formats;

/// What one file may take, in a build without optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Values up to this size are loaded; what a file claims beyond its own size is refused before.
const LARGEST: usize = 1 << 28;

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    [
        "models/ckpt_partitioned_adam",
        "models/saved_model_tags/module",
        "continued/saved_model_text/model",
        "continued/old_format_sharded",
        "continued/momentum",
        "folders/bert_sequence",
        "folders/bert_pretraining_sharded",
        "folders/google_bert",
        "models/family_onnx_bigru",
    ]
    .iter()
    .map(|name| root.join(name))
    .collect()
}

/// xorshift64*, so that every run makes the same changes.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) -> String {
        let len = bytes.len();
        // Headers and directories stand at the ends.
        let at = match self.below(3) {
            0 => self.below(len.min(256)),
            1 => len - 1 - self.below(len.min(256)),
            _ => self.below(len),
        };
        match self.below(6) {
            0 => {
                bytes.truncate(at);
                format!("cut at {at}")
            }
            1 => {
                let bit = self.below(8);
                bytes[at] ^= 1 << bit;
                format!("bit {bit} of byte {at}")
            }
            2 => {
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
                format!("byte {at}")
            }
            3 => {
                let end = (at + 1 + self.below(12)).min(len);
                bytes[at..end].fill(0xff);
                format!("bytes {at}..{end} full")
            }
            4 => {
                let end = (at + 1 + self.below(64)).min(len);
                let piece = bytes[at..end].to_vec();
                let to = self.below(len);
                bytes.splice(to..to, piece);
                format!("bytes {at}..{end} again at {to}")
            }
            _ => {
                let end = (at + 1 + self.below(64)).min(len);
                bytes.drain(at..end);
                format!("without {at}..{end}")
            }
        }
    }
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(at) = left.pop() {
        for path in fs::read_dir(at).unwrap().map(|e| e.unwrap().path()) {
            match path.is_dir() {
                true => left.push(path),
                false if path.extension().is_none_or(|e| e != "npz") => {
                    out.push(path.strip_prefix(folder).unwrap().to_path_buf());
                }
                false => {}
            }
        }
    }
    out.retain(|p| p != Path::new("case.json"));
    out.sort();
    out
}

/// Everything that opening does, and every value.
fn try_everything(path: &Path) {
    let _ = formats::entry_points(path);
    let _ = formats::named::read(path);
    let Ok(imported) = formats::open(path) else { return };
    let _ = imported.optimizer_state();
    for (_, constant) in imported.graph.constants() {
        if constant.payload.byte_len() < LARGEST {
            let _ = constant.payload.load();
        }
    }
}

#[test]
fn changed_files_end_in_an_answer() {
    let asked = std::env::var("REGRAFT_MUTATIONS").ok().and_then(|n| n.parse().ok());
    let n: usize = asked.unwrap_or(12);
    let folders = match std::env::var("REGRAFT_MUTATED") {
        Ok(list) => list.split(':').map(PathBuf::from).collect(),
        Err(_) => fixtures(),
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for folder in folders {
        let temp = tempfile::tempdir().unwrap();
        let files = files_of(&folder);
        for file in &files {
            fs::create_dir_all(temp.path().join(file).parent().unwrap()).unwrap();
            fs::copy(folder.join(file), temp.path().join(file)).unwrap();
        }
        let model = match files.iter().find(|f| f.extension().is_some_and(|e| e == "onnx")) {
            Some(onnx) => temp.path().join(onnx),
            None => temp.path().to_path_buf(),
        };
        for _ in 0..n {
            let file = &files[random.below(files.len())];
            let good = fs::read(folder.join(file)).unwrap();
            if good.is_empty() {
                continue;
            }
            let mut bad = good.clone();
            let mut what = random.mutate(&mut bad);
            if !bad.is_empty() && random.below(3) == 0 {
                what = format!("{what}, {}", random.mutate(&mut bad));
            }
            fs::write(temp.path().join(file), &bad).unwrap();
            let start = Instant::now();
            let end = catch_unwind(AssertUnwindSafe(|| try_everything(&model)));
            let place = format!("{}: {} with {what}", folder.display(), file.display());
            assert!(end.is_ok(), "a panic: {place}");
            assert!(start.elapsed() < PATIENCE, "{:?} for {place}", start.elapsed());
            fs::write(temp.path().join(file), &good).unwrap();
        }
    }
}
