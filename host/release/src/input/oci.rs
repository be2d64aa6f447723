//! Container images: what `docker save` writes, and the image layout of the Open Container Initiative
//! (github.com/opencontainers/image-spec). Layers are put over each other as its `layer.md` says; of several platforms
//! linux/amd64 is taken.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::archive::{ArchiveError, Rules, Unpacker};
use crate::sysroot::Sysroot;

/// Nesting of indexes that is followed.
const MAX_DEPTH: usize = 4;
/// Longest file of JSON that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// Why an image can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// It holds several.
    #[error("{} holds several images ({}); save one of them alone", path.display(), names.join(", "))]
    Several {
        /// The image.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// It holds none for this processor.
    #[error("{} is for {platform}, but Tyn runs linux/amd64; build or pull it with --platform linux/amd64", path.display())]
    Platform {
        /// The image.
        path: PathBuf,
        /// What it is for.
        platform: String,
    },
    /// A part is missing.
    #[error("{} lacks {part}; save or copy the image again", path.display())]
    Missing {
        /// The image.
        path: PathBuf,
        /// The part.
        part: String,
    },
    /// A part is not what its name says.
    #[error("{} is damaged: {part} has another SHA-256 sum than its name says; save or copy the image again", path.display())]
    Sum {
        /// The image.
        path: PathBuf,
        /// The part.
        part: String,
    },
    /// A part is named by another sum than is known here.
    #[error("{} names a part by {digest}, which can't be checked; copy the image with SHA-256 digests", path.display())]
    Digest {
        /// The image.
        path: PathBuf,
        /// The part's name.
        digest: String,
    },
    /// A description can't be understood.
    #[error("{}: {part} can't be understood ({why}); save or copy the image again", path.display())]
    Json {
        /// The image.
        path: PathBuf,
        /// The part.
        part: String,
        /// Why.
        why: String,
    },
    /// A layer.
    #[error("a layer of {}: {error}", path.display())]
    Layer {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        error: ArchiveError,
    },
    /// It can't be unpacked.
    #[error("{} can't be unpacked to {}: {error}", path.display(), at.display())]
    Unpack {
        /// The image.
        path: PathBuf,
        /// Where to.
        at: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What an image says about how it is started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) user: String,
    #[serde(deserialize_with = "null_as_none")]
    pub(crate) exposed_ports: std::collections::BTreeMap<String, serde_json::Value>,
}

fn null_as_none<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct ImageFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<Config>,
}

/// An entry of `manifest.json`, of `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// An image that lies unpacked in a folder, its layers still archives.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// What the user named, for messages.
    path: &'a Path,
    /// Where its parts are.
    parts: Sysroot,
}

impl<'a> Image<'a> {
    pub(crate) fn new(path: &'a Path, dir: &Path) -> Self {
        Self {
            path,
            parts: Sysroot::new(dir),
        }
    }

    /// Unpacks the image's file system into the folder `root`; `spool` is a folder for what is on its way. Returns how
    /// it is started.
    ///
    /// # Errors
    /// [`OciError`].
    pub(crate) fn unpack(&self, root: &Path, spool: &Path) -> Result<Config, OciError> {
        let (config, layers) = match self.part("manifest.json") {
            Some(_) => self.saved()?,
            None => self.layout()?,
        };
        let unpack = |error| OciError::Unpack {
            path: self.path.to_path_buf(),
            at: root.to_path_buf(),
            error,
        };
        let mut tree = Unpacker::new(spool).map_err(unpack)?;
        for layer in layers {
            tree.add(&layer, Rules::Layer)
                .map_err(|error| OciError::Layer {
                    path: self.path.to_path_buf(),
                    error,
                })?;
        }
        tree.lay_out(root).map_err(unpack)?;
        Ok(config)
    }

    /// Reads `manifest.json`.
    fn saved(&self) -> Result<(Config, Vec<PathBuf>), OciError> {
        let mut all: Vec<Saved> = self.json("manifest.json")?;
        if all.len() > 1 {
            let tags = all.into_iter().filter_map(|image| image.repo_tags);
            return Err(OciError::Several {
                path: self.path.to_path_buf(),
                names: tags.flatten().collect(),
            });
        }
        let image = all.pop().ok_or_else(|| self.missing("an image"))?;
        let layers = image.layers.iter().map(|layer| {
            self.check_named(layer)?;
            self.part(layer)
                .ok_or_else(|| self.missing(&format!("the layer {layer}")))
        });
        let layers = layers.collect::<Result<_, _>>()?;
        self.check_named(&image.config)?;
        Ok((self.config(&image.config)?, layers))
    }

