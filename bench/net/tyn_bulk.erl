%% Great transfers for `cargo xtask net` and `cargo xtask bench net`: started in each guest by `-s tyn_bulk main` beside the
%% example. On a connection to port 8081 the first line says what is wanted, in blocks of ?BLOCK bytes that are all alike:
%% `give N` sends N blocks, `take N` receives N and answers `same` if they are right, else `other`.
-module(tyn_bulk).
-export([main/0]).

-define(PORT, 8081).
-define(BLOCK, 65521).

main() ->
    %% A process of its own: who starts modules goes when all are started, and a listener with its owner.
    spawn(fun listen/0).

listen() ->
    Block = << <<(I * 7 + I div 251)>> || I <- lists:seq(0, ?BLOCK - 1) >>,
    {ok, Listener} = gen_tcp:listen(?PORT, [binary, {active, false}, {packet, line}, {reuseaddr, true}, {backlog, 16}]),
    accept(Listener, Block).

accept(Listener, Block) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> serve(Socket, Block) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Block).

serve(Socket, Block) ->
    {ok, Line} = gen_tcp:recv(Socket, 0),
    ok = inet:setopts(Socket, [{packet, raw}]),
    case string:lexemes(Line, " \n") of
        [<<"give">>, N] ->
            give(Socket, Block, binary_to_integer(N));
        [<<"take">>, N] ->
            ok = gen_tcp:send(Socket, take(Socket, Block, binary_to_integer(N)))
    end,
    gen_tcp:close(Socket).

give(_, _, 0) ->
    ok;
give(Socket, Block, N) ->
    ok = gen_tcp:send(Socket, Block),
    give(Socket, Block, N - 1).

take(_, _, 0) ->
    <<"same">>;
take(Socket, Block, N) ->
    case gen_tcp:recv(Socket, ?BLOCK) of
        {ok, Block} -> take(Socket, Block, N - 1);
        {ok, _} -> <<"other">>
    end.
