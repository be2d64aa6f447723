defmodule MixTyn.Command do
  @moduledoc """
  What to do, found out from command lines and settings, without doing anything.
  """

  defstruct name: nil, tool: nil, input: nil, image: nil, release?: true, build?: true, rest: []

  @type t :: %__MODULE__{
          name: String.t() | nil,
          tool: Path.t() | nil,
          input: Path.t() | nil,
          image: Path.t() | nil,
          release?: boolean,
          build?: boolean,
          rest: [String.t()]
        }

  @own ~w(--tyn --input --output --image --no-release --no-build)

  @doc """
  Splits a command line into what the tasks understand and what goes to `tyn`, which is all the rest.

  A release may be named first. `--` and what follows is `tyn`'s.
  """
  @spec parse([String.t()], [String.t()]) :: {:ok, t} | {:error, String.t()}
  def parse(args, known \\ @own)

  def parse(["-" <> _ | _] = args, known), do: parse(args, known, %__MODULE__{})
  def parse([name | args], known), do: parse(args, known, %__MODULE__{name: name})
  def parse([], _known), do: {:ok, %__MODULE__{}}

  defp parse([], _known, command), do: {:ok, %{command | rest: Enum.reverse(command.rest)}}

  defp parse(["--" | _] = args, _known, command) do
    {:ok, %{command | rest: Enum.reverse(command.rest, args)}}
  end

  defp parse(["-o" | args], known, command), do: parse(["--output" | args], known, command)

  defp parse([arg | args], known, command) do
    {flag, value} =
      case String.split(arg, "=", parts: 2) do
        [flag, value] -> {flag, [value]}
        [flag] -> {flag, []}
      end

    if flag in known do
      own(flag, value ++ args, known, command)
    else
      parse(args, known, %{command | rest: [arg | command.rest]})
    end
  end

  defp own("--no-release", args, known, command) do
    parse(args, known, %{command | release?: false})
  end

  defp own("--no-build", args, known, command), do: parse(args, known, %{command | build?: false})

  defp own(flag, [], _known, _command), do: {:error, "#{flag} needs a value"}

  defp own(flag, [value | args], known, command) do
    key =
      case flag do
        "--tyn" -> :tool
        "--input" -> :input
        _ -> :image
      end

    parse(args, known, Map.put(command, key, value))
  end

  # Flags of `tyn` that are given or not, and take no value.
  @never [:detach, :interactive]

  @doc """
  Makes flags of settings: `[strip_beams: true, otp: 27, include: ["/bin/sh", "/bin/ls"]]` is
  `--strip-beams --otp 27 --include /bin/sh --include /bin/ls`. `false` takes back what `tyn.toml` says.

      iex> MixTyn.Command.flags(sbom: true, compress: false, otp: 27)
      ["--sbom", "--compress=false", "--otp", "27"]
  """
  @spec flags(keyword) :: [String.t()]
  def flags(settings) do
    Enum.flat_map(settings, fn {key, value} ->
      flag = flag(key)

      case value do
        true -> [flag]
        false when key in @never -> []
        false -> [flag <> "=false"]
        nil -> []
        values when is_list(values) -> Enum.flat_map(values, &[flag, word(&1)])
        value -> [flag, word(value)]
      end
    end)
  end

  # What `tyn` merges by itself, and what may be said in short.
  @merged [:env, :env_file, :file, :include]
  @short %{"-p" => "--port", "-s" => "--start"}

  @doc """
  Puts settings in front of a command line; a setting that the command line has is left out, unless `tyn` merges it.

      iex> MixTyn.Command.arguments([cpus: 2, memory: "256M"], ["--cpus=4"])
      ["--memory", "256M", "--cpus=4"]
  """
  @spec arguments(keyword | nil, [String.t()]) :: [String.t()]
  def arguments(settings, rest) do
    said = rest |> ours() |> Enum.map(&flag_of/1)
    given? = fn {key, _} -> key not in @merged and flag(key) in said end
    flags(Enum.reject(settings || [], given?)) ++ rest
  end

  @doc """
  Returns the arguments of `tyn run`: the guest ends with us unless it goes into the background.

      iex> MixTyn.Command.run_arguments([], ["-d", "--", "-noshell"])
      ["-d", "--", "-noshell"]
  """
  @spec run_arguments(keyword | nil, [String.t()]) :: [String.t()]
  def run_arguments(settings, rest) do
    args = arguments(settings, rest)
    detached? = args |> ours() |> Enum.any?(&(&1 == "--detach" or &1 =~ ~r/^-[a-z]*d[a-z]*$/))
    if detached?, do: args, else: ["--with-parent" | args]
  end

  # What is before `--`.
  defp ours(args), do: Enum.take_while(args, &(&1 != "--"))

  defp flag_of("--" <> _ = arg), do: arg |> String.split("=", parts: 2) |> hd()
  defp flag_of(<<short::binary-size(2), _::binary>>), do: @short[short]
  defp flag_of(_), do: nil

  defp flag(key), do: "--" <> (key |> Atom.to_string() |> String.replace("_", "-"))

  defp word({name, value}), do: "#{name}=#{value}"
  defp word(value), do: to_string(value)

  @doc """
  Returns the name of the release: the one that was asked for, `tyn: [release: NAME]`, `default_release`, the only one of
  `releases`, the application's name.
  """
  @spec release(String.t() | nil, keyword) :: {:ok, atom} | {:error, String.t()}
  def release(asked, project) do
    releases = Keyword.keys(project[:releases] || [])
    set = project[:tyn][:release] || project[:default_release]

    case {asked, set, releases} do
      {nil, nil, []} ->
        of_app(project[:app])

      {nil, nil, [only]} ->
        {:ok, only}

      {nil, nil, several} ->
        {:error, "there are several releases: name one of #{listed(several)}"}

      {nil, set, _} ->
        {:ok, set}

      {asked, _, releases} ->
        named(asked, releases, project[:app])
    end
  end

  defp of_app(nil) do
    {:error, "an umbrella has no release of its own: describe one under releases: in its mix.exs"}
  end

  defp of_app(app), do: {:ok, app}

  defp named(asked, releases, app) do
    known = if releases == [], do: List.wrap(app), else: releases

    case Enum.find(known, &(Atom.to_string(&1) == asked)) do
      nil -> {:error, "there is no release '#{asked}', but #{listed(known)}"}
      name -> {:ok, name}
    end
  end

  defp listed(names), do: Enum.map_join(names, ", ", &Atom.to_string/1)

  @doc """
  Returns the folder of a release, as `mix release` makes it: `path` of its settings, or below the build folder.
  """
  @spec release_dir(atom, keyword, Path.t()) :: Path.t()
  def release_dir(name, project, build_path) do
    settings =
      case project[:releases][name] do
        settings when is_list(settings) -> settings
        _ -> []
      end

    settings[:path] || Path.join([build_path, "rel", Atom.to_string(name)])
  end
end
