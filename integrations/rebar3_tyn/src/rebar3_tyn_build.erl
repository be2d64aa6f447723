%% `rebar3 tyn build`.
-module(rebar3_tyn_build).
-behaviour(provider).
-export([init/1, do/1, format_error/1]).

init(State) ->
    Provider = providers:create([
        {name, build},
        {namespace, tyn},
        {module, ?MODULE},
        {bare, true},
        {deps, [{default, release}]},
        {example, "rebar3 as prod tyn build -- --strip-beams"},
        {short_desc, "Make a release and a Tyn image of it"},
        {desc,
            "Makes a release and puts it into an image that `rebar3 tyn run` or `tyn run` boots.\n\n"
            "What follows `--` goes to `tyn build`; `tyn build --help` tells its options. Settings are those of\n"
            "`tyn` in rebar.config, each an option of the tool:\n\n"
            "    {tyn, [{build, [strip_beams, {include, [\"/bin/sh\"]}]}, {run, [{port, \"8080:8080\"}]}]}.\n"},
        {opts, rebar3_tyn:options()}
    ]),
    {ok, rebar_state:add_provider(State, Provider)}.

do(State) ->
    {_, Args} = rebar_state:command_parsed_args(State),
    case rebar3_tyn:build(State, Args) of
        {ok, _Tool, _Image} -> {ok, State};
        {error, {status, Status}} -> erlang:halt(Status);
        {error, Reason} -> {error, {?MODULE, Reason}}
    end.

format_error(Reason) -> rebar3_tyn:format_error(Reason).
