defmodule Mix.Tasks.Tyn.Run do
  @shortdoc "Makes a release and an image, and boots it"
  @moduledoc """
  Does what `mix tyn.build` does, and boots the image in a virtual machine on this terminal.

      $ MIX_ENV=prod mix tyn.run -p 4000:4000 -e PORT=4000
      $ MIX_ENV=prod mix tyn.run --no-build --cpus 2 --memory 256M
      $ MIX_ENV=prod mix tyn.run -i                     # with IEx on the console; Ctrl-] x stops it
      $ MIX_ENV=prod mix tyn.run my_release -- -name app@10.0.2.15

  Ctrl-C asks the release to stop (`System.stop/0`), a second one kills the machine. The exit status is the
  release's. The machine ends with Mix, however that ends, unless it was put into the background (`-d`).

  ## Options

    * `--no-build` - boots the image that is there
    * `--image FILE` - boots this image, which `tyn build` made
    * `--no-release`, `--input PATH`, `--tyn FILE` - as for `mix tyn.build`

  All other options go to `tyn run`; `tyn run --help` tells them (`--port`, `--env`, `--env-file`, `--cpus`,
  `--memory`, `--file`, `--vm-args`, `--detach`, …). What follows `--` are arguments of `erl`.

  ## Settings

  In `project/0` of `mix.exs`; each key of `run` is an option of `tyn run`:

      tyn: [run: [port: ["4000:4000"], memory: "256M", env: [PORT: 4000]]]

  `tyn run` reads `tyn.toml`, too. The command line takes the place of what `mix.exs` says, and that of what
  `tyn.toml` says; variables and files are merged.
  """
  use Mix.Task

  alias MixTyn.{Command, Tool}

  @own ~w(--tyn --input --image --no-release --no-build)

  @impl true
  def run(args) do
    Mix.Project.get!()
    command = MixTyn.command!(args, @own)
    tool = MixTyn.tool!(command)
    project = Mix.Project.config()

    image =
      if command.build? and is_nil(command.image),
        do: MixTyn.build!(command, tool, []),
        else: MixTyn.image!(command, project)

    flags = Command.run_arguments(project[:tyn][:run], command.rest)
    MixTyn.stop_unless_zero(Tool.run(tool, ["run", image] ++ flags))
  end
end
