%% Port programs: how they are started, what they get, how they end, what they leave behind.
-module(sc_port).

-export([cases/0]).
-import(sc, [say/1, say/2]).

cases() ->
    [{port_os_cmd, fun os_cmd/0},
     {port_exit_status, fun exit_status/0},
     {port_signals, fun signals/0},
     {port_packets, fun packets/0},
     {port_lines, fun lines/0},
     {port_stderr, fun stderr/0},
     {port_directory_and_environment, fun directory_and_environment/0},
     {port_close, fun close/0},
     {port_missing, fun missing/0},
     {port_large_transfer, fun large_transfer/0},
     {port_descriptors, fun descriptors/0},
     {port_many, fun many/0},
     {port_spawns_leak_nothing, fun spawns_leak_nothing/0},
     {port_orphans, fun orphans/0},
     {port_inet_gethost, fun inet_gethost/0},
     {port_script, fun script/0},
     {port_terminal, fun terminal/0},
     {port_erlang_on_a_terminal, fun erlang_on_a_terminal/0}].

sh(Script) -> sh(Script, []).
sh(Script, Options) ->
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script]}, exit_status, binary | Options]),
    sc:collect(Port).

os_cmd() ->
    say("~p", [os:cmd("echo hi; id -u; exit 3")]),
    say("~p", [os:cmd("echo out; echo err >&2")]),
    say("~w", [os:cmd("printf '%s' grüße")]),
    say("~p", [os:cmd("cat; echo end")]),
    say("~p", [os:cmd("no-such-program") =/= ""]),
    say("~p", [os:cmd("seq 1 100000", #{max_size => 20})]),
    say("~p", [length(os:cmd("seq 1 20000"))]),
    say("~p", [os:cmd("pwd; echo $PPID-$$ | tr '0-9' n | tr -s n")]),
    say("~p", [os:find_executable("sh")]).

exit_status() ->
    [say("exit ~b: ~p", [N, sh("exit " ++ integer_to_list(N))]) || N <- [0, 1, 7, 126, 127, 255]],
    say("false: ~p", [sc:collect(open_port({spawn, "false"}, [exit_status]))]),
    say("true: ~p", [sc:collect(open_port({spawn_executable, "/usr/bin/true"}, [exit_status]))]).

signals() ->
    [say("~s: ~p", [S, sh("kill -" ++ S ++ " $$; sleep 60")]) || S <- ["HUP", "INT", "KILL", "SEGV", "TERM", "USR1"]],
    Port = open_port({spawn_executable, "/bin/cat"}, [exit_status, binary]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    "" = os:cmd("kill -TERM " ++ integer_to_list(Pid)),
    say("cat: ~p", [sc:collect(Port)]),
    %% The dispositions that a program begins with.
    {0, Status} = sh("cat /proc/self/status"),
    [say("~s", [Line]) || "Sig" ++ _ = Line <- string:lexemes(Status, "\n"), not lists:prefix("SigQ", Line)],
    say("stopped and continued: ~p", [sh("(sleep 0.2; kill -CONT $$) & kill -STOP $$; echo on; wait")]).

packets() ->
    [packet(N, Size) || {N, Sizes} <- [{1, [0, 1, 255]}, {2, [0, 1, 1000, 65535]}, {4, [0, 1, 65536, 300000]}], Size <- Sizes],
    process_flag(trap_exit, true),
    Port = open_port({spawn_executable, "/bin/cat"}, [{packet, 2}]),
    true = port_command(Port, lists:duplicate(65536, 0)),
    receive {'EXIT', Port, Why} -> say("too long: ~p", [Why]) end.

packet(N, Size) ->
    Port = open_port({spawn_executable, "/bin/cat"}, [{packet, N}, binary]),
    Data = binary:copy(<<"x">>, Size),
    [true = port_command(Port, Data) || _ <- [1, 2]],
    [receive {Port, {data, Data}} -> ok end || _ <- [1, 2]],
    true = port_close(Port),
    say("packet ~b, ~b bytes: ok", [N, Size]).

lines() ->
    Script = "printf 'one\\ntwo two two\\nlast'",
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script]}, {line, 6}, exit_status, eof]),
    lines(Port, 2).

