%% The wall clock for `cargo xtask drift`: started in the guest by `-s tyn_clock main` beside the example. Whoever sends a byte
%% on a connection to port 8081 gets the time: microseconds since 1970, 8 bytes, big-endian.
-module(tyn_clock).
-export([main/0]).

-define(PORT, 8081).

main() ->
    %% A process of its own: who starts modules goes when all are started, and a listener with its owner.
    spawn(fun listen/0).

listen() ->
    {ok, Listener} = gen_tcp:listen(?PORT, [binary, {active, false}, {nodelay, true}, {reuseaddr, true}]),
    accept(Listener).

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    answer(Socket),
    accept(Listener).

answer(Socket) ->
    case gen_tcp:recv(Socket, 1) of
        {ok, _} ->
            ok = gen_tcp:send(Socket, <<(os:system_time(microsecond)):64>>),
            answer(Socket);
        {error, closed} ->
            ok
    end.
