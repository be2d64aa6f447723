%% Runs out of descriptors: see sc_limit.
-module(sc_limit_child).

-export([start/0]).

start() ->
    try
        {ok, L} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {backlog, 128}]),
        {ok, Port} = inet:port(L),
        io:format("files: ~p~n", [last(fun() -> file:open("/etc/hosts", [read, raw]) end, fun file:close/1)]),
        io:format("listeners: ~p~n", [last(fun() -> gen_tcp:listen(0, []) end, fun gen_tcp:close/1)]),
        io:format("udp: ~p~n", [last(fun() -> gen_udp:open(0) end, fun gen_udp:close/1)]),
        io:format("connections: ~p~n", [last(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, []) end, fun gen_tcp:close/1)]),
        io:format("sockets: ~p~n", [last(fun() -> socket:open(inet, stream) end, fun socket:close/1)]),
        io:format("ports: ~p~n", [last(fun() -> try {ok, open_port({spawn, "cat"}, [])} catch error:E -> {error, E} end end,
                                       fun erlang:port_close/1)]),
        io:format("and then: ~p~n", [element(1, file:open("/etc/hosts", [read, raw]))]),
        halt(0)
    catch
        C:E:S -> io:format("~p ~p ~p~n", [C, E, S]), halt(1)
    end.

%% Opens until that fails, closes all, and returns the failure.
last(Open, Close) -> last(Open, Close, []).
last(Open, Close, Opened) when length(Opened) < 5000 ->
    case Open() of
        {ok, X} -> last(Open, Close, [X | Opened]);
        Error -> [Close(X) || X <- Opened], {Error, length(Opened) > 8}
    end.
