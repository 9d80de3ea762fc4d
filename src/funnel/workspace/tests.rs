//! Whole workspaces: the samples, wrong files with the place of each fault, hashes.

use super::*;
use crate::lang::diag::Fault;

fn samples() -> Files {
    fn walk(root: &std::path::Path, folder: &std::path::Path, files: &mut Files) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels");
    let mut files = Files::new();
    walk(&root, &root, &mut files);
    files
}

fn shown(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|f| format!("{}:{}:{} {} {} ({:?})", f.place.file, f.place.line, f.place.column, f.code, f.message, f.hint)).collect()
}

#[test]
fn the_samples_compile_without_faults() {
    let mut faults = Faults::default();
    let workspace = compile(&samples(), &mut faults);
    let (list, _) = faults.into_sorted();
    assert_eq!(shown(&list), Vec::<String>::new());
    assert_eq!(workspace.unwrap().funnels.len(), 6);
}
