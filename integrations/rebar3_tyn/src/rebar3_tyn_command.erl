%% What to do, found out from command lines and settings, without doing anything.
-module(rebar3_tyn_command).
-export([find/4, release/3, arguments/2, run_arguments/2]).

%% Settings that tyn merges with its command line by itself.
-define(MERGED, [env, env_file, file, include]).

%% Finds the tool: the file that was named, that of the variable TYN, or tyn in PATH.
find(Named, _Variable, Exists, _Search) when is_list(Named) -> at(Named, "--tyn names", Exists);
find(undefined, [_ | _] = Set, Exists, _Search) -> at(Set, "the variable TYN names", Exists);
find(undefined, _, _Exists, Search) ->
    case Search("tyn") of
        false ->
            {error,
                "the tool tyn is not in PATH: put it there, or name it by --tyn FILE or the variable TYN "
                "(`cargo xtask build` in Tyn's source makes target/release/tyn)"};
        Path ->
            {ok, Path}
    end.

at(Path, Who, Exists) ->
    case Exists(Path) of
        true -> {ok, filename:absname(Path)};
        false -> {error, Who ++ " " ++ Path ++ ", which is no file"}
    end.

%% Returns the release that was asked for, that of the settings, or the only one there is.
release(Asked, Settings, Releases) ->
    case {Asked, proplists:get_value(release, Settings), Releases} of
        {undefined, undefined, []} ->
            {error, "there is no release: describe one under relx in rebar.config"};
        {undefined, undefined, [Only]} ->
            {ok, Only};
        {undefined, undefined, Several} ->
            {error, "there are several releases: name one of " ++ listed(Several) ++ " by --relname"};
        {undefined, Set, _} ->
            known(word(Set), Releases);
        {Asked, _, _} ->
            known(Asked, Releases)
    end.

known(Name, Releases) ->
    case lists:member(Name, Releases) of
        true -> {ok, Name};
        false -> {error, "there is no release '" ++ Name ++ "', but " ++ listed(Releases)}
    end.

listed(Names) -> lists:flatten(lists:join(", ", Names)).

%% Puts settings, as flags, in front of arguments; one that is among those is left out unless tyn merges it.
arguments(Settings, Args) ->
    Said = [flag_of(Arg) || Arg <- ours(Args)],
    Given = fun(Key) -> not lists:member(Key, ?MERGED) andalso lists:member(flag(Key), Said) end,
    Flags = [flags(Key, Value) || {Key, Value} <- proplists:unfold(Settings), not Given(Key)],
    lists:append(Flags) ++ Args.

%% Returns the arguments of `tyn run`: the guest ends with us unless it goes into the background.
run_arguments(Settings, Args) ->
    All = arguments(Settings, Args),
    case lists:any(fun is_detach/1, ours(All)) of
        true -> All;
        false -> ["--with-parent" | All]
    end.

is_detach("--detach") -> true;
is_detach(Arg) -> re:run(Arg, "^-[a-z]*d[a-z]*$", [{capture, none}]) =:= match.

%% What is before `--`.
ours(Args) -> lists:takewhile(fun(Arg) -> Arg =/= "--" end, Args).

flag_of("--" ++ _ = Arg) -> hd(string:split(Arg, "="));
flag_of("-p" ++ _) -> "--port";
flag_of("-s" ++ _) -> "--start";
flag_of(_) -> none.

flag(Key) -> "--" ++ lists:flatten(string:replace(atom_to_list(Key), "_", "-", all)).

%% `false` takes back what tyn.toml says; what is only given or not is not given.
flags(Key, false) when Key =:= detach; Key =:= interactive -> [];
flags(Key, false) -> [flag(Key) ++ "=false"];
flags(Key, true) -> [flag(Key)];
flags(Key, [Value | _] = Values) when not is_integer(Value) -> lists:append([[flag(Key), word(V)] || V <- Values]);
flags(Key, Value) -> [flag(Key), word(Value)].

word({Name, Value}) -> word(Name) ++ "=" ++ word(Value);
word(Value) when is_integer(Value) -> integer_to_list(Value);
word(Value) when is_atom(Value) -> atom_to_list(Value);
word(Value) -> unicode:characters_to_list(Value).
