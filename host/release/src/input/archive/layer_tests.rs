//! Layers made by chance, compared with what the image specification says of them (github.com/opencontainers/image-spec,
//! `layer.md`): a layer is put over those below after what it hides of them is gone, in whatever order it says so.

use proptest::prelude::*;

use super::tests::{Made, listed, unpacked};
use super::*;

/// An entry of a layer.
#[derive(Clone, Debug)]
enum Step {
    File(String, u8),
    Dir(String),
    /// `.wh.NAME`
    Whiteout(String),
    /// `.wh..wh..opq` in this folder; nothing for the root.
    Opaque(String),
}

impl Step {
    fn made(&self) -> Made {
        let beside = |path: &str, name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}/{name}"),
        };
        match self {
            Self::File(path, byte) => Made::File(path.clone(), byte.to_string().into_bytes()),
            Self::Dir(path) => Made::Dir(format!("{path}/")),
            Self::Whiteout(path) => {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                Made::File(beside(parent, &format!(".wh.{name}")), Vec::new())
            }
            Self::Opaque(path) => Made::File(beside(path, ".wh..wh..opq"), Vec::new()),
        }
    }
}

/// Paths of few names, so that they meet.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "a-"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (path(), any::<u8>()).prop_map(|(path, byte)| Step::File(path, byte)),
        2 => path().prop_map(Step::Dir),
        2 => path().prop_map(Step::Whiteout),
        1 => prop_oneof![path(), Just(String::new())].prop_map(Step::Opaque),
    ]
}

/// Files, and folders with a slash behind.
type Model = BTreeMap<String, Option<u8>>;

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn put(model: &mut Model, path: &str, file: Option<u8>) {
    let ends = path.match_indices('/').map(|(at, _)| at);
    for parent in ends.map(|at| &path[..at]) {
        model
            .entry(parent.into())
            .and_modify(|node| *node = None)
            .or_insert(None);
    }
    // A folder stays what it is when it is named again.
    if file.is_some() || model.get(path) != Some(&None) {
        model.retain(|other, _| !is_below(other, path));
        model.insert(path.into(), file);
    }
}

fn over(model: &mut Model, layer: &[Step]) {
    for step in layer {
        match step {
            Step::Whiteout(path) => {
                model.retain(|other, _| other != path && !is_below(other, path));
            }
            Step::Opaque(folder) => model.retain(|other, _| !is_below(other, folder)),
            Step::File(..) | Step::Dir(_) => {}
        }
    }
    for step in layer {
        match step {
            Step::File(path, byte) => put(model, path, Some(*byte)),
            Step::Dir(path) => put(model, path, None),
            Step::Whiteout(_) | Step::Opaque(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn layers_are_what_the_specification_says(
        layers in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..5),
    ) {
        let made = layers.iter().map(|layer| layer.iter().map(Step::made).collect());
        let made: Vec<Vec<Made>> = made.collect();
        let made: Vec<&[Made]> = made.iter().map(Vec::as_slice).collect();
        let temp = unpacked(&made, Rules::Layer).unwrap();
        let mut model = Model::new();
        layers.iter().for_each(|layer| over(&mut model, layer));
        let mut want: Vec<String> = model
            .iter()
            .map(|(path, file)| match file {
                Some(byte) => format!("{path} = {byte}"),
                None => format!("{path}/"),
            })
            .collect();
        let mut found = listed(&temp.path().join("root"));
        want.sort();
        found.sort();
        prop_assert_eq!(found, want);
    }
}
