%% Runs the cases that the environment variable SCENARIOS names by their beginnings, and ends the emulator.
%%
%% The transcript of a case begins with `== NAME` and ends with `--: ok` or `--: what went wrong`. It is the same on every
%% system: what differs from run to run (pids, times, sizes) is checked here and not written.
-module(scenarios_app).
-behaviour(application).

-export([start/2, stop/1]).

-define(LIMIT, 300000).

start(_Type, _Args) ->
    Pid = case os:getenv("SCENARIOS") of
        false -> spawn_link(fun() -> receive stop -> ok end end);
        Text ->
            %% Not for emulators that cases start.
            true = os:unsetenv("SCENARIOS"),
            spawn(fun() -> run(string:lexemes(Text, " ")) end)
    end,
    {ok, Pid}.

stop(_) ->
    ok.

run(Wanted) ->
    Cases = lists:append([Module:cases() || Module <- [sc_port, sc_signal, sc_file, sc_store, sc_memory, sc_crypto,
                                                       sc_tls, sc_nif, sc_time, sc_limit, sc_system, sc_net]]),
    [run_case(Name, Fun) || {Name, Fun} <- Cases, is_wanted(atom_to_list(Name), Wanted)],
    io:format("== end~n"),
    init:stop().

is_wanted(Name, Wanted) ->
    lists:any(fun(Beginning) -> lists:prefix(Beginning, Name) end, Wanted).

run_case(Name, Fun) ->
    io:format("== ~s~n", [Name]),
    file:set_cwd("/tmp"),
    {Pid, Monitor} = spawn_monitor(fun() -> Fun(), exit(done) end),
    End = receive
        {'DOWN', Monitor, process, Pid, done} -> "ok";
        {'DOWN', Monitor, process, Pid, Why} -> io_lib:format("~0tp", [Why])
    after ?LIMIT ->
        Where = process_info(Pid, current_stacktrace),
        exit(Pid, kill),
        io_lib:format("no end within ~b ms: ~0tp", [?LIMIT, Where])
    end,
    io:format("--: ~ts~n", [End]).
