defmodule MixTyn do
  @moduledoc """
  What the tasks `mix tyn.build` and `mix tyn.run` share.
  """

  alias MixTyn.{Command, Tool}

  @doc """
  Reads a task's command line; a mistake ends the task.
  """
  @spec command!([String.t()], [String.t()]) :: Command.t()
  def command!(args, known), do: args |> Command.parse(known) |> ok!()

  @doc """
  Finds the tool; it is looked for before anything takes time.
  """
  @spec tool!(Command.t()) :: Path.t()
  def tool!(command), do: command.tool |> Tool.find(System.get_env("TYN")) |> ok!()

  @doc """
  Makes the image and returns where it is.
  """
  @spec build!(Command.t(), Path.t(), [String.t()]) :: Path.t()
  def build!(command, tool, flags) do
    project = Mix.Project.config()
    input = command.input || release!(command, project)
    image = image!(command, project)
    File.mkdir_p!(Path.dirname(image))
    flags = Command.arguments(project[:tyn][:build], flags)
    stop_unless_zero(Tool.run(tool, ["build", input, "--output", image] ++ flags))
    image
  end

  @doc """
  Returns where the image is, or will be.
  """
  @spec image!(Command.t(), keyword) :: Path.t()
  def image!(command, project) do
    command.image || project[:tyn][:output] || default_image(command, project)
  end

  @doc """
  Ends Mix with an exit status other than zero.
  """
  @spec stop_unless_zero(non_neg_integer) :: :ok
  def stop_unless_zero(0), do: :ok
  def stop_unless_zero(status), do: exit({:shutdown, status})

  defp default_image(%{input: nil} = command, project) do
    name = command.name |> Command.release(project) |> ok!()
    Path.join([Mix.Project.build_path(), "tyn", "#{name}.img"])
  end

  defp default_image(%{input: input}, _project) do
    name = input |> Path.expand() |> Path.basename() |> String.split(".") |> hd()
    Path.join([Mix.Project.build_path(), "tyn", "#{name}.img"])
  end

  defp release!(command, project) do
    name = command.name |> Command.release(project) |> ok!()
    dir = Command.release_dir(name, project, Mix.Project.build_path())

    cond do
      command.release? ->
        # Mix refuses to be told the name of a release that no settings describe.
        names = if project[:releases] in [nil, []], do: [], else: [Atom.to_string(name)]
        Mix.Task.run("release", names ++ ["--overwrite", "--quiet"])

      not File.dir?(dir) ->
        Mix.raise("there is no release in #{Path.relative_to_cwd(dir)}: leave --no-release out")

      true ->
        :ok
    end

    dir
  end

  defp ok!({:ok, value}), do: value
  defp ok!({:error, why}), do: Mix.raise(why)
end