lines(_, 0) -> ok;
lines(Port, Ends) ->
    receive
        {Port, {data, Line}} -> say("~p", [Line]), lines(Port, Ends);
        {Port, eof} -> lines(Port, Ends - 1);
        {Port, {exit_status, Status}} -> say("status ~p", [Status]), lines(Port, Ends - 1)
    end.

stderr() ->
    say("~p", [sh("echo out; echo err >&2", [stderr_to_stdout])]),
    say("~p", [sh("echo out; echo err >&2 2>/dev/null")]).

directory_and_environment() ->
    Dir = sc:temp_dir("port_cd"),
    say("~p", [sh("pwd", [{cd, Dir}])]),
    say("~p", [sh("pwd", [{cd, "/no/such/folder"}, stderr_to_stdout])]),
    true = os:putenv("SC_KEPT", "kept"),
    true = os:putenv("SC_GONE", "gone"),
    Env = [{"SC_NEW", "new ä"}, {"SC_GONE", false}],
    say("~w", [sh("echo $SC_KEPT-$SC_GONE-$SC_NEW", [{env, Env}])]),
    Port = open_port({spawn_executable, "/bin/sh"}, [{arg0, "other"}, {args, ["-c", "cat /proc/$$/cmdline | tr '\\0' ' '"]}, exit_status]),
    say("~p", [sc:collect(Port)]),
    say("~p", [sc:collect(open_port({spawn, "printf '%s|' a 'b c' d\\ e"}, [exit_status]))]),
    say("umask and limits: ~p", [sh("umask; ulimit -c; ulimit -s")]).

%% A closed port's program sees the end of its input and ends; one that does not read lives on until it writes.
close() ->
    Cat = open_port({spawn_executable, "/bin/cat"}, [binary]),
    {os_pid, Pid} = erlang:port_info(Cat, os_pid),
    true = port_command(Cat, "abc"),
    receive {Cat, {data, Data}} -> say("~p", [Data]) end,
    true = filelib:is_dir("/proc/" ++ integer_to_list(Pid)),
    true = port_close(Cat),
    sc:until(cat_ends, fun() -> not filelib:is_dir("/proc/" ++ integer_to_list(Pid)) end),
    say("gone"),
    Writer = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", "while echo x; do sleep 0.05; done 2>/dev/null"]}]),
    {os_pid, Other} = erlang:port_info(Writer, os_pid),
    receive {Writer, {data, _}} -> ok end,
    true = port_close(Writer),
    sc:until(writer_ends, fun() -> not filelib:is_dir("/proc/" ++ integer_to_list(Other)) end),
    say("gone, too"),
    say("~p", [error_of(fun() -> port_command(Writer, "x") end)]).

error_of(Fun) ->
    try Fun() of Value -> {no_error, Value} catch error:Why -> Why end.

