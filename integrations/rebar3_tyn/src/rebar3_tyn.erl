%% The plugin: `rebar3 tyn build` and `rebar3 tyn run`, and what both do.
-module(rebar3_tyn).
-export([init/1, build/2, run/2, options/0, format_error/1]).

init(State) ->
    {ok, State1} = rebar3_tyn_build:init(State),
    rebar3_tyn_run:init(State1).

%% Options of both. `relname` has the name that the provider `release` looks for, which runs before us.
options() ->
    [
        {relname, $n, "relname", string, "the release, where there are several"},
        {tyn, undefined, "tyn", string, "the tool; else the variable TYN names it, or it is tyn in PATH"},
        {output, $o, "output", string, "the image [default: PROFILE/tyn/RELEASE.img]"}
    ].

%% Makes the image; {ok, Tool, Image} or {error, Reason}.
build(State, Args) ->
    {Options, _} = rebar_state:command_parsed_args(State),
    Settings = rebar_state:get(State, tyn, []),
    Releases = releases(State),
    maybe
        {ok, Tool} ?= rebar3_tyn_command:find(
            proplists:get_value(tyn, Options), os:getenv("TYN"), fun filelib:is_regular/1, fun os:find_executable/1
        ),
        {ok, Name} ?= rebar3_tyn_command:release(proplists:get_value(relname, Options), Settings, Releases),
        Base = rebar_dir:base_dir(State),
        Image = proplists:get_value(output, Options, filename:join([Base, "tyn", Name ++ ".img"])),
        ok = filelib:ensure_dir(Image),
        Input = filename:join([Base, "rel", Name]),
        Flags = rebar3_tyn_command:arguments(proplists:get_value(build, Settings, []), Args),
        ok ?= succeed(run(Tool, ["build", Input, "--output", Image | Flags])),
        {ok, Tool, Image}
    end.

succeed(0) -> ok;
succeed(Status) -> {error, {status, Status}}.

%% Names of the releases in rebar.config.
releases(State) ->
    Names = [name(element(2, R)) || R <- rebar_state:get(State, relx, []), element(1, R) =:= release],
    lists:usort(Names).

name({Name, _Version}) -> atom_to_list(Name);
name(Name) -> atom_to_list(Name).

%% Runs the tool with our terminal as its own and returns its exit status.
run(Tool, Args) ->
    Port = open_port({spawn_executable, Tool}, [nouse_stdio, exit_status, {args, Args}]),
    receive
        {Port, {exit_status, Status}} -> Status
    end.

format_error({status, Status}) -> io_lib:format("tyn ended with status ~b", [Status]);
format_error(Reason) -> Reason.
