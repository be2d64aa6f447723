//! Readers of bytes that others made, for libFuzzer by way of cargo-fuzz: `cargo xtask fuzz-readers`.
//!
//! A [`Target`] takes any bytes, and fails where a reader panics or what must be true is not. Its seeds are what the reader
//! is made for; a test sees that they are read to their end, so that a target can't look at nothing.
#![forbid(unsafe_code)]

mod archives;
mod card;
mod container;
mod network;
mod programs;
mod texts;

// Parts of the tool, which is a program and no library.
#[path = "../../host/tyn/src/env.rs"]
#[expect(dead_code, reason = "of the tool; some of it is used here")]
mod env;
#[path = "../../host/tyn/src/given.rs"]
mod given;
#[path = "../../host/tyn/src/otp.rs"]
#[expect(dead_code, reason = "of the tool; some of it is used here")]
mod otp;
#[path = "../../host/tyn/src/project.rs"]
mod project;
#[path = "../../host/tyn/src/terminal.rs"]
#[expect(dead_code, reason = "of the tool; some of it is used here")]
mod terminal;

use std::fmt;

/// Something that is fuzzed.
pub struct Target {
    /// Its name, and that of its program in `fuzz_targets`.
    pub name: &'static str,
    /// Reads bytes; returns whether they were what they should be.
    pub read: fn(&[u8]) -> bool,
    /// Makes bytes that are what they should be.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "boot_config",
        read: texts::boot_config,
        seeds: texts::boot_config_seeds,
    },
    Target {
        name: "container",
        read: container::read,
        seeds: container::seeds,
    },
    Target {
        name: "cpio",
        read: archives::cpio,
        seeds: archives::cpio_seeds,
    },
    Target {
        name: "elf",
        read: programs::elf,
        seeds: programs::elf_seeds,
    },
    Target {
        name: "env_file",
        read: texts::env_file,
        seeds: texts::env_file_seeds,
    },
    Target {
        name: "image",
        read: archives::image,
        seeds: archives::image_seeds,
    },
    Target {
        name: "net",
        read: network::frames,
        seeds: network::frames_seeds,
    },
    Target {
        name: "settings",
        read: texts::settings,
        seeds: texts::settings_seeds,
    },
    Target {
        name: "start_script",
        read: texts::start_script,
        seeds: texts::start_script_seeds,
    },
    Target {
        name: "tarball",
        read: container::tarball,
        seeds: container::tarball_seeds,
    },
    Target {
        name: "tcp",
        read: network::segments,
        seeds: network::segments_seeds,
    },
    Target {
        name: "vm_args",
        read: texts::vm_args,
        seeds: texts::vm_args_seeds,
    },
];

/// Reads bytes by the target of this name; returns whether they were what they should be.
///
/// # Panics
/// When there is no such target; and when the reader is not what it should be.
pub fn run(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a program of fuzz_targets is named in TARGETS");
    (target.read)(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_target_has_a_program() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
        let entries = std::fs::read_dir(dir).unwrap();
        let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_owned();
        let mut programs: Vec<_> = entries.map(|entry| stem(entry.unwrap().path())).collect();
        programs.sort();
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(programs, names);
    }

    #[test]
    fn seeds_are_what_they_should_be() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{target:?}");
            for (n, seed) in seeds.iter().enumerate() {
                assert!((target.read)(seed), "{target:?}: seed {n} is refused");
            }
        }
    }

    /// Returns a seed cut short, and with a byte changed, at some places.
    fn changed(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let step = seed.len() / 50 + 1;
        (0..seed.len()).step_by(step).flat_map(move |at| {
            let old = seed[at];
            let other = [0, 0xff, old.wrapping_add(1), old ^ 0x40].map(|byte| {
                let mut changed = seed.to_vec();
                changed[at] = byte;
                changed
            });
            other.into_iter().chain([seed[..at].to_vec()])
        })
    }

    #[test]
    fn changed_seeds_are_survived() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            let mut changed = seeds.iter().flat_map(|seed| changed(seed));
            let refused = changed.by_ref().filter(|seed| !(target.read)(seed)).count();
            assert!(refused > 0, "{target:?} takes everything");
        }
    }
}