missing() ->
    say("~p", [error_of(fun() -> open_port({spawn_executable, "/no/such/program"}, []) end)]),
    say("~p", [error_of(fun() -> open_port({spawn_executable, "/etc/hosts"}, []) end)]),
    say("folder: ~p", [sc:collect(open_port({spawn_executable, "/tmp"}, [exit_status, stderr_to_stdout]))]),
    say("~p", [sc:collect(open_port({spawn, "no-such-program with arguments"}, [exit_status, stderr_to_stdout]))]),
    Text = filename:join(sc:temp_dir("port_missing"), "text"),
    ok = file:write_file(Text, "no program"),
    ok = file:change_mode(Text, 8#755),
    say("no program: ~p", [sc:collect(open_port({spawn_executable, Text}, [exit_status, stderr_to_stdout]))]).

%% More than any buffer on the way, in both directions at once.
large_transfer() ->
    Size = 8 bsl 20,
    Port = open_port({spawn_executable, "/bin/cat"}, [binary, use_stdio]),
    Data = crypto_free_bytes(65536),
    spawn_link(fun() -> [Port ! {Sender, {command, Data}} || Sender <- [owner(Port)], _ <- lists:seq(1, Size div 65536)] end),
    Hash = receive_all(Port, Size, erlang:md5_init()),
    Expected = lists:foldl(fun(_, H) -> erlang:md5_update(H, Data) end, erlang:md5_init(), lists:seq(1, Size div 65536)),
    true = erlang:md5_final(Hash) =:= erlang:md5_final(Expected),
    true = port_close(Port),
    say("8 MiB came back").

owner(Port) ->
    {connected, Pid} = erlang:port_info(Port, connected),
    Pid.

crypto_free_bytes(Size) ->
    << <<(X * 7919 bsr 3):8>> || X <- lists:seq(1, Size) >>.

receive_all(_, 0, Hash) -> Hash;
receive_all(Port, Left, Hash) ->
    receive {Port, {data, Data}} -> receive_all(Port, Left - byte_size(Data), erlang:md5_update(Hash, Data)) end.

descriptors() ->
    %% A program has its three descriptors and no other of the emulator's.
    {0, Text} = sh("ls /proc/self/fd | wc -l"),
    say("ls has ~s descriptors", [string:trim(Text)]),
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", "read x <&3; echo got $x >&4"]}, nouse_stdio, exit_status, {line, 100}]),
    port_command(Port, "word\n"),
    receive {Port, {data, Data}} -> say("~p", [Data]) end,
    receive {Port, {exit_status, Status}} -> say("~p", [Status]) end.

%% Many at a time.
many() ->
    Ports = [open_port({spawn_executable, "/bin/cat"}, [binary, exit_status]) || _ <- lists:seq(1, 60)],
    [port_command(P, integer_to_binary(N)) || {N, P} <- lists:enumerate(Ports)],
    Echoes = [receive {P, {data, Data}} -> binary_to_integer(Data) end || P <- Ports],
    true = Echoes =:= lists:seq(1, 60),
    [begin {os_pid, Pid} = erlang:port_info(P, os_pid), os:cmd("kill -9 " ++ integer_to_list(Pid)) end || P <- lists:sublist(Ports, 5)],
    Killed = [receive {P, {exit_status, S}} -> S end || P <- lists:sublist(Ports, 5)],
    say("~p", [Killed]),
    [port_close(P) || P <- lists:nthtail(5, Ports)],
    say("~b programs at once", [length(Ports)]).

spawns_leak_nothing() ->
    spawn_some(30),
    Before = state(),
    spawn_some(200),
    sc:until({same_processes, Before}, fun() -> element(1, state()) =:= element(1, Before) end),
    After = state(),
    say("descriptors: ~p", [element(2, After) =:= element(2, Before)]),
    Lost = element(3, Before) - element(3, After),
    %% Half a page a spawn: what is lost at each is seen, what the emulator keeps is not.
    say("memory: ~p", [case Lost < 2000 * 2048 of true -> kept; false -> {lost, Lost} end]).

%% Starts N times ten programs.
spawn_some(0) -> ok;
spawn_some(N) ->
    Quick = filename:join(code:priv_dir(scenarios), "quick"),
    Ports = [open_port({spawn_executable, Quick}, [exit_status]) || _ <- lists:seq(1, 10)],
    [{0, "x"} = sc:collect(P) || P <- Ports],
    spawn_some(N - 1).

%% {processes, descriptors of each process, free memory}
state() ->
    erlang:garbage_collect(),
    Processes = sc:processes(),
    Descriptors = [length(element(2, file:list_dir("/proc/" ++ P ++ "/fd"))) || P <- Processes],
    Free = case sc:is_measured() of true -> sc:free_memory(); false -> 0 end,
    {length(Processes), Descriptors, Free}.

%% What outlives its parent becomes the first process's child.
orphans() ->
    Output = os:cmd("(sleep 0.3; read a b c parent rest < /proc/self/stat; echo $parent > /tmp/orphan) >/dev/null 2>&1 & echo $!"),
    Pid = string:trim(Output),
    sc:until(orphan_writes, fun() -> filelib:file_size("/tmp/orphan") > 0 end),
    {ok, Parent} = file:read_file("/tmp/orphan"),
    say("parent ~s", [string:trim(Parent)]),
    timer:sleep(300),
    say("after its end: ~s", [process_state(Pid)]).

process_state(Pid) ->
    case file:read_file("/proc/" ++ Pid ++ "/stat") of
        {ok, Stat} -> lists:nth(3, string:lexemes(Stat, " "));
        {error, _} -> "gone"
    end.

inet_gethost() ->
    inet_db:set_lookup([native]),
    say("~p", [inet:gethostbyname("localhost")]),
    say("~p", [inet:gethostbyname("localhost", inet6)]),
    say("~p", [inet:gethostbyaddr({127, 0, 0, 1})]),
    say("~p", [whereis(inet_gethost_native) =/= undefined]),
    inet_db:set_lookup([file, dns]).

%% A script's interpreter gets the script's path.
script() ->
    Dir = sc:temp_dir("port_script"),
    Path = filename:join(Dir, "script"),
    ok = file:write_file(Path, "#!/bin/sh -e\necho $0 $1 $#\nfalse\necho never\n"),
    ok = file:change_mode(Path, 8#755),
    say("~p", [sc:collect(open_port({spawn_executable, Path}, [{args, ["a b"]}, exit_status]))]),
    say("~p", [os:cmd(Path ++ " x y")]).

on_pty(Command, Options) ->
    Program = filename:join(code:priv_dir(scenarios), "on_pty"),
    open_port({spawn_executable, Program}, [{args, Command}, exit_status, binary | Options]).

%% Types, and waits until the terminal shows some texts, one after the other.
dialogue(Port, Input, Texts) ->
    true = port_command(Port, Input),
    lists:foldl(fun(Text, Seen) -> shows(Port, Text, Seen) end, <<>>, Texts).

%% Returns what came behind the text.
shows(Port, Text, Seen) ->
    case binary:split(Seen, Text) of
        [_] ->
            receive
                {Port, {data, Data}} -> shows(Port, Text, <<Seen/binary, Data/binary>>);
                {Port, {exit_status, Status}} -> error({ended, Status, Seen})
            after 60000 -> error({never, Text, Seen})
            end;
        [_, Rest] ->
            say("shown: ~s", [Text]),
            Rest
    end.

%% An interactive shell on a terminal: job control, keys, the end of the port. Each command is typed when the shell asks for it,
%% and keys are when what they are meant for runs, of which the echo of a command says nothing.
terminal() ->
    Prompt = <<"ready> ">>,
    Typed = <<"typed\r\ntyped\r\n">>,
    Port = on_pty(["/bin/sh", "-i"], [{env, [{"PS1", "ready> "}, {"ENV", false}]}]),
    dialogue(Port, "", [Prompt]),
    dialogue(Port, "test -t 0 && test -t 1 && echo a 'terminal'\n", [<<"a terminal\r\n">>, Prompt]),
    dialogue(Port, "echo to 'tty' > /dev/tty\n", [<<"to tty\r\n">>, Prompt]),
    dialogue(Port, "cat\n", [<<"cat\r\n">>]),
    dialogue(Port, "typed\n", [Typed]),
    dialogue(Port, [3], [Prompt]),
    dialogue(Port, "echo status $?\n", [<<"status 130\r\n">>, Prompt]),
    dialogue(Port, "cat\n", [<<"cat\r\n">>]),
    dialogue(Port, "typed\n", [Typed]),
    dialogue(Port, [26], [<<"Stopped">>, Prompt]),
    dialogue(Port, "fg\n", [<<"cat\r\n">>]),
    dialogue(Port, "typed\n", [Typed]),
    dialogue(Port, [4], [Prompt]),
    true = port_command(Port, "exit 7\n"),
    {Status, _} = sc:collect(Port),
    say("status ~b", [Status]),
    Other = on_pty(["/bin/sh", "-c", "trap 'exit 9' HUP; echo $$ ready; while :; do sleep 0.05; done"], []),
    Pid = receive {Other, {data, Line}} -> hd(binary:split(Line, <<" ">>)) end,
    true = port_close(Other),
    sc:until(hung_up, fun() -> not filelib:is_dir(<<"/proc/", Pid/binary>>) end),
    say("hung up").

%% Erlang's own shell, as somebody at a terminal has it.
erlang_on_a_terminal() ->
    {Program, Args} = sc:vm_command([]),
    Interactive = [A || A <- Args, A =/= "-noshell", A =/= "-noinput"],
    Port = on_pty([Program | Interactive], [{env, [{"TERM", "xterm"}]}]),
    dialogue(Port, "", [<<"1> ">>]),
    dialogue(Port, "{columns, C} = {columns, element(2, io:columns())}, C * 1000.\r", [<<"100000">>, <<"2> ">>]),
    dialogue(Port, "lists:concat([x, y, 1 + 1]).\r", [<<"xy2">>, <<"3> ">>]),
    true = port_command(Port, "halt(3).\r"),
    {Status, _} = sc:collect(Port),
    say("status ~b", [Status]).
