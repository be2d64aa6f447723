defmodule MixTyn.CommandTest do
  use ExUnit.Case, async: true
  doctest MixTyn.Command

  alias MixTyn.Command

  test "what the tasks don't know goes to the tool, in order" do
    line = ~w(web --tyn ./tyn --strip-beams --no-release -o a.img --otp 27 -- --no-build -o)
    assert {:ok, command} = Command.parse(line)

    assert %Command{name: "web", tool: "./tyn", image: "a.img", release?: false, build?: true} =
             command

    assert command.rest == ~w(--strip-beams --otp 27 -- --no-build -o)
  end

  test "values may follow an equals sign" do
    assert {:ok, command} = Command.parse(["--input=a=b.tar", "--memory=1G"])
    assert %Command{name: nil, input: "a=b.tar", rest: ["--memory=1G"]} = command
  end

  test "each task has its own options" do
    assert {:ok, %Command{build?: true, rest: ["--no-build"]}} =
             Command.parse(["--no-build"], ["--tyn"])
  end

  test "a value that is missing is said" do
    assert Command.parse(["--cpus", "2", "--tyn"]) == {:error, "--tyn needs a value"}
  end

  test "settings are flags" do
    settings = [
      strip_beams: true,
      sbom: false,
      otp: nil,
      interactive: false,
      memory: "1G",
      env: [PORT: 1, HOST: "h"],
      port: ["1:2", "3:4"]
    ]

    flags =
      ~w(--strip-beams --sbom=false --memory 1G --env PORT=1 --env HOST=h --port 1:2 --port 3:4)

    assert Command.flags(settings) == flags
  end

  test "the command line takes the place of settings, but variables are merged" do
    settings = [port: "1:1", env: [A: 1], cpus: 2, memory: "1G"]
    line = ~w(-p2:2 --env B=2 --cpus 4 -- --memory)
    assert Command.arguments(settings, line) == ~w(--env A=1 --memory 1G) ++ line
    assert Command.arguments([compress: false], ["--compress"]) == ["--compress"]
    assert Command.arguments(nil, []) == []
  end

  test "a guest ends with us unless it goes into the background" do
    assert Command.run_arguments([], ["-i"]) == ["--with-parent", "-i"]
    assert Command.run_arguments([detach: true], []) == ["--detach"]
    assert Command.run_arguments([], ["-di"]) == ["-di"]
    assert ["--with-parent" | _] = Command.run_arguments([], ["--cpus", "2", "--", "-d"])
  end

  test "the release is the one that is asked for, or the only one" do
    assert Command.release(nil, app: :web) == {:ok, :web}
    assert Command.release("web", app: :web) == {:ok, :web}
    assert Command.release(nil, app: :web, releases: [one: []]) == {:ok, :one}
    several = [app: :web, releases: [one: [], two: []]]

    assert {:error, "there are several releases: name one of one, two"} =
             Command.release(nil, several)

    assert Command.release("two", several) == {:ok, :two}
    assert Command.release(nil, several ++ [default_release: :two]) == {:ok, :two}

    assert Command.release(nil, several ++ [default_release: :two, tyn: [release: :one]]) ==
             {:ok, :one}

    assert {:error, "there is no release 'three', but one, two"} =
             Command.release("three", several)

    assert {:error, "an umbrella" <> _} = Command.release(nil, apps_path: "apps")
  end

  test "a release is where its settings say" do
    assert Command.release_dir(:web, [], "_build/prod") == "_build/prod/rel/web"
    assert Command.release_dir(:web, [releases: [web: [path: "/srv"]]], "_build/prod") == "/srv"
    lazy = [releases: [web: fn -> [] end]]
    assert Command.release_dir(:web, lazy, "_build/prod") == "_build/prod/rel/web"
  end
end
