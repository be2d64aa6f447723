//! Container images, written by tar and hand as `docker save` and other tools write them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::command::output;
use crate::debian;

/// What of a sysroot is the libraries of a system.
pub(super) const LIBRARIES: &[&str] = &["lib", "lib64", "usr/lib64", "usr/lib/x86_64-linux-gnu"];

/// What an image says about its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Config<'a> {
    pub(super) entrypoint: &'a [&'a str],
    pub(super) cmd: &'a [&'a str],
    pub(super) env: &'a [&'a str],
    pub(super) dir: &'a str,
    pub(super) user: &'a str,
    pub(super) port: &'a str,
}

impl Config<'_> {
    fn to_json(self) -> Value {
        let mut ports = serde_json::Map::new();
        if !self.port.is_empty() {
            ports.insert(self.port.into(), json!({}));
        }
        let entrypoint = if self.entrypoint.is_empty() {
            Value::Null
        } else {
            json!(self.entrypoint)
        };
        json!({"architecture": "amd64", "os": "linux", "config": {
            "Entrypoint": entrypoint, "Cmd": self.cmd, "Env": self.env, "WorkingDir": self.dir,
            "User": self.user, "ExposedPorts": ports}})
    }
}

/// Writes the parts of `from` into an archive of this name; returns it.
pub(super) fn tar(
    dir: &Path,
    name: &str,
    from: &Path,
    parts: &[&str],
    compression: Option<&str>,
) -> Result<PathBuf> {
    let archive = dir.join(name);
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(from).arg("-cf").arg(&archive);
    if let Some(program) = compression {
        debian::ensure_program(program, program)?;
        tar.arg(format!("--{program}"));
    }
    output(tar.args(parts))?;
    Ok(archive)
}

/// Puts layers and a description into an archive as `docker save` does; returns it.
pub(super) fn save(dir: &Path, config: &Config<'_>, layers: &[PathBuf]) -> Result<PathBuf> {
    fs::write(dir.join("config.json"), config.to_json().to_string())?;
    let names: Vec<_> = layers
        .iter()
        .filter_map(|layer| layer.file_name())
        .collect();
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["web:1"], "Layers": names}]);
    fs::write(dir.join("manifest.json"), manifest.to_string())?;
    let mut parts = vec!["config.json", "manifest.json"];
    parts.extend(names.iter().map(AsRef::as_ref));
    tar(dir, "saved.tar", dir, &parts, None)
}

/// Makes the folder an OCI layout of these layers.
pub(super) fn layout(dir: &Path, config: &Config<'_>, layers: &[PathBuf]) -> Result<()> {
    fs::create_dir_all(dir.join("blobs/sha256"))?;
    let written = |name: &str, value: &Value| -> Result<Value> {
        let file = dir.join(name);
        fs::write(&file, value.to_string())?;
        blob(dir, &file)
    };
    let config = written("config", &config.to_json())?;
    let layers = layers.iter().map(|layer| blob(dir, layer));
    let layers: Vec<Value> = layers.collect::<Result<_>>()?;
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let manifest = written("manifest", &manifest)?;
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("index.json"), index.to_string())?;
    fs::write(
        dir.join("oci-layout"),
        "{\"imageLayoutVersion\": \"1.0.0\"}",
    )?;
    Ok(())
}

/// Moves a file to where its sum says; returns its descriptor.
fn blob(dir: &Path, file: &Path) -> Result<Value> {
    let sum = output(Command::new("sha256sum").arg(file))?;
    let sum = sum
        .split_whitespace()
        .next()
        .context("sha256sum says nothing")?;
    let size = fs::metadata(file)?.len();
    fs::rename(file, dir.join("blobs/sha256").join(sum))?;
    Ok(
        json!({"mediaType": "application/octet-stream", "digest": format!("sha256:{sum}"), "size": size}),
    )
}
