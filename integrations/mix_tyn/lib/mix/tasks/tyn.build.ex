defmodule Mix.Tasks.Tyn.Build do
  @shortdoc "Makes a release and a Tyn image of it"
  @moduledoc """
  Makes a release (as `mix release` does) and puts it into an image that `mix tyn.run` or `tyn run` boots.

      $ MIX_ENV=prod mix tyn.build
      $ MIX_ENV=prod mix tyn.build my_release --strip-beams --sbom
      $ mix tyn.build --input _build/prod/my_app-0.1.0.tar.gz -o my_app.img

  The image is `_build/ENV/tyn/RELEASE.img` unless `-o` says otherwise. As with `mix release`, you want
  `MIX_ENV=prod`, or `def cli, do: [preferred_envs: ["tyn.build": :prod, "tyn.run": :prod]]` in `mix.exs`.

  ## Options

    * `--no-release` - takes the release that is there, instead of making it anew
    * `--input PATH` - makes the image of this: a release's folder or tarball, or whatever else `tyn build` takes
    * `-o`, `--output FILE` - the image to write
    * `--tyn FILE` - the tool; otherwise the variable `TYN` names it, or it is `tyn` in `PATH`

  All other options go to `tyn build`; `tyn build --help` tells them (`--strip-beams`, `--compress`, `--otp`,
  `--sysroot`, `--include`, `--env`, `--sbom`).

  ## Settings

  In `project/0` of `mix.exs`; each key of `build` is an option of `tyn build`:

      tyn: [
        release: :my_release,                          # where there are several
        output: "my_app.img",
        build: [strip_beams: true, include: ["/bin/sh"]]
      ]

  The exit status is that of `tyn build`.
  """
  use Mix.Task

  @own ~w(--tyn --input --output --no-release)

  @impl true
  def run(args) do
    Mix.Project.get!()
    command = MixTyn.command!(args, @own)
    MixTyn.build!(command, MixTyn.tool!(command), command.rest)
    :ok
  end
end
