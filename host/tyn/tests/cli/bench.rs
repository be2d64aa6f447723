//! What the tests share: a private folder to work in, images, and running the tool there.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tyn_bootfmt::contract::OS_VERSION;
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};

/// A folder, which is the current one of the tool, with its state and temporary files below.
pub(crate) struct Bench {
    dir: TempDir,
}

/// What the tool did.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes a program, with the folders that lead to it.
    pub(crate) fn program(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Another process writes: a program that another thread starts just now would inherit our open file for an instant, and
        // what is open for writing can't be executed.
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = writer.stdin.take().unwrap();
        input.write_all(bytes.as_ref()).unwrap();
        drop(input);
        assert!(writer.wait().unwrap().success());
    }

    /// Writes an image that starts `args`, with `files` in it.
    pub(crate) fn image(&self, name: &str, args: &[&str], files: &[(&str, &[u8])]) {
        let init = Init {
            args: args.iter().map(|arg| arg.as_bytes()).collect(),
            hostname: b"app",
            ..Init::default()
        };
        let init = init.to_bytes().unwrap();
        let mut tree = Tree::default();
        for (path, bytes) in files.iter().chain(&[(INIT_PATH, init.as_slice())]) {
            let node = Node::File(0o755, Source::Bytes(bytes.to_vec()));
            tree.insert(Path::new(path), node).unwrap();
        }
        let mut bytes = Vec::new();
        tree.write(&mut bytes, Some(0), |_| {}).unwrap();
        self.write(name, bytes);
    }

    /// Writes a kernel of our build that reports `text` and halts, or ends the machine.
    pub(crate) fn kernel(&self, name: &str, text: &str, is_halting: bool) {
        self.kernel_of(OS_VERSION, name, text, is_halting);
    }

    /// Writes such a kernel of another version, or of none.
    pub(crate) fn kernel_of(&self, version: &str, name: &str, text: &str, is_halting: bool) {
        let mut bytes = crate::mini_kernel::kernel(text, is_halting);
        bytes.extend(version.as_bytes());
        self.write(name, bytes);
    }

    /// Returns a command that runs the tool; arguments are separated by blanks.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tyn"));
        command
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TMPDIR", self.path("tmp"))
            .stdin(Stdio::null());
        command
    }

    /// Returns the same of a user who may not do more than permissions say: root is above them by two capabilities.
    pub(crate) fn command_below_permissions(&self, line: &str) -> Command {
        let tool = self.command(line);
        if !rustix::process::geteuid().is_root() {
            return tool;
        }
        let mut command = Command::new("setpriv");
        command
            .arg("--bounding-set=-dac_override,-dac_read_search")
            .arg(tool.get_program())
            .args(tool.get_args())
            .current_dir(self.dir.path())
            .envs(
                tool.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null());
        command
    }

    /// Runs the tool to its end.
    pub(crate) fn tyn(&self, line: &str) -> Ended {
        self.ended(&self.command(line).output().unwrap())
    }

    /// Returns how it ended, with the folder's name made short.
    pub(crate) fn ended(&self, output: &Output) -> Ended {
        let dir = self.dir.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&dir, "DIR");
        Ended {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Expects the tool to refuse with this one sentence.
    pub(crate) fn refused(&self, line: &str, want: &str) {
        let ended = self.tyn(line);
        let err = format!("tyn: {want}\n");
        let want = Ended {
            code: Some(125),
            out: String::new(),
            err,
        };
        assert_eq!(ended, want, "tyn {line}");
        self.has_no_files();
    }

    /// Expects no temporary file to be left.
    pub(crate) fn has_no_files(&self) {
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
