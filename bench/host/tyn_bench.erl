%% Erlang-level rows of `cargo xtask bench host`: started in each guest by `-s tyn_bench main` beside the example. Prints
%% `row NAME NANOSECONDS UNIT` for each row and ends with `row end 0 -`. Each row is measured in processes of its own; the
%% number of iterations is such that a batch takes 3 ms, and the fastest of 80 batches is told; of messages between
%% schedulers the median, as in the fastest batch hardly any of them slept.
-module(tyn_bench).
-export([main/0]).

-define(BATCHES, 80).
-define(BATCH_NS, 3_000_000).
-define(FILE_PATH, "/tmp/tyn_bench.data").

main() ->
    ok = filelib:ensure_dir(?FILE_PATH),
    ok = file:write_file(?FILE_PATH, binary:copy(<<"0123456789abcdef">>, 4096)),
    [measure(Row) || Row <- rows()],
    io:format("row end 0 -~n"),
    init:stop().

rows() ->
    [{"erl-fib", "fib(20)", fun(N) -> times(N, fun() -> fib(20) end) end},
     {"erl-ping-pong", "round", fun ping_pong/1},
     {"erl-spawn", "process", fun spawns/1},
     {"erl-ets-insert", "insert", fun ets_inserts/1},
     {"erl-binary-build", "KiB", fun binary_build/1},
     {"erl-large-binary", "1 MiB made and hashed", fun large_binaries/1},
     {"erl-send-across", "message", fun send_across/1},
     {"erl-read-file", "64 KiB file", fun(N) -> times(N, fun() -> {ok, _} = file:read_file(?FILE_PATH) end) end},
     {"erl-write-file", "4 KiB file", fun write_files/1},
     {"erl-file-info", "call", fun(N) -> times(N, fun() -> {ok, _} = file:read_file_info(?FILE_PATH) end) end},
     {"erl-tcp-loopback", "round", fun tcp/1},
     {"erl-garbage", "list of 1000", fun(N) -> times(N, fun() -> lists:sort([I band 255 || I <- lists:seq(1, 1000)]) end) end}].

measure({Name, Unit, Fun}) ->
    N = calibrate(Fun, 1),
    All = lists:sort([run(Fun, N) || _ <- lists:seq(1, ?BATCHES)]),
    Told = case Name of
        "erl-send-across" -> lists:nth(?BATCHES div 2, All);
        _ -> hd(All)
    end,
    io:format("row ~s ~.1f ~s~n", [Name, Told / N, Unit]).

%% By the fastest of three: one that the host interrupted would leave all batches with a few iterations.
calibrate(Fun, N) ->
    case lists:min([run(Fun, N) || _ <- [1, 2, 3]]) of
        Took when Took >= ?BATCH_NS div 4 -> max(1, N * ?BATCH_NS div Took);
        _ -> calibrate(Fun, N * 2)
    end.

%% Runs a batch in a process of its own, so that every one begins with a fresh heap; returns nanoseconds.
run(Fun, N) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        Start = erlang:monotonic_time(nanosecond),
        Fun(N),
        exit({took, erlang:monotonic_time(nanosecond) - Start})
    end),
    receive {'DOWN', Ref, process, Pid, {took, Took}} -> Took end.

times(0, _) -> ok;
times(N, Fun) -> Fun(), times(N - 1, Fun).

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

ping_pong(N) ->
    Pong = spawn_link(fun pong/0),
    ping(Pong, N),
    unlink(Pong),
    Pong ! stop.

ping(_, 0) -> ok;
ping(Pong, N) ->
    Pong ! {self(), N},
    receive {Pong, N} -> ping(Pong, N - 1) end.

pong() ->
    receive
        {From, N} -> From ! {self(), N}, pong();
        stop -> ok
    end.

%% The two processes are on schedulers of their own where there are several: each message wakes the other scheduler.
send_across(N) ->
    case erlang:system_info(schedulers_online) of
        1 -> ping_pong(N);
        _ ->
            Self = self(),
            Far = spawn_opt(fun() -> Self ! ready, pong() end, [{scheduler, 2}]),
            Near = spawn_opt(fun() -> receive go -> ok end, ping(Far, N), Self ! done end, [{scheduler, 1}]),
            receive ready -> ok end,
            Near ! go,
            receive done -> ok end,
            Far ! stop
    end.

spawns(0) -> ok;
spawns(N) ->
    Self = self(),
    Pid = spawn(fun() -> Self ! self() end),
    receive Pid -> spawns(N - 1) end.

ets_inserts(N) ->
    Table = ets:new(table, [set, public]),
    insert(Table, N),
    ets:delete(Table).

insert(_, 0) -> ok;
insert(Table, N) ->
    ets:insert(Table, {N, N, <<"value">>}),
    insert(Table, N - 1).

binary_build(N) -> append(N * 1024, <<>>).

append(0, Binary) -> byte_size(Binary);
append(N, Binary) -> append(N - 1, <<Binary/binary, N:8>>).

large_binaries(N) ->
    times(N, fun() -> erlang:crc32(binary:copy(<<0:8192>>, 1024)) end).

write_files(N) ->
    Data = binary:copy(<<"x">>, 4096),
    times(N, fun() -> ok = file:write_file("/tmp/tyn_bench.out", Data) end).

tcp(N) ->
    Options = [binary, {active, false}, {packet, 0}, {nodelay, true}],
    {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | Options]),
    {ok, Port} = inet:port(Listener),
    spawn_link(fun() ->
        {ok, Socket} = gen_tcp:accept(Listener),
        echo(Socket)
    end),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    times(N, fun() ->
        ok = gen_tcp:send(Socket, <<"ping">>),
        {ok, <<"ping">>} = gen_tcp:recv(Socket, 4)
    end),
    gen_tcp:close(Socket),
    gen_tcp:close(Listener).

echo(Socket) ->
    case gen_tcp:recv(Socket, 4) of
        {ok, Data} -> gen_tcp:send(Socket, Data), echo(Socket);
        {error, closed} -> gen_tcp:close(Socket)
    end.
