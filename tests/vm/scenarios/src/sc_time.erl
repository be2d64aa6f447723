%% Clocks and timers; nothing here asserts how quick the machine is.
-module(sc_time).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{time_wall_clock, fun wall_clock/0},
     {time_is_monotonic, fun monotonic/0},
     {time_timers, fun timers/0},
     {time_clocks_agree, fun clocks_agree/0}].

%% For the host to compare with its own.
wall_clock() ->
    [begin
         io:format("wall clock ~b~n", [os:system_time(microsecond)]),
         timer:sleep(50)
     end || _ <- lists:seq(1, 20)],
    ok.

%% No scheduler ever sees a time that is before one that another has seen before.
monotonic() ->
    Last = atomics:new(1, [{signed, true}]),
    atomics:put(Last, 1, os:perf_counter()),
    Schedulers = erlang:system_info(schedulers),
    Pids = [spawn_opt(fun() -> hammer(Last, 100000) end, [monitor, {scheduler, 1 + N rem Schedulers}]) || N <- lists:seq(1, 2 * Schedulers)],
    [receive {'DOWN', M, _, P, Why} -> say("~p", [Why]) end || {P, M} <- lists:sublist(Pids, 2)],
    [receive {'DOWN', M, _, P, normal} -> ok end || {P, M} <- lists:nthtail(2, Pids)],
    Erlang = atomics:new(1, [{signed, true}]),
    atomics:put(Erlang, 1, erlang:monotonic_time()),
    More = [spawn_monitor(fun() -> hammer_erlang(Erlang, 50000) end) || _ <- lists:seq(1, 2 * Schedulers)],
    [receive {'DOWN', M, _, P, normal} -> ok end || {P, M} <- More].

hammer(_, 0) -> ok;
hammer(Last, N) ->
    Seen = atomics:get(Last, 1),
    Now = os:perf_counter(),
    true = Now >= Seen,
    raise(Last, Seen, Now),
    hammer(Last, N - 1).

hammer_erlang(_, 0) -> ok;
hammer_erlang(Last, N) ->
    Seen = atomics:get(Last, 1),
    Now = erlang:monotonic_time(),
    true = Now >= Seen,
    raise(Last, Seen, Now),
    hammer_erlang(Last, N - 1).

%% Makes the greatest time seen known to the others.
raise(Last, Seen, Now) when Now > Seen ->
    case atomics:compare_exchange(Last, 1, Seen, Now) of
        ok -> ok;
        Other -> raise(Last, Other, Now)
    end;
raise(_, _, _) -> ok.

%% Timers come in their order and never early.
timers() ->
    Start = erlang:monotonic_time(),
    Delays = [300, 10, 0, 150, 1, 75, 20, 3],
    Refs = [{erlang:start_timer(D, self(), D), D} || D <- Delays],
    Order = [receive {timeout, R, D} ->
                 true = lists:member({R, D}, Refs),
                 Passed = erlang:monotonic_time() - Start,
                 true = Passed >= erlang:convert_time_unit(D, millisecond, native),
                 D
             end || _ <- Delays],
    say("~p", [Order]),
    Late = [begin
                T0 = erlang:monotonic_time(microsecond),
                erlang:send_after(D, self(), now),
                receive now -> erlang:monotonic_time(microsecond) - T0 - D * 1000 end
            end || D <- lists:duplicate(20, 7)],
    true = lists:min(Late) >= 0,
    io:format("timers late by ~b us in the middle, ~b us at most~n", [lists:nth(10, lists:sort(Late)), lists:max(Late)]),
    {ok, Tref} = timer:send_interval(20, tick),
    [receive tick -> ok end || _ <- lists:seq(1, 10)],
    {ok, cancel} = timer:cancel(Tref),
    Many = [erlang:start_timer(50 + rand:uniform(200), self(), x) || _ <- lists:seq(1, 20000)],
    Came = [receive {timeout, R, x} -> R end || _ <- Many],
    say("~p", [lists:sort(Came) =:= lists:sort(Many)]).

clocks_agree() ->
    {ok, Text} = file:read_file("/proc/uptime"),
    [Up | _] = string:lexemes(Text, " "),
    true = binary_to_float(Up) > 0,
    A = os:system_time(millisecond),
    B = list_to_integer(string:trim(os:cmd("date +%s%3N"))),
    C = os:system_time(millisecond),
    say("~p", [A =< B andalso B =< C]),
    T = erlang:timestamp(),
    true = abs(timer:now_diff(T, os:timestamp())) < 1000000,
    say("~p", [abs(erlang:time_offset(millisecond) + erlang:monotonic_time(millisecond) - os:system_time(millisecond)) < 1000]).
