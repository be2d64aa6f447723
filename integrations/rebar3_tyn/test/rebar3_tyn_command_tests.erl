-module(rebar3_tyn_command_tests).
%% Without eunit.hrl, which distributions keep in a package of its own.
-export([tool_test/0, release_test/0, arguments_test/0, run_arguments_test/0, status_test/0]).
-import(rebar3_tyn_command, [find/4, release/3, arguments/2, run_arguments/2]).

tool_test() ->
    There = fun(_) -> true end,
    Gone = fun(_) -> false end,
    Path = fun("tyn") -> "/bin/tyn" end,
    {ok, "/a"} = find("/a", "/b", There, Path),
    {ok, "/b"} = find(undefined, "/b", There, Path),
    {ok, "/bin/tyn"} = find(undefined, false, There, Path),
    {error, "--tyn names a, which is no file"} = find("a", false, Gone, Path),
    {error, "the tool tyn is not in PATH" ++ _} = find(undefined, false, There, Gone).

release_test() ->
    {ok, "web"} = release(undefined, [], ["web"]),
    {ok, "b"} = release(undefined, [{release, b}], ["a", "b"]),
    {ok, "a"} = release("a", [{release, b}], ["a", "b"]),
    {error, "there is no release 'c', but a, b"} = release("c", [], ["a", "b"]),
    {error, "there are several releases: name one of a, b" ++ _} = release(undefined, [], ["a", "b"]),
    {error, "there is no release" ++ _} = release(undefined, [], []).

arguments_test() ->
    Settings = [strip_beams, {sbom, false}, {otp, 27}, {port, ["1:2", "3:4"]}, {env, [{"A", 1}]}],
    ["--strip-beams", "--sbom=false", "--otp", "27", "--port", "1:2", "--port", "3:4", "--env", "A=1"] =
        arguments(Settings, []),
    [] = arguments([{interactive, false}], []),
    ["--sbom"] = arguments([{sbom, false}], ["--sbom"]),
    ["--env", "A=1", "-p5:6", "-e", "B=2"] = arguments([{port, "1:2"}, {env, [{"A", 1}]}], ["-p5:6", "-e", "B=2"]),
    ["--cpus", "2", "--", "--cpus"] = arguments([{cpus, 2}], ["--", "--cpus"]).

run_arguments_test() ->
    ["--with-parent", "--cpus", "2", "--", "-d"] = run_arguments([{cpus, 2}], ["--", "-d"]),
    ["--detach"] = run_arguments([detach], []),
    ["-di"] = run_arguments([], ["-di"]).

status_test() ->
    42 = rebar3_tyn:run("/bin/sh", ["-c", "exit 42"]),
    0 = rebar3_tyn:run("/bin/sh", ["-c", "test \"$1\" = 'é $(x)'", "sh", "é $(x)"]).
