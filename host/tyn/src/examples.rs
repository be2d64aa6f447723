//! Examples at the end of each command's help. Tests run those that need no guest.

pub(crate) const TYN: &str = "Examples:
  tyn build _build/prod/rel/my_app -o my_app.img
  tyn run my_app.img -p 8080:8080 -e PORT=8080
  tyn doctor";

pub(crate) const BUILD: &str = "Examples:
  tyn build _build/prod/rel/my_app -o my_app.img
  tyn build _build/default/rel/my_app --sysroot /srv/trixie --include /bin/sh -o my_app.img
  docker save my_app | tyn build - -o my_app.img";

pub(crate) const RUN: &str = "Examples:
  tyn run my_app.img -p 8080:8080
  tyn run my_app.img --env-file prod.env -e SECRET_KEY_BASE --file /etc/my_app.conf=prod.conf
  tyn run -d my_app.img --name web -p 8080:8080 --cpus 2 --memory 256M
  tyn run -i my_app.img
  tyn run my_app.img -- +S 1 -kernel logger_level debug";

pub(crate) const IMAGE: &str = "Examples:
  tyn image my_app.img -o my_app.raw
  tyn image my_app.img --format qcow2 --append ip=10.0.0.2/24,10.0.0.1 -o my_app.qcow2
  tyn image my_app.img --format gce -o my_app.tar.gz";

pub(crate) const INSPECT: &str = "Examples:
  tyn inspect my_app.img
  tyn inspect my_app.img --tree
  tyn inspect my_app.img --json | jq '.applications[] | {name, bytes}'";

pub(crate) const PS: &str = "Examples:
  tyn ps
  tyn ps -a --json";

pub(crate) const LOGS: &str = "Examples:
  tyn logs web
  tyn logs -f -n 20 web";

pub(crate) const SHELL: &str = "Examples:
  tyn run -d my_app.img && tyn shell my_app
  tyn run -d my_app.img -- -sname app -setcookie secret && tyn shell my_app
  tyn run -d -i my_app.img && tyn shell my_app
The last is on the console: Ctrl-] d leaves the guest running, Ctrl-] x stops it.";

pub(crate) const STOP: &str = "Examples:
  tyn stop web
  tyn stop --timeout 60 web worker";

pub(crate) const RM: &str = "Examples:
  tyn rm web
  tyn rm --all";

pub(crate) const DOCTOR: &str = "Examples:
  tyn doctor
  tyn doctor --json
The exit code is 1 when no guest can be started.";

pub(crate) const COMPLETIONS: &str = "Examples:
  tyn completions bash > ~/.local/share/bash-completion/completions/tyn
  tyn completions zsh > ~/.zfunc/_tyn
  tyn completions fish > ~/.config/fish/completions/tyn.fish";

pub(crate) const MAN: &str = "Examples:
  tyn man ~/.local/share/man/man1 && man tyn-run";
