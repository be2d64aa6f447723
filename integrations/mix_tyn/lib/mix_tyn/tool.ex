defmodule MixTyn.Tool do
  @moduledoc """
  The `tyn` tool: where it is, and running it on our terminal.
  """

  @doc """
  Finds the tool: the file that was named, that of the variable `TYN`, or `tyn` in `PATH`.

  `exists` tells whether there is such a file, `search` looks a program up in `PATH`.
  """
  @spec find(Path.t() | nil, String.t() | nil, (Path.t() -> boolean), (String.t() ->
                                                                         Path.t() | nil)) ::
          {:ok, Path.t()} | {:error, String.t()}
  def find(named, variable, exists \\ &File.regular?/1, search \\ &System.find_executable/1) do
    case {named, variable} do
      {named, _} when is_binary(named) -> at(named, "--tyn names", exists)
      {nil, set} when set not in [nil, ""] -> at(set, "the variable TYN names", exists)
      _ -> searched(search.("tyn"))
    end
  end

  defp at(path, who, exists) do
    if exists.(path),
      do: {:ok, Path.expand(path)},
      else: {:error, "#{who} #{path}, which is no file"}
  end

  defp searched(nil) do
    {:error,
     "the tool `tyn` is not in PATH: put it there, or name it by --tyn FILE or the variable TYN " <>
       "(`cargo xtask build` in Tyn's source makes target/release/tyn)"}
  end

  defp searched(path), do: {:ok, path}

  @doc """
  Runs the tool with our terminal as its own and returns its exit status.

  Not `System.cmd/3`: that stands between the tool and the terminal. The tool's `--with-parent` does the rest.
  """
  @spec run(Path.t(), [String.t()]) :: non_neg_integer
  def run(tool, args) do
    port = Port.open({:spawn_executable, tool}, [:nouse_stdio, :exit_status, args: args])

    receive do
      {^port, {:exit_status, status}} -> status
    end
  end
end
