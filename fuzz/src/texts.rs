//! Texts: what is started, variables, arguments, settings, start scripts.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use tyn_bootfmt::options::{Options, TtySize};
use tyn_bootfmt::{Init, Run};
use tyn_release::erl_args::{self, Flags};
use tyn_release::shell::Shell;

use crate::{env, project};

/// Puts bytes into a file for as long as somebody looks at it.
pub(crate) fn with_file<R>(data: &[u8], look: impl FnOnce(&Path) -> R) -> R {
    let file = tempfile::NamedTempFile::new().expect("there is a place for files");
    fs::write(file.path(), data).expect("it can be written");
    look(file.path())
}

/// Parses descriptions of a start, and the kernel's command line. What was parsed is parsed again from what is written of it.
pub(crate) fn boot_config(data: &[u8]) -> bool {
    let init = Init::parse(data);
    if let Ok(init) = &init {
        let bytes = init.to_bytes().expect("what was read can be written");
        assert_eq!(Init::parse(&bytes).as_ref(), Ok(init));
    }
    let run = Run::parse(data);
    if let Ok(run) = &run {
        let bytes = run.to_bytes().expect("what was read can be written");
        assert_eq!(Run::parse(&bytes).as_ref(), Ok(run));
    }
    let size = TtySize::parse_line(data);
    assert!(size.is_none_or(|size| size.rows > 0 && size.columns > 0));
    let options = str::from_utf8(data).is_ok_and(|line| match Options::parse(line) {
        Ok(options) => options != Options::default(),
        Err(bad) => {
            assert!(bad.to_string().starts_with("kernel option '"));
            false
        }
    });
    init.is_ok() || run.is_ok() || size.is_some() || options
}

pub(crate) fn boot_config_seeds() -> Vec<Vec<u8>> {
    let init = Init {
        args: vec![b"/erts-1/bin/beam.smp", b"--", b"-home", b"/"],
        env: vec![b"A=1", b"B="],
        cwd: b"/app",
        hostname: b"app",
        daemons: vec![vec![b"/epmd", b"-daemon"], vec![b"/other"]],
    };
    let run = Run {
        env: vec![b"A=1"],
        args: vec![b"/x", b"y"],
        daemons: vec![vec![b"/epmd"]],
    };
    vec![
        init.to_bytes().expect("it has a program"),
        run.to_bytes().expect("it has no NUL"),
        b"size 50 132".to_vec(),
        b"trace=calls tty.size=50x132 ip=10.0.2.15/24,10.0.2.2,10.0.2.3 ip6=fd00::2/64,fd00::1,fd00::3 \
          virtio_mmio.device=512@0xfeb00e00:12"
            .to_vec(),
        b"trace ip=off ip6=off".to_vec(),
    ]
}

/// Reads variables: each has a name, and a value to its end.
pub(crate) fn env_file(data: &[u8]) -> bool {
    let lookup = |name: &str| (name == "HERE").then(|| "a b".to_owned());
    let read = with_file(data, |file| {
        let read = env::read_file(file, &lookup);
        let place = format!("{}:", file.display());
        read.map_err(|error| assert!(error.to_string().starts_with(&place), "{error:#}"))
    });
    let Ok(variables) = read else {
        return false;
    };
    for variable in &variables {
        let name = variable.split_once('=').map(|(name, _)| name);
        let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
        assert!(name.is_some_and(is_name), "{variable:?}");
        assert!(!variable.contains(['\n', '\0']), "{variable:?}");
    }
    // As `-e` takes them.
    env::complete(&variables, &lookup).expect("they have values");
    true
}

pub(crate) fn env_file_seeds() -> Vec<Vec<u8>> {
    vec![
        b"\xef\xbb\xbf# comment\n\n  \nA=1\r\n  B=\"q\" # no comment \nC==\nHERE\nD=\nlow.er-x=\xc3\xa9".to_vec(),
        b"SECRET_KEY_BASE=abc\nDATABASE_URL=ecto://u:p@db/x\nPORT=4000\n".to_vec(),
    ]
}

