%% Memory: what grows and shrinks again, huge reservations, many processes, and the end of it.
-module(sc_memory).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{memory_binaries, fun binaries/0},
     {memory_many_processes, fun many_processes/0},
     {memory_flags, fun flags/0},
     {memory_super_carrier, fun super_carrier/0},
     {memory_refused, fun refused/0},
     {big_grows_and_shrinks, fun grows_and_shrinks/0},
     {big_heap, fun heap/0},
     {oom_of_a_child, fun oom_of_a_child/0},
     {oom_of_the_first, fun oom_of_the_first/0},
     {oom_of_allocators, fun oom_of_allocators/0}].

%% Binaries of many sizes, kept for different times.
binaries() ->
    Sizes = [1 bsl N || N <- lists:seq(6, 26, 2)],
    Pids = [spawn_monitor(fun() -> churn(Sizes, 30, []) end) || _ <- lists:seq(1, 4)],
    [receive {'DOWN', M, process, P, Why} -> say("~p", [Why]) end || {P, M} <- Pids],
    B = sc:bytes(7, 200 bsl 20),
    say("~p ~p", [byte_size(B), binary:at(B, 199 bsl 20)]).

churn(_, 0, _) -> ok;
churn(Sizes, N, Kept) ->
    New = [sc:bytes(N, S) || S <- Sizes, S < 1 bsl 22 orelse N rem 10 =:= 0],
    true = lists:all(fun(B) -> binary:last(B) =:= N end, New),
    churn(Sizes, N - 1, lists:sublist([lists:nth(1 + N rem length(New), New) | Kept], 8)).

many_processes() ->
    Me = self(),
    Wait = fun() -> receive stop -> ok end end,
    Round = fun() ->
        Pids = [spawn(Wait) || _ <- lists:seq(1, 200000)],
        say("~p", [erlang:system_info(process_count) > 200000]),
        [erlang:monitor(process, P) || P <- Pids],
        [P ! stop || P <- Pids],
        [receive {'DOWN', _, _, P, normal} -> ok end || P <- Pids]
    end,
    [begin
         spawn_link(fun() -> Round(), Me ! done end),
         receive done -> ok end
     end || _ <- [1, 2]],
    say("~p", [erlang:system_info(process_count) < 1000]).

%% Other allocators' settings work, too.
flags() ->
    Eval = ["-eval", "B = sc:bytes(1, 50 bsl 20), io:format(\"~p\", [byte_size(B)]), halt()."],
    [begin
         {Program, All} = sc:vm_command(Eval),
         Port = open_port({spawn_executable, Program}, [{args, Flags ++ All}, exit_status, stderr_to_stdout]),
         say("~p: ~p", [Flags, sc:collect(Port)])
     end || Flags <- [["-Mea", "min"], ["-MBas", "aobf", "-MBlmbcs", "4096", "-Muacul", "0", "-Mlpm", "all"],
                      ["-A", "32", "-hmqd", "off_heap", "-JPperf", "true"]]].

%% One reservation for everything; a part of it is used.
super_carrier() ->
    Eval = ["-eval", "Bs = [sc:bytes(1, 20 bsl 20) || _ <- [1, 2, 3]], erlang:garbage_collect(), "
            "{_, _, _, [{sc, I} | _]} = {1, 2, 3, [{sc, length(Bs)}]}, io:format(\"~p\", [I]), halt()."],
    {Program, All} = sc:vm_command(Eval),
    [begin
         Port = open_port({spawn_executable, Program}, [{args, Flags ++ All}, exit_status, stderr_to_stdout]),
         say("~p: ~p", [Flags, sc:collect(Port)])
     end || Flags <- [["-MMscs", "1024"], ["-MMscs", "8192", "-MMscrpm", "false", "-MIscs", "512"]]].

%% More than the address space has: refused, and said so.
refused() ->
    Eval = ["-eval", "binary:copy(<<1>>, 1 bsl 46), halt()."],
    {Status, Output} = sc:vm(Eval, [{env, [{"ERL_CRASH_DUMP_SECONDS", "0"}]}]),
    say("~p ~s", [Status, case string:find(Output, "Cannot allocate") of nomatch -> Output; _ -> "Cannot allocate" end]).

%% A machine that is ours: what was given back can be seen.
grows_and_shrinks() ->
    Before = sc:free_memory(),
    [begin
         Me = self(),
         {Pid, M} = spawn_monitor(fun() ->
             Bs = [sc:bytes(N, 64 bsl 20) || N <- lists:seq(1, 48)],
             Me ! {full, lists:sum([byte_size(B) || B <- Bs])},
             receive stop -> length(Bs) end
         end),
         receive {full, Bytes} -> say("~b MiB in use", [Bytes bsr 20]) end,
         Full = sc:free_memory(),
         say("taken: ~p", [sc:is_measured() =:= false orelse Before - Full > 2900 bsl 20]),
         Pid ! stop,
         receive {'DOWN', M, _, _, _} -> ok end,
         back(Before, 64)
     end || _ <- [1, 2]].

heap() ->
    Before = sc:free_memory(),
    {Pid, M} = spawn_monitor(fun() ->
        L = lists:seq(1, 40000000),
        exit({length(L), lists:last(L)})
    end),
    receive {'DOWN', M, _, Pid, Why} -> say("~p", [Why]) end,
    back(Before, 64),
    %% The same in many processes.
    Pids = [spawn_monitor(fun() -> exit(length(lists:seq(1, 200000))) end) || _ <- lists:seq(1, 400)],
    [receive {'DOWN', R, _, _, 200000} -> ok end || {_, R} <- Pids],
    back(Before, 256).

back(Before, AllowedMiB) ->
    erlang:garbage_collect(),
    sc:until({memory_given_back, Before bsr 20, AllowedMiB},
             fun() -> sc:is_measured() =:= false orelse Before - sc:free_memory() < AllowedMiB bsl 20 end),
    say("given back").

eat() -> "F = fun(F, L) -> F(F, [sc:bytes(1, 8 bsl 20) | L]) end, F(F, [])".

%% The one that takes all memory dies; the others live on, and have the memory back.
oom_of_a_child() ->
    Before = sc:free_memory(),
    {Status, _} = sc:vm(["-eval", eat() ++ "."], [{env, [{"ERL_CRASH_DUMP_SECONDS", "0"}]}]),
    say("~p", [Status]),
    back(Before, 64),
    say("~p", [os:cmd("echo alive")]).

oom_of_the_first() ->
    Eat = fun F(L) -> F([sc:bytes(1, 8 bsl 20) | L]) end,
    Eat([]).

oom_of_allocators() ->
    T = ets:new(t, [public]),
    Fill = fun F(N) -> ets:insert(T, {N, lists:seq(1, 100)}), F(N + 1) end,
    Fill(1).
