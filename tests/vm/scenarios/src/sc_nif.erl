%% A NIF of our own in C, with thread-local storage, threads and dirty schedulers.
-module(sc_nif).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{nif_c, fun() -> exercise(sc_nif_c) end}].

exercise(Module) ->
    {module, Module} = code:ensure_loaded(Module),
    say("~p", [Module:add(40, 2)]),
    say("~p", [Module:upper(<<"hello">>)]),
    say("~p", [try Module:add(a, 2) catch error:Why -> Why end]),
    %% Each thread counts for itself: what all threads counted is what was asked for.
    Pids = [spawn_monitor(fun() -> [Module:count() || _ <- lists:seq(1, 1000)] end) || _ <- lists:seq(1, 8)],
    [receive {'DOWN', M, _, P, normal} -> ok end || {P, M} <- Pids],
    Dirty = [spawn_monitor(fun() -> [Module:dirty_count() || _ <- lists:seq(1, 100)] end) || _ <- lists:seq(1, 8)],
    [receive {'DOWN', M, _, P, normal} -> ok end || {P, M} <- Dirty],
    say("~p", [Module:counted()]),
    say("~p", [Module:in_threads(8)]),
    Big = Module:make(1 bsl 22),
    say("~p ~p", [byte_size(Big), binary:at(Big, 4000000)]),
    Resource = Module:resource(7),
    say("~p", [Module:get(Resource)]).
