defmodule MixTyn.ToolTest do
  use ExUnit.Case, async: true

  alias MixTyn.Tool

  test "the file that is named goes before the variable, that before PATH" do
    there = fn _ -> true end
    path = fn "tyn" -> "/bin/tyn" end
    assert Tool.find("/a", "/b", there, path) == {:ok, "/a"}
    assert Tool.find(nil, "/b", there, path) == {:ok, "/b"}
    assert Tool.find(nil, "", there, path) == {:ok, "/bin/tyn"}
    assert Tool.find(nil, nil, there, path) == {:ok, "/bin/tyn"}
  end

  test "what is missing is named, with the remedy" do
    gone = fn _ -> false end
    assert Tool.find("a", nil, gone) == {:error, "--tyn names a, which is no file"}
    assert Tool.find(nil, "b", gone) == {:error, "the variable TYN names b, which is no file"}
    assert {:error, why} = Tool.find(nil, nil, gone, fn _ -> nil end)
    assert why =~ "not in PATH" and why =~ "--tyn FILE or the variable TYN"
  end

  test "exit statuses and arguments are passed on as they are" do
    assert Tool.run("/bin/sh", ["-c", "exit 42"]) == 42
    assert Tool.run("/bin/sh", ["-c", "test \"$1\" = 'é $(x) \"'", "sh", "é $(x) \""]) == 0
  end
end