/// Reads `tyn.toml`; what is wrong has a line.
pub(crate) fn settings(data: &[u8]) -> bool {
    with_file(data, |file| match project::read(Some(file)) {
        Ok(_) => true,
        Err(error) => {
            let text = format!("{error:#}");
            assert!(text.contains(&file.display().to_string()), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            false
        }
    })
}

pub(crate) fn settings_seeds() -> Vec<Vec<u8>> {
    let build = "[build]\ninput = \"rel/a\"\noutput = \"a.img\"\nrelease = \"a\"\nstart = \"a:main\"\notp = 27\nsysroot = \"s\"\n\
        env = { LANG = \"C.UTF-8\", N = 1, T = true }\ninclude = [\"/bin/sh\", \"x=/x\"]\nfiles = { \"/etc/a\" = \"a\" }\n\
        strip-beams = true\nstrip-elf = true\nepmd = true\nskip-foreign = true\ncompress = true\nsbom = true\n";
    let run = "[run]\nimage = \"a.img\"\ncpus = 2\nmemory = \"256M\"\nmachine = \"q35\"\naccel = \"auto\"\nports = [\"8080:80\"]\n\
        env = { PORT = 8080 }\nenv-file = [\"prod.env\"]\nvm-args = \"prod.args\"\nfiles = { '/x' = '/y' }\nappend = \"ip=dhcp\"\n";
    let folder = "[build]\notp = \"/opt/otp\"\n";
    [build, run, folder]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

/// Translates arguments of `erl` in a file, whose own files are itself.
pub(crate) fn vm_args(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else {
        return false;
    };
    let read = |path: &Path| match path.to_str() {
        Some("vm.args") => Ok(text.to_owned()),
        _ => Err(Error::from(ErrorKind::NotFound)),
    };
    let args = ["-args_file", "vm.args"].map(str::to_owned);
    let flags = Flags {
        before: text.into(),
        after: text.into(),
        last: text.into(),
    };
    // An error is as good.
    let _ = erl_args::translate_with(&args, &flags, &read);
    let Ok(translated) = erl_args::translate(&args, &read) else {
        return false;
    };
    // What a program can't be given is not in a file of text.
    let nul = |words: &[String]| words.iter().any(|word| word.contains('\0'));
    let is_nul = nul(&translated.emulator) || nul(&translated.program);
    assert!(!is_nul || data.contains(&0));
    true
}

pub(crate) fn vm_args_seeds() -> Vec<Vec<u8>> {
    [
        "## Name\n-name a@127.0.0.1\n-setcookie secret\n+K true\n+A 5\n+S 2:2 # comment\n-env ERL_MAX_PORTS 4096\n-smp auto\n",
        "-sname 'a b' +P 1000000 +sbwt none +hmbs 46422\n-kernel inet_dist_listen_min 9100 \\\n inet_dist_listen_max \"9105\"\n-heart\n-extra x -y\n",
        "-noshell -noinput -mode embedded -boot rel/start -config sys -boot_var X /y -- plain\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Runs a start script to what it executes.
pub(crate) fn start_script(data: &[u8]) -> bool {
    let script = String::from_utf8_lossy(data);
    let home = ("HOME".to_owned(), "/".to_owned());
    let mut shell = Shell::new([home.clone()]);
    let (executed, _) = shell.run_to_exec(&script);
    // Variables are names with values.
    for (name, _) in shell.environment() {
        assert!(!name.is_empty() && !name.contains('='), "{name:?}");
    }
    let mut shell = Shell::new([home]);
    shell.run(&script);
    executed.is_some()
}

pub(crate) fn start_script_seeds() -> Vec<Vec<u8>> {
    [
        "#!/bin/sh\nset -e\nexport A=\"${A:-x}\" B='q'\nif [ -z \"$B\" ]; then\n  B=1\nfi\nexec /app/bin/a start \"$@\"\n",
        "#!/bin/sh\n# comment\nROOT=/app\nexport PORT=${PORT:-4000}\nexec \"$ROOT/bin/a\" foreground\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
