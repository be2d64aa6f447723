%% Limits: descriptors, processes, threads.
-module(sc_limit).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{limit_default_descriptors, fun default_descriptors/0},
     {limit_emfile, fun emfile/0},
     {limit_of_processes, fun processes/0},
     {limit_of_ports, fun ports/0}].

%% What is right for a server: enough for 100,000 connections, and starting a program still takes no time.
default_descriptors() ->
    [Soft, Hard] = string:lexemes(os:cmd("ulimit -S -n; ulimit -H -n"), "\n"),
    true = list_to_integer(Soft) =< list_to_integer(Hard),
    {max_fds, Max} = lists:keyfind(max_fds, 1, lists:append(erlang:system_info(check_io))),
    true = Max >= list_to_integer(Soft),
    say("~p", [sc:is_measured() =:= false orelse list_to_integer(Soft) >= 100000]).

%% In an emulator with few descriptors.
emfile() ->
    {Program, Args} = sc:vm_command(["-s", "sc_limit_child"]),
    Script = "ulimit -n 64; exec \"$0\" \"$@\"",
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script, Program | Args]}, exit_status, stderr_to_stdout]),
    {Status, Output} = sc:collect(Port),
    say("~s~p", [Output, Status]).

processes() ->
    {Program, Args} = sc:vm_command(["-kernel", "logger_level", "none", "-eval", "L = [catch spawn(fun() -> receive x -> ok end end) || _ <- lists:seq(1, 2000)], "
        "{'EXIT', {Why, _}} = lists:last(L), io:format(\"~p\", [Why]), halt()."]),
    Port = open_port({spawn_executable, Program}, [{args, ["-P", "1024" | Args]}, exit_status, stderr_to_stdout]),
    say("~p", [sc:collect(Port)]).

ports() ->
    {Program, Args} = sc:vm_command(["-eval", "L = [catch element(2, gen_udp:open(0)) || _ <- lists:seq(1, 1100)], "
        "Why = lists:last(L), io:format(\"~p ~p\", [Why, length([P || P <- L, is_port(P)]) > 900]), halt()."]),
    Port = open_port({spawn_executable, Program}, [{args, ["-Q", "1024" | Args]}, exit_status, stderr_to_stdout]),
    say("~p", [sc:collect(Port)]).
