%% Signals, and how an emulator ends.
-module(sc_signal).
-behaviour(gen_event).

-export([cases/0]).
-export([init/1, handle_event/2, handle_call/2]).
-import(sc, [say/1, say/2]).

cases() ->
    [{signal_set, fun set/0},
     {signal_ignored_and_default, fun ignored_and_default/0},
     {signal_ends_an_emulator, fun ends_an_emulator/0},
     {signal_crash_dump, fun crash_dump/0},
     {signal_stop_and_continue, fun stop_and_continue/0},
     {halt_of_an_emulator, fun halts/0},
     {heart_restarts, fun heart/0},
     {end_7, fun() -> halt(7) end},
     {end_abort, fun() -> halt(abort) end},
     {end_slogan, fun() -> halt("slogan") end},
     {end_stop, fun() -> init:stop(3), receive after infinity -> ok end end},
     {end_kill, fun() -> os:cmd("kill -KILL 1; kill -SEGV 1; kill -STOP 1; echo $?"), say("alive"), halt(0) end},
     {end_usr1, fun() -> os:cmd("kill -USR1 1"), receive after infinity -> ok end end},
     {end_term, fun() -> os:cmd("kill -TERM 1"), receive after infinity -> ok end end}].

%% The handler that tells the one who asked.
init({Pid, _}) -> {ok, Pid};
init(_) -> {ok, none}.
handle_event(Signal, Pid) -> Pid ! {signal, Signal}, {ok, Pid}.
handle_call(_, Pid) -> {ok, ok, Pid}.

kill(Name) -> "" = os:cmd("kill -" ++ Name ++ " " ++ os:getpid()).

set() ->
    say("our pid: ~s", [os:getpid()]),
    ok = gen_event:swap_handler(erl_signal_server, {erl_signal_handler, []}, {?MODULE, self()}),
    Signals = [{sighup, "HUP"}, {sigquit, "QUIT"}, {sigabrt, "ABRT"}, {sigalrm, "ALRM"}, {sigterm, "TERM"}, {sigusr1, "USR1"},
               {sigusr2, "USR2"}, {sigchld, "CHLD"}, {sigtstp, "TSTP"}],
    [begin
         ok = os:set_signal(Signal, handle),
         kill(Name),
         receive {signal, Got} -> say("~p: ~p", [Signal, Got]) end
     end || {Signal, Name} <- Signals, Signal =/= sigchld],
    %% Many at once: at least one comes, and the emulator lives.
    "" = os:cmd("for i in 1 2 3 4 5 6 7 8 9 10; do kill -USR2 " ++ os:getpid() ++ "; done"),
    receive {signal, sigusr2} -> say("a burst of sigusr2") end,
    say("~p", [try os:set_signal(sigkill, handle) catch error:Why -> Why end]),
    [ok = os:set_signal(Signal, default) || Signal <- [sighup, sigabrt, sigalrm, sigusr2, sigtstp]],
    [ok = os:set_signal(Signal, handle) || Signal <- [sigterm, sigquit, sigusr1]],
    ok = gen_event:swap_handler(erl_signal_server, {?MODULE, []}, {erl_signal_handler, []}).

%% The first process is not ended by a signal that it leaves at its default.
ignored_and_default() ->
    ok = os:set_signal(sigusr2, ignore),
    kill("USR2"),
    ok = os:set_signal(sigusr2, default),
    kill("USR2"),
    kill("HUP"),
    kill("PIPE"),
    say("alive").

%% Starts an emulator that waits, tells it with a signal, and writes how it ended.
ends_an_emulator() ->
    [say("~s: ~p", [Name, signalled(Name, [])]) || Name <- ["TERM", "QUIT", "KILL", "SEGV", "HUP"]].

signalled(Name, Options) ->
    {Port, Pid} = waiting(Options),
    "" = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(Pid)),
    {Status, _} = sc:collect(Port),
    Status.

waiting(Options) ->
    {Program, Args} = sc:vm_command(["-eval", "io:format(\"up~n\")."]),
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, stderr_to_stdout | Options]),
    receive {Port, {data, "up" ++ _}} -> ok after 60000 -> error(does_not_start) end,
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    {Port, Pid}.

crash_dump() ->
    Dir = sc:temp_dir("crash"),
    Dump = filename:join(Dir, "dump"),
    say("status ~p", [signalled("USR1", [{env, [{"ERL_CRASH_DUMP", Dump}]}])]),
    {ok, Text} = file:read_file(Dump),
    [Head | _] = binary:split(Text, <<"\n">>),
    say("~s", [Head]),
    {match, [Slogan]} = re:run(Text, "Slogan: (.*)", [{capture, all_but_first, list}]),
    say("~s", [Slogan]),
    say("whole: ~p", [binary:match(Text, <<"=end">>) =/= nomatch]).

stop_and_continue() ->
    {Port, Pid} = waiting([]),
    Number = integer_to_list(Pid),
    "" = os:cmd("kill -STOP " ++ Number),
    sc:until(stopped, fun() -> state(Number) =:= "T" end),
    say("stopped"),
    "" = os:cmd("kill -CONT " ++ Number),
    sc:until(continued, fun() -> state(Number) =/= "T" end),
    say("continued"),
    "" = os:cmd("kill -TERM " ++ Number),
    say("~p", [element(1, sc:collect(Port))]).

state(Pid) ->
    {ok, Stat} = file:read_file("/proc/" ++ Pid ++ "/stat"),
    binary_to_list(lists:nth(3, string:lexemes(Stat, " "))).

halts() ->
    Dir = sc:temp_dir("halts"),
    Env = [{env, [{"ERL_CRASH_DUMP", filename:join(Dir, "dump")}]}],
    [begin
         {Status, Output} = sc:vm(["-eval", Eval], Env),
         Dumped = filelib:is_file(filename:join(Dir, "dump")),
         _ = file:delete(filename:join(Dir, "dump")),
         say("~s: ~p, output ~p, dump ~p", [Eval, Status, first_line(Output), Dumped])
     end || Eval <- ["halt(7).", "init:stop(5).", "halt(abort).", "halt(\"the slogan\").", "io:format(\"flushed\"), halt(1)."]].

first_line(Output) ->
    hd(string:split(Output, "\n")).

%% heart starts its command when the emulator has gone without a word.
heart() ->
    Dir = sc:temp_dir("heart"),
    Mark = filename:join(Dir, "mark"),
    Env = [{env, [{"HEART_COMMAND", "echo restarted > " ++ Mark}, {"ERL_CRASH_DUMP_SECONDS", "0"}]}],
    {Program, Args} = sc:vm_command(["-heart", "-eval", "io:format(\"up ~p~n\", [heart:get_cmd()])."]),
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, stderr_to_stdout, {line, 1000} | Env]),
    up(Port),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    "" = os:cmd("kill -KILL " ++ integer_to_list(Pid)),
    sc:until(heart_acts, fun() -> filelib:file_size(Mark) > 0 end),
    {ok, Text} = file:read_file(Mark),
    say("~s", [string:trim(Text)]),
    receive {Port, {exit_status, Status}} -> say("~p", [Status]) end,
    sc:until(heart_ends, fun() -> not lists:member("heart", string:lexemes(os:cmd("cat /proc/[0-9]*/comm"), "\n")) end).

%% heart says its pid before.
up(Port) ->
    receive
        {Port, {data, {eol, "up " ++ Command}}} -> say("~s", [Command]);
        {Port, {data, {eol, _}}} -> up(Port)
    after 60000 -> error(does_not_start)
    end.
