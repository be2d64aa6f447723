#!/usr/bin/env bash
# Builds the Linux kernels that Tyn is compared with, under target/bench/linux:
#   vmlinux-cloud   Debian trixie's cloud kernel, as its ELF file (entered by PVH), with its virtio-net modules beside it
#   vmlinux-tiny    the same release's source as `tinyconfig` plus what a BEAM guest needs
#   init            a static init that mounts, loads modules, configures eth0 and starts /etc/app.argv
# Arguments: the folder, and `cloud` to leave the trimmed kernel out, which is what takes long.
# Needs root, gcc, make, flex, bison, bc, libelf-dev, musl-tools, xz-utils, cpio (all from Debian; installed when missing).
# Packages come from the machine's own Debian mirror through an apt state of our own; apt checks their signatures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "${1:-$here/../target/bench/linux}")
mkdir -p "$out"

need=()
for pair in gcc:gcc make:make flex:flex bison:bison bc:bc musl-gcc:musl-tools xz:xz-utils zstd:zstd cpio:cpio python3:python3; do
  command -v "${pair%%:*}" >/dev/null || need+=("${pair##*:}")
done
[ -e /usr/include/libelf.h ] || need+=(libelf-dev)
if [ ${#need[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

# An apt state of our own for trixie.
state=$out/apt
mkdir -p "$state"/{lists/partial,cache/archives/partial,etc}
touch "$state/status"
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -E '/debian/?$' | head -1)
[ -n "$mirror" ] || { echo "no Debian mirror in this machine's apt sources" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] ${mirror%/} trixie main" > "$state/etc/sources.list"
apt=(-o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status"
     -o "Dir::Cache=$state/cache" -o "Dir::Etc::sourcelist=$state/etc/sources.list" -o Dir::Etc::sourceparts=-
     -o APT::Architecture=amd64 -o APT::Sandbox::User=root)
if [ ! -e "$out/.fetched" ]; then
  apt-get "${apt[@]}" update -qq
  image=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -1)
  source=$(apt-cache "${apt[@]}" depends linux-source | sed -n 's/^ *Depends: \(linux-source-[0-9].*\)$/\1/p' | head -1)
  (cd "$out" && rm -f ./*.deb && apt-get "${apt[@]}" download -qq "$image" "$source")
  rm -rf "$out/cloud" "$out/source"
  dpkg-deb -x "$out"/linux-image-*.deb "$out/cloud"
  dpkg-deb -x "$out"/linux-source-*.deb "$out/source"
  touch "$out/.fetched"
fi

if [ ! -e "$out/vmlinux-cloud" ]; then
  python3 "$here/extract_vmlinux.py" "$out"/cloud/boot/vmlinuz-* "$out/vmlinux-cloud.tmp"
  mkdir -p "$out/modules"
  for m in failover net_failover virtio_net virtio_mmio; do
    xz -dc "$(find "$out/cloud" -name "$m.ko.xz" | head -1)" > "$out/modules/$m.ko"
  done
  mv "$out/vmlinux-cloud.tmp" "$out/vmlinux-cloud"
fi

if [ "${2:-}" != cloud ] && [ ! -e "$out/vmlinux-tiny" ]; then
  tree=$out/build
  rm -rf "$tree" && mkdir -p "$tree"
  tar -C "$tree" --strip-components=1 -xf "$out"/source/usr/src/linux-source-*.tar.xz
  cd "$tree"
  make -s tinyconfig
  while read -r action option; do
    case $action in ''|'#'*) continue ;; set) read -r name value <<<"$option"; ./scripts/config --set-val "$name" "$value" ;;
      on) ./scripts/config -e "$option" ;; off) ./scripts/config -d "$option" ;; *) echo "tiny.config: $action?" >&2; exit 1 ;; esac
  done < "$here/tiny.config"
  make -s olddefconfig
  make -s -j"$(nproc)" vmlinux KCFLAGS=-w
  strip -s -o "$out/vmlinux-tiny.tmp" vmlinux
  mv "$out/vmlinux-tiny.tmp" "$out/vmlinux-tiny"
  cd "$here" && rm -rf "$tree"
fi

musl-gcc -static -Os -s -Wall -o "$out/init" "$here/linux-init.c"
ls -la "$out"/vmlinux-* "$out/init"