    /// Checks a part that is named as in a layout; older versions of docker give others names of their own.
    fn check_named(&self, name: &str) -> Result<(), OciError> {
        match name
            .strip_prefix("blobs/")
            .map(|name| name.replacen('/', ":", 1))
        {
            Some(digest) => self.blob(&digest).map(drop),
            None => Ok(()),
        }
    }

    /// Reads an OCI layout from `index.json` on.
    fn layout(&self) -> Result<(Config, Vec<PathBuf>), OciError> {
        let mut index: Index = self.json("index.json")?;
        for _ in 0..MAX_DEPTH {
            let found = self.choose(&index)?;
            let blob = self.blob(&found.digest)?;
            // Some tools write no media types: what lists manifests is an index.
            let is_index = found.media_type.contains("index") || found.media_type.contains("list");
            if is_index {
                index = self.json(&blob)?;
                continue;
            }
            let manifest: Manifest = self.json(&blob)?;
            let config = self.config(&self.blob(&manifest.config.digest)?)?;
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                let name = self.blob(&layer.digest)?;
                layers.extend(self.part(&name));
            }
            return Ok((config, layers));
        }
        Err(self.missing("a manifest: its indexes are nested too deeply"))
    }

    /// Chooses the manifest for linux/amd64.
    fn choose(&self, index: &Index) -> Result<Descriptor, OciError> {
        let platform = |d: &Descriptor| {
            d.platform
                .as_ref()
                .map(|p| format!("{}/{}", p.os, p.architecture))
        };
        let fits = |d: &&Descriptor| platform(d).is_none_or(|p| p == "linux/amd64");
        let fitting: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
        match fitting[..] {
            [one] => Ok(one.clone()),
            [] if index.manifests.is_empty() => Err(self.missing("a manifest")),
            [] => {
                let all = index.manifests.iter().filter_map(platform);
                let all: Vec<String> = all.filter(|p| p != "unknown/unknown").collect();
                Err(self.platform(&all.join(", ")))
            }
            _ => Err(OciError::Several {
                path: self.path.to_path_buf(),
                names: fitting
                    .iter()
                    .map(|d| {
                        let name = d.annotations.get("org.opencontainers.image.ref.name");
                        name.unwrap_or(&d.digest).clone()
                    })
                    .collect(),
            }),
        }
    }

    fn config(&self, part: &str) -> Result<Config, OciError> {
        let image: ImageFile = self.json(part)?;
        let is_ours = image.architecture == "amd64" && image.os == "linux";
        // Images of hand-made archives may say nothing.
        let says_nothing = image.architecture.is_empty() && image.os.is_empty();
        if !is_ours && !says_nothing {
            return Err(self.platform(&format!("{}/{}", image.os, image.architecture)));
        }
        Ok(image.config.unwrap_or_default())
    }

    /// Returns the name of the part with this digest, after checking that it is the part's sum.
    fn blob(&self, digest: &str) -> Result<String, OciError> {
        let (kind, sum) = digest.split_once(':').unwrap_or(("", digest));
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
        let name = format!("blobs/{kind}/{sum}");
        if !is_plain(kind) || !is_plain(sum) {
            return Err(self.missing(&format!("a part with the digest {digest}")));
        }
        if kind != "sha256" {
            return Err(OciError::Digest {
                path: self.path.to_path_buf(),
                digest: digest.into(),
            });
        }
        let file = self.part(&name).ok_or_else(|| self.missing(&name))?;
        if sha256(&file).map_err(|error| self.bad(&name, &error))? != sum {
            return Err(OciError::Sum {
                path: self.path.to_path_buf(),
                part: name,
            });
        }
        Ok(name)
    }

    fn part(&self, name: &str) -> Option<PathBuf> {
        let file = self.parts.resolve(Path::new(name))?;
        file.is_file().then_some(file)
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, OciError> {
        let file = self.part(name).ok_or_else(|| self.missing(name))?;
        if file.metadata().is_ok_and(|meta| meta.len() > MAX_JSON) {
            return Err(self.bad(name, &"it is too long"));
        }
        let bytes = fs::read(file).map_err(|error| self.bad(name, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.bad(name, &error))
    }

    fn missing(&self, part: &str) -> OciError {
        OciError::Missing {
            path: self.path.to_path_buf(),
            part: part.into(),
        }
    }

    fn platform(&self, platform: &str) -> OciError {
        OciError::Platform {
            path: self.path.to_path_buf(),
            platform: platform.into(),
        }
    }

    fn bad(&self, part: &str, why: &dyn std::fmt::Display) -> OciError {
        OciError::Json {
            path: self.path.to_path_buf(),
            part: part.into(),
            why: why.to_string(),
        }
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut sum = Sha256::new();
    io::copy(&mut File::open(path)?, &mut sum)?;
    let sum = sum.finalize();
    Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod mutated_tests;
#[cfg(test)]
mod tests;
