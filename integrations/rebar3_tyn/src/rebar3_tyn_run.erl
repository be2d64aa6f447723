%% `rebar3 tyn run`.
-module(rebar3_tyn_run).
-behaviour(provider).
-export([init/1, do/1, format_error/1]).

init(State) ->
    Provider = providers:create([
        {name, run},
        {namespace, tyn},
        {module, ?MODULE},
        {bare, true},
        {deps, [{default, release}]},
        {example, "rebar3 as prod tyn run -- -p 8080:8080 -e PORT=8080"},
        {short_desc, "Make a release and an image, and boot it"},
        {desc,
            "Does what `rebar3 tyn build` does, and boots the image in a virtual machine on this terminal.\n\n"
            "Ctrl-C asks the release to stop (init:stop()), a second one kills the machine; its exit status is the\n"
            "release's. What follows `--` goes to `tyn run`; `tyn run --help` tells its options. Settings are those\n"
            "of `tyn` in rebar.config and tyn.toml; see `rebar3 help tyn build`.\n"},
        {opts, rebar3_tyn:options()}
    ]),
    {ok, rebar_state:add_provider(State, Provider)}.

do(State) ->
    {_, Args} = rebar_state:command_parsed_args(State),
    Settings = rebar_state:get(State, tyn, []),
    case rebar3_tyn:build(State, []) of
        {ok, Tool, Image} ->
            Flags = rebar3_tyn_command:run_arguments(proplists:get_value(run, Settings, []), Args),
            case rebar3_tyn:run(Tool, ["run", Image | Flags]) of
                0 -> {ok, State};
                Status -> erlang:halt(Status)
            end;
        {error, {status, Status}} ->
            erlang:halt(Status);
        {error, Reason} ->
            {error, {?MODULE, Reason}}
    end.

format_error(Reason) -> rebar3_tyn:format_error(Reason).
