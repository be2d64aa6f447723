%% What the emulator learns of the machine: os_mon, time zone, host name, cgroups, topology.
-module(sc_system).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{system_os_mon, fun os_mon/0},
     {system_info, fun info/0},
     {system_time_zone, fun time_zone/0},
     {system_environment, fun environment/0}].

os_mon() ->
    {ok, _} = application:ensure_all_started(os_mon),
    Memory = memsup:get_system_memory_data(),
    [say("~p: ~p", [K, proplists:get_value(K, Memory, 0) > 0]) || K <- [total_memory, free_memory, available_memory, system_total_memory]],
    {Total, Allocated, {Pid, _}} = memsup:get_memory_data(),
    say("~p", [is_pid(Pid) andalso Total >= Allocated]),
    sc:until(disksup, fun() -> disksup:get_disk_data() =/= [{"none", 0, 0}] end),
    say("~p", [[Path || {Path, KiB, Percent} <- disksup:get_disk_data(), Path =:= "/", KiB > 0, Percent =< 100]]),
    say("~p", [disksup:get_disk_info("/tmp") =/= []]),
    say("~p", [[is_integer(F()) || F <- [fun cpu_sup:avg1/0, fun cpu_sup:avg5/0, fun cpu_sup:avg15/0, fun cpu_sup:nprocs/0]]]),
    Util = cpu_sup:util(),
    say("~p", [Util >= 0 andalso Util =< 100]),
    {Cpus, Busy, NonBusy, []} = cpu_sup:util([detailed]),
    say("~p ~p ~p", [Cpus, lists:sort([K || {K, _} <- Busy]), lists:sort([K || {K, _} <- NonBusy])]),
    say("~p", [[{C, length(B)} || {C, B, _, _} <- cpu_sup:util([detailed, per_cpu])]]),
    ok = application:stop(os_mon).

info() ->
    say("~p", [os:type()]),
    say("~p", [tuple_size(os:version())]),
    say("~p", [erlang:system_info(schedulers)]),
    say("~p", [erlang:system_info(logical_processors_available)]),
    say("~p", [erlang:system_info(cpu_topology)]),
    say("~p", [erlang:system_info(emu_flavor)]),
    say("~p", [[proplists:get_value(K, erlang:system_info(os_monotonic_time_source)) || K <- [function, clock_id, resolution, parallel]]]),
    say("~p", [[proplists:get_value(K, erlang:system_info(os_system_time_source)) || K <- [function, clock_id, resolution, parallel]]]),
    say("~p", [erlang:system_info(start_time) < erlang:monotonic_time()]),
    say("~p", [[proplists:get_value(K, lists:append(erlang:system_info(check_io))) || K <- [kernel_poll, primary]]]).

time_zone() ->
    {ok, _} = file:read_file_info("/etc/localtime"),
    say("~p", [calendar:universal_time_to_local_time({{2024, 7, 1}, {12, 0, 0}})]),
    say("~p", [calendar:universal_time_to_local_time({{2024, 1, 1}, {12, 0, 0}})]),
    say("~p", [calendar:local_time_to_universal_time_dst({{2024, 10, 27}, {2, 30, 0}})]),
    say("~s", [os:cmd("date -d @1719835200 +'%F %T %Z'")]),
    say("~s", [os:cmd("TZ=Asia/Tokyo date -d @1719835200 +'%F %T %Z'")]),
    Local = calendar:local_time(),
    Universal = calendar:universal_time(),
    Hours = calendar:datetime_to_gregorian_seconds(Local) - calendar:datetime_to_gregorian_seconds(Universal),
    true = lists:member(Hours div 3600, [1, 2]).

environment() ->
    say("~p", [[os:getenv(N) || N <- ["HOME", "LANG", "ROOTDIR", "EMU", "RELEASE_NAME"]]]),
    say("~p", [init:get_argument(home)]),
    say("~p", [file:native_name_encoding()]),
    true = os:putenv("SC_X", "y"),
    say("~p ~p", [os:getenv("SC_X"), os:cmd("echo $SC_X")]),
    true = os:unsetenv("SC_X"),
    say("~p", [os:getenv("SC_X")]),
    say("~p", [[L || "RELEASE" ++ _ = L <- lists:sort(string:lexemes(os:cmd("env"), "\n"))]]).
