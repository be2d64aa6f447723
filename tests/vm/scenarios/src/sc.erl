%% What the cases share.
-module(sc).

-export([say/1, say/2, temp_dir/1, until/2, is_measured/0, free_memory/0, vm/1, vm/2, vm_command/1, collect/1, collect/2,
         processes/0, root/0, bytes/2]).

%% Writes to the transcript.
say(Text) -> say(Text, []).
say(Format, Args) -> io:format(Format ++ "~n", Args).

%% Makes an empty folder.
temp_dir(Name) ->
    Dir = filename:join("/tmp", Name),
    _ = file:del_dir_r(Dir),
    ok = filelib:ensure_path(Dir),
    Dir.

%% Waits until a condition holds, 60 s at most.
until(What, Fun) -> until(What, Fun, erlang:monotonic_time(millisecond) + 60000).

until(What, Fun, End) ->
    case Fun() of
        true -> ok;
        false ->
            case erlang:monotonic_time(millisecond) > End of
                true -> error({never, What});
                false -> timer:sleep(10), until(What, Fun, End)
            end
    end.

%% Returns whether the machine is ours alone, so that its free memory tells what we did.
is_measured() -> os:getenv("MACHINE_IS_OURS") =/= false.

%% Returns the machine's free memory in bytes.
free_memory() ->
    {ok, Text} = file:read_file("/proc/meminfo"),
    {match, [KiB]} = re:run(Text, "MemFree: *([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.

%% Returns the pids of all processes.
processes() ->
    {ok, Names} = file:list_dir("/proc"),
    [N || N <- Names, lists:all(fun(C) -> C >= $0 andalso C =< $9 end, N)].

%% Returns Size times the byte N; quicker than binary:copy/2, which copies each byte for itself.
bytes(N, Size) when Size < 4096 -> binary:copy(<<N>>, Size);
bytes(N, Size) -> binary:copy(binary:copy(<<N>>, 4096), Size div 4096).

root() -> os:getenv("ROOTDIR").

%% Runs another emulator with these arguments to its end: {exit status, output}.
vm(Args) -> vm(Args, []).
vm(Args, Options) ->
    {Program, All} = vm_command(Args),
    Port = open_port({spawn_executable, Program}, [{args, All}, exit_status, stderr_to_stdout, binary | Options]),
    collect(Port, 250000).

%% Returns {program, arguments} of an emulator that boots this release and starts nothing of ours. Flags that `erl` takes
%% with a plus sign come before them with a minus sign.
vm_command(Args) ->
    BinDir = os:getenv("BINDIR"),
    Boot = filename:join([root(), "releases", os:getenv("RELEASE_VSN"), "start"]),
    {filename:join(BinDir, "beam.smp"),
     ["-S", "1", "-Bd", "--", "-root", root(), "-bindir", BinDir, "-progname", "erl", "--", "-home", "/root", "--",
      "-noshell", "-noinput", "-boot", Boot] ++ Args}.

%% Collects what a port program writes until it exits: {exit status, output}.
collect(Port) -> collect(Port, 120000).
collect(Port, Limit) -> collect(Port, Limit, []).
collect(Port, Limit, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, Limit, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, text(Output)}
    after Limit ->
        error({no_exit, text(Output)})
    end.

text(Output) ->
    Binary = iolist_to_binary(Output),
    case unicode:characters_to_list(Binary) of
        Text when is_list(Text) -> Text;
        _ -> binary_to_list(Binary)
    end.
