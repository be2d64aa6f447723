defmodule MixTyn.TasksTest do
  # The tool is a script that writes down what it was called with.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  setup do
    dir =
      Path.join(
        System.tmp_dir!(),
        "mix_tyn-#{System.unique_integer([:positive])}-#{System.pid()}"
      )

    File.mkdir_p!(Path.join(dir, "lib"))
    on_exit(fn -> File.rm_rf!(dir) end)
    tool = Path.join(dir, "tyn")

    File.write!(
      tool,
      "#!/bin/sh\necho \"$@\" >> #{dir}/calls\n[ $1 != run ] || exit ${STATUS:-0}\n"
    )

    File.chmod!(tool, 0o755)
    {:ok, dir: dir, tool: tool}
  end

  defp in_project(dir, tyn, work) do
    # Mix keeps a project by its name.
    app = :"web#{System.unique_integer([:positive])}"
    module = Module.concat(__MODULE__, Macro.camelize(Atom.to_string(app)))

    File.write!(Path.join(dir, "mix.exs"), """
    defmodule #{inspect(module)} do
      use Mix.Project
      def project, do: [app: #{inspect(app)}, version: "1.0.0", tyn: #{inspect(tyn)}]
    end
    """)

    Mix.Project.in_project(app, dir, [build_path: Path.join(dir, "_build")], fn _ -> work.() end)
  end

  defp calls(dir), do: dir |> Path.join("calls") |> File.read!() |> String.split("\n", trim: true)

  test "run builds and boots with the settings", %{dir: dir, tool: tool} do
    settings = [output: "web.img", build: [strip_beams: true], run: [cpus: 2]]

    in_project(dir, settings, fn ->
      Mix.Tasks.Tyn.Run.run([
        "--tyn",
        tool,
        "--input",
        "rel.tar.gz",
        "-p",
        "1:2",
        "--",
        "+S",
        "1"
      ])
    end)

    assert calls(dir) == [
             "build rel.tar.gz --output web.img --strip-beams",
             "run web.img --with-parent --cpus 2 -p 1:2 -- +S 1"
           ]
  end

  test "the status of the guest is Mix's", %{dir: dir, tool: tool} do
    System.put_env("STATUS", "7")
    on_exit(fn -> System.delete_env("STATUS") end)

    in_project(dir, [], fn ->
      assert catch_exit(Mix.Tasks.Tyn.Run.run(["--tyn", tool, "--image", "x.img"])) ==
               {:shutdown, 7}
    end)

    assert calls(dir) == ["run x.img --with-parent"]
  end

  test "a release that isn't there and a tool that isn't are said before anything is done", %{
    dir: dir,
    tool: tool
  } do
    in_project(dir, [], fn ->
      assert_raise Mix.Error, ~r/no release in .*rel\/web\d+: leave --no-release out/, fn ->
        Mix.Tasks.Tyn.Build.run(["--tyn", tool, "--no-release"])
      end

      assert_raise Mix.Error, "--tyn names none, which is no file", fn ->
        Mix.Tasks.Tyn.Build.run(["--tyn", "none"])
      end
    end)

    refute File.exists?(Path.join(dir, "calls"))
  end

  test "help has examples" do
    for {task, example} <- [
          {"tyn.build", "mix tyn.build my_release"},
          {"tyn.run", "mix tyn.run -p 4000:4000"}
        ] do
      assert capture_io(fn -> Mix.Task.rerun("help", [task]) end) =~ example
    end
  end
end
